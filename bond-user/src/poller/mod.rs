//! The pinned loop that moves frames: slave -> poller -> ring -> egress, and back.
//!
//! The per-batch work has two halves: the [`Ingress`] receives and filters, the [`Egress`] selects and sends, and rings
//! join them. A [`Dataplane`] is both in one thread, a [`Poller`] and a [`Sender`] are one in each of two. They touch the
//! kernel only through [`Rings`], so the same code runs over AF_XDP sockets and over the software NIC of the tests.

mod alarm;
mod command;
mod counters;
mod dataplane;
mod depth;
mod descriptors;
mod egress;
mod idle;
mod ingress;
mod pipeline;
#[cfg(test)]
mod pipeline_tests;
mod queue;
#[cfg(any(test, feature = "soft-nic"))]
pub mod soft_nic;
mod stage;
mod table;
#[cfg(test)]
mod tests;
mod thread;
mod worker;

use std::fmt::Debug;

use arrayvec::ArrayVec;

use crate::xsk::{Desc, Frame, Frames, Lent, UmemId};

pub use alarm::Alarm;
pub use command::{Command, Reply};
pub use counters::{Counters, DropReason, PortCounters, Totals, UmemGauge, WorkerCounters};
pub use dataplane::Dataplane;
pub use depth::Depth;
pub use descriptors::SocketFd;
pub use egress::Egress;
pub use ingress::Ingress;
pub use pipeline::{Poller, Sender};
pub use queue::{Queue, RxQueue, SlavePort, TxQueue};
pub use worker::{Layout, Poll, Worker, WorkerCommand, WorkerReply, WorkerSpec};

/// Frames that move together. 64 is NAPI's own budget: larger batches add latency, smaller ones wake-ups.
pub const BATCH: usize = 64;

/// Frames in user space's hands.
pub type Batch = ArrayVec<Frame, BATCH>;

/// What a wake-up of the kernel told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// Sent, or nothing to do.
    Done,
    /// The kernel stopped at its budget, or had no room: kick again.
    Again,
    /// The driver dropped one frame, and the kernel stopped after it: kick again.
    Dropped,
    /// ENETDOWN or ENXIO: the netdev is down or gone.
    Down,
}

/// The four rings of one AF_XDP socket, in two ends that may be in two threads.
pub trait Rings: 'static {
    /// The memory that descriptors point into.
    type Memory: Memory;
    /// Rx and fill ring.
    type Rx: RxRings<Memory = Self::Memory>;
    /// Tx and completion ring.
    type Tx: TxRings<Memory = Self::Memory>;

    /// The two ends. The socket stays open until both are gone.
    fn split(self) -> (Self::Rx, Self::Tx);
}

/// The rings for receiving, as the ingress sees them.
///
/// Descriptors that come out are the kernel's word only: [`Frames`] decides whether they are good.
pub trait RxRings: Debug + Send + 'static {
    /// The memory that descriptors point into.
    type Memory: Memory;

    /// Gives `out` received descriptors from the rx ring, at most `max` and [`BATCH`].
    fn receive(&mut self, memory: &Self::Memory, max: usize, out: impl FnMut(Desc));
    /// Puts the first of `descs` on the fill ring, as many as it has room for, at most [`BATCH`]; returns how many.
    ///
    /// # Safety
    /// `descs` are of chunks of `memory` that the caller has; those that were put are the kernel's from now on, and the
    /// caller must lend them in the ledger before it does anything else.
    unsafe fn fill(&mut self, memory: &Self::Memory, descs: impl Iterator<Item = Desc>) -> usize;
    /// Tells the kernel that the fill ring has chunks again, if it asked to be told.
    fn wake_fill(&mut self);
    /// The socket, if there is one behind the rings.
    fn socket(&mut self) -> Option<&mut SocketFd> {
        None
    }
}

/// The rings for sending, as the egress sees them.
///
/// Descriptors that come out are the kernel's word only: [`Lent`] decides whether they are good.
pub trait TxRings: Debug + Send + 'static {
    /// The memory that descriptors point into.
    type Memory: Memory;

    /// Puts the first of `descs` on the tx ring, as many as it has room for, at most [`BATCH`]; returns how many.
    ///
    /// # Safety
    /// As for [`RxRings::fill`].
    unsafe fn transmit(
        &mut self,
        memory: &Self::Memory,
        descs: impl Iterator<Item = Desc>,
    ) -> usize;
    /// Gives `out` descriptors from the completion ring, at most [`BATCH`]; returns how many.
    fn complete(&mut self, memory: &Self::Memory, out: impl FnMut(Desc)) -> usize;
    /// Tells the kernel to send what is on the tx ring, if it asked to be told.
    fn kick(&mut self) -> Kick;
    /// The socket, if there is one behind the rings.
    fn socket(&mut self) -> Option<&mut SocketFd> {
        None
    }
}

/// The bytes behind the chunks of one UMEM. Clones are of the same bytes: who has a frame's token may touch its.
pub trait Memory: Clone + Debug + Send + 'static {
    /// Copies the bytes of `src` into `dst`.
    ///
    /// # Panics
    /// If `dst` is not a frame of `self`, or `src` not one of `from`.
    fn copy_from(&self, dst: &mut Frame, from: &Self, src: &Frame);
    /// The bytes of a frame.
    ///
    /// # Panics
    /// If it is not one of `self`.
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8];
}

/// A UMEM as the ingress owns it: the ledger of its chunks, and their bytes.
#[derive(Debug)]
pub struct Umem<M> {
    /// Which chunks are free, and which are with the kernel for receiving.
    pub frames: Frames,
    /// The bytes.
    pub memory: M,
}

/// The same UMEM as the egress sees it.
#[derive(Debug)]
pub struct TxUmem<M> {
    /// Which chunks are with the kernel for sending.
    lent: Lent,
    /// The bytes.
    memory: M,
}

impl<M: Memory> Umem<M> {
    /// What the egress needs of it.
    fn for_sending(&self) -> TxUmem<M> {
        TxUmem { lent: Lent::of(&self.frames), memory: self.memory.clone() }
    }
}

/// Empty frames of one UMEM in user space's hands.
trait Pool {
    /// Takes an empty frame.
    fn take(&mut self) -> Option<Frame>;
    /// Puts a frame back whose bytes nobody needs any more.
    fn put(&mut self, frame: Frame);
}

impl Pool for Frames {
    fn take(&mut self) -> Option<Frame> {
        Self::take(self)
    }

    fn put(&mut self, frame: Frame) {
        Self::put(self, frame);
    }
}

/// The pools of all UMEMs, where the egress leaves the frames that it is done with.
trait Pools {
    type Pool: Pool;

    /// The pool of a queue's or a frame's UMEM. It exists: UMEMs leave after their queues and frames.
    fn of(&mut self, umem: UmemId) -> &mut Self::Pool;

    fn put(&mut self, frame: Frame) {
        self.of(frame.umem()).put(frame);
    }
}
