//! Addresses of netdevs (`RTM_NEWADDR`).

use std::{fmt, net::IpAddr};

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};

/// An address of a netdev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub prefix_len: u8,
}

impl Address {
    /// Valid on its link only: fe80::/10 or 169.254.0.0/16.
    pub fn is_link_local(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }

    /// Reads the payload of RTM_NEWADDR. `None` when it is another netdev's: kernels before 4.20 list them all.
    pub(super) fn parse(payload: &[u8], ifindex: u32) -> Result<Option<Self>, DecodeError> {
        let message = AddressMessage::parse(payload)?;
        // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours; without one, IPv6 has IFA_ADDRESS only.
        let local = message.attributes.iter().find_map(|a| {
            if let AddressAttribute::Local(ip) = a {
                Some(*ip)
            } else {
                None
            }
        });
        let other = message.attributes.iter().find_map(|a| {
            if let AddressAttribute::Address(ip) = a {
                Some(*ip)
            } else {
                None
            }
        });
        let ip = local.or(other).filter(|_| message.header.index == ifindex);
        Ok(ip.map(|ip| Self {
            ip,
            prefix_len: message.header.prefix_len,
        }))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_len)
    }
}
