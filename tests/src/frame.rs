//! The test frames: every byte of one follows from its flow and its sequence number.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result};

/// Ethertype of the test frames: IEEE 802 local experimental 1.
pub const ETHERTYPE: u16 = 0x88b5;
/// Shortest frame, without the FCS.
const MIN_LEN: u64 = 60;
/// Longest frame at an MTU of 1500, without the FCS.
pub(crate) const MAX_LEN: usize = 1514;

// Offsets of the fields, all big endian.
const FLOW: usize = 14;
const LENGTH: usize = 18;
const SEQUENCE: usize = 20;
const CHECKSUM: usize = 28;
const FILLER: usize = 36;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// All IPv4 hosts' group: any multicast address would do.
    pub const MULTICAST: Self = Self([0x01, 0x00, 0x5e, 0, 0, 1]);
    /// Nearest bridge: LLDP, never forwarded by a bridge (IEEE 802.1Q table 8-1).
    pub const LINK_LOCAL: Self = Self([0x01, 0x80, 0xc2, 0, 0, 0x0e]);

    /// A locally administered address: `02:00:00:00:<side>:<number>`.
    #[must_use]
    pub const fn local(side: u8, number: u8) -> Self {
        Self([2, 0, 0, 0, side, number])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes: Result<Vec<u8>, _> =
            text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let array = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        array.map(Self).with_context(|| format!("{text} is no MAC address"))
    }
}

/// A numbered flow of frames whose sizes cycle through 60 to 1514 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Tells this flow's frames from any other's.
    pub id: u32,
    pub source: Mac,
    pub destination: Mac,
    /// How many frames it has: sequence numbers run from 0.
    pub frames: u64,
}

impl Flow {
    /// The sum of the lengths of its frames.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (0..self.frames).map(Self::length).sum()
    }

    /// Writes frame `sequence` into `buffer`, which holds the longest, and returns its length.
    pub fn write(&self, sequence: u64, buffer: &mut [u8]) -> usize {
        let length = Self::length(sequence);
        let len = usize::try_from(length).unwrap_or(MAX_LEN);
        let frame = &mut buffer[..len];
        frame[..6].copy_from_slice(&self.destination.0);
        frame[6..12].copy_from_slice(&self.source.0);
        frame[12..FLOW].copy_from_slice(&ETHERTYPE.to_be_bytes());
        frame[FLOW..LENGTH].copy_from_slice(&self.id.to_be_bytes());
        frame[LENGTH..SEQUENCE].copy_from_slice(&length.to_be_bytes()[6..]);
        frame[SEQUENCE..CHECKSUM].copy_from_slice(&sequence.to_be_bytes());
        frame[CHECKSUM..FILLER].fill(0);
        let mut filler = sequence ^ u64::from(self.id);
        for chunk in frame[FILLER..].chunks_mut(8) {
            filler = mix(filler, 1);
            chunk.copy_from_slice(&filler.to_be_bytes()[..chunk.len()]);
        }
        let sum = checksum(frame);
        frame[CHECKSUM..FILLER].copy_from_slice(&sum.to_be_bytes());
        len
    }

    const fn length(sequence: u64) -> u64 {
        MIN_LEN + sequence % (MAX_LEN as u64 - MIN_LEN + 1)
    }

    /// The sequence number of `frame`, or `None` when it is not, to the byte, a frame of this flow.
    ///
    /// `scratch` holds the longest frame.
    pub fn read(&self, frame: &[u8], scratch: &mut [u8]) -> Option<u64> {
        let field = frame.get(SEQUENCE..CHECKSUM)?;
        let sequence = u64::from_be_bytes(field.try_into().ok()?);
        if sequence >= self.frames {
            return None;
        }
        let length = self.write(sequence, scratch);
        (*frame == scratch[..length]).then_some(sequence)
    }
}

/// A 64-bit checksum over `bytes`: it depends on the value and the place of every one.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(sum, u64::from_be_bytes(word))
    })
}

/// One step of a multiply-and-rotate hash.
fn mix(state: u64, word: u64) -> u64 {
    (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: Flow =
        Flow { id: 7, source: Mac::local(1, 0), destination: Mac::local(2, 0), frames: 3000 };

    #[test]
    fn sizes_cycle_from_the_shortest_to_the_longest() {
        let mut buffer = [0; MAX_LEN];
        let sizes = [0, 1, 1454, 1455].map(|sequence| FLOW.write(sequence, &mut buffer));
        assert_eq!(sizes, [60, 61, 1514, 60]);
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_seen() {
        let (mut buffer, mut scratch) = ([0; MAX_LEN], [0; MAX_LEN]);
        let length = FLOW.write(20, &mut buffer);
        assert_eq!(FLOW.read(&buffer[..length], &mut scratch), Some(20));
        assert_eq!(FLOW.read(&buffer[..length - 1], &mut scratch), None);
        assert_eq!(FLOW.read(&buffer[..=length], &mut scratch), None);
        for bit in 0..length * 8 {
            buffer[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FLOW.read(&buffer[..length], &mut scratch), None, "bit {bit}");
            buffer[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
