//! Headers of frames, as far as modes look into them. All reads are bounds-checked.

/// Ethertype of a VLAN tag (IEEE 802.1Q) and of a service tag (802.1ad).
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_IGMP: u8 = 2;
const PROTOCOL_ICMPV6: u8 = 58;
/// The authentication header (RFC 4302).
pub(crate) const PROTOCOL_AH: u8 = 51;

/// `N` bytes of the frame from `at`, if they are there.
#[inline(always)]
pub(crate) fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

/// An Ethernet header, seen through its outer VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// Ethertype behind the outer tag.
    pub ethertype: u16,
    /// The outer tag's priority and VLAN (TCI); 0 without a tag.
    pub tag: u16,
    /// Where the payload begins.
    pub end: usize,
}

impl Ethernet {
    /// The header of a frame; `None` of one that is too short for it.
    #[inline(always)]
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (destination, source) = (bytes(frame, 0)?, bytes(frame, 6)?);
        let ethertype = u16::from_be_bytes(bytes(frame, 12)?);
        let untagged = Self { destination, source, ethertype, tag: 0, end: 14 };
        if !TAGS.contains(&ethertype) {
            return Some(untagged);
        }
        let Some([t0, t1, e0, e1]) = bytes(frame, 14) else { return Some(untagged) };
        let [tag, ethertype] = [[t0, t1], [e0, e1]].map(u16::from_be_bytes);
        Some(Self { ethertype, tag, end: 18, ..untagged })
    }
}

/// An IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source XOR destination address, as they lie in memory; of IPv6 the XOR of their four words.
    pub addresses: u32,
    /// Protocol of the payload; the first next header of IPv6. `None` in a fragment, whose payload may be any part.
    pub protocol: Option<u8>,
    /// Where the payload begins.
    pub end: usize,
}

impl Ip {
    /// The header at `at` of a frame with that ethertype; `None` if it is not IP or not whole.
    #[inline(always)]
    #[must_use]
    pub fn read(frame: &[u8], ethertype: u16, at: usize) -> Option<Self> {
        match ethertype {
            IPV4 => Some(Self::read_v4(&bytes(frame, at)?, at)),
            IPV6 => Some(Self::read_v6(&bytes(frame, at)?, at)),
            _ => None,
        }
    }

    #[inline(always)]
    fn read_v4(header: &[u8; 20], at: usize) -> Self {
        // More fragments, or an offset.
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        let protocol = (!fragment).then_some(header[9]);
        let end = at + usize::from(header[0] & 0x0f) * 4;
        Self { addresses: xor(&header[12..]), protocol, end }
    }

    #[inline(always)]
    fn read_v6(header: &[u8; 40], at: usize) -> Self {
        Self { addresses: xor(&header[8..]), protocol: Some(header[6]), end: at + 40 }
    }
}

/// Whether a frame is of IPv4's group management (IGMP), with or without a VLAN tag.
#[inline]
#[must_use]
pub fn is_igmp(frame: &[u8]) -> bool {
    let Some(ethernet) = Ethernet::read(frame) else { return false };
    ethernet.ethertype == IPV4 && frame.get(ethernet.end + 9) == Some(&PROTOCOL_IGMP)
}

/// XOR of the whole words of `bytes`.
#[inline(always)]
fn xor(bytes: &[u8]) -> u32 {
    bytes.as_chunks().0.iter().fold(0, |xor, word| xor ^ u32::from_ne_bytes(*word))
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icmp {
    header: [u8; 8],
    /// It complains about the packet whose first bytes it carries.
    pub(crate) is_error: bool,
    /// Where that packet begins.
    pub(crate) end: usize,
}

impl Icmp {
    /// The message that an IP packet carries, if it does and the header is whole.
    #[inline(always)]
    pub(crate) fn read(frame: &[u8], ip: &Ip) -> Option<Self> {
        let errors: &[u8] = match ip.protocol? {
            // Unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
            PROTOCOL_ICMP => &[3, 4, 5, 11, 12],
            // Unreachable, too big, time exceeded, parameter problem (RFC 4443).
            PROTOCOL_ICMPV6 => &[1, 2, 3, 4],
            _ => return None,
        };
        let header: [u8; 8] = bytes(frame, ip.end)?;
        Some(Self { header, is_error: errors.contains(&header[0]), end: ip.end + 8 })
    }

    /// Type, code and identifier of a message that has one, in this order from the lowest byte on hosts of low-first byte
    /// order (`flow_dissector_key_icmp`). The identifier 0 counts as 1, for 0 means none.
    #[inline(always)]
    pub(crate) fn identity(&self) -> Option<u32> {
        let [kind, code, _, _, id0, id1, _, _] = self.header;
        // Echo and its reply, timestamp and its reply; ICMPv6 echo and its reply.
        if !matches!(kind, 0 | 8 | 13 | 14 | 128 | 129) {
            return None;
        }
        let [id0, id1] = u16::from_be_bytes([id0, id1]).max(1).to_ne_bytes();
        Some(u32::from_ne_bytes([kind, code, id0, id1]))
    }
}

#[cfg(test)]
mod tests {
    use super::is_igmp;

    #[test]
    fn igmp_is_known_by_ethertype_and_protocol() {
        let mut frame = [0; 60];
        assert!(!is_igmp(&frame));
        (frame[12], frame[23]) = (0x08, 2);
        assert!(is_igmp(&frame) && is_igmp(&frame[..24]));
        assert!(!is_igmp(&frame[..23]), "cut off before the protocol");
        frame[23] = 17;
        assert!(!is_igmp(&frame));
        // The same behind a tag.
        frame[12..18].copy_from_slice(&[0x81, 0, 0, 5, 0x08, 0]);
        assert!(!is_igmp(&frame));
        frame[27] = 2;
        assert!(is_igmp(&frame));
        frame[16] = 0x86;
        assert!(!is_igmp(&frame), "another ethertype");
    }
}
