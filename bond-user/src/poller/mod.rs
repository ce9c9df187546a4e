//! The pinned loop that moves frames: slave -> poller -> ring -> egress, and back.
//!
//! [`Dataplane::turn`] is the per-batch work. It touches the kernel only through [`Rings`], so the
//! same code runs over AF_XDP sockets and over the software NIC of the tests.

mod alarm;
mod command;
mod counters;
mod dataplane;
mod idle;
mod queue;
#[cfg(any(test, feature = "soft-nic"))]
pub mod soft_nic;
mod stage;
#[cfg(test)]
mod tests;
mod worker;

use arrayvec::ArrayVec;

use crate::xsk::{Desc, Frame, Frames};

pub use alarm::Alarm;
pub use command::{Command, Mailbox, Reply};
pub use counters::{Counters, DropReason, PortCounters, Totals, UmemGauge, WorkerCounters};
pub use dataplane::{Dataplane, HostPort, SlavePort};
pub use queue::{Depth, Queue};
pub use worker::{Poll, Worker, WorkerSpec};

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

/// The four rings of one AF_XDP socket, as the poller sees them.
///
/// Descriptors that come out are the kernel's word only: [`Frames`] decides whether they are good.
pub trait Rings {
    /// The memory that descriptors point into.
    type Memory: Memory;

    /// Gives `out` received descriptors from the rx ring, at most `max` and [`BATCH`].
    fn receive(&mut self, memory: &mut Self::Memory, max: usize, out: impl FnMut(Desc));
    /// Puts the first of `descs` on the tx ring, as many as it has room for, at most [`BATCH`]; returns how many.
    ///
    /// # Safety
    /// `descs` are of chunks of `memory` that the caller has; those that were put are the kernel's from now on, and the
    /// caller must lend them in the ledger before it does anything else.
    unsafe fn transmit(
        &mut self,
        memory: &Self::Memory,
        descs: impl Iterator<Item = Desc>,
    ) -> usize;
    /// The same with the fill ring.
    ///
    /// # Safety
    /// As for [`Rings::transmit`].
    unsafe fn fill(&mut self, memory: &Self::Memory, descs: impl Iterator<Item = Desc>) -> usize;
    /// Gives `out` descriptors from the completion ring, at most [`BATCH`]; returns how many.
    fn complete(&mut self, memory: &Self::Memory, out: impl FnMut(Desc)) -> usize;
    /// Tells the kernel to send what is on the tx ring, if it asked to be told.
    fn kick(&mut self) -> Kick;
    /// Tells the kernel that the fill ring has chunks again, if it asked to be told.
    fn wake_fill(&mut self);
}

/// The bytes behind the chunks of one UMEM.
pub trait Memory {
    /// Copies the bytes of `src` into `dst`.
    ///
    /// # Panics
    /// If `dst` is not a frame of `self`, or `src` not one of `from`.
    fn copy_from(&mut self, dst: &mut Frame, from: &Self, src: &Frame);
}

/// A UMEM as a worker owns it: the ledger of its chunks, and their bytes.
#[derive(Debug)]
pub struct Umem<M> {
    /// Who owns each chunk.
    pub frames: Frames,
    /// The bytes.
    pub memory: M,
}
