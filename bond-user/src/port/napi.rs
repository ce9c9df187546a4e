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
    /// What this wrote last; zero: nothing.
    ours: Duration,
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
            ours: Duration::ZERO,
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
        // The period first: polls are put off only if there is one.
        write(&self.flush_timeout, period.as_nanos())?;
        write(&self.defer_hard_irqs, u128::from(!period.is_zero()))?;
        self.ours = period;
        Ok(())
    }

    /// The period in force.
    fn read(&self) -> io::Result<Duration> {
        let defers = number(&self.defer_hard_irqs)? > 0;
        let period = Duration::from_nanos(number(&self.flush_timeout)?.into());
        Ok(if defers { period } else { Duration::ZERO })
    }
}

fn write(file: &File, number: u128) -> io::Result<()> {
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
            let read = || [&open[0], &open[1]].map(|file| number(file).unwrap());
            assert_eq!(read(), [0, 0]);
            let mut napi = NapiFiles::open("bond0").unwrap();
            napi.gather(Duration::from_micros(100)).unwrap();
            assert_eq!(read(), [1, 100_000]);
            napi.gather(Duration::from_micros(50)).unwrap();
            assert_eq!(read(), [1, 50_000]);
            napi.gather(Duration::ZERO).unwrap();
            assert_eq!(read(), [0, 0]);

            write(&open[0], 2).unwrap();
            write(&open[1], 20_000).unwrap();
            napi.gather(Duration::from_micros(100)).unwrap();
            assert_eq!(read(), [2, 20_000], "somebody else's");
            run("ip link del p0");
            assert!(napi.gather(Duration::ZERO).is_err());
        });
    }
}
