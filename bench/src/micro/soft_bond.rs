//! A bond over software NICs: what a worker does, without a kernel.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use bond::mode::Mode;
use bond::poller::soft_nic::{self, SoftFrame, SoftMemory, SoftNic, SoftRx, SoftTx};
use bond::poller::{BATCH, Counters, Dataplane, Egress, Ingress, Queue, SlavePort, Umem};
use bond::snapshot::{Snapshot, SnapshotCell};
use bond::xsk::{BindMode, Census, Frames, Geometry, PortId, UmemId};
use bond_ebpf::hash::HashPolicy;
use bond_ebpf::select::{SlaveSet, Weights};
use core_affinity::CoreId;

/// The modes of the benchmarks. Frames of a software NIC have no bytes to hash, and broadcast sends more than it gets.
pub const MODES: [Mode; 2] = [Mode::BalanceRr, Mode::ActiveBackup];

/// Slave slots of the bond.
const SLAVES: [u8; 2] = [0, 1];

/// Where the frames of a turn come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// bond0 to the slaves.
    HostToWire,
    /// The slaves to bond0.
    WireToHost,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::HostToWire, Self::WireToHost];

    /// The name in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostToWire => "host-to-wire",
            Self::WireToHost => "wire-to-host",
        }
    }
}

/// What workers are told in `mode` when both slaves are up.
#[must_use]
pub fn snapshot(mode: Mode) -> Snapshot {
    let both: SlaveSet = SLAVES.into_iter().collect();
    let (receive, active) = match mode {
        Mode::BalanceRr | Mode::BalanceXor | Mode::Broadcast => (both, None),
        Mode::ActiveBackup => (std::iter::once(0).collect(), Some(0)),
    };
    Snapshot {
        mode,
        usable: both,
        receive,
        active,
        packets_per_slave: 1,
        xmit_hash_policy: HashPolicy::Layer2,
        weights: Weights::EVEN,
    }
}

/// bond0's end and two slaves of one queue each, with the rings and chunks that `bond run` gives them.
#[derive(Debug)]
pub struct SoftBond {
    plane: Dataplane<SoftNic>,
    counters: Arc<Counters>,
    snapshot: SnapshotCell,
    /// Frames that arrived.
    arrived: u64,
}

impl SoftBond {
    /// All on one UMEM.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self::with_umems(snapshot, &[])
    }

    /// The slaves of `own` have a UMEM of their own, so that their frames are copied at the seam.
    ///
    /// # Panics
    /// If the sizes of a bond are impossible.
    #[must_use]
    pub fn with_umems(snapshot: Snapshot, own: &[u8]) -> Self {
        let counters = Arc::new(Counters::default());
        let mut plane = Dataplane::new(queue(PortId::HOST, 0), umem(0, 3), Arc::clone(&counters))
            .expect("a ring of a power of two");
        for slot in SLAVES {
            let id = if own.contains(&slot) { slot + 1 } else { 0 };
            let slave = SlavePort { queues: vec![queue(PortId::slave(slot), id)] };
            plane.attach(slot, slave, (id > 0).then(|| (id, umem(id, 1))));
        }
        Self { plane, counters, snapshot: SnapshotCell::new(snapshot), arrived: 0 }
    }

    /// The kernel's half of a turn: what was put on tx rings is sent, and a batch of frames arrives
    /// at bond0, or, in equal shares, at the slaves that receive.
    ///
    /// # Panics
    /// If a frame finds no chunk.
    pub fn arrive(&mut self, direction: Direction) {
        let (ingress, egress) = self.plane.halves_mut();
        finish(egress);
        arrive(ingress, direction, self.snapshot.load().receive);
        self.arrived += BATCH as u64;
    }

    /// The worker's half: loads the snapshot, and moves what came.
    pub fn turn(&mut self) -> usize {
        self.plane.turn(self.snapshot.load())
    }

    /// Tells the worker something else from now on.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.publish(snapshot);
    }

    /// Every frame that arrived was received and sent, and the chunks add up.
    ///
    /// # Panics
    /// If not so.
    pub fn check(&self) {
        let ports = || [PortId::HOST, PortId::slave(0), PortId::slave(1)].into_iter();
        let received: u64 = ports().map(|port| self.counters.port(port).rx_frames.get()).sum();
        let sent: u64 = ports().map(|port| self.counters.port(port).tx_frames.get()).sum();
        assert_eq!((received, sent), (self.arrived, self.arrived), "received and sent");
        self.audit();
    }

    /// The chunks add up.
    ///
    /// # Panics
    /// If not so.
    pub fn audit(&self) {
        assert!(self.plane.audit(), "the running census is true");
        for Census { total, free, held, fill, tx } in self.plane.censuses() {
            assert_eq!((free + fill + tx, held), (total, 0), "chunks");
        }
    }
}

/// A queue with the rings that `bond run` gives it.
fn queue(port: PortId, umem: UmemId) -> Queue<SoftNic> {
    let geometry = geometry();
    let slots = geometry.rx_ring as usize;
    Queue::new(SoftNic::new(slots), port, umem, geometry.depth(BindMode::Copy))
}

fn umem(id: UmemId, queues: u32) -> Umem<SoftMemory> {
    let chunks = geometry().chunks(queues);
    Umem { frames: Frames::new(id, chunks), memory: SoftMemory::new(chunks) }
}

fn geometry() -> Geometry {
    Geometry::for_mtu(1500, false).expect("an MTU that fits")
}

/// Moves `batches` batches from bond0 to the slaves, or back, as a pipeline on `cores`: poller and egress. Returns the
/// time from the first frame to the last.
///
/// # Panics
/// If a thread cannot be made or pinned, or a frame is lost.
#[must_use]
pub fn pipeline(
    snapshot: Snapshot,
    direction: Direction,
    batches: u64,
    cores: [CoreId; 2],
) -> Duration {
    let slaves =
        SLAVES.map(|slot| (slot, SlavePort { queues: vec![queue(PortId::slave(slot), 0)] }));
    let counters = [(); 2].map(|()| Arc::new(Counters::default()));
    let halves = soft_nic::pipeline(queue(PortId::HOST, 0), umem(0, 3), slaves, counters);
    let (mut poller, mut sender) = halves.expect("a pipeline");
    let (start, done) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let polling = scope.spawn(|| {
            assert!(core_affinity::set_for_current(cores[0]));
            start.wait();
            let mut arrived = 0;
            while !done.load(Relaxed) {
                if arrived < batches && has_room(poller.ingress_mut()) {
                    arrive(poller.ingress_mut(), direction, snapshot.receive);
                    arrived += 1;
                }
                poller.turn(snapshot);
            }
        });
        assert!(core_affinity::set_for_current(cores[1]));
        start.wait();
        let begin = Instant::now();
        let mut sent = 0;
        while sent < batches * BATCH as u64 {
            finish(sender.egress_mut());
            sent += sender.turn(snapshot) as u64;
        }
        let elapsed = begin.elapsed();
        done.store(true, Relaxed);
        polling.join().expect("no panic in the poller");
        elapsed
    })
}

/// Whether a batch can arrive on any port.
fn has_room(ingress: &mut Ingress<SoftNic>) -> bool {
    let room = |nic: &mut SoftRx| nic.filled() >= BATCH;
    room(ingress.host_mut().rings_mut())
        && SLAVES
            .iter()
            .all(|slot| ingress.slave_mut(*slot).is_some_and(|queues| room(queues[0].rings_mut())))
}

/// The kernel's half of an egress: what was put on tx rings is sent.
fn finish(egress: &mut Egress<SoftNic>) {
    let finish = |nic: &mut SoftTx| {
        nic.finish(usize::MAX);
        nic.forget_sent();
    };
    finish(egress.host_mut().rings_mut());
    for slot in SLAVES {
        finish(egress.slave_mut(slot).expect("a slave in each slot")[0].rings_mut());
    }
}

/// The kernel's half of an ingress: a batch of frames arrives at bond0, or, in equal shares, at the slaves of `receive`.
fn arrive(ingress: &mut Ingress<SoftNic>, direction: Direction, receive: SlaveSet) {
    let arrive = |nic: &mut SoftRx, frames| {
        for tag in (0..).take(frames) {
            assert!(nic.arrive(SoftFrame { tag, len: 64 }), "the fill ring has a chunk");
        }
    };
    match direction {
        Direction::HostToWire => arrive(ingress.host_mut().rings_mut(), BATCH),
        Direction::WireToHost => {
            let share = BATCH / receive.len() as usize;
            for slot in receive.iter() {
                let slave = ingress.slave_mut(slot).expect("a slave in each slot");
                arrive(slave[0].rings_mut(), share);
            }
        }
    }
}
