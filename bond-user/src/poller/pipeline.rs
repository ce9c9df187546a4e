//! One half of a worker in each of two threads: the pipeline layout.
//!
//! Frames that the egress is done with go back to the ingress on a ring of their own, and an egress that sleeps is woken
//! up for what is pushed. Copies at the seam are made into frames that the egress keeps for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use super::counters::{Counters, MAX_PORTS};
use super::dataplane::halves;
use super::egress::Egress;
use super::ingress::Ingress;
use super::queue::{Queue, RxQueue, TxQueue};
use super::table::Table;
use super::{BATCH, Batch, Pool, Pools, Rings, TxUmem, Umem};
use crate::ring::{Consumer, Doze, Producer, RingError, ring};
use crate::snapshot::Snapshot;
use crate::xsk::{Census, Frame, UmemId};

/// Slots of the ring from egress to ingress. What has no room on it waits with the egress.
const RETURN_RING: usize = 8 * BATCH;

/// What ends a thread's sleep.
#[derive(Debug)]
pub(super) struct Bell {
    event: OwnedFd,
    doze: Doze,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, doze: Doze::default() })
    }

    /// Ends the sleep, or the next one.
    pub(super) fn ring(&self) -> io::Result<()> {
        rustix::io::write(&self.event, &1u64.to_ne_bytes())?;
        Ok(())
    }

    /// Forgets all rings until now.
    pub(super) fn hush(&self) {
        let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
    }

    /// Whether a thread sleeps for want of frames.
    pub(super) fn doze(&self) -> &Doze {
        &self.doze
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// The frames of one UMEM that the egress is done with. It keeps some, for copies at the seam.
#[derive(Debug)]
pub(super) struct Stock {
    frames: Vec<Frame>,
    keep: usize,
}

impl Stock {
    /// At first the `keep` frames that it always keeps, out of the ledger of `umem`.
    pub(super) fn new<M>(umem: &mut Umem<M>, keep: usize) -> Self {
        // Room for all there are: the egress never allocates.
        let mut frames = Vec::with_capacity(umem.frames.census().total as usize);
        frames.extend(std::iter::from_fn(|| umem.frames.take()).take(keep));
        Self { frames, keep }
    }
}

/// What the egress gets of a UMEM.
pub(super) type SendingUmem<M> = (TxUmem<M>, Stock);

impl Pool for Stock {
    fn take(&mut self) -> Option<Frame> {
        self.frames.pop()
    }

    fn put(&mut self, frame: Frame) {
        self.frames.push(frame);
    }
}

/// The way back from the egress to the ingress.
#[derive(Debug)]
struct Returns {
    /// By UMEM.
    stocks: Table<Stock, MAX_PORTS>,
    ring: Producer<Frame>,
}

impl Returns {
    /// Sends back what it need not keep, as far as the ring has room.
    fn send_back(&mut self) {
        for stock in self.stocks.values_mut() {
            let mut surplus = stock.frames.len().saturating_sub(stock.keep);
            while surplus > 0 {
                let kept = stock.frames.len() - surplus.min(BATCH);
                let mut batch: Batch = stock.frames.drain(kept..).collect();
                surplus -= batch.len();
                self.ring.push_from(&mut batch);
                if !batch.is_empty() {
                    stock.frames.extend(batch);
                    return;
                }
            }
        }
    }

    /// How many of UMEM `id` are here.
    fn census(&self, id: UmemId) -> Census {
        let frames = self.stocks.get(id).map_or(0, |stock| stock.frames.len());
        Census { free: u32::try_from(frames).unwrap_or(u32::MAX), ..Census::default() }
    }
}

impl Pools for Returns {
    type Pool = Stock;

    fn of(&mut self, umem: UmemId) -> &mut Stock {
        self.stocks.get_mut(umem).expect("a stock lives as long as its UMEM")
    }
}

/// Both halves of a worker, to be run in two threads. The egress keeps `seam` frames of bond0's UMEM for copies.
///
/// # Errors
/// When a ring cannot be made.
pub(super) fn pipeline<R: Rings>(
    host: Queue<R>,
    mut umem: Umem<R::Memory>,
    seam: usize,
    counters: [Arc<Counters>; 2],
    bell: Arc<Bell>,
) -> Result<(Poller<R>, Sender<R>), RingError> {
    let stocks = Table::of(host.rx.umem(), Stock::new(&mut umem, seam));
    let (ingress, egress) = halves(host, umem, counters)?;
    let (back, returned) = ring(RETURN_RING)?;
    let poller = Poller { ingress, returned, egress: bell };
    Ok((poller, Sender { egress, returns: Returns { stocks, ring: back } }))
}

/// What the poller thread does.
#[derive(Debug)]
pub struct Poller<R: Rings> {
    ingress: Ingress<R>,
    returned: Consumer<Frame>,
    /// Wakes the egress thread up.
    egress: Arc<Bell>,
}

impl<R: Rings> Poller<R> {
    /// One batch from every queue. Returns how many frames came in.
    pub fn turn(&mut self, snapshot: Snapshot) -> usize {
        self.take_back();
        // What has no room stays on the rx rings.
        let from_wire = self.ingress.poll_slaves(snapshot, |_umems| ());
        let from_host = self.ingress.poll_host();
        let received = from_wire + from_host;
        if received > 0 && self.egress.doze().must_wake() {
            // If it cannot be woken, it looks up by itself before long.
            let _ = self.egress.ring();
        }
        self.ingress.refill();
        let counters = self.ingress.counters();
        let ledgers = self.ingress.ledgers();
        ledgers.for_each(|(id, frames)| counters.publish_umem(id, frames.census()));
        received
    }

    /// Takes back what the egress is done with.
    fn take_back(&mut self) {
        let mut batch = Batch::new();
        while self.returned.pop_into(&mut batch) > 0 {
            batch.drain(..).for_each(|frame| self.ingress.umems.put(frame));
        }
    }

    pub(super) fn attach(
        &mut self,
        slot: u8,
        queues: Vec<RxQueue<R::Rx>>,
        umem: Option<(UmemId, Umem<R::Memory>)>,
    ) {
        self.ingress.attach(slot, queues, umem);
    }

    pub(super) fn detach(&mut self, slot: u8) -> Option<Vec<RxQueue<R::Rx>>> {
        self.ingress.detach(slot)
    }

    /// After [`Sender::reclaim`]: takes the chunks back that waited to receive, and gives the slave's own UMEM up.
    pub(super) fn reclaim(&mut self, slot: u8, own: UmemId) -> (u32, Option<Umem<R::Memory>>) {
        // The last frames of that UMEM are on their way back.
        self.take_back();
        (self.ingress.reclaim(slot), self.ingress.remove_umem(own))
    }

    /// What wakes the egress thread up.
    pub(super) fn bell(&self) -> &Bell {
        &self.egress
    }

    /// The receiving half.
    pub fn ingress_mut(&mut self) -> &mut Ingress<R> {
        &mut self.ingress
    }
}

/// What the egress thread does.
#[derive(Debug)]
pub struct Sender<R: Rings> {
    egress: Egress<R>,
    returns: Returns,
}

impl<R: Rings> Sender<R> {
    /// Everything that waits on the rings. Returns how many frames that were.
    pub fn turn(&mut self, snapshot: Snapshot) -> usize {
        let Self { egress, returns, .. } = self;
        egress.complete(returns);
        let to_host = egress.deliver(returns);
        let to_wire = egress.send(snapshot, returns);
        returns.send_back();
        let counters = egress.counters();
        for (id, lent) in egress.ledgers() {
            counters.publish_umem(id, Census::of([lent.sending(), returns.census(id)]));
        }
        to_host + to_wire
    }

    pub(super) fn attach(
        &mut self,
        slot: u8,
        queues: Vec<TxQueue<R::Tx>>,
        umem: Option<(UmemId, SendingUmem<R::Memory>)>,
    ) {
        let umem = umem.map(|(id, (umem, stock))| {
            self.returns.stocks.put(id, stock);
            (id, umem)
        });
        self.egress.attach(slot, queues, umem);
    }

    pub(super) fn detach(&mut self, slot: u8) -> Option<Vec<TxQueue<R::Tx>>> {
        self.egress.detach(slot)
    }

    /// After the sockets of `slot` were closed, and [`Poller::detach`]: takes the frames back that were never sent, and
    /// gives the slave's own UMEM up. Returns how many frames that were.
    pub(super) fn reclaim(&mut self, slot: u8, own: UmemId, snapshot: Snapshot) -> u32 {
        // The last frames of that UMEM may be on the rings, of which one turn takes all.
        self.turn(snapshot);
        let back = self.egress.reclaim(slot, &mut self.returns);
        self.egress.remove_umem(own);
        self.egress.counters().publish_umem(own, Census::default());
        // With the UMEM go its frames.
        drop(self.returns.stocks.take(own));
        back
    }

    /// A wake-up is still owed to the kernel: the thread must not sleep for long.
    pub(super) fn owes_kick(&self) -> bool {
        self.egress.owes_kick()
    }

    /// Whether a slave has refused frames since this was last asked: a link may be gone.
    pub(super) fn take_doubt(&mut self) -> bool {
        self.egress.take_doubt()
    }

    /// Nothing waits on the rings.
    pub(super) fn is_idle(&mut self) -> bool {
        self.egress.is_idle()
    }

    /// The sending half.
    pub fn egress_mut(&mut self) -> &mut Egress<R> {
        &mut self.egress
    }
}
