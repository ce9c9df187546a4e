//! IGMP membership reports, which make a switch send the host's groups to another port. Pure.

use std::net::Ipv4Addr;

use super::announce::{internet_checksum, words};
use crate::netlink::Mac;

const ETHERTYPE_IPV4: u16 = 0x0800;
/// RFC 1112: every host is in it, and nobody reports it.
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// RFC 3376: where version 3 reports go.
const ALL_V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// The groups of a netdev, and the version that its querier speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memberships {
    version: u8,
    groups: Vec<Ipv4Addr>,
}

impl Memberships {
    /// Those of `netdev` in the text of `/proc/net/igmp`; none if it is not there.
    pub(super) fn parse(text: &str, netdev: &str) -> Self {
        let mut found = Self::default();
        let mut ours = false;
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if line.starts_with(char::is_whitespace) {
                let group = words.first().and_then(|word| u32::from_str_radix(word, 16).ok());
                // As it lies in memory.
                let group = group.map(|group| Ipv4Addr::from(group.to_ne_bytes()));
                found.groups.extend(group.filter(|group| ours && *group != ALL_HOSTS));
                continue;
            }
            ours = words.get(1).is_some_and(|name| name.trim_end_matches(':') == netdev);
            let version = words.last().and_then(|word| word.strip_prefix('V')?.parse().ok());
            if ours {
                found.version = version.unwrap_or(3);
            }
        }
        found
    }

    /// No group is to be reported.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// A report of each group, as Ethernet frames without FCS.
    pub(super) fn reports(&self, mac: Mac, source: Ipv4Addr) -> Vec<Vec<u8>> {
        self.groups.iter().map(|group| report(self.version, mac, source, *group)).collect()
    }
}

/// A report of one group: of version 1 and 2 to the group itself, of version 3 as "exclude nobody".
fn report(version: u8, mac: Mac, source: Ipv4Addr, group: Ipv4Addr) -> Vec<u8> {
    let (to, mut message) = match version {
        1 => (group, vec![0x12, 0, 0, 0]),
        2 => (group, vec![0x16, 0, 0, 0]),
        // One record: MODE_IS_EXCLUDE, no sources.
        _ => (ALL_V3_ROUTERS, vec![0x22, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0]),
    };
    message.extend(group.octets());
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);

    // Internetwork control, do not fragment, one hop; with the router alert option (RFC 2113).
    let length = 24 + u8::try_from(message.len()).unwrap_or(u8::MAX);
    let mut ip = vec![0x46, 0xc0, 0, length, 0, 0, 0x40, 0, 1, 2, 0, 0];
    ip.extend(source.octets().into_iter().chain(to.octets()).chain([0x94, 4, 0, 0]));
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);

    let [_, a, b, c] = to.octets();
    let multicast = [0x01, 0x00, 0x5e, a & 0x7f, b, c];
    [&multicast[..], &mac.0, &ETHERTYPE_IPV4.to_be_bytes(), &ip, &message].concat()
}

/// Of an even number of bytes, as it stands in a header.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    internet_checksum(words(bytes)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket};

    use super::*;

    const TEXT: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
        1\tlo        :     1      V3\n\
        \t\t\t\t010000E0     1 0:00000000\t\t0\n\
        7\tbond0     :     3      V2\n\
        \t\t\t\t010101EF     1 0:00000000\t\t1\n\
        \t\t\t\tFB0000E0     1 0:00000000\t\t1\n\
        \t\t\t\t010000E0     1 0:00000000\t\t0\n\
        9\tbond0.5   :     1      V3\n\
        \t\t\t\t020101EF     1 0:00000000\t\t0\n";
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 3, 3, 120);
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 129, 1, 1);

    #[test]
    #[cfg(target_endian = "little")]
    fn groups_of_one_netdev() {
        let groups = |netdev| {
            let Memberships { version, groups } = Memberships::parse(TEXT, netdev);
            (version, groups.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(groups("bond0"), (2, vec!["239.1.1.1".to_owned(), "224.0.0.251".to_owned()]));
        assert_eq!(groups("bond0.5"), (3, vec!["239.1.1.2".to_owned()]));
        assert_eq!(groups("lo"), (3, vec![]));
        assert_eq!(groups("bond1"), (0, vec![]));
    }

    #[test]
    fn version_2_reports_to_the_group() {
        let frame = report(2, MAC, SOURCE, GROUP);
        #[rustfmt::skip]
        let expected = [
            0x01, 0x00, 0x5e, 0x01, 0x01, 0x01, 2, 0, 0, 0, 0, 9, 0x08, 0x00,
            0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, 2, 0xe6, 0x1a, 10, 3, 3, 120, 239, 129, 1, 1, 0x94, 4, 0, 0,
            0x16, 0, 0xf9, 0x7c, 239, 129, 1, 1,
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn version_3_reports_to_the_routers() {
        let frame = report(3, MAC, SOURCE, GROUP);
        assert_eq!(frame[..6], [0x01, 0x00, 0x5e, 0, 0, 22]);
        assert_eq!(frame[30..34], ALL_V3_ROUTERS.octets());
        assert_eq!(frame[38..40], [0x22, 0]);
        assert_eq!(frame[42..], [0, 0, 0, 1, 2, 0, 0, 0, 239, 129, 1, 1]);
        assert_eq!(report(1, MAC, SOURCE, GROUP)[38], 0x12);
    }

    #[test]
    fn the_checksums_hold() {
        for version in 1..=3 {
            let frame = report(version, MAC, SOURCE, GROUP);
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!((header.time_to_live, header.destination[0]), (1, frame[30]));
            assert_eq!(checksum(&frame[38..]), [0, 0], "of version {version}'s message");
        }
    }

    #[test]
    fn one_report_a_group() {
        let memberships =
            Memberships { version: 2, groups: vec![GROUP, Ipv4Addr::new(239, 0, 0, 5)] };
        let reports = memberships.reports(MAC, SOURCE);
        assert_eq!(reports.iter().map(|frame| frame[5]).collect::<Vec<_>>(), [1, 5]);
    }
}
