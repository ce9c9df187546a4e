//! Ethernet addresses as the programs read them.

/// Whether a bridge may never forward a frame to this address: 01:80:C2:00:00:00 to 0F (IEEE 802.1Q,
/// table 8-1; kernel: `is_link_local_ether_addr`).
///
/// STP, LACP and LLDP are sent there.
#[inline(always)]
pub const fn is_link_local(address: [u8; 6]) -> bool {
    let [a, b, c, d, e, f] = address;
    u32::from_be_bytes([a, b, c, d]) == 0x0180_c200 && e == 0 && f & 0xf0 == 0
}

#[cfg(test)]
mod tests {
    use super::is_link_local;

    #[test]
    fn sixteen_addresses_are_link_local() {
        for last in 0..=u8::MAX {
            let address = [0x01, 0x80, 0xc2, 0x00, 0x00, last];
            assert_eq!(is_link_local(address), last < 16, "{last:#x}");
        }
    }

    #[test]
    fn one_other_bit_makes_an_ordinary_address() {
        for bit in 0..44 {
            let mut address = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x02];
            address[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(!is_link_local(address), "{address:02x?}");
        }
    }
}
