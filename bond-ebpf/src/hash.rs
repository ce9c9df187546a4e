//! The transmit hash of mode balance-xor: frames of one flow have one value (kernel: `bond_xmit_hash`, bond_main.c).
//!
//! The values are the kernel's, on hosts of either byte order: addresses and ports are loaded as they lie in memory. As for
//! a VLAN device on the kernel's bond, whose tag travels beside the frame, the outer tag is looked through; a second one
//! makes a frame that is not IP.

use crate::header::{Ethernet, Icmp, Ip, PROTOCOL_AH};

/// What a hash is made of: `xmit_hash_policy`, with the kernel's numbers (`BOND_XMIT_POLICY_*` in if_bonding.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HashPolicy {
    /// MAC addresses and ethertype.
    #[default]
    Layer2 = 0,
    /// IP addresses and ports; MAC addresses and ethertype of what is not IP.
    Layer34 = 1,
    /// MAC and IP addresses.
    Layer23 = 2,
    /// VLAN tag and source MAC.
    VlanSrcMac = 5,
}

impl HashPolicy {
    /// The policies of this version, by number.
    pub const ALL: [Self; 4] = [Self::Layer2, Self::Layer34, Self::Layer23, Self::VlanSrcMac];

    /// The policy with the kernel's `number`, if this version has it.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Layer2),
            1 => Some(Self::Layer34),
            2 => Some(Self::Layer23),
            5 => Some(Self::VlanSrcMac),
            _ => None,
        }
    }

    /// The policy with the kernel's `name`, if this version has it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Layer2 => "layer2",
            Self::Layer34 => "layer3+4",
            Self::Layer23 => "layer2+3",
            Self::VlanSrcMac => "vlan+srcmac",
        }
    }
}

/// The hash of a frame, which begins with its Ethernet header; 0 of one that is too short for one.
#[inline]
#[must_use]
pub fn hash(frame: &[u8], policy: HashPolicy) -> u32 {
    let Some(ethernet) = Ethernet::read(frame) else { return 0 };
    match policy {
        HashPolicy::Layer2 => layer2(&ethernet),
        HashPolicy::VlanSrcMac => vlan_srcmac(&ethernet),
        HashPolicy::Layer23 => {
            let ip = carried(frame, &ethernet);
            ip.map_or_else(|| layer2(&ethernet), |(ip, _)| mixed(layer2(&ethernet), &ip))
        }
        HashPolicy::Layer34 => match carried(frame, &ethernet) {
            // The lowest bit goes, because port numbers are often even.
            Some((ip, icmp)) => mixed(icmp.unwrap_or_else(|| ports(frame, &ip)), &ip) >> 1,
            None => layer2(&ethernet),
        },
    }
}

fn layer2(ethernet: &Ethernet) -> u32 {
    let Ethernet { destination, source, ethertype, .. } = *ethernet;
    u32::from(destination[5] ^ source[5]) ^ u32::from(ethertype)
}

fn vlan_srcmac(ethernet: &Ethernet) -> u32 {
    let [a, b, c, d, e, f] = ethernet.source;
    let [vendor, device] = [[0, a, b, c], [0, d, e, f]].map(u32::from_be_bytes);
    u32::from(ethernet.tag) ^ vendor ^ device
}

/// The IP header whose flow a frame belongs to, and of an ICMP message with an identifier what stands in for ports. An ICMP
/// error belongs to the flow of the packet it complains about.
fn carried(frame: &[u8], ethernet: &Ethernet) -> Option<(Ip, Option<u32>)> {
    let ip = Ip::read(frame, ethernet.ethertype, ethernet.end)?;
    let Some(icmp) = Icmp::read(frame, &ip) else { return Some((ip, None)) };
    if icmp.is_error {
        return Some((Ip::read(frame, ethernet.ethertype, icmp.end)?, None));
    }
    Some((ip, icmp.identity()))
}

/// Source and destination port, or the SPI of ESP and AH, as they lie in memory; 0 of a protocol without.
fn ports(frame: &[u8], ip: &Ip) -> u32 {
    let at = match ip.protocol {
        // TCP, UDP, DCCP, ESP, SCTP, UDP-Lite.
        Some(6 | 17 | 33 | 50 | 132 | 136) => ip.end,
        Some(PROTOCOL_AH) => ip.end + 4,
        _ => return 0,
    };
    crate::header::bytes(frame, at).map_or(0, u32::from_ne_bytes)
}

fn mixed(mut hash: u32, ip: &Ip) -> u32 {
    hash ^= ip.addresses;
    hash ^= hash >> 16;
    hash ^ (hash >> 8)
}

#[cfg(test)]
mod tests;
