//! The sending half of a worker: tx and completion rings, the ledgers of what is on its way out, selection, the seam.

use std::sync::Arc;

use bond_ebpf::layout::MAX_SLAVES;

use super::counters::{Counters, DropReason, MAX_PORTS, PortCounters};
use super::queue::TxQueue;
use super::stage::{Sight, Stage};
use super::table::Table;
use super::{BATCH, Batch, Memory, Pool as _, Pools, Rings, TxUmem};
use crate::ring::Consumer;
use crate::snapshot::Snapshot;
use crate::xsk::{Frame, Lent, PortId, UmemId};

/// The UMEMs of a worker, by id.
#[derive(Debug)]
struct TxUmems<M>(Table<TxUmem<M>, MAX_PORTS>);

impl<M: Memory> TxUmems<M> {
    /// A queue's or a frame's UMEM. It exists: UMEMs leave after their queues and frames.
    fn of(&mut self, id: UmemId) -> &mut TxUmem<M> {
        self.0.get_mut(id).expect("a UMEM outlives its queues and frames")
    }

    /// Copies the bytes of `frame` into a free chunk of UMEM `to`; `None` when that one has none.
    fn copy(&self, pools: &mut impl Pools, frame: &Frame, to: UmemId) -> Option<Frame> {
        let mut copy = pools.of(to).take()?;
        let pair = [to, frame.umem()].map(|id| self.0.get(id));
        if let [Some(to), Some(from)] = pair {
            to.memory.copy_from(&mut copy, &from.memory, frame);
        }
        Some(copy)
    }

    /// Makes every frame of `batch` one of UMEM `to`, by copying those of another.
    fn cross_seam(
        &self,
        pools: &mut impl Pools,
        to: UmemId,
        batch: &mut Batch,
        counters: &PortCounters,
    ) {
        if batch.iter().all(|frame| frame.umem() == to) {
            return;
        }
        for frame in std::mem::take(batch) {
            if frame.umem() == to {
                batch.push(frame);
                continue;
            }
            match self.copy(pools, &frame, to) {
                Some(copy) => {
                    counters.seam_copies.add(1);
                    batch.push(copy);
                }
                None => counters.drop(DropReason::NoFreeFrame, 1),
            }
            // The old chunk is free.
            pools.put(frame);
        }
    }
}

/// Sends to bond0 and to the slaves, and takes back what was sent.
///
/// Where frames go that it is done with is the caller's: into the ledgers of the [`Ingress`](super::Ingress) if that is
/// in the same thread, else onto their way there.
#[derive(Debug)]
pub struct Egress<R: Rings> {
    umems: TxUmems<R::Memory>,
    host: TxQueue<R::Tx>,
    /// Frames go out on the first queue of each.
    slaves: Table<Vec<TxQueue<R::Tx>>, MAX_SLAVES>,
    to_host: Consumer<Frame>,
    to_wire: Consumer<Frame>,
    stage: Stage,
    counters: Arc<Counters>,
    /// A slave has refused frames.
    doubt: bool,
}

/// What the mode may see and have of the frames of a batch.
struct InHand<'a, R: Rings, P> {
    umems: &'a TxUmems<R::Memory>,
    slaves: &'a Table<Vec<TxQueue<R::Tx>>, MAX_SLAVES>,
    pools: &'a mut P,
    counters: &'a Counters,
}

impl<R: Rings, P: Pools> Sight for InHand<'_, R, P> {
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.umems.0.get(frame.umem()).map_or(&[], |umem| umem.memory.bytes(frame))
    }

    fn duplicate(&mut self, frame: &Frame, slot: u8) -> Option<Frame> {
        // Of the slave's own UMEM if it has one, or it would be copied twice.
        let queue = self.slaves.get(slot).and_then(|queues| queues.first());
        let umem = queue.map_or_else(|| frame.umem(), TxQueue::umem);
        let copy = self.umems.copy(self.pools, frame, umem);
        if copy.is_none() {
            self.counters.port(PortId::slave(slot)).drop(DropReason::NoFreeFrame, 1);
        }
        copy
    }
}

impl<R: Rings> Egress<R> {
    /// bond0's end and no slave yet. `umem` is the one of `host`.
    pub(super) fn new(
        host: TxQueue<R::Tx>,
        umem: TxUmem<R::Memory>,
        [to_host, to_wire]: [Consumer<Frame>; 2],
        counters: Arc<Counters>,
    ) -> Self {
        let umems = TxUmems(Table::of(host.umem(), umem));
        let slaves = Table::new();
        Self { umems, host, slaves, to_host, to_wire, stage: Stage::new(), counters, doubt: false }
    }

    pub(super) fn attach(
        &mut self,
        slot: u8,
        queues: Vec<TxQueue<R::Tx>>,
        umem: Option<(UmemId, TxUmem<R::Memory>)>,
    ) {
        if let Some((id, umem)) = umem {
            self.umems.0.put(id, umem);
        }
        self.slaves.put(slot, queues);
    }

    pub(super) fn detach(&mut self, slot: u8) -> Option<Vec<TxQueue<R::Tx>>> {
        self.slaves.take(slot)
    }

    /// After the sockets of `slot` were closed: takes the frames back that were never sent, and counts them.
    pub(super) fn reclaim(&mut self, slot: u8, pools: &mut impl Pools) -> u32 {
        let port = PortId::slave(slot);
        let umems = self.umems.0.values_mut();
        let back = umems.map(|umem| umem.lent.reclaim(port, |frame| pools.put(frame))).sum();
        self.counters.port(port).drop(DropReason::SlaveGone, back as usize);
        back
    }

    /// Gives a slave's own UMEM up, after [`Self::reclaim`].
    pub(super) fn remove_umem(&mut self, id: UmemId) {
        drop(self.umems.0.take(id));
    }

    /// A wake-up is still owed to the kernel: the thread must not sleep for long.
    pub(super) fn owes_kick(&self) -> bool {
        self.queues().any(TxQueue::owes_kick)
    }

    /// Whether a slave has refused frames since this was last asked: a link may be gone.
    pub(super) fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.doubt)
    }

    /// Nothing waits on the rings.
    pub(super) fn is_idle(&mut self) -> bool {
        self.to_host.is_empty() && self.to_wire.is_empty()
    }

    /// All queues, bond0's first.
    fn queues(&self) -> impl Iterator<Item = &TxQueue<R::Tx>> {
        std::iter::once(&self.host).chain(self.slaves.values().flatten())
    }

    /// The ledgers, by UMEM id.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = (UmemId, &Lent)> {
        self.umems.0.iter().map(|(id, umem)| (id, &umem.lent))
    }

    /// Takes back what the kernel has sent.
    pub(super) fn complete(&mut self, pools: &mut impl Pools) {
        let Self { umems, host, slaves, counters, .. } = self;
        for queue in std::iter::once(host).chain(slaves.values_mut().flatten()) {
            let umem = queue.umem();
            queue.complete(umems.of(umem), pools.of(umem), counters.port(queue.port()));
        }
    }

    /// wire -> host, second half: the ring, bond0. Returns how many frames came.
    pub(super) fn deliver(&mut self, pools: &mut impl Pools) -> usize {
        let Self { umems, host, counters, to_host, .. } = self;
        let counters = counters.port(PortId::HOST);
        let id = host.umem();
        let mut batch = Batch::new();
        let mut came = 0;
        // Not more than the ring holds, though it may be filled meanwhile: the kick is due.
        for _ in 0..to_host.capacity() / BATCH {
            match to_host.pop_into(&mut batch) {
                0 => break,
                frames => came += frames,
            }
            umems.cross_seam(pools, id, &mut batch, counters);
            host.send(umems.of(id), pools.of(id), &mut batch, counters);
        }
        host.kick(umems.of(id), pools.of(id), counters);
        came
    }

    /// host -> wire, second half: the ring, a slave chosen by the mode. Returns how many frames came.
    pub(super) fn send(&mut self, snapshot: Snapshot, pools: &mut impl Pools) -> usize {
        let mut batch = Batch::new();
        let mut came = 0;
        for _ in 0..self.to_wire.capacity() / BATCH {
            match self.to_wire.pop_into(&mut batch) {
                0 => break,
                frames => came += frames,
            }
            self.send_batch(snapshot, pools, &mut batch);
        }
        let Self { umems, slaves, counters, doubt, .. } = self;
        for queue in slaves.values_mut().filter_map(|queues| queues.first_mut()) {
            let umem = queue.umem();
            queue.kick(umems.of(umem), pools.of(umem), counters.port(queue.port()));
            *doubt |= queue.take_refused();
        }
        came
    }

    fn send_batch(&mut self, snapshot: Snapshot, pools: &mut impl Pools, batch: &mut Batch) {
        let Self { umems, slaves, counters, stage, .. } = self;
        stage.sort(snapshot, batch, &mut InHand::<R, _> { umems, slaves, pools, counters });
        counters.port(PortId::HOST).drop(DropReason::NoUsableSlave, batch.len());
        batch.drain(..).for_each(|frame| pools.put(frame));
        for (slot, lane) in stage.lanes() {
            let counters = counters.port(PortId::slave(slot));
            let queues = slaves.get_mut(slot);
            let Some(queue) = queues.and_then(|queues| queues.first_mut()) else {
                counters.drop(DropReason::SlaveGone, lane.len());
                lane.drain(..).for_each(|frame| pools.put(frame));
                continue;
            };
            let umem = queue.umem();
            umems.cross_seam(pools, umem, lane, counters);
            queue.send(umems.of(umem), pools.of(umem), lane, counters);
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The queue of bond0.
    pub fn host_mut(&mut self) -> &mut TxQueue<R::Tx> {
        &mut self.host
    }

    /// The queues of a slave, for the kernel half of a software NIC.
    #[cfg(any(test, feature = "soft-nic"))]
    pub fn slave_mut(&mut self, slot: u8) -> Option<&mut [TxQueue<R::Tx>]> {
        self.slaves.get_mut(slot).map(Vec::as_mut_slice)
    }
}
