//! The frames that tell switches and neighbours where a bond's addresses are now. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::netlink::{Mac, Vlan};

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// A broadcast ARP request of an address for itself (RFC 5227 section 3, RFC 826), as the kernel announces one
/// (`arp_send` from `inetdev_send_gratuitous_arp`): the target's hardware address is zero. An Ethernet frame without FCS.
pub(super) fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> [u8; 42] {
    let mut frame = Frame::new(Mac::BROADCAST, mac, ETHERTYPE_ARP);
    frame.put(&1_u16.to_be_bytes()); // hardware: Ethernet
    frame.put(&0x0800_u16.to_be_bytes()); // protocol: IPv4
    frame.put(&[6, 4]); // lengths of their addresses
    frame.put(&1_u16.to_be_bytes()); // request
    frame.put(&mac.0);
    frame.put(&ip.octets());
    frame.put(&Mac::ZERO.0);
    frame.put(&ip.octets());
    frame.bytes
}

/// An unsolicited neighbour advertisement (RFC 4861 section 7.2.6): from the address itself to all nodes, override set,
/// with the target link-layer address option. `router`: the host forwards on this netdev; without that flag its
/// neighbours would take it off their list of default routers. An Ethernet frame without FCS.
pub(super) fn unsolicited_na(mac: Mac, ip: Ipv6Addr, router: bool) -> [u8; 86] {
    const LENGTH: u16 = 32;
    let mut message = [0; LENGTH as usize];
    message[0] = 136; // neighbour advertisement; code and checksum zero
    message[4] = if router { 0xa0 } else { 0x20 }; // override; not solicited
    message[8..24].copy_from_slice(&ip.octets());
    message[24..26].copy_from_slice(&[2, 1]); // target link-layer address, in units of 8 bytes
    message[26..].copy_from_slice(&mac.0);
    let checksum = icmpv6_checksum(ip, ALL_NODES, LENGTH, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Frame::new(ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
    frame.put(&[0x60, 0, 0, 0]); // version 6
    frame.put(&LENGTH.to_be_bytes());
    frame.put(&[ICMPV6, 255]); // next header; the hop limit neighbour discovery demands
    frame.put(&ip.octets());
    frame.put(&ALL_NODES.octets());
    frame.put(&message);
    frame.bytes
}

/// The frame with VLAN tags, the outer one first. Their priority is 0.
pub(super) fn tagged(frame: &[u8], tags: &[Vlan]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(frame.len().min(12));
    let tags = tags.iter().flat_map(|tag| [tag.protocol, tag.id]).flat_map(u16::to_be_bytes);
    addresses.iter().copied().chain(tags).chain(rest.iter().copied()).collect()
}

/// The Internet checksum over pseudo-header and message (RFC 4443 section 2.3). `message` is even in length, with its
/// checksum field zero.
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, length: u16, message: &[u8]) -> u16 {
    let header =
        from.segments().into_iter().chain(to.segments()).chain([length, u16::from(ICMPV6)]);
    internet_checksum(header.chain(words(message)))
}

/// The words of an even number of bytes.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|&pair| u16::from_be_bytes(pair))
}

/// The Internet checksum (RFC 1071).
pub(super) fn internet_checksum(words: impl Iterator<Item = u16>) -> u16 {
    !words.fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// A frame written from front to back.
struct Frame<const N: usize> {
    bytes: [u8; N],
    end: usize,
}

impl<const N: usize> Frame<N> {
    fn new(to: Mac, from: Mac, ethertype: u16) -> Self {
        let mut frame = Self { bytes: [0; N], end: 0 };
        frame.put(&to.0);
        frame.put(&from.0);
        frame.put(&ethertype.to_be_bytes());
        frame
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Type, LinkSlice, NetSlice, SlicedPacket, TransportSlice, icmpv6};

    use super::*;

    const MAC: Mac = Mac([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);

    fn ethernet(frame: &[u8]) -> SlicedPacket<'_> {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(LinkSlice::Ethernet2(header)) = &packet.link else { panic!("{packet:?}") };
        assert_eq!(header.source(), MAC.0);
        packet
    }

    #[test]
    fn gratuitous_arp_bytes() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 9, 0, 5));
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01,
            0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 9, 0, 5,
            0, 0, 0, 0, 0, 0, 10, 9, 0, 5,
        ];
        assert_eq!(frame, expected);

        let Some(NetSlice::Arp(arp)) = ethernet(&frame).net else { panic!("no ARP") };
        assert_eq!(arp.operation(), etherparse::ArpOperation::REQUEST);
        assert_eq!(
            (arp.sender_hw_addr(), arp.sender_protocol_addr()),
            (&MAC.0[..], &[10, 9, 0, 5][..])
        );
        assert_eq!(
            (arp.target_hw_addr(), arp.target_protocol_addr()),
            (&[0; 6][..], &[10, 9, 0, 5][..])
        );
    }

    #[test]
    fn tags_stand_behind_the_addresses() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 9, 0, 5));
        let tags = [(0x88a8, 7), (0x8100, 5)].map(|(protocol, id)| Vlan { protocol, id });
        let expected = [&frame[..12], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5], &frame[12..]].concat();
        assert_eq!(tagged(&frame, &tags), expected);
        assert_eq!(tagged(&frame, &[]), frame);
    }

    #[test]
    fn unsolicited_na_bytes() {
        let ip: Ipv6Addr = "2001:db8::5".parse().unwrap();
        let frame = unsolicited_na(MAC, ip, false);
        #[rustfmt::skip]
        let expected = [
            0x33, 0x33, 0, 0, 0, 1, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
            0x60, 0, 0, 0, 0, 32, 58, 255,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            136, 0, 0x92, 0x8a, 0x20, 0, 0, 0,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
            2, 1, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55,
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn unsolicited_na_parses_and_its_checksum_holds() {
        for (ip, router) in [
            ("fe80::1", false),
            ("2001:db8::5", true),
            ("fd00:ffff:ffff:ffff:ffff:ffff:ffff:fffe", false),
        ] {
            let ip: Ipv6Addr = ip.parse().unwrap();
            let frame = unsolicited_na(MAC, ip, router);
            let packet = ethernet(&frame);
            let Some(NetSlice::Ipv6(ipv6)) = &packet.net else { panic!("no IPv6") };
            assert_eq!(
                (ipv6.header().source_addr(), ipv6.header().destination_addr()),
                (ip, ALL_NODES)
            );
            assert_eq!(ipv6.header().hop_limit(), 255);
            let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("no ICMPv6") };
            assert!(icmp.is_checksum_valid(ip.octets(), ALL_NODES.octets()));
            let header =
                icmpv6::NeighborAdvertisementHeader { router, solicited: false, r#override: true };
            assert_eq!(icmp.icmp_type(), Icmpv6Type::NeighborAdvertisement(header));
            assert_eq!(icmp.payload()[..16], ip.octets());
        }
    }
}
