//! The ledger of a UMEM: who owns each chunk. Every chunk has exactly one owner, always.

use super::frame::{Desc, Frame, UmemId};

/// Who lent chunks to the kernel: one port of the bond (bond0's end, or a slave slot).
///
/// All queues of a port share the id, because they come and go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortId(u8);

impl PortId {
    /// Our end of bond0.
    pub const HOST: Self = Self(0);

    /// The slave in `slot` (below `MAX_SLAVES`).
    #[must_use]
    pub const fn slave(slot: u8) -> Self {
        Self(slot + 1)
    }

    /// Index among the ports: bond0's end first, then the slots.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The owner of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// On the free list.
    Free,
    /// A [`Frame`] token exists: in a batch or in the ring.
    Held,
    /// The kernel, to receive into: fill ring, driver, or rx ring of the port.
    Fill(PortId),
    /// The kernel, to send: tx ring, driver, or completion ring of the port.
    Tx(PortId),
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

/// Chunks that came back when a port went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Were waiting to receive: nothing is lost.
    pub fill: u32,
    /// Were waiting to be sent: these frames are lost.
    pub tx: u32,
}

/// All chunks of one UMEM: their owners, and the free list.
///
/// One worker owns it; nothing here is shared. The free list is last-in first-out, so that the
/// chunks in use stay few and their cache lines warm.
#[derive(Debug)]
pub struct Frames {
    umem: UmemId,
    owners: Box<[Owner]>,
    free: Vec<u32>,
    /// Chunks with the kernel for receiving, and for sending. What is neither there nor on the free list is held.
    fill: u32,
    tx: u32,
}

impl Frames {
    /// A ledger of `total` chunks, all free.
    #[must_use]
    pub fn new(umem: UmemId, total: u32) -> Self {
        Self {
            umem,
            owners: vec![Owner::Free; total as usize].into_boxed_slice(),
            free: (0..total).rev().collect(),
            fill: 0,
            tx: 0,
        }
    }

    /// Takes an empty frame from the free list.
    pub fn take(&mut self) -> Option<Frame> {
        let chunk = self.free.pop()?;
        self.owners[chunk as usize] = Owner::Held;
        Some(self.token(Desc::empty(chunk)))
    }

    /// Puts a frame back on the free list.
    pub fn put(&mut self, frame: Frame) {
        let chunk = self.release(frame, Owner::Free);
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
            self.owners[chunk as usize] = Owner::Fill(port);
        }
        self.fill += count(chunks);
    }

    /// Notes that the kernel has `frame` now, to send at `port`.
    pub(crate) fn lend_tx(&mut self, frame: Frame, port: PortId) {
        self.release(frame, Owner::Tx(port));
        self.tx += 1;
    }

    /// A frame that the kernel says it received at `port`.
    ///
    /// `None` when the kernel did not own that chunk for receiving there: a descriptor out of range,
    /// or one that was given twice. Such a descriptor must not be used.
    pub(crate) fn received(&mut self, desc: Desc, port: PortId) -> Option<Frame> {
        self.claim(desc, Owner::Fill(port))?;
        self.fill -= 1;
        Some(self.token(desc))
    }

    /// A frame that the kernel says it has sent at `port`; see [`Self::received`] for `None`.
    pub(crate) fn completed(&mut self, desc: Desc, port: PortId) -> Option<Frame> {
        self.claim(desc, Owner::Tx(port))?;
        self.tx -= 1;
        Some(self.token(desc))
    }

    /// Takes back whatever `port` still holds. Its sockets must be closed: the kernel must have let go.
    pub(crate) fn reclaim(&mut self, port: PortId) -> Reclaimed {
        let mut back = Reclaimed::default();
        for (chunk, owner) in self.owners.iter_mut().enumerate() {
            if *owner == Owner::Fill(port) {
                back.fill += 1;
            } else if *owner == Owner::Tx(port) {
                back.tx += 1;
            } else {
                continue;
            }
            *owner = Owner::Free;
            // A chunk index is below `total`, which is a u32.
            self.free.extend(u32::try_from(chunk));
        }
        self.fill -= back.fill;
        self.tx -= back.tx;
        back
    }

    /// The counts, without looking at every chunk.
    #[must_use]
    pub fn census(&self) -> Census {
        let Self { fill, tx, .. } = *self;
        let [total, free] = [self.owners.len(), self.free.len()].map(count);
        Census { total, free, held: total - free - fill - tx, fill, tx }
    }

    /// Counts every chunk anew. Equal to [`Self::census`] unless the ledger itself is wrong.
    #[must_use]
    pub fn audit(&self) -> Census {
        let mut census = Census { total: count(self.owners.len()), ..Census::default() };
        for owner in &self.owners {
            match owner {
                Owner::Free => census.free += 1,
                Owner::Held => census.held += 1,
                Owner::Fill(_) => census.fill += 1,
                Owner::Tx(_) => census.tx += 1,
            }
        }
        census
    }

    fn token(&self, desc: Desc) -> Frame {
        Frame { desc, umem: self.umem }
    }

    /// A token ends here. Tokens are linear, so its chunk is always `Held`. Returns the chunk.
    #[expect(clippy::needless_pass_by_value, reason = "taking the token is the point")]
    fn release(&mut self, frame: Frame, to: Owner) -> u32 {
        let Frame { desc: Desc { chunk, .. }, umem } = frame;
        assert_eq!(umem, self.umem, "a frame went to the ledger of another UMEM");
        let owner = &mut self.owners[chunk as usize];
        debug_assert_eq!(*owner, Owner::Held);
        *owner = to;
        chunk
    }

    /// The kernel gives a chunk back: it becomes `Held` if it really was the kernel's.
    fn claim(&mut self, desc: Desc, from: Owner) -> Option<()> {
        let owner = self.owners.get_mut(desc.chunk as usize)?;
        if *owner != from {
            return None;
        }
        *owner = Owner::Held;
        Some(())
    }
}

/// Chunks are counted in u32: that is what [`Frames::new`] is given.
fn count(chunks: usize) -> u32 {
    u32::try_from(chunks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S0: PortId = PortId::slave(0);
    const S1: PortId = PortId::slave(1);

    fn census(free: u32, held: u32, fill: u32, tx: u32) -> Census {
        Census { total: free + held + fill + tx, free, held, fill, tx }
    }

    #[test]
    fn a_chunk_walks_through_all_owners_and_adds_up() {
        let mut frames = Frames::new(0, 4);
        let kept = frames.take().unwrap();
        assert_eq!(kept.desc(), Desc::empty(0));
        assert_eq!(frames.census(), census(3, 1, 0, 0));
        frames.put(kept);
        let spare: Vec<_> = frames.spare().map(|desc| desc.chunk).collect();
        assert_eq!(spare, [0, 1, 2, 3]);
        frames.lend_spare(1, S0);
        assert_eq!(frames.census(), census(3, 0, 1, 0));
        assert_eq!(frames.audit(), frames.census());
        let frame = frames.received(Desc { chunk: 0, offset: 256, len: 60 }, S0).unwrap();
        assert_eq!(frame.len(), 60);
        frames.lend_tx(frame, S1);
        assert_eq!(frames.census(), census(3, 0, 0, 1));
        let frame = frames.completed(Desc::empty(0), S1).unwrap();
        frames.put(frame);
        assert_eq!(frames.census(), census(4, 0, 0, 0));
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
        assert!(frames.completed(ours, S0).is_none(), "lent for receiving, not for sending");
        let frame = frames.received(ours, S0).unwrap();
        assert!(frames.received(ours, S0).is_none(), "given twice");
        frames.put(frame);
        assert_eq!(frames.census(), census(2, 0, 0, 0));
    }

    #[test]
    fn reclaim_takes_back_one_port_only() {
        let mut frames = Frames::new(0, 6);
        frames.lend_spare(2, S0);
        frames.lend_spare(1, S1);
        let frame = frames.take().unwrap();
        frames.lend_tx(frame, S0);
        let kept = frames.take().unwrap();
        assert_eq!(frames.reclaim(S0), Reclaimed { fill: 2, tx: 1 });
        assert_eq!(frames.census(), census(4, 1, 1, 0));
        assert_eq!(frames.audit(), frames.census());
        assert_eq!(frames.reclaim(S0), Reclaimed::default());
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
