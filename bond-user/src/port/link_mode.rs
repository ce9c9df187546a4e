//! Speed and duplex of a netdev, through SIOCETHTOOL (`ioctl_get_link_ksettings`, net/ethtool/ioctl.c).
//!
//! The kernel holds its RTNL lock while it asks the driver, for sysfs and netlink too, and a driver may ask its firmware.

use rustix::io::Errno;

use super::ethtool::{Ethtool, supported};

// linux/ethtool.h
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const SPEED_UNKNOWN: u32 = u32::MAX;
const DUPLEX_HALF: u8 = 0;
const DUPLEX_FULL: u8 = 1;

/// How a link runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkMode {
    /// In Mbit/s.
    pub speed: u32,
    /// Both ways at a time.
    pub full_duplex: bool,
}

impl LinkMode {
    /// From the kernel's numbers. Known are both or neither, as in the kernel's bonding (`bond_update_speed_duplex`).
    fn new(speed: u32, duplex: u8) -> Option<Self> {
        let full_duplex = match duplex {
            DUPLEX_FULL => true,
            DUPLEX_HALF => false,
            _ => return None,
        };
        (!matches!(speed, 0 | SPEED_UNKNOWN)).then_some(Self { speed, full_duplex })
    }

    /// The kernel's word for its duplex.
    pub const fn duplex(self) -> &'static str {
        if self.full_duplex { "full" } else { "half" }
    }
}

impl Ethtool {
    /// How the link runs. `None` when the driver does not tell, as many do not without a carrier.
    ///
    /// # Errors
    /// ENODEV when there is no such netdev.
    pub fn link_mode(&self, ifname: &str) -> Result<Option<LinkMode>, Errno> {
        // struct ethtool_link_settings: cmd, speed, then bytes: {duplex, port, phy_address, autoneg}, {mdio_support,
        // eth_tp_mdix, eth_tp_mdix_ctrl, link_mode_masks_nwords}, {4 more}; 7 words reserved; three masks.
        let Some(answer) = supported(self.call(ifname, &[ETHTOOL_GLINKSETTINGS]))? else {
            return Ok(None);
        };
        // The first answer is only how many words a mask has, as a negative number: it must be asked for as many.
        let [.., words] = answer[3].to_ne_bytes();
        let words = u32::from_ne_bytes([0, 0, 0, words.cast_signed().unsigned_abs()]);
        let answer = self.call(ifname, &[ETHTOOL_GLINKSETTINGS, 0, 0, words])?;
        let [duplex, ..] = answer[2].to_ne_bytes();
        Ok(LinkMode::new(answer[1], duplex))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::{in_netns, run};

    #[test]
    fn both_are_known_or_neither() {
        let known = |speed, full_duplex| Some(LinkMode { speed, full_duplex });
        for (speed, duplex, expected) in [
            (1000, 1, known(1000, true)),
            (10, 0, known(10, false)),
            (400_000, 1, known(400_000, true)),
            (0, 1, None),
            (u32::MAX, 1, None),
            (1000, 0xff, None),
            (u32::MAX, 0xff, None),
        ] {
            assert_eq!(LinkMode::new(speed, duplex), expected, "{speed} {duplex}");
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn what_drivers_tell() {
        in_netns(|| {
            run("ip link add v0 type veth peer name v1");
            run("ip link add br0 type bridge");
            run("ip tuntap add t0 mode tap");
            run("ethtool -s t0 speed 2500 duplex half");
            let ethtool = Ethtool::new().unwrap();
            let mode = |name: &str| ethtool.link_mode(name).map(|mode| mode.map(said));
            assert_eq!(mode("v0"), Ok(Some((10_000, "full"))));
            assert_eq!(mode("t0"), Ok(Some((2500, "half"))));
            assert_eq!(mode("br0"), Ok(None), "a bridge without ports does not know");
            assert_eq!(mode("lo"), Ok(None), "lo has no such command");
            assert_eq!(mode("absent"), Err(Errno::NODEV));
        });
    }

    fn said(mode: LinkMode) -> (u32, &'static str) {
        (mode.speed, mode.duplex())
    }
}
