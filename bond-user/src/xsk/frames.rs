//! The ledger of a UMEM: who owns each chunk. Every chunk has exactly one owner, always.
//!
//! What the kernel has for sending is in a ledger of its own, [`super::Lent`].

use std::num::NonZeroU8;

use super::frame::{Desc, Frame, UmemId};
use super::lent::Lent;

/// Who lent chunks to the kernel: one port of the bond (bond0's end, or a slave slot).
///
/// All queues of a port share the id, because they come and go together. Not zero, so that "none" is no longer than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortId(NonZeroU8);

impl PortId {
    /// Our end of bond0.
    pub const HOST: Self = Self(NonZeroU8::MIN);

    /// The slave in `slot` (below `MAX_SLAVES`).
    #[must_use]
    pub const fn slave(slot: u8) -> Self {
        Self(NonZeroU8::MIN.saturating_add(slot + 1))
    }

    /// Index among the ports: bond0's end first, then the slots.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// How many chunks each owner has. The four parts always add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Chunks of the UMEM.
    pub total: u32,
    /// On the free list.
    pub free: u32,
    /// In a batch or in the ring.
    pub held: u32,
    /// With the kernel for receiving.
    pub fill: u32,
    /// With the kernel for sending.
    pub tx: u32,
}

impl Census {
    /// The census of a UMEM from those of its ledgers: what is in none of their places is held.
    ///
    /// Ledgers of two threads may be of two neighbouring turns, and a chunk that changes hands be in both or in none.
    #[must_use]
    pub fn of(ledgers: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for Self { total, free, fill, tx, .. } in ledgers {
            sum.total += total;
            sum.free += free;
            sum.fill += fill;
            sum.tx += tx;
        }
        sum.held = sum.total.saturating_sub(sum.free + sum.fill + sum.tx);
        sum
    }
}

/// Chunks that came back when a port went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Were waiting to receive: nothing is lost.
    pub fill: u32,
    /// Were waiting to be sent: these frames are lost.
    pub tx: u32,
}

/// All chunks of one UMEM: the free list, and what the kernel has for receiving. Every other chunk is held: there is a
/// [`Frame`] token of it in a batch or in a ring, or it is lent for sending.
///
/// One thread owns it; nothing here is shared. The free list is last-in first-out, so that the
/// chunks in use stay few and their cache lines warm.
#[derive(Debug)]
pub struct Frames {
    free: Vec<u32>,
    filled: Lent,
}

impl Frames {
    /// A ledger of `total` chunks, all free.
    #[must_use]
    pub fn new(umem: UmemId, total: u32) -> Self {
        Self { free: (0..total).rev().collect(), filled: Lent::new(umem, total) }
    }

    /// The UMEM's id.
    pub(super) fn umem(&self) -> UmemId {
        self.filled.umem()
    }

    /// Takes an empty frame from the free list.
    pub fn take(&mut self) -> Option<Frame> {
        let chunk = self.free.pop()?;
        Some(Frame { desc: Desc::empty(chunk), umem: self.umem() })
    }

    /// Puts a frame back on the free list.
    #[expect(clippy::needless_pass_by_value, reason = "taking the token is the point")]
    pub fn put(&mut self, frame: Frame) {
        let Frame { desc: Desc { chunk, .. }, umem } = frame;
        assert_eq!(umem, self.umem(), "a frame went to the ledger of another UMEM");
        // Tokens are linear: their chunks are not with the kernel.
        debug_assert!(!self.filled.has(chunk));
        // Never reallocates: the list was made with room for every chunk.
        self.free.push(chunk);
    }

    /// The chunks on the free list, in the order in which [`Self::lend_spare`] lends them.
    pub(crate) fn spare(&self) -> impl Iterator<Item = Desc> + '_ {
        self.free.iter().rev().map(|chunk| Desc::empty(*chunk))
    }

    /// Notes that the kernel has the first `chunks` of [`Self::spare`] now, to receive into at `port`.
    pub(crate) fn lend_spare(&mut self, chunks: usize, port: PortId) {
        let kept = self.free.len() - chunks;
        for chunk in self.free.drain(kept..) {
            self.filled.lend_chunk(chunk, port);
        }
    }

    /// A frame that the kernel says it received at `port`; see [`Lent::claim`] for `None`.
    pub(crate) fn received(&mut self, desc: Desc, port: PortId) -> Option<Frame> {
        self.filled.claim(desc, port)
    }

    /// Takes back whatever `port` still holds for receiving. Its sockets must be closed: the kernel must have let go.
    /// Returns how many chunks that were.
    pub(crate) fn reclaim(&mut self, port: PortId) -> u32 {
        let free = &mut self.free;
        self.filled.reclaim(port, |frame| free.push(frame.desc.chunk))
    }

    /// The counts, without looking at every chunk. What is lent for sending counts as held: see [`Census::of`].
    #[must_use]
    pub fn census(&self) -> Census {
        let (total, fill, free) =
            (self.filled.total(), self.filled.count(), count(self.free.len()));
        Census { total, free, held: total - free - fill, fill, tx: 0 }
    }

    /// Counts every chunk anew, each once. Equal to [`Self::census`] unless the ledger itself is wrong.
    #[must_use]
    pub fn audit(&self) -> Census {
        let (total, fill) = (self.filled.total(), self.filled.audit());
        let mut chunks: Vec<u32> =
            self.free.iter().copied().filter(|chunk| !self.filled.has(*chunk)).collect();
        chunks.sort_unstable();
        chunks.dedup();
        let free = count(chunks.len());
        Census { total, free, held: total - free - fill, fill, tx: 0 }
    }
}

/// Chunks are counted in u32: that is what [`Frames::new`] is given.
pub(super) fn count(chunks: usize) -> u32 {
    u32::try_from(chunks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S0: PortId = PortId::slave(0);
    const S1: PortId = PortId::slave(1);

    fn census(free: u32, held: u32, fill: u32) -> Census {
        Census { total: free + held + fill, free, held, fill, tx: 0 }
    }

    #[test]
    fn a_chunk_walks_through_all_owners_and_adds_up() {
        let mut frames = Frames::new(0, 4);
        let kept = frames.take().unwrap();
        assert_eq!(kept.desc(), Desc::empty(0));
        assert_eq!(frames.census(), census(3, 1, 0));
        frames.put(kept);
        let spare: Vec<_> = frames.spare().map(|desc| desc.chunk).collect();
        assert_eq!(spare, [0, 1, 2, 3]);
        frames.lend_spare(1, S0);
        assert_eq!(frames.census(), census(3, 0, 1));
        assert_eq!(frames.audit(), frames.census());
        let frame = frames.received(Desc { chunk: 0, offset: 256, len: 60 }, S0).unwrap();
        assert_eq!(frame.len(), 60);
        assert_eq!(frames.census(), census(3, 1, 0));
        frames.put(frame);
        assert_eq!(frames.census(), census(4, 0, 0));
        assert_eq!(frames.audit(), frames.census());
    }

    #[test]
    fn what_the_kernel_did_not_own_is_refused() {
        let mut frames = Frames::new(0, 2);
        frames.lend_spare(1, S0);
        let ours = Desc { chunk: 0, offset: 256, len: 60 };
        assert!(
            frames.received(Desc { chunk: 2, offset: 256, len: 60 }, S0).is_none(),
            "out of range"
        );
        assert!(
            frames.received(Desc { chunk: u32::MAX, offset: 256, len: 60 }, S0).is_none(),
            "out of range"
        );
        assert!(frames.received(Desc { chunk: 1, offset: 256, len: 60 }, S0).is_none(), "free");
        assert!(frames.received(ours, S1).is_none(), "another port's");
        let frame = frames.received(ours, S0).unwrap();
        assert!(frames.received(ours, S0).is_none(), "given twice");
        frames.put(frame);
        assert_eq!(frames.census(), census(2, 0, 0));
    }

    #[test]
    fn reclaim_takes_back_one_port_only() {
        let mut frames = Frames::new(0, 5);
        frames.lend_spare(2, S0);
        frames.lend_spare(1, S1);
        let kept = frames.take().unwrap();
        assert_eq!(frames.reclaim(S0), 2);
        assert_eq!(frames.census(), census(3, 1, 1));
        assert_eq!(frames.audit(), frames.census());
        assert_eq!(frames.reclaim(S0), 0);
        frames.put(kept);
    }

    #[test]
    #[should_panic(expected = "another UMEM")]
    fn a_frame_cannot_enter_another_umems_ledger() {
        let (mut a, mut b) = (Frames::new(0, 1), Frames::new(1, 1));
        let frame = a.take().unwrap();
        b.put(frame);
    }
}
