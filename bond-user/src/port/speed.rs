//! Speed and duplex of a link, through SIOCETHTOOL.

use super::ethtool::{Ethtool, Result};
use crate::mode::LinkSpeed;

// linux/ethtool.h
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const DUPLEX_FULL: u8 = 1;
const SPEED_UNKNOWN: u32 = u32::MAX;

impl Ethtool {
    /// How fast the link is. EOPNOTSUPP when the driver does not tell; without a link most do not know.
    pub fn speed(&self, ifname: &str) -> Result<LinkSpeed> {
        // struct ethtool_link_settings: cmd, speed, four bytes of which duplex is the first, four of which
        // link_mode_masks_nwords is the last. That one the kernel wants to be told right, and tells negated where it is
        // not (`ethtool_get_link_ksettings`).
        let [_, _, _, asked, ..] = *self.call(ifname, &[ETHTOOL_GLINKSETTINGS, 0, 0, 0])?;
        let [_, _, _, words] = asked.to_ne_bytes();
        let words = words.cast_signed().wrapping_neg().cast_unsigned();
        let command = [ETHTOOL_GLINKSETTINGS, 0, 0, u32::from_ne_bytes([0, 0, 0, words])];
        let [_, speed, duplex, ..] = *self.call(ifname, &command)?;
        Ok(LinkSpeed {
            mbps: if speed == SPEED_UNKNOWN { 0 } else { speed },
            full_duplex: duplex.to_ne_bytes()[0] == DUPLEX_FULL,
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::netlink::testing::{in_netns, run};

    #[test]
    #[ignore = "needs root"]
    fn a_veth_has_the_speed_that_the_kernel_shows() {
        in_netns(|| {
            run("ip link add v0 type veth peer name v1");
            run("ip link set v0 up");
            run("ip link set v1 up");
            let shown = run("ethtool v0");
            let LinkSpeed { mbps, full_duplex } = Ethtool::new().unwrap().speed("v0").unwrap();
            assert!(shown.contains(&format!("Speed: {mbps}Mb/s")), "{mbps} in {shown}");
            assert_eq!(full_duplex, shown.contains("Duplex: Full"), "{shown}");
            let ethtool = Ethtool::new().unwrap();
            assert_eq!(ethtool.speed("lo"), Err(Errno::OPNOTSUPP));
            assert_eq!(ethtool.speed("absent"), Err(Errno::NODEV));
        });
    }
}
