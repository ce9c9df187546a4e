//! Addresses of netdevs (`RTM_NEWADDR`).

use std::{fmt, net::IpAddr};

use netlink_packet_core::{DecodeError, parse_ip};
use netlink_packet_route::address::{AddressHeader, AddressHeaderFlags};

use super::wire::attribute;

/// `struct ifaddrmsg`: 8 bytes before the attributes.
const IFADDRMSG_BYTES: usize = 8;
// linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// An address of a netdev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub prefix_len: u8,
    /// Not (yet) ours to use: duplicate address detection runs, or found another owner (RFC 4862).
    pub tentative: bool,
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
        let header = AddressHeader::parse(payload)?;
        let attributes = &payload[IFADDRMSG_BYTES..];
        // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours; without one, IPv6 has IFA_ADDRESS only.
        let ip = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS));
        match ip {
            Some(ip) if header.index == ifindex => {
                let unsure = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
                Ok(Some(Self {
                    ip: parse_ip(ip)?,
                    prefix_len: header.prefix_len,
                    tentative: header.flags.intersects(unsure),
                }))
            }
            _ => Ok(None),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_len)
    }
}
