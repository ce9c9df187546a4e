//! Both halves of a worker in one thread: the run-to-completion layout.

use std::sync::Arc;

use super::counters::Counters;
use super::egress::Egress;
use super::ingress::Ingress;
use super::queue::{Queue, SlavePort};
use super::{BATCH, Rings, Umem};
use crate::ring::{RingError, ring};
use crate::snapshot::Snapshot;
use crate::xsk::{Census, Reclaimed, UmemId};

/// Slots of a ring between the two halves. In one thread every turn empties it; in two threads it bridges a kick.
const RING: usize = 4 * BATCH;

/// The two halves of a worker with bond0's end and no slave yet, and the rings between them. `umem` is the one of `host`.
pub(super) fn halves<R: Rings>(
    host: Queue<R>,
    umem: Umem<R::Memory>,
    [ingress, egress]: [Arc<Counters>; 2],
) -> Result<(Ingress<R>, Egress<R>), RingError> {
    let (to_host, from_wire) = ring(RING)?;
    let (to_wire, from_host) = ring(RING)?;
    let egress = Egress::new(host.tx, umem.for_sending(), [from_wire, from_host], egress);
    Ok((Ingress::new(host.rx, umem, [to_host, to_wire], ingress), egress))
}

/// One worker's share of the bond: queue q of every slave and of bond0, their UMEMs, and the rings.
#[derive(Debug)]
pub struct Dataplane<R: Rings> {
    ingress: Ingress<R>,
    egress: Egress<R>,
}

impl<R: Rings> Dataplane<R> {
    /// A data plane with bond0's end and no slave yet. `umem` is the one of `host`.
    ///
    /// # Errors
    /// When the ring cannot be made.
    pub fn new(
        host: Queue<R>,
        umem: Umem<R::Memory>,
        counters: Arc<Counters>,
    ) -> Result<Self, RingError> {
        let (ingress, egress) = halves(host, umem, [Arc::clone(&counters), counters])?;
        Ok(Self { ingress, egress })
    }

    /// Takes a slave in, with a UMEM of its own if it does not use bond0's, and fills its fill rings.
    pub fn attach(
        &mut self,
        slot: u8,
        slave: SlavePort<R>,
        umem: Option<(UmemId, Umem<R::Memory>)>,
    ) {
        let (rx, tx) = slave.split();
        let sending = umem.as_ref().map(|(id, umem)| (*id, umem.for_sending()));
        self.egress.attach(slot, tx, sending);
        self.ingress.attach(slot, rx, umem);
    }

    /// Lets a slave go. Its chunks stay with the kernel until its sockets are closed: then call [`Self::reclaim`].
    pub fn detach(&mut self, slot: u8) -> Option<SlavePort<R>> {
        let rx = self.ingress.detach(slot)?;
        self.egress.detach(slot).map(|tx| SlavePort::join((rx, tx)))
    }

    /// After the sockets of `slot` were closed: takes their chunks back, and counts what was never sent.
    pub fn reclaim(&mut self, slot: u8) -> Reclaimed {
        let tx = self.egress.reclaim(slot, &mut self.ingress.umems);
        Reclaimed { fill: self.ingress.reclaim(slot), tx }
    }

    /// Gives a slave's own UMEM up, after [`Self::reclaim`].
    pub fn remove_umem(&mut self, id: UmemId) -> Option<Umem<R::Memory>> {
        self.egress.remove_umem(id);
        self.ingress.remove_umem(id)
    }

    /// One batch from every queue of a slave, two from that of bond0. Returns how many frames came in.
    pub fn turn(&mut self, snapshot: Snapshot) -> usize {
        let Self { ingress, egress } = self;
        egress.complete(&mut ingress.umems);
        let from_wire = ingress.poll_slaves(snapshot, |umems| {
            egress.deliver(umems);
        });
        egress.deliver(&mut ingress.umems);
        let from_host = ingress.poll_host();
        egress.send(snapshot, &mut ingress.umems);
        ingress.refill();
        self.publish();
        from_wire + from_host
    }

    /// A wake-up is still owed to the kernel: the worker must not sleep for long.
    pub fn owes_kick(&self) -> bool {
        self.egress.owes_kick()
    }

    /// Whether a slave has refused frames since this was last asked: a link may be gone.
    pub fn take_doubt(&mut self) -> bool {
        self.egress.take_doubt()
    }

    /// The census of each UMEM.
    pub fn censuses(&self) -> impl Iterator<Item = Census> + '_ {
        self.by_umem().map(|(_, census)| census)
    }

    /// Every chunk of every UMEM counted anew agrees with the running census.
    #[must_use]
    pub fn audit(&self) -> bool {
        self.ingress.ledgers().all(|(_, frames)| frames.audit() == frames.census())
            && self.egress.ledgers().all(|(_, lent)| lent.audit() == lent.count())
    }

    fn by_umem(&self) -> impl Iterator<Item = (UmemId, Census)> + '_ {
        // Both halves have the same UMEMs, in the same order.
        let ledgers = self.ingress.ledgers().zip(self.egress.ledgers());
        ledgers.map(|((id, frames), (_, lent))| (id, Census::of([frames.census(), lent.sending()])))
    }

    fn publish(&self) {
        let counters = self.ingress.counters();
        self.by_umem().for_each(|(id, census)| counters.publish_umem(id, census));
    }

    /// The receiving half, for a thread that goes to sleep.
    pub(super) fn ingress(&mut self) -> &mut Ingress<R> {
        &mut self.ingress
    }

    /// Both halves, for the kernel half of a software NIC.
    #[cfg(any(test, feature = "soft-nic"))]
    pub fn halves_mut(&mut self) -> (&mut Ingress<R>, &mut Egress<R>) {
        (&mut self.ingress, &mut self.egress)
    }
}
