//! What a worker counts. One writer (a thread of it), many readers; no read-modify-write anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bond_ebpf::layout::MAX_SLAVES;
use crossbeam_utils::CachePadded;

use crate::xsk::{Census, PortId, UmemId};

/// Ports of a bond: bond0's end and the slave slots.
pub(crate) const MAX_PORTS: usize = MAX_SLAVES + 1;

/// Why a frame was dropped: the closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Received on a backup slave.
    InactiveSlave,
    /// No slave was usable for sending.
    NoUsableSlave,
    /// As many frames as may be were on their way out already, and stayed so after a kick.
    TxFull,
    /// The driver dropped it: the peer's ring is full, or the carrier is lost.
    DriverRefused,
    /// The slave left while the frame was on its way out.
    SlaveGone,
    /// The frame had to change UMEM and the other one had no free chunk.
    NoFreeFrame,
    /// The kernel gave a descriptor that it did not own.
    BadDescriptor,
}

impl DropReason {
    /// All reasons, in the order of the views.
    pub const ALL: [Self; 7] = [
        Self::InactiveSlave,
        Self::NoUsableSlave,
        Self::TxFull,
        Self::DriverRefused,
        Self::SlaveGone,
        Self::NoFreeFrame,
        Self::BadDescriptor,
    ];

    /// The name in every view.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InactiveSlave => "inactive_slave",
            Self::NoUsableSlave => "no_usable_slave",
            Self::TxFull => "tx_full",
            Self::DriverRefused => "driver_refused",
            Self::SlaveGone => "slave_gone",
            Self::NoFreeFrame => "no_free_frame",
            Self::BadDescriptor => "bad_descriptor",
        }
    }
}

/// A counter with a single writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Frames and bytes of one port on one worker.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Frames received from the port's rx rings.
    pub rx_frames: Count,
    /// Their bytes, without the FCS.
    pub rx_bytes: Count,
    /// Frames put on the port's tx ring.
    pub tx_frames: Count,
    /// Their bytes, without the FCS.
    pub tx_bytes: Count,
    /// Frames copied into another UMEM to be sent here.
    pub seam_copies: Count,
    /// Wake-ups answered with ENETDOWN or ENXIO.
    pub kicks_down: Count,
    drops: [Count; DropReason::ALL.len()],
}

impl PortCounters {
    pub(super) fn drop(&self, reason: DropReason, frames: usize) {
        self.drops[reason as usize].add(frames as u64);
    }

    /// Frames dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }
}

/// The census of one UMEM, or one thread's part of it, as last published. All zero: no such UMEM.
#[derive(Debug, Default)]
pub struct UmemGauge([Count; 4]);

impl UmemGauge {
    fn publish(&self, census: Census) {
        let Census { total, free, held: _, fill, tx } = census;
        for (gauge, value) in self.0.iter().zip([total, free, fill, tx]) {
            gauge.set(u64::from(value));
        }
    }

    /// The part; what is held is in none.
    fn read(&self) -> Census {
        // What was published came from u32.
        let [total, free, fill, tx] =
            std::array::from_fn(|i| u32::try_from(self.0[i].get()).unwrap_or(u32::MAX));
        Census { total, free, held: 0, fill, tx }
    }
}

/// A thread's own life signs.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Turns of the loop: moves while the thread lives.
    pub turns: Count,
    /// Turns that moved no frame.
    pub idle_turns: Count,
    /// Turns that found more on a slave's queue than a burst can leave there.
    pub overloaded_turns: Count,
    /// Idle polls that put the thread to sleep.
    pub sleeps: Count,
}

/// Everything one thread of a worker publishes.
#[derive(Debug, Default)]
pub struct Counters {
    ports: [CachePadded<PortCounters>; MAX_PORTS],
    umems: [UmemGauge; MAX_PORTS],
    /// Life signs.
    pub worker: CachePadded<WorkerCounters>,
}

impl Counters {
    /// The counters of one port.
    #[must_use]
    pub fn port(&self, port: PortId) -> &PortCounters {
        &self.ports[port.index()]
    }

    /// The censuses of the UMEMs that exist, by what each thread of their worker published. The parts may be of two
    /// neighbouring turns.
    pub fn umems(threads: &[Arc<Self>]) -> impl Iterator<Item = Census> {
        (0..MAX_PORTS)
            .map(|umem| Census::of(threads.iter().map(|counters| counters.umems[umem].read())))
            .filter(|census| census.total > 0)
    }

    pub(super) fn publish_umem(&self, umem: UmemId, census: Census) {
        self.umems[usize::from(umem)].publish(census);
    }
}

/// Counters of one port, summed over all threads of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames copied at the seam between two UMEMs.
    pub seam_copies: u64,
    /// Wake-ups answered with ENETDOWN or ENXIO.
    pub kicks_down: u64,
    /// Drops, in the order of [`DropReason::ALL`].
    pub drops: [u64; DropReason::ALL.len()],
}

impl Totals {
    /// Sums `port` over `threads`.
    pub fn of<'a>(threads: impl Iterator<Item = &'a Counters>, port: PortId) -> Self {
        threads.map(|counters| counters.port(port)).fold(Self::default(), |mut sum, port| {
            sum.rx_frames += port.rx_frames.get();
            sum.rx_bytes += port.rx_bytes.get();
            sum.tx_frames += port.tx_frames.get();
            sum.tx_bytes += port.tx_bytes.get();
            sum.seam_copies += port.seam_copies.get();
            sum.kicks_down += port.kicks_down.get();
            for (sum, reason) in sum.drops.iter_mut().zip(DropReason::ALL) {
                *sum += port.dropped(reason);
            }
            sum
        })
    }
}
