//! The frames: a header whose fields guard each other, and a filler that follows from its place.

/// Ethertype: IEEE 802 local experimental 2.
pub const ETHERTYPE: u16 = 0x88b6;
/// Longest frame at an MTU of 1500, without the FCS.
pub const MAX_LEN: usize = 1514;

// Offsets of the fields, in the machine's own byte order but for the ethertype.
pub const ETHERTYPE_AT: usize = 12;
pub const LENGTH_AT: usize = 14;
pub const SEQUENCE_AT: usize = 16;
pub const STAMP_AT: usize = 24;
pub const CHECK_AT: usize = 32;
pub const FILLER_AT: usize = 40;

const KEY: u64 = 0x9e37_79b9_7f4a_7c15;

/// Depends on every bit of the three fields.
#[inline(always)]
#[must_use]
pub const fn check(sequence: u64, stamp: u64, length: u16) -> u64 {
    (sequence ^ stamp.rotate_left(23) ^ ((length as u64) << 48)).wrapping_mul(KEY)
}

/// The eight bytes of filler at offset `at`.
#[inline(always)]
#[must_use]
pub const fn filler(at: usize) -> u64 {
    (at as u64).wrapping_mul(KEY)
}
