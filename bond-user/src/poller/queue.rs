//! One queue of one port, in two halves: its rings, and the tokens that go in and out of them.

use std::os::fd::RawFd;

use super::counters::{DropReason, PortCounters};
use super::depth::{Depth, FillDepth};
use super::descriptors::{SocketFd, Sockets};
use super::{BATCH, Batch, Kick, Pool, Rings, RxRings, TxRings, TxUmem, Umem};
use crate::xsk::{Frame, PortId, UmemId};

/// Wake-ups in a row that do not get everything sent before the rest waits for the next turn.
///
/// In copy mode the kernel sends at most 32 descriptors for one wake-up (`TX_BATCH_SIZE`, net/xdp/xsk.c)
/// unless the socket's budget was raised; a full tx ring needs this many.
const KICKS_MAX: usize = 32;

/// A queue of a port, with both halves.
#[derive(Debug)]
pub struct Queue<R: Rings> {
    /// For the ingress.
    pub(super) rx: RxQueue<R::Rx>,
    /// For the egress.
    pub(super) tx: TxQueue<R::Tx>,
}

impl<R: Rings> Queue<R> {
    /// A queue with empty rings. `depth` is at most their sizes.
    #[must_use]
    pub fn new(rings: R, port: PortId, umem: UmemId, depth: Depth) -> Self {
        let (rx, tx) = rings.split();
        Self {
            rx: RxQueue { rings: rx, port, umem, depth: FillDepth::new(depth), filled: 0 },
            tx: TxQueue {
                rings: tx,
                port,
                umem,
                depth: depth.tx,
                sending: 0,
                kick_due: false,
                refused: false,
            },
        }
    }
}

impl<R: Rings> Sockets for Queue<R> {
    fn each_socket(&mut self, act: &mut impl FnMut(&mut SocketFd)) {
        self.rx.each_socket(act);
        if let (Some(rx), Some(tx)) = (self.rx.rings.socket(), self.tx.rings.socket()) {
            *tx = *rx;
        }
    }
}

impl<R: Rings> Sockets for SlavePort<R> {
    fn each_socket(&mut self, act: &mut impl FnMut(&mut SocketFd)) {
        self.queues.each_socket(act);
    }
}

/// The halves of some queues.
pub(super) type Halves<R> = (Vec<RxQueue<<R as Rings>::Rx>>, Vec<TxQueue<<R as Rings>::Tx>>);

/// The queues of one slave that a worker owns. Frames go out on the first one.
#[derive(Debug)]
pub struct SlavePort<R: Rings> {
    /// At least one.
    pub queues: Vec<Queue<R>>,
}

impl<R: Rings> SlavePort<R> {
    /// The halves of all queues.
    pub(super) fn split(self) -> Halves<R> {
        self.queues.into_iter().map(|Queue { rx, tx }| (rx, tx)).unzip()
    }

    /// The reverse of [`Self::split`].
    pub(super) fn join((rx, tx): Halves<R>) -> Self {
        Self { queues: rx.into_iter().zip(tx).map(|(rx, tx)| Queue { rx, tx }).collect() }
    }
}

/// The receiving half of a queue, as the ingress owns it.
#[derive(Debug)]
pub struct RxQueue<R> {
    rings: R,
    port: PortId,
    umem: UmemId,
    depth: FillDepth,
    /// Chunks with the kernel for receiving on this queue.
    filled: usize,
}

impl<R: RxRings> Sockets for RxQueue<R> {
    fn each_socket(&mut self, act: &mut impl FnMut(&mut SocketFd)) {
        self.rings.socket().into_iter().for_each(act);
    }
}

impl<R: RxRings> RxQueue<R> {
    /// The port it belongs to.
    pub(super) fn port(&self) -> PortId {
        self.port
    }

    /// The UMEM its rings point into.
    pub(super) fn umem(&self) -> UmemId {
        self.umem
    }

    /// The number of its socket, if there is one, for the thread that has this.
    pub(super) fn socket(&mut self) -> Option<RawFd> {
        self.rings.socket().map(|socket| socket.number())
    }

    /// The rings.
    pub(super) fn rings(&self) -> &R {
        &self.rings
    }

    /// The rings, for the kernel half of a software NIC.
    #[cfg(any(test, feature = "soft-nic"))]
    pub fn rings_mut(&mut self) -> &mut R {
        &mut self.rings
    }

    /// Receives at most `max` frames into `out`, as far as it has room.
    pub(super) fn receive(
        &mut self,
        umem: &mut Umem<R::Memory>,
        max: usize,
        out: &mut Batch,
        counters: &PortCounters,
    ) {
        let Umem { frames, memory } = &mut *umem;
        let mut bytes = 0;
        let before = out.len();
        let max = max.min(out.remaining_capacity());
        if max == 0 {
            return;
        }
        self.rings.receive(memory, max, |desc| match frames.received(desc, self.port) {
            Some(frame) => {
                bytes += u64::from(frame.len());
                out.push(frame);
            }
            None => counters.drop(DropReason::BadDescriptor, 1),
        });
        let frames = out.len() - before;
        self.filled = self.filled.saturating_sub(frames);
        counters.rx_frames.add(frames as u64);
        counters.rx_bytes.add(bytes);
        if self.depth.received(frames, max) {
            // Not after these are sent: a burst does not wait.
            self.refill(umem);
        }
    }

    /// Frames come faster than they are worked off.
    pub(super) fn is_overloaded(&self) -> bool {
        self.depth.is_overloaded()
    }

    /// Before the worker sleeps: lets the kernel have more chunks.
    pub(super) fn deepen(&mut self, umem: &mut Umem<R::Memory>) {
        self.depth.deepen();
        self.refill(umem);
    }

    /// Tops the fill ring up from the free list.
    pub(super) fn refill(&mut self, umem: &mut Umem<R::Memory>) {
        let depth = self.depth.chunks();
        while self.filled < depth {
            let want = BATCH.min(depth - self.filled);
            let descs = umem.frames.spare().take(want);
            // SAFETY: the chunks are on the free list of this UMEM's ledger; those that the ring took are lent right
            // here.
            let taken = unsafe { self.rings.fill(&umem.memory, descs) };
            umem.frames.lend_spare(taken, self.port);
            self.filled += taken;
            if taken < want {
                break;
            }
        }
        self.rings.wake_fill();
    }
}

/// The sending half of a queue, as the egress owns it.
#[derive(Debug)]
pub struct TxQueue<R> {
    rings: R,
    port: PortId,
    umem: UmemId,
    /// [`Depth::tx`]
    depth: usize,
    /// Frames with the kernel for sending on this queue.
    sending: usize,
    /// Something was put on the tx ring since the last kick.
    kick_due: bool,
    /// The driver has refused frames.
    refused: bool,
}

impl<R: TxRings> Sockets for TxQueue<R> {
    fn each_socket(&mut self, act: &mut impl FnMut(&mut SocketFd)) {
        self.rings.socket().into_iter().for_each(act);
    }
}

impl<R: TxRings> TxQueue<R> {
    /// The port it belongs to.
    pub(super) fn port(&self) -> PortId {
        self.port
    }

    /// The UMEM its rings point into.
    pub(super) fn umem(&self) -> UmemId {
        self.umem
    }

    /// The number of its socket, if there is one, for the thread that has this.
    pub(super) fn socket(&mut self) -> Option<RawFd> {
        self.rings.socket().map(|socket| socket.number())
    }

    /// The last wake-ups did not get everything sent.
    pub(super) fn owes_kick(&self) -> bool {
        self.kick_due
    }

    /// Whether the driver has refused frames since this was last asked: its link may be gone.
    pub(super) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    /// The rings, for the kernel half of a software NIC.
    #[cfg(any(test, feature = "soft-nic"))]
    pub fn rings_mut(&mut self) -> &mut R {
        &mut self.rings
    }

    /// Sends every frame of `batch` or drops it with a reason. The kick is left to [`Self::kick`].
    ///
    /// All frames must be of this queue's UMEM.
    pub(super) fn send(
        &mut self,
        umem: &mut TxUmem<R::Memory>,
        pool: &mut impl Pool,
        batch: &mut Batch,
        counters: &PortCounters,
    ) {
        self.transmit(umem, batch, counters);
        if !batch.is_empty() {
            // The ring or the budget is full: let the kernel work it off, take back what it finished, try once more.
            // Always with a kick: earlier ones may have found the netdev down.
            self.kick_due = true;
            self.kick(umem, pool, counters);
            self.complete(umem, pool, counters);
            self.transmit(umem, batch, counters);
            counters.drop(DropReason::TxFull, batch.len());
            batch.drain(..).for_each(|frame| pool.put(frame));
        }
    }

    fn transmit(
        &mut self,
        umem: &mut TxUmem<R::Memory>,
        batch: &mut Batch,
        counters: &PortCounters,
    ) {
        let room = self.depth.saturating_sub(self.sending);
        debug_assert!(batch.iter().all(|frame| frame.umem() == self.umem));
        let descs = batch.iter().take(room).map(Frame::desc);
        // SAFETY: the tokens are in `batch`, the seam has made them all of this queue's UMEM, and
        // those that the ring took are lent right here.
        let taken = unsafe { self.rings.transmit(&umem.memory, descs) };
        let mut bytes = 0;
        for frame in batch.drain(..taken) {
            bytes += u64::from(frame.len());
            umem.lent.lend(frame, self.port);
        }
        self.sending += taken;
        self.kick_due |= taken > 0;
        counters.tx_frames.add(taken as u64);
        counters.tx_bytes.add(bytes);
    }

    /// Takes back all frames that the kernel has sent.
    pub(super) fn complete(
        &mut self,
        umem: &mut TxUmem<R::Memory>,
        pool: &mut impl Pool,
        counters: &PortCounters,
    ) {
        let TxUmem { lent, memory } = umem;
        while self.sending > 0 {
            let mut completed = 0;
            let seen = self.rings.complete(memory, |desc| match lent.claim(desc, self.port) {
                Some(frame) => {
                    completed += 1;
                    pool.put(frame);
                }
                None => counters.drop(DropReason::BadDescriptor, 1),
            });
            self.sending = self.sending.saturating_sub(completed);
            if seen < BATCH {
                break;
            }
        }
    }

    /// Wakes the kernel up if frames wait on the tx ring.
    pub(super) fn kick(
        &mut self,
        umem: &mut TxUmem<R::Memory>,
        pool: &mut impl Pool,
        counters: &PortCounters,
    ) {
        if !self.kick_due {
            return;
        }
        self.kick_due = false;
        for _ in 0..KICKS_MAX {
            match self.rings.kick() {
                Kick::Done => return,
                Kick::Down => {
                    self.refused = true;
                    return counters.kicks_down.add(1);
                }
                Kick::Dropped => {
                    self.refused = true;
                    counters.drop(DropReason::DriverRefused, 1);
                }
                // Also when the completion ring is full: make room before the next try.
                Kick::Again => self.complete(umem, pool, counters),
            }
        }
        self.kick_due = true;
    }
}
