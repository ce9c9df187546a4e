//! How long a netdev's NAPI instances let frames gather (`napi_complete_done`, net/core/dev.c).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::fs::OFlags;

use super::sysfs::{Sysfs, number};

/// The settings of one netdev, for all its NAPI instances.
#[derive(Debug)]
pub struct NapiFiles {
    flush_timeout: File,
    defer_hard_irqs: File,
    /// What this wrote last, as [`Self::read`] reads it.
    ours: [u64; 2],
}

impl NapiFiles {
    /// Finds the settings of a netdev of the calling thread's network namespace.
    ///
    /// # Errors
    /// When they cannot be had, for want of CAP_SYS_ADMIN say.
    pub fn open(name: &str) -> io::Result<Self> {
        let sysfs = Sysfs::own()?;
        let file = |what| sysfs.netdev_file(name, what, OFlags::RDWR);
        Ok(Self {
            flush_timeout: file("gro_flush_timeout")?,
            defer_hard_irqs: file("napi_defer_hard_irqs")?,
            ours: [0; 2],
        })
    }

    /// From now on, frames gather for `period` after a poll that found some, before the next one. Zero: each comes with
    /// an interrupt of its own, as is usual. Waits for the RTNL lock on some kernels.
    ///
    /// What somebody else has set stays.
    ///
    /// # Errors
    /// When the netdev is gone.
    pub fn gather(&mut self, period: Duration) -> io::Result<()> {
        if self.read()? != self.ours {
            return Ok(());
        }
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        self.ours = [u64::from(nanos > 0), nanos];
        let [defers, nanos] = self.ours;
        // The period first: polls are put off only if there is one.
        write(&self.flush_timeout, nanos)?;
        write(&self.defer_hard_irqs, defers)
    }

    /// The settings in force: polls put off, and the period in ns.
    fn read(&self) -> io::Result<[u64; 2]> {
        Ok([number(&self.defer_hard_irqs)?, number(&self.flush_timeout)?])
    }
}

fn write(file: &File, number: u64) -> io::Result<()> {
    file.write_at(number.to_string().as_bytes(), 0).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::{in_netns, run};

    #[test]
    #[ignore = "needs root"]
    fn written_and_taken_back_unless_somebody_else_set_them() {
        in_netns(|| {
            run("ip link add bond0 type veth peer name p0");
            let files = ["napi_defer_hard_irqs", "gro_flush_timeout"];
            let sysfs = Sysfs::own().unwrap();
            let open = files.map(|file| sysfs.netdev_file("bond0", file, OFlags::RDWR).unwrap());
            let read = || [&open[0], &open[1]].map(|file| number::<u64>(file).unwrap());
            assert_eq!(read(), [0, 0]);
            let mut napi = NapiFiles::open("bond0").unwrap();
            napi.gather(Duration::from_micros(100)).unwrap();
            assert_eq!(read(), [1, 100_000]);
            napi.gather(Duration::from_micros(50)).unwrap();
            assert_eq!(read(), [1, 50_000]);
            napi.gather(Duration::ZERO).unwrap();
            assert_eq!(read(), [0, 0]);

            for theirs in [[2, 20_000], [0, 20_000], [2, 0]] {
                write(&open[0], theirs[0]).unwrap();
                write(&open[1], theirs[1]).unwrap();
                napi.gather(Duration::from_micros(100)).unwrap();
                assert_eq!(read(), theirs, "somebody else's");
            }
            run("ip link del p0");
            assert!(napi.gather(Duration::ZERO).is_err());
        });
    }
}
