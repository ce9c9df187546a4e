//! The carrier of a netdev, read without the kernel's RTNL lock.
//!
//! rtnetlink and ethtool take that lock for every question, and the kernel takes it before it tells of a change. A driver
//! that resets its NIC holds it too, igb for half a second and more, and whoever asks about *another* NIC waits for it.
//! sysfs shows two counters of carrier changes that are read without it (`carrier_up_count_show`, net/core/net-sysfs.c).

use std::fs::File;
use std::io;

use rustix::fs::OFlags;

use super::sysfs::{Sysfs, number};
use crate::netlink::{Netlink, NetlinkError};
use crate::watch::{CarrierCounts, CarrierGauge};

/// How often what changed while it was read is read again.
const ATTEMPTS: usize = 16;

/// The carrier of one netdev. It stays that netdev's when that is renamed or moved.
#[derive(Debug)]
pub struct CarrierFiles {
    files: CountFiles,
    gauge: CarrierGauge,
}

impl CarrierFiles {
    /// Finds the counters of a netdev of the calling thread's network namespace. `None`: they cannot be had here.
    ///
    /// # Errors
    /// When the kernel does not say what it counted.
    pub fn open(nl: &mut Netlink, ifindex: u32) -> Result<Option<Self>, NetlinkError> {
        // Where /sys is, it may be that of another network namespace, and a mount of our own takes CAP_SYS_ADMIN.
        for sysfs in [Sysfs::own(), Sysfs::mounted()] {
            let Some(link) = nl.link_by_index(ifindex)? else { return Ok(None) };
            let Some(files) = sysfs.and_then(|sysfs| CountFiles::open(&sysfs, &link.name)).ok()
            else {
                continue;
            };
            for _ in 0..ATTEMPTS {
                let Some(link) = nl.link_by_index(ifindex)? else { return Ok(None) };
                let Some(counts) = link.carrier_counts else { return Ok(None) };
                if files.ifindex == ifindex && files.read().is_ok_and(|read| read == counts) {
                    let gauge = CarrierGauge::new(link.has_carrier, counts);
                    return Ok(Some(Self { files, gauge }));
                }
            }
        }
        Ok(None)
    }

    /// Whether there is a carrier now, whether the netdev is set up or not.
    ///
    /// # Errors
    /// ENODEV when the netdev is gone.
    pub fn read(&self) -> io::Result<bool> {
        for _ in 0..ATTEMPTS {
            if let Some(carrier) = self.gauge.carrier(self.files.read()?) {
                return Ok(carrier);
            }
        }
        Err(io::Error::other("the carrier comes and goes faster than it can be read"))
    }
}

/// The two counters of a netdev.
#[derive(Debug)]
struct CountFiles {
    ifindex: u32,
    up: File,
    down: File,
}

impl CountFiles {
    fn open(sysfs: &Sysfs, name: &str) -> io::Result<Self> {
        let file = |what| sysfs.netdev_file(name, what, OFlags::RDONLY);
        Ok(Self {
            ifindex: number(&file("ifindex")?)?,
            up: file("carrier_up_count")?,
            down: file("carrier_down_count")?,
        })
    }

    /// In the order that [`CarrierGauge::carrier`] asks for.
    fn read(&self) -> io::Result<CarrierCounts> {
        let down = number(&self.down)?;
        Ok(CarrierCounts { up: number(&self.up)?, down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::{in_netns, run};

    #[test]
    #[ignore = "needs root"]
    fn the_carrier_is_followed_through_changes_and_a_new_name() {
        in_netns(|| {
            run("ip link add eth0 type veth peer name w0");
            let mut nl = Netlink::new().unwrap();
            let ifindex = nl.link("eth0").unwrap().unwrap().index;
            let carrier = CarrierFiles::open(&mut nl, ifindex).unwrap().expect("counters");
            assert!(!carrier.read().unwrap(), "both ends are down");
            run("ip link set eth0 up");
            assert!(!carrier.read().unwrap(), "the far end is down");
            for round in 0..3 {
                run("ip link set w0 up");
                assert!(carrier.read().unwrap(), "up, {round}");
                run("ip link set w0 down");
                assert!(!carrier.read().unwrap(), "down, {round}");
            }
            run("ip link set w0 up");
            run("ip link set eth0 name slave0");
            let found_up = CarrierFiles::open(&mut nl, ifindex).unwrap().expect("counters");
            for carrier in [&carrier, &found_up] {
                assert!(carrier.read().unwrap());
            }
            run("ip link set w0 down");
            for carrier in [&carrier, &found_up] {
                assert!(!carrier.read().unwrap());
            }
            run("ip link del w0");
            let gone = carrier.read().unwrap_err();
            assert_eq!(gone.raw_os_error(), Some(libc::ENODEV));
            assert!(CarrierFiles::open(&mut nl, ifindex).unwrap().is_none());
        });
    }
}
