//! What one worker owns, and the per-batch work on it.

use std::sync::Arc;

use bond_ebpf::layout::MAX_SLAVES;

use super::counters::{Counters, DropReason, MAX_PORTS};
use super::queue::Queue;
use super::stage::Stage;
use super::{BATCH, Batch, Memory, Rings, Umem};
use crate::ring::{Consumer, Producer, RingError, ring};
use crate::snapshot::Snapshot;
use crate::xsk::{Census, Frame, PortId, Reclaimed, UmemId};

/// Slots of the ring between poller and egress. Both ends are in one thread here and every turn
/// empties it; four batches leave room for the pipeline layout, where they are not.
const RING: usize = 4 * BATCH;

/// Slave slots.
#[expect(clippy::cast_possible_truncation, reason = "16")]
const SLOTS: std::ops::Range<u8> = 0..MAX_SLAVES as u8;

/// The queue of bond0 that a worker owns.
pub type HostPort<R> = Queue<R>;

/// The queues of one slave that a worker owns. Frames go out on the first one.
#[derive(Debug)]
pub struct SlavePort<R> {
    /// At least one.
    pub queues: Vec<Queue<R>>,
}

/// The UMEMs of a worker, by id.
#[derive(Debug)]
struct Umems<M>([Option<Umem<M>>; MAX_PORTS]);

impl<M: Memory> Umems<M> {
    /// A queue's or a frame's UMEM. It exists: UMEMs leave after their queues, and frames do not outlive a turn.
    fn of(&mut self, id: UmemId) -> &mut Umem<M> {
        self.0[usize::from(id)].as_mut().expect("a UMEM outlives its queues and frames")
    }

    fn put(&mut self, frame: Frame) {
        self.of(frame.umem()).frames.put(frame);
    }

    /// Copies `frame` into UMEM `to`; `None` when that one has no free chunk. The old chunk is freed.
    fn copy(&mut self, frame: Frame, to: UmemId) -> Option<Frame> {
        let copy = self.of(to).frames.take().map(|mut copy| {
            let pair = self.0.get_disjoint_mut([usize::from(to), usize::from(frame.umem())]);
            if let Ok([Some(to), Some(from)]) = pair {
                to.memory.copy_from(&mut copy, &from.memory, &frame);
            }
            copy
        });
        self.put(frame);
        copy
    }
}

/// One worker's share of the bond: queue q of every slave and of bond0, their UMEMs, and the ring.
#[derive(Debug)]
pub struct Dataplane<R: Rings> {
    umems: Umems<R::Memory>,
    host: HostPort<R>,
    slaves: [Option<SlavePort<R>>; MAX_SLAVES],
    to_host: (Producer<Frame>, Consumer<Frame>),
    to_wire: (Producer<Frame>, Consumer<Frame>),
    stage: Stage,
    counters: Arc<Counters>,
    /// A slave has refused frames.
    doubt: bool,
}

impl<R: Rings> Dataplane<R> {
    /// A data plane with bond0's end and no slave yet. `umem` is the one of `host`.
    ///
    /// # Errors
    /// When the ring cannot be made.
    pub fn new(
        host: HostPort<R>,
        umem: Umem<R::Memory>,
        counters: Arc<Counters>,
    ) -> Result<Self, RingError> {
        let mut umems = Umems([const { None }; MAX_PORTS]);
        umems.0[usize::from(host.umem())] = Some(umem);
        let mut plane = Self {
            umems,
            host,
            slaves: [const { None }; MAX_SLAVES],
            to_host: ring(RING)?,
            to_wire: ring(RING)?,
            stage: Stage::new(),
            counters,
            doubt: false,
        };
        plane.refill();
        Ok(plane)
    }

    /// Takes a slave in, with a UMEM of its own if it does not use bond0's, and fills its fill rings.
    pub fn attach(
        &mut self,
        slot: u8,
        slave: SlavePort<R>,
        umem: Option<(UmemId, Umem<R::Memory>)>,
    ) {
        if let Some((id, umem)) = umem {
            self.umems.0[usize::from(id)] = Some(umem);
        }
        self.slaves[usize::from(slot)] = Some(slave);
        self.refill();
    }

    /// Lets a slave go. Its chunks stay with the kernel until its sockets are closed: then call [`Self::reclaim`].
    pub fn detach(&mut self, slot: u8) -> Option<SlavePort<R>> {
        self.slaves[usize::from(slot)].take()
    }

    /// After the sockets of `slot` were closed: takes their chunks back, and counts what was never sent.
    pub fn reclaim(&mut self, slot: u8) -> Reclaimed {
        let port = PortId::slave(slot);
        let mut sum = Reclaimed::default();
        for umem in self.umems.0.iter_mut().flatten() {
            let Reclaimed { fill, tx } = umem.frames.reclaim(port);
            sum.fill += fill;
            sum.tx += tx;
        }
        self.counters.port(port).drop(DropReason::SlaveGone, sum.tx as usize);
        sum
    }

    /// Gives a slave's own UMEM up, after [`Self::reclaim`].
    pub fn remove_umem(&mut self, id: UmemId) -> Option<Umem<R::Memory>> {
        self.counters.publish_umem(usize::from(id), Census::default());
        self.umems.0[usize::from(id)].take()
    }

    /// One batch from every queue, both ways. Returns how many frames came in.
    pub fn turn(&mut self, snapshot: Snapshot) -> usize {
        self.complete();
        let from_wire = self.poll_slaves(snapshot);
        self.egress_host();
        let from_host = self.poll_host();
        self.egress_wire(snapshot);
        self.refill();
        self.publish();
        from_wire + from_host
    }

    /// A wake-up is still owed to the kernel: the worker must not sleep for long.
    pub fn owes_kick(&self) -> bool {
        self.queues().any(Queue::owes_kick)
    }

    /// Whether a slave has refused frames since this was last asked: a link may be gone.
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.doubt)
    }

    /// The census of each UMEM.
    pub fn censuses(&self) -> impl Iterator<Item = Census> + '_ {
        self.umems.0.iter().flatten().map(|umem| umem.frames.census())
    }

    /// Every chunk of every UMEM counted anew agrees with the running census.
    #[must_use]
    pub fn audit(&self) -> bool {
        self.umems.0.iter().flatten().all(|umem| umem.frames.audit() == umem.frames.census())
    }

    /// All queues, bond0's first.
    pub fn queues(&self) -> impl Iterator<Item = &Queue<R>> {
        let slaves = self.slaves.iter().flatten().flat_map(|slave| slave.queues.iter());
        std::iter::once(&self.host).chain(slaves)
    }

    /// The queue of bond0, for the kernel half of a software NIC.
    #[cfg(any(test, feature = "soft-nic"))]
    pub fn host_mut(&mut self) -> &mut Queue<R> {
        &mut self.host
    }

    /// A slave, for the kernel half of a software NIC.
    #[cfg(any(test, feature = "soft-nic"))]
    pub fn slave_mut(&mut self, slot: u8) -> Option<&mut SlavePort<R>> {
        self.slaves[usize::from(slot)].as_mut()
    }

    fn complete(&mut self) {
        let Self { umems, host, slaves, counters, .. } = self;
        for queue in every(host, slaves) {
            queue.complete(umems.of(queue.umem()), counters.port(queue.port()));
        }
    }

    fn refill(&mut self) {
        let Self { umems, host, slaves, .. } = self;
        for queue in every(host, slaves) {
            queue.refill(umems.of(queue.umem()));
        }
    }

    fn publish(&self) {
        for (id, umem) in self.umems.0.iter().enumerate() {
            if let Some(umem) = umem {
                self.counters.publish_umem(id, umem.frames.census());
            }
        }
    }

    /// wire -> host, first half: slaves' rx rings, the inactive-slave filter, the ring.
    fn poll_slaves(&mut self, snapshot: Snapshot) -> usize {
        let mut received = 0;
        for slot in SLOTS {
            let queues =
                self.slaves[usize::from(slot)].as_ref().map_or(0, |slave| slave.queues.len());
            for queue in 0..queues {
                if self.to_host.0.free() < BATCH {
                    self.egress_host();
                }
                received += self.poll_slave(slot, queue, snapshot);
            }
        }
        received
    }

    fn poll_slave(&mut self, slot: u8, queue: usize, snapshot: Snapshot) -> usize {
        let Self { umems, slaves, counters, to_host, .. } = self;
        let Some(slave) = &mut slaves[usize::from(slot)] else { return 0 };
        let queue = &mut slave.queues[queue];
        let counters = counters.port(queue.port());
        let mut batch = Batch::new();
        let room = to_host.0.free();
        queue.receive(umems.of(queue.umem()), room, &mut batch, counters);
        let received = batch.len();
        // The XDP program filters too; frames it had let through before a failover end here.
        if snapshot.receive.contains(slot) {
            to_host.0.push_from(&mut batch);
        }
        counters.drop(DropReason::InactiveSlave, batch.len());
        batch.drain(..).for_each(|frame| umems.put(frame));
        received
    }

    /// wire -> host, second half: the ring, bond0.
    fn egress_host(&mut self) {
        let Self { umems, host, counters, to_host, .. } = self;
        let counters = counters.port(PortId::HOST);
        let mut batch = Batch::new();
        while to_host.1.pop_into(&mut batch) > 0 {
            cross_seam(umems, host.umem(), &mut batch, counters);
            host.send(umems.of(host.umem()), &mut batch, counters);
        }
        host.kick(umems.of(host.umem()), counters);
    }

    /// host -> wire, first half: bond0's rx ring, the ring.
    fn poll_host(&mut self) -> usize {
        let Self { umems, host, counters, to_wire, .. } = self;
        let mut batch = Batch::new();
        let room = to_wire.0.free();
        host.receive(umems.of(host.umem()), room, &mut batch, counters.port(PortId::HOST));
        to_wire.0.push_from(&mut batch)
    }

    /// host -> wire, second half: the ring, a slave chosen by the mode.
    fn egress_wire(&mut self, snapshot: Snapshot) {
        let Self { umems, slaves, counters, to_wire, stage, doubt, .. } = self;
        let mut batch = Batch::new();
        while to_wire.1.pop_into(&mut batch) > 0 {
            stage.sort(snapshot, &mut batch);
            counters.port(PortId::HOST).drop(DropReason::NoUsableSlave, batch.len());
            batch.drain(..).for_each(|frame| umems.put(frame));
            for (slot, lane) in stage.lanes() {
                let counters = counters.port(PortId::slave(slot));
                let Some(queue) =
                    slaves[usize::from(slot)].as_mut().and_then(|slave| slave.queues.first_mut())
                else {
                    counters.drop(DropReason::SlaveGone, lane.len());
                    lane.drain(..).for_each(|frame| umems.put(frame));
                    continue;
                };
                cross_seam(umems, queue.umem(), lane, counters);
                queue.send(umems.of(queue.umem()), lane, counters);
            }
        }
        for queue in slaves.iter_mut().flatten().filter_map(|slave| slave.queues.first_mut()) {
            queue.kick(umems.of(queue.umem()), counters.port(queue.port()));
            *doubt |= queue.take_refused();
        }
    }
}

/// All queues, bond0's first.
fn every<'a, R>(
    host: &'a mut HostPort<R>,
    slaves: &'a mut [Option<SlavePort<R>>],
) -> impl Iterator<Item = &'a mut Queue<R>> {
    let slaves = slaves.iter_mut().flatten().flat_map(|slave| slave.queues.iter_mut());
    std::iter::once(host).chain(slaves)
}

/// Makes every frame of `batch` one of UMEM `to`, by copying those of another.
fn cross_seam<M: Memory>(
    umems: &mut Umems<M>,
    to: UmemId,
    batch: &mut Batch,
    counters: &super::PortCounters,
) {
    if batch.iter().all(|frame| frame.umem() == to) {
        return;
    }
    let frames = std::mem::take(batch);
    for frame in frames {
        if frame.umem() == to {
            batch.push(frame);
        } else if let Some(copy) = umems.copy(frame, to) {
            counters.seam_copies.add(1);
            batch.push(copy);
        } else {
            counters.drop(DropReason::NoFreeFrame, 1);
        }
    }
}
