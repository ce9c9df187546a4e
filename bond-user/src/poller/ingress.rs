//! The receiving half of a worker: rx and fill rings, the ledgers of free chunks, the filter.

use std::sync::Arc;

use bond_ebpf::layout::MAX_SLAVES;

use super::counters::{Counters, DropReason, MAX_PORTS};
use super::queue::RxQueue;
use super::table::Table;
use super::{BATCH, Batch, Memory, Pools, Rings, Umem};
use crate::ring::Producer;
use crate::snapshot::Snapshot;
use crate::xsk::{Census, Frame, Frames, PortId, UmemId};

/// Batches from bond0 in one turn, at most: wake-ups are what a batch costs, and with two slaves there are two of them.
const HOST_BATCHES: usize = 2;

/// The UMEMs of a worker, by id.
#[derive(Debug)]
pub(super) struct Umems<M>(Table<Umem<M>, MAX_PORTS>);

impl<M: Memory> Umems<M> {
    fn umem(&mut self, id: UmemId) -> &mut Umem<M> {
        self.0.get_mut(id).expect("a UMEM outlives its queues and frames")
    }
}

impl<M: Memory> Pools for Umems<M> {
    type Pool = Frames;

    fn of(&mut self, umem: UmemId) -> &mut Frames {
        &mut self.umem(umem).frames
    }
}

/// Receives from the slaves and from bond0, and keeps the fill rings full.
#[derive(Debug)]
pub struct Ingress<R: Rings> {
    pub(super) umems: Umems<R::Memory>,
    host: RxQueue<R::Rx>,
    slaves: Table<Vec<RxQueue<R::Rx>>, MAX_SLAVES>,
    to_host: Producer<Frame>,
    to_wire: Producer<Frame>,
    counters: Arc<Counters>,
}

impl<R: Rings> Ingress<R> {
    /// bond0's end and no slave yet. `umem` is the one of `host`.
    pub(super) fn new(
        host: RxQueue<R::Rx>,
        umem: Umem<R::Memory>,
        [to_host, to_wire]: [Producer<Frame>; 2],
        counters: Arc<Counters>,
    ) -> Self {
        let umems = Umems(Table::of(host.umem(), umem));
        let slaves = Table::new();
        let mut ingress = Self { umems, host, slaves, to_host, to_wire, counters };
        ingress.refill();
        ingress
    }

    pub(super) fn attach(
        &mut self,
        slot: u8,
        queues: Vec<RxQueue<R::Rx>>,
        umem: Option<(UmemId, Umem<R::Memory>)>,
    ) {
        if let Some((id, umem)) = umem {
            self.umems.0.put(id, umem);
        }
        self.slaves.put(slot, queues);
        self.refill();
    }

    pub(super) fn detach(&mut self, slot: u8) -> Option<Vec<RxQueue<R::Rx>>> {
        self.slaves.take(slot)
    }

    /// After the sockets of `slot` were closed: takes the chunks back that waited to receive.
    pub(super) fn reclaim(&mut self, slot: u8) -> u32 {
        let port = PortId::slave(slot);
        self.umems.0.values_mut().map(|umem| umem.frames.reclaim(port)).sum()
    }

    /// Gives a slave's own UMEM up, after [`Self::reclaim`].
    pub(super) fn remove_umem(&mut self, id: UmemId) -> Option<Umem<R::Memory>> {
        self.counters.publish_umem(id, Census::default());
        self.umems.0.take(id)
    }

    /// All queues, bond0's first.
    pub(super) fn queues(&self) -> impl Iterator<Item = &RxQueue<R::Rx>> {
        std::iter::once(&self.host).chain(self.slaves.values().flatten())
    }

    /// The ledgers, by UMEM id.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = (UmemId, &Frames)> {
        self.umems.0.iter().map(|(id, umem)| (id, &umem.frames))
    }

    pub(super) fn refill(&mut self) {
        self.each_queue(RxQueue::refill);
    }

    /// Before the thread sleeps: see [`RxQueue::deepen`].
    pub(super) fn deepen(&mut self) {
        self.each_queue(RxQueue::deepen);
    }

    fn each_queue(&mut self, act: impl Fn(&mut RxQueue<R::Rx>, &mut Umem<R::Memory>)) {
        let Self { umems, host, slaves, .. } = self;
        for queue in std::iter::once(host).chain(slaves.values_mut().flatten()) {
            act(queue, umems.umem(queue.umem()));
        }
    }

    /// wire -> host, first half: slaves' rx rings, the inactive-slave filter, the ring. `full` may make room on the
    /// ring; what has none stays on the rx rings.
    pub(super) fn poll_slaves(
        &mut self,
        snapshot: Snapshot,
        mut full: impl FnMut(&mut Umems<R::Memory>),
    ) -> usize {
        let Self { umems, slaves, counters, to_host, .. } = self;
        let (mut received, mut overloaded) = (0, false);
        for (slot, queues) in slaves.iter_mut() {
            for queue in queues {
                if to_host.free() < BATCH {
                    full(umems);
                }
                let port = counters.port(queue.port());
                let mut batch = Batch::new();
                queue.receive(umems.umem(queue.umem()), to_host.free(), &mut batch, port);
                received += batch.len();
                overloaded |= queue.is_overloaded();
                // The XDP program filters too; frames it had let through before a failover end here.
                if snapshot.receive.contains(slot) {
                    to_host.push_from(&mut batch);
                }
                port.drop(DropReason::InactiveSlave, batch.len());
                batch.drain(..).for_each(|frame| umems.put(frame));
            }
        }
        counters.worker.overloaded_turns.add(u64::from(overloaded));
        received
    }

    /// host -> wire, first half: bond0's rx ring, the ring.
    pub(super) fn poll_host(&mut self) -> usize {
        let Self { umems, host, counters, to_wire, .. } = self;
        let mut received = 0;
        for _ in 0..HOST_BATCHES {
            let mut batch = Batch::new();
            let room = to_wire.free();
            host.receive(umems.umem(host.umem()), room, &mut batch, counters.port(PortId::HOST));
            let frames = to_wire.push_from(&mut batch);
            received += frames;
            if frames < BATCH {
                break;
            }
        }
        received
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The queue of bond0.
    pub fn host_mut(&mut self) -> &mut RxQueue<R::Rx> {
        &mut self.host
    }

    /// The queues of a slave, for the kernel half of a software NIC.
    #[cfg(any(test, feature = "soft-nic"))]
    pub fn slave_mut(&mut self, slot: u8) -> Option<&mut [RxQueue<R::Rx>]> {
        self.slaves.get_mut(slot).map(Vec::as_mut_slice)
    }
}
