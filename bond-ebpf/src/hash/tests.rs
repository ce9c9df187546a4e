extern crate std;

use std::vec::Vec;

use super::HashPolicy::{Layer2, Layer23, Layer34, VlanSrcMac};
use super::*;
use crate::select::{SlaveSet, Weights};

const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 2];
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&DESTINATION[..], &SOURCE, &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 packet; `fragment` is the field of flags and offset.
fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let [f0, f1] = fragment.to_be_bytes();
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let start = [0x45, 0, length[0], length[1], 0, 1, f0, f1, 64, protocol, 0, 0];
    [&start[..], &from, &to, payload].concat()
}

fn ipv6(next: u8, from: [u16; 8], to: [u16; 8], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let addresses: Vec<u8> = [from, to].concat().into_iter().flat_map(u16::to_be_bytes).collect();
    [&[0x60, 0, 0, 0, length[0], length[1], next, 64][..], &addresses, payload].concat()
}

fn ports(source: u16, destination: u16) -> [u8; 8] {
    let ([s0, s1], [d0, d1]) = (source.to_be_bytes(), destination.to_be_bytes());
    [s0, s1, d0, d1, 0, 8, 0, 0]
}

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];
const A6: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1];
const B6: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2];

fn tcp(source: u16) -> Vec<u8> {
    ethernet(0x0800, &ipv4(TCP, A, B, 0, &ports(source, 80)))
}

/// The frame with a VLAN tag of that TCI.
fn tagged(tag: u16, frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &tag.to_be_bytes(), &frame[12..]].concat()
}

/// The slot that a hash chooses out of `slaves` slaves.
fn slot(hash: u32, slaves: u8) -> u8 {
    let usable: SlaveSet = (0..slaves).collect();
    usable.hashed(hash, Weights::EVEN).unwrap()
}

/// Frame, policy, hash, and the slave out of 2, 3 and 4.
type Vector = (Vec<u8>, HashPolicy, u32, [u8; 3]);

/// Values of the kernel's formulas on a host with the low byte first.
fn vectors() -> Vec<Vector> {
    let echo = [8, 0, 0, 0, 0x12, 0x34, 0, 1];
    let v4 = |packet: &[u8]| ethernet(0x0800, packet);
    let v6 = |packet: &[u8]| ethernet(0x86dd, packet);
    let udp = ipv4(UDP, [192, 168, 1, 10], [192, 168, 1, 20], 0, &ports(5000, 5001));
    std::vec![
        (v4(&ipv4(TCP, A, B, 0, &ports(1, 2))), Layer2, 0x0803, [1, 2, 3]),
        (ethernet(0x0806, &[0; 28]), Layer2, 0x0805, [1, 1, 1]),
        (v6(&ipv6(59, A6, B6, &[])), Layer2, 0x86de, [0, 2, 2]),
        (tcp(12345), Layer23, 0x0303_0b08, [0, 1, 0]),
        (tcp(12345), Layer34, 0x29a9_b52d, [1, 1, 1]),
        (tcp(12346), Layer34, 0x29a9_b4ac, [0, 1, 0]),
        (v4(&udp), Layer34, 0x4bc2_060f, [1, 2, 3]),
        (v4(&ipv4(TCP, A, B, 0x2000, &ports(12345, 80))), Layer34, 0x0181_8181, [1, 1, 1]),
        (v4(&ipv4(TCP, A, B, 0x0005, &ports(12345, 80))), Layer34, 0x0181_8181, [1, 1, 1]),
        (v4(&ipv4(47, A, B, 0, &ports(12345, 80))), Layer34, 0x0181_8181, [1, 1, 1]),
        (v4(&ipv4(ICMP, A, B, 0, &echo)), Layer34, 0x0892_9296, [0, 0, 2]),
        (v6(&ipv6(59, A6, B6, &[])), Layer23, 0x0303_855b, [1, 2, 3]),
        (v6(&ipv6(TCP, A6, B6, &ports(443, 50000))), Layer34, 0x29c8_1595, [1, 0, 1]),
        (tagged(100, &tcp(12345)), VlanSrcMac, 0x0002_0066, [0, 2, 2]),
        (tagged(101, &tcp(12345)), VlanSrcMac, 0x0002_0067, [1, 0, 3]),
    ]
}

#[test]
#[cfg(target_endian = "little")]
fn the_kernels_values() {
    for (frame, policy, expected, slots) in vectors() {
        let hashed = hash(&frame, policy);
        assert_eq!(hashed, expected, "{policy:?} {hashed:#x} {frame:02x?}");
        assert_eq!([2, 3, 4].map(|slaves| slot(hashed, slaves)), slots, "{policy:?} {expected:#x}");
        for slaves in 1..=16 {
            assert_eq!(u32::from(slot(hashed, slaves)), expected % u32::from(slaves));
        }
    }
}

#[test]
fn what_is_not_ip_has_its_layer_2_hash() {
    let arp = ethernet(0x0806, &[0; 28]);
    let short = ethernet(0x0800, &ipv4(TCP, A, B, 0, &[])[..19]);
    let doubly_tagged = tagged(1, &tagged(2, &tcp(1)));
    for (frame, ethertype) in [(arp, 0x0806), (short, 0x0800), (doubly_tagged, 0x8100)] {
        for policy in [Layer2, Layer23, Layer34] {
            assert_eq!(hash(&frame, policy), 3 ^ ethertype, "{policy:?} {frame:02x?}");
        }
    }
}

#[test]
fn the_outer_tag_is_looked_through() {
    for policy in [Layer2, Layer23, Layer34] {
        assert_eq!(hash(&tagged(0x2064, &tcp(7)), policy), hash(&tcp(7), policy), "{policy:?}");
    }
    assert_eq!(hash(&tagged(0x2064, &tcp(7)), VlanSrcMac), 0x0002_0002 ^ 0x2064);
    assert_eq!(hash(&tcp(7), VlanSrcMac), 0x0002_0002, "no tag");
}

#[test]
fn an_icmp_error_goes_with_the_flow_it_complains_about() {
    let lost = ipv4(TCP, B, A, 0, &ports(80, 12345));
    let flow = ethernet(0x0800, &lost);
    let router = [192, 0, 2, 1];
    for kind in [3, 4, 5, 11, 12] {
        let message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &lost].concat();
        let error = ethernet(0x0800, &ipv4(ICMP, router, A, 0, &message));
        for policy in [Layer23, Layer34] {
            assert_eq!(hash(&error, policy), hash(&flow, policy), "type {kind}, {policy:?}");
        }
    }
    let lost = ipv6(UDP, B6, A6, &ports(53, 4000));
    for kind in 1..=4 {
        let message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &lost].concat();
        let error = ethernet(0x86dd, &ipv6(58, [0xfe80; 8], A6, &message));
        assert_eq!(hash(&error, Layer34), hash(&ethernet(0x86dd, &lost), Layer34), "type {kind}");
    }
    // Cut off within the inner header, there is no flow to go with.
    let cut = [&[3, 0, 0, 0, 0, 0, 0, 0][..], &ipv4(TCP, B, A, 0, &[])[..19]].concat();
    let error = ethernet(0x0800, &ipv4(ICMP, router, A, 0, &cut));
    assert_eq!(hash(&error, Layer34), 3 ^ 0x0800);
}

#[test]
fn an_echo_has_its_identifier_and_other_messages_none() {
    let icmp = |kind, id: u16| {
        let [i0, i1] = id.to_be_bytes();
        hash(&ethernet(0x0800, &ipv4(ICMP, A, B, 0, &[kind, 0, 0, 0, i0, i1, 0, 1])), Layer34)
    };
    assert_ne!(icmp(8, 5), icmp(8, 7));
    assert_ne!(icmp(8, 5), icmp(0, 5), "the reply is another type");
    assert_eq!(icmp(8, 0), icmp(8, 1), "no identifier is told from 0 by 1");
    assert_eq!(icmp(9, 5), icmp(10, 7), "no ports either");
}

#[test]
fn esp_and_ah_have_their_spi() {
    let with = |protocol, spi_at: usize, spi: u32| {
        let mut payload = [0; 16];
        payload[spi_at..spi_at + 4].copy_from_slice(&spi.to_be_bytes());
        hash(&ethernet(0x0800, &ipv4(protocol, A, B, 0, &payload)), Layer34)
    };
    assert_ne!(with(50, 0, 0x100), with(50, 0, 0x200));
    assert_eq!(with(50, 4, 0x100), with(50, 4, 0x200), "the sequence number is no part of it");
    assert_ne!(with(51, 4, 0x100), with(51, 4, 0x200));
    assert_eq!(with(51, 0, 0x100), with(51, 0, 0x200));
}

#[test]
fn ip_options_are_stepped_over() {
    let mut packet = ipv4(UDP, A, B, 0, &[]);
    packet[0] = 0x46;
    let with_options = [&packet[..], &[1, 1, 1, 0], &ports(5, 6)].concat();
    let without = ipv4(UDP, A, B, 0, &ports(5, 6));
    assert_eq!(
        hash(&ethernet(0x0800, &with_options), Layer34),
        hash(&ethernet(0x0800, &without), Layer34)
    );
}

#[test]
fn any_bytes_have_a_hash() {
    let frames = vectors().into_iter().map(|(frame, ..)| frame);
    for frame in frames.chain([tagged(5, &tcp(1))]) {
        for length in 0..=frame.len() {
            for policy in HashPolicy::ALL {
                let hashed = hash(&frame[..length], policy);
                assert!(length >= 14 || hashed == 0, "{policy:?} of {length} bytes");
            }
        }
    }
}

#[test]
fn names_and_numbers_are_the_kernels() {
    let rows = HashPolicy::ALL.map(|policy| (policy.number(), policy.name()));
    assert_eq!(rows, [(0, "layer2"), (1, "layer3+4"), (2, "layer2+3"), (5, "vlan+srcmac")]);
    for policy in HashPolicy::ALL {
        assert_eq!(HashPolicy::from_name(policy.name()), Some(policy));
    }
    assert_eq!(HashPolicy::from_name("layer5"), None);
    for number in 0..=u8::MAX {
        let policy = HashPolicy::from_number(number);
        assert_eq!(
            policy.map(HashPolicy::number),
            rows.iter().map(|row| row.0).find(|n| *n == number)
        );
    }
}
