//! Slave selection: which slave the next frame goes to. For balance-xor by [`hash`](crate::hash::hash).
//!
//! No allocation, no panic and no unbounded loop on the selecting side, so that an XDP program can
//! run the same lines as the workers; `#[inline]`, because a BPF function cannot return a pair.
//! Active-backup needs nothing from here: its choice is one slot.

use core::fmt;

use crate::layout::MAX_SLAVES;

/// A set of slave slots: bit `i` is slot `i`, of [`MAX_SLAVES`]. Order is slot order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SlaveSet(u16);

const _: () = assert!(MAX_SLAVES == u16::BITS as usize);

impl SlaveSet {
    /// No slave.
    pub const EMPTY: Self = Self(0);

    /// The set with bit `i` set for each slot `i` in it.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Bit `i` is set for each slot `i` in the set.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Adds `slot`.
    ///
    /// # Panics
    /// If `slot` is not below [`MAX_SLAVES`]: slots are numbered by the control thread.
    pub const fn insert(&mut self, slot: u8) {
        assert!((slot as usize) < MAX_SLAVES, "slave slot out of range");
        self.0 |= 1 << slot;
    }

    /// Takes `slot` out; nothing happens if it is not in the set.
    pub const fn remove(&mut self, slot: u8) {
        self.0 &= !Self::bit(slot);
    }

    /// Whether `slot` is in the set.
    pub const fn contains(self, slot: u8) -> bool {
        self.0 & Self::bit(slot) != 0
    }

    /// Number of slots in the set, 0 to [`MAX_SLAVES`].
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether no slot is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest slot.
    #[inline]
    pub const fn first(self) -> Option<u8> {
        lowest(self.0 as u32)
    }

    /// The highest slot.
    #[inline]
    pub const fn last(self) -> Option<u8> {
        match self.0.checked_ilog2() {
            #[expect(clippy::cast_possible_truncation, reason = "a bit number is below 16")]
            Some(slot) => Some(slot as u8),
            None => None,
        }
    }

    /// The `n`th slot from the lowest, counted from 0.
    #[inline]
    pub fn nth(self, n: u32) -> Option<u8> {
        self.iter().nth(n as usize)
    }

    /// The slot of a frame with that hash: as the kernel's balance-xor has it, the hash modulo the number of slots; with
    /// weights that differ, modulo their sum.
    #[inline]
    pub fn hashed(self, hash: u32, weights: Weights) -> Option<u8> {
        if weights == Weights::EVEN {
            return self.nth(hash.checked_rem(self.len())?);
        }
        let sum = self.iter().map(|slot| weights.of(slot)).sum();
        let mut left = hash.checked_rem(sum)?;
        self.iter().find(|slot| {
            let weight = weights.of(*slot);
            let found = left < weight;
            left = left.wrapping_sub(weight);
            found
        })
    }

    /// The slot at `start` or the next above it, going round to the lowest.
    const fn first_from(self, start: u8) -> Option<u8> {
        // In 32 bits, because `start` is one past the last slot when the last one's turn is over.
        let above = (self.0 as u32).wrapping_shr(start as u32).wrapping_shl(start as u32);
        lowest(if above == 0 { self.0 as u32 } else { above })
    }

    /// The slots, lowest first.
    pub const fn iter(self) -> Slots {
        Slots(self)
    }

    /// The bit of `slot`; none for a slot that no set can hold.
    const fn bit(slot: u8) -> u16 {
        match 1u16.checked_shl(slot as u32) {
            Some(bit) => bit,
            None => 0,
        }
    }
}

/// Number of the lowest bit that is set.
#[expect(clippy::cast_possible_truncation, reason = "a bit number is below 32")]
const fn lowest(bits: u32) -> Option<u8> {
    if bits == 0 { None } else { Some(bits.trailing_zeros() as u8) }
}

/// The slots of a [`SlaveSet`], lowest first.
#[derive(Clone, Debug)]
pub struct Slots(SlaveSet);

impl Iterator for Slots {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let slot = self.0.first()?;
        self.0.remove(slot);
        Some(slot)
    }
}

impl IntoIterator for SlaveSet {
    type Item = u8;
    type IntoIter = Slots;

    fn into_iter(self) -> Slots {
        self.iter()
    }
}

impl FromIterator<u8> for SlaveSet {
    fn from_iter<I: IntoIterator<Item = u8>>(slots: I) -> Self {
        let mut set = Self::EMPTY;
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Debug for SlaveSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Shares of the slaves, by slot: 1 to 255 each, for slaves of unequal speeds. The kernel has no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Weights([u8; MAX_SLAVES]);

impl Weights {
    /// The same share for all.
    pub const EVEN: Self = Self([1; MAX_SLAVES]);

    /// Weights from bytes, of which 0 counts as 1.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; MAX_SLAVES]) -> Self {
        Self(bytes)
    }

    /// Byte `i` is of slot `i`.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; MAX_SLAVES] {
        self.0
    }

    /// The weight of a slot, at least 1.
    #[inline]
    #[must_use]
    pub fn of(self, slot: u8) -> u32 {
        u32::from(self.0.get(usize::from(slot)).copied().unwrap_or(1).max(1))
    }
}

/// What a turn of balance-rr is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Frames in a row to a slave of weight 1; 0: each frame to a slave at random.
    pub packets_per_slave: u16,
    /// How many times as many the slaves get.
    pub weights: Weights,
}

/// Transmit selector of mode balance-rr: `packets_per_slave` frames to a slave, then the next slave.
///
/// Each worker has its own, as each CPU has in the kernel. It differs from the kernel's on purpose:
/// `bond_xmit_roundrobin` counts over all slaves and hands the turns of a dead one to its successor,
/// which then carries two shares. Here the turns go round the *usable* slaves only, so the shares
/// are equal: over any `len * packets_per_slave` frames in a row with one set, every slave gets
/// exactly `packets_per_slave`, also right after the set has changed. A slave with a weight gets as
/// many times as many. With `packets_per_slave` 0 each frame goes to one of the usable slaves at
/// random.
///
/// The zeroed value is the initial state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RoundRobin {
    /// Frames of this turn that are sent.
    sent: u32,
    /// Whose turn it is, if it is usable; else the next usable slave's.
    slot: u8,
    /// Of the random choice: any value does.
    seed: u32,
}

impl RoundRobin {
    /// The slave of the next frame; `None` when no slave is usable.
    #[inline]
    pub fn select(&mut self, usable: SlaveSet, turn: Turn) -> Option<u8> {
        self.run(usable, turn, 1).map(|(slot, _)| slot)
    }

    /// The slave of the next frames, and how many frames in a row go to it: at most `want`, and
    /// at least 1 unless `want` is 0. `None` when no slave is usable.
    ///
    /// Runs of any lengths give the same sequence of slaves as [`select`](Self::select) frame by
    /// frame.
    #[inline(always)]
    pub fn run(&mut self, usable: SlaveSet, turn: Turn, want: usize) -> Option<(u8, usize)> {
        let Turn { packets_per_slave, weights } = turn;
        if packets_per_slave == 0 {
            return self.at_random(usable, weights).map(|slot| (slot, want.min(1)));
        }
        // One comparison a batch, once this is inlined, for a look-up a frame: a third of the time.
        let even = weights == Weights::EVEN;
        let turn = |slot| u32::from(packets_per_slave) * if even { 1 } else { weights.of(slot) };
        if self.sent >= turn(self.slot) {
            self.slot += 1;
            self.sent = 0;
        }
        let slot = usable.first_from(self.slot)?;
        if slot != self.slot {
            self.slot = slot;
            self.sent = 0;
        }
        let left = turn(slot) - self.sent;
        let run = u32::try_from(want).unwrap_or(u32::MAX).min(left);
        self.sent += run;
        Some((slot, run as usize))
    }

    #[inline]
    fn at_random(&mut self, usable: SlaveSet, weights: Weights) -> Option<u8> {
        usable.hashed(self.random(), weights)
    }

    /// The next number of a Weyl sequence, its bits mixed (the finaliser of MurmurHash3): even, and good enough for
    /// spreading load.
    #[inline]
    const fn random(&mut self) -> u32 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9);
        let mut number = self.seed;
        number = (number ^ (number >> 16)).wrapping_mul(0x85eb_ca6b);
        number = (number ^ (number >> 13)).wrapping_mul(0xc2b2_ae35);
        number ^ (number >> 16)
    }
}

#[cfg(test)]
mod tests;
