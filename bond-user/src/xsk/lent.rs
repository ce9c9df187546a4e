//! The ledger of what the kernel has: which chunks of a UMEM, and at which port.

use super::frame::{Desc, Frame, UmemId};
use super::frames::{Census, Frames, PortId, count};

/// The chunks of one UMEM that were lent to the kernel for one purpose, and at which port.
///
/// [`Frames`] has one for receiving. The egress has one for sending: a chunk that is lent there is held here, so that the
/// two may be in two threads, and nothing is shared.
#[derive(Debug)]
pub struct Lent {
    umem: UmemId,
    ports: Box<[Option<PortId>]>,
    /// How many are lent.
    count: u32,
}

impl Lent {
    /// A ledger of `total` chunks, none of them lent.
    pub(super) fn new(umem: UmemId, total: u32) -> Self {
        Self { umem, ports: vec![None; total as usize].into_boxed_slice(), count: 0 }
    }

    /// A ledger for the UMEM of `frames`, with nothing lent.
    #[must_use]
    pub fn of(frames: &Frames) -> Self {
        Self::new(frames.umem(), frames.census().total)
    }

    /// Notes that the kernel has `frame` now, at `port`.
    #[expect(clippy::needless_pass_by_value, reason = "taking the token is the point")]
    pub(crate) fn lend(&mut self, frame: Frame, port: PortId) {
        let Frame { desc: Desc { chunk, .. }, umem } = frame;
        assert_eq!(umem, self.umem, "a frame went to the ledger of another UMEM");
        self.lend_chunk(chunk, port);
    }

    /// The same with a chunk that the caller takes off the free list.
    pub(super) fn lend_chunk(&mut self, chunk: u32, port: PortId) {
        let lent = &mut self.ports[chunk as usize];
        debug_assert_eq!(*lent, None);
        *lent = Some(port);
        self.count += 1;
    }

    /// A frame that the kernel says it gives back at `port`.
    ///
    /// `None` when it did not have that chunk there: a descriptor out of range, or one that was given twice. Such a
    /// descriptor must not be used.
    pub(crate) fn claim(&mut self, desc: Desc, port: PortId) -> Option<Frame> {
        let lent = self.ports.get_mut(desc.chunk as usize)?;
        if *lent != Some(port) {
            return None;
        }
        *lent = None;
        self.count -= 1;
        Some(Frame { desc, umem: self.umem })
    }

    /// Takes back whatever `port` still holds. Its sockets must be closed: the kernel must have let go. Returns how many
    /// frames that were.
    pub(crate) fn reclaim(&mut self, port: PortId, mut out: impl FnMut(Frame)) -> u32 {
        let before = self.count;
        for (chunk, lent) in (0..).zip(&mut self.ports) {
            if *lent == Some(port) {
                *lent = None;
                self.count -= 1;
                out(Frame { desc: Desc::empty(chunk), umem: self.umem });
            }
        }
        before - self.count
    }

    /// How many are lent.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The same, with every chunk looked at. Equal unless the ledger itself is wrong.
    #[must_use]
    pub fn audit(&self) -> u32 {
        count(self.ports.iter().flatten().count())
    }

    /// Whether the kernel has `chunk`.
    pub(super) fn has(&self, chunk: u32) -> bool {
        self.ports[chunk as usize].is_some()
    }

    /// The UMEM's id.
    pub(super) fn umem(&self) -> UmemId {
        self.umem
    }

    /// Chunks of the UMEM.
    pub(super) fn total(&self) -> u32 {
        count(self.ports.len())
    }

    /// Its part of the UMEM's census, of what is lent for sending.
    #[must_use]
    pub fn sending(&self) -> Census {
        Census { tx: self.count, ..Census::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S0: PortId = PortId::slave(0);
    const S1: PortId = PortId::slave(1);

    /// A ledger where chunks 0 and 1 are lent at S0 and chunk 2 at S1.
    fn lent() -> (Frames, Lent) {
        let mut frames = Frames::new(3, 4);
        let mut lent = Lent::of(&frames);
        for port in [S0, S0, S1] {
            lent.lend(frames.take().unwrap(), port);
        }
        (frames, lent)
    }

    #[test]
    fn a_chunk_goes_out_and_comes_back() {
        let (mut frames, mut lent) = lent();
        assert_eq!((lent.count(), lent.audit()), (3, 3));
        frames.put(lent.claim(Desc::empty(1), S0).unwrap());
        assert_eq!((lent.count(), lent.audit()), (2, 2));
        let whole = Census::of([frames.census(), lent.sending()]);
        assert_eq!(whole, Census { total: 4, free: 2, held: 0, fill: 0, tx: 2 });
    }

    #[test]
    fn what_the_kernel_did_not_own_is_refused() {
        let (_frames, mut lent) = lent();
        for (chunk, port) in [(3, S0), (4, S0), (u32::MAX, S0), (0, S1), (2, S0)] {
            assert!(lent.claim(Desc::empty(chunk), port).is_none(), "{chunk} at {port:?}");
        }
        let _frame = lent.claim(Desc::empty(0), S0).unwrap();
        assert!(lent.claim(Desc::empty(0), S0).is_none(), "given twice");
        assert_eq!(lent.count(), 2);
    }

    #[test]
    #[should_panic(expected = "another UMEM")]
    fn a_frame_cannot_enter_another_umems_ledger() {
        let mut frames = Frames::new(0, 1);
        Lent::of(&Frames::new(1, 1)).lend(frames.take().unwrap(), S0);
    }

    #[test]
    fn reclaim_takes_back_one_port_only() {
        let (mut frames, mut lent) = lent();
        assert_eq!(lent.reclaim(S0, |frame| frames.put(frame)), 2);
        assert_eq!(lent.reclaim(S0, |frame| frames.put(frame)), 0);
        assert_eq!((lent.count(), lent.audit()), (1, 1));
        assert_eq!(frames.census().free, 3);
    }
}
