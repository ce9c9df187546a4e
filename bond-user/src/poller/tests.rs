//! The per-batch work over software NICs: exact order, exact counts, and frames that always add up.

use std::sync::Arc;

use bond_ebpf::hash::HashPolicy;
use bond_ebpf::select::{SlaveSet, Weights};
use proptest::prelude::*;

use super::soft_nic::{SoftFrame, SoftMemory, SoftNic, SoftRx, SoftTx};
use super::*;
use crate::mode::Mode;
use crate::snapshot::Snapshot;
use crate::xsk::{Census, PortId, UmemId};

const SLOTS: usize = 128;
pub(super) const CHUNKS: u32 = 1024;

struct Bench {
    plane: Dataplane<SoftNic>,
    counters: Arc<Counters>,
    /// Frames made so far: each carries its number.
    made: u64,
}

pub(super) fn queue(port: PortId, umem: UmemId) -> Queue<SoftNic> {
    Queue::new(SoftNic::new(SLOTS), port, umem, Depth { fill: SLOTS, shallow: SLOTS, tx: SLOTS })
}

pub(super) fn umem(id: UmemId) -> Umem<SoftMemory> {
    Umem { frames: Frames::new(id, CHUNKS), memory: SoftMemory::new(CHUNKS) }
}

impl Bench {
    /// bond0 and `slaves` slaves of one queue each, all on one UMEM.
    fn new(slaves: u8) -> Self {
        let counters = Arc::new(Counters::default());
        let mut plane =
            Dataplane::new(queue(PortId::HOST, 0), umem(0), Arc::clone(&counters)).unwrap();
        for slot in 0..slaves {
            plane.attach(slot, SlavePort { queues: vec![queue(PortId::slave(slot), 0)] }, None);
        }
        Self { plane, counters, made: 0 }
    }

    /// Where bond0 sends.
    fn host_rx(&mut self) -> &mut SoftRx {
        self.plane.halves_mut().0.host_mut().rings_mut()
    }

    /// Where bond0 receives.
    fn host(&mut self) -> &mut SoftTx {
        self.plane.halves_mut().1.host_mut().rings_mut()
    }

    fn has_slave(&mut self, slot: u8) -> bool {
        self.plane.halves_mut().0.slave_mut(slot).is_some()
    }

    /// Where a slave receives.
    fn slave_rx(&mut self, slot: u8) -> &mut SoftRx {
        self.plane.halves_mut().0.slave_mut(slot).unwrap()[0].rings_mut()
    }

    /// Where it sends.
    fn slave(&mut self, slot: u8) -> &mut SoftTx {
        self.plane.halves_mut().1.slave_mut(slot).unwrap()[0].rings_mut()
    }

    fn frame(&mut self) -> SoftFrame {
        self.made += 1;
        SoftFrame { tag: self.made, len: 60 + u16::try_from(self.made % 1455).unwrap() }
    }

    /// `count` frames arrive at bond0; returns those that found a chunk.
    fn host_sends(&mut self, count: usize) -> Vec<SoftFrame> {
        let frames: Vec<SoftFrame> = (0..count).map(|_| self.frame()).collect();
        frames.into_iter().filter(|frame| self.host_rx().arrive(*frame)).collect()
    }

    fn wire_sends(&mut self, slot: u8, count: usize) -> Vec<SoftFrame> {
        let frames: Vec<SoftFrame> = (0..count).map(|_| self.frame()).collect();
        frames.into_iter().filter(|frame| self.slave_rx(slot).arrive(*frame)).collect()
    }

    fn drops(&self, port: PortId, reason: DropReason) -> u64 {
        self.counters.port(port).dropped(reason)
    }

    fn check(&self) {
        assert!(self.plane.audit());
        for Census { total, free, held, fill, tx } in self.plane.censuses() {
            assert_eq!(total, CHUNKS);
            assert_eq!(free + held + fill + tx, total);
            assert_eq!(held, 0, "between two turns no frame is in a batch or in the ring");
        }
    }
}

fn set(slots: &[u8]) -> SlaveSet {
    slots.iter().copied().collect()
}

pub(super) fn active_backup(active: Option<u8>) -> Snapshot {
    Snapshot {
        mode: Mode::ActiveBackup,
        usable: set(&[0, 1]),
        receive: active.into_iter().collect(),
        active,
        packets_per_slave: 1,
        xmit_hash_policy: HashPolicy::Layer2,
        weights: Weights::EVEN,
    }
}

pub(super) fn balance_rr(usable: &[u8], packets_per_slave: u16) -> Snapshot {
    let usable = set(usable);
    Snapshot {
        mode: Mode::BalanceRr,
        usable,
        receive: usable,
        active: None,
        packets_per_slave,
        xmit_hash_policy: HashPolicy::Layer2,
        weights: Weights::EVEN,
    }
}

fn broadcast(usable: &[u8]) -> Snapshot {
    Snapshot { mode: Mode::Broadcast, ..balance_rr(usable, 1) }
}

#[test]
fn broadcast_sends_all_on_every_usable_slave_in_order() {
    let mut bench = Bench::new(3);
    let sent = bench.host_sends(100);
    assert_eq!(sent.len(), 100);
    assert_eq!(bench.plane.turn(broadcast(&[0, 2])), 100);
    for slot in [0, 2] {
        assert_eq!(bench.slave(slot).take_sent(), sent, "slot {slot}");
        assert_eq!(bench.slave(slot).kicks, 1, "one wake-up for both batches");
    }
    assert_eq!(bench.slave(1).take_sent(), []);
    bench.check();
    bench.host_sends(5);
    bench.plane.turn(broadcast(&[]));
    assert_eq!(bench.drops(PortId::HOST, DropReason::NoUsableSlave), 5, "once each");
    bench.check();
}

#[test]
fn broadcast_without_free_chunks_is_a_counted_drop() {
    let mut bench = Bench::new(1);
    let small = Umem { frames: Frames::new(1, 4), memory: SoftMemory::new(4) };
    let slave = SlavePort { queues: vec![queue(PortId::slave(1), 1)] };
    bench.plane.attach(1, slave, Some((1, small)));
    let slave = SlavePort { queues: vec![queue(PortId::slave(2), 0)] };
    bench.plane.attach(2, slave, None);
    assert_eq!(bench.slave_rx(1).filled(), 4, "all of its chunks wait to receive");
    let sent = bench.host_sends(3);
    bench.plane.turn(broadcast(&[0, 1, 2]));
    assert_eq!((bench.slave(0).take_sent(), bench.slave(2).take_sent()), (sent.clone(), sent));
    assert_eq!(bench.slave(1).take_sent(), []);
    assert_eq!(bench.drops(PortId::slave(1), DropReason::NoFreeFrame), 3);
}

#[test]
fn active_backup_sends_all_on_the_active_slave_in_order() {
    let mut bench = Bench::new(2);
    let sent = bench.host_sends(100);
    assert_eq!(sent.len(), 100);
    assert_eq!(bench.plane.turn(active_backup(Some(1))), 100);
    assert_eq!(bench.slave(1).take_sent(), sent);
    assert_eq!(bench.slave(0).take_sent(), []);
    assert_eq!(bench.slave(1).kicks, 1, "one wake-up for both batches");
    bench.check();
}

#[test]
fn a_turn_takes_two_batches_from_bond0_and_one_from_a_slave() {
    let mut bench = Bench::new(1);
    bench.host_sends(128);
    bench.wire_sends(0, 128);
    assert_eq!(bench.plane.turn(active_backup(Some(0))), 128 + 64);
    assert_eq!(bench.plane.turn(active_backup(Some(0))), 64);
    bench.check();
}

#[test]
fn an_overloaded_queue_is_shallow_until_it_is_empty() {
    let depth = Depth { fill: SLOTS, shallow: 64, tx: SLOTS };
    let mut bench = Bench::new(0);
    let queues = vec![Queue::new(SoftNic::new(SLOTS), PortId::slave(0), 0, depth)];
    bench.plane.attach(0, SlavePort { queues }, None);
    let mut turn = |arrive: usize| {
        let arrived = bench.wire_sends(0, arrive).len();
        let moved = bench.plane.turn(active_backup(Some(0)));
        bench.host().finish(usize::MAX);
        (arrived, moved, bench.slave_rx(0).filled())
    };
    assert_eq!(turn(0), (0, 0, 128));
    assert_eq!(turn(128), (128, 64, 64), "64 filled again, 64 wait on the rx ring");
    assert_eq!(turn(64), (64, 64, 0), "128 frames in full batches: overloaded, so none is filled");
    assert_eq!(turn(0), (0, 64, 64), "what waited is worked off, and 64 are filled");
    assert_eq!(turn(20), (20, 20, 64), "a batch that is not full says nothing");
    assert_eq!(turn(0), (0, 0, 128), "empty: as deep as before");
    bench.check();
}

#[test]
fn a_backup_delivers_nothing() {
    let mut bench = Bench::new(2);
    bench.wire_sends(0, 10);
    let good = bench.wire_sends(1, 7);
    bench.plane.turn(active_backup(Some(1)));
    assert_eq!(bench.host().take_sent(), good);
    assert_eq!(bench.drops(PortId::slave(0), DropReason::InactiveSlave), 10);
    assert_eq!(bench.drops(PortId::slave(1), DropReason::InactiveSlave), 0);
    bench.check();
}

#[test]
fn round_robin_takes_turns_exactly() {
    for packets_per_slave in [1u16, 3, 64, 100] {
        let mut bench = Bench::new(3);
        let sent = bench.host_sends(120);
        let snapshot = balance_rr(&[0, 2], packets_per_slave);
        bench.plane.turn(snapshot);
        bench.plane.turn(snapshot);
        let run = usize::from(packets_per_slave);
        for (lane, slot) in [(0, 0), (1, 2)] {
            let expected: Vec<SoftFrame> =
                sent.chunks(run).skip(lane).step_by(2).flatten().copied().collect();
            assert_eq!(bench.slave(slot).take_sent(), expected, "runs of {run}, slot {slot}");
        }
        assert_eq!(bench.slave(1).take_sent(), []);
        bench.check();
    }
}

#[test]
fn no_usable_slave_is_a_counted_drop() {
    let going_down = Snapshot { usable: set(&[0]), ..active_backup(Some(1)) };
    for snapshot in [active_backup(None), going_down, balance_rr(&[], 1)] {
        let mut bench = Bench::new(2);
        bench.host_sends(5);
        bench.plane.turn(snapshot);
        assert_eq!(bench.drops(PortId::HOST, DropReason::NoUsableSlave), 5);
        bench.check();
    }
}

#[test]
fn a_slave_that_is_not_there_is_a_counted_drop() {
    let mut bench = Bench::new(1);
    bench.host_sends(5);
    bench.plane.turn(active_backup(Some(1)));
    assert_eq!(bench.drops(PortId::slave(1), DropReason::SlaveGone), 5);
    bench.check();
}

#[test]
fn a_full_tx_ring_drops_after_one_kick_and_recovers() {
    let mut bench = Bench::new(2);
    let first = bench.host_sends(128);
    bench.plane.turn(active_backup(Some(0)));
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.slave(0).take_sent(), first, "the ring holds 128");
    bench.host_sends(10);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.drops(PortId::slave(0), DropReason::TxFull), 10);
    bench.slave(0).finish(usize::MAX);
    let later = bench.host_sends(10);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.slave(0).take_sent(), later);
    bench.check();
}

#[test]
fn a_slave_that_completes_nothing_holds_its_budget_and_no_more() {
    let mut bench = Bench::new(2);
    bench.slave(0).sends_on_kick = true;
    let free = bench.plane.censuses().next().unwrap().free;
    let mut healthy = 0;
    for _ in 0..50 {
        assert_eq!(bench.host_sends(20).len(), 20, "a chunk for every frame");
        bench.plane.turn(balance_rr(&[0, 1], 1));
        bench.slave(1).swallow();
        healthy += bench.slave(0).take_sent().len();
        bench.check();
    }
    assert_eq!(healthy, 500);
    assert_eq!(bench.drops(PortId::slave(0), DropReason::TxFull), 0);
    assert_eq!(bench.drops(PortId::slave(1), DropReason::TxFull), 500 - 128);
    let census = bench.plane.censuses().next().unwrap();
    assert_eq!(
        (census.free, census.tx),
        (free - 128 - 10, 128 + 10),
        "the last 10 are on their way"
    );
    drop(bench.plane.detach(1));
    assert_eq!(bench.plane.reclaim(1).tx, 128);
    assert_eq!(bench.drops(PortId::slave(1), DropReason::SlaveGone), 128);
}

#[test]
fn wake_ups_that_say_again_are_repeated_and_bounded() {
    let mut bench = Bench::new(1);
    bench.slave(0).answer = Kick::Again;
    bench.host_sends(1);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.slave(0).kicks, 32);
    assert!(bench.plane.owes_kick());
    bench.slave(0).answer = Kick::Done;
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.slave(0).kicks, 33, "what was left is kicked in the next turn");
    assert!(!bench.plane.owes_kick());
    bench.slave(0).answer = Kick::Down;
    bench.host_sends(1);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.counters.port(PortId::slave(0)).kicks_down.get(), 1);
    bench.check();
}

#[test]
fn frames_that_the_driver_drops_one_by_one_all_leave_the_ring() {
    let mut bench = Bench::new(1);
    bench.slave(0).refusing = true;
    bench.host_sends(40);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.drops(PortId::slave(0), DropReason::DriverRefused), 32);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.drops(PortId::slave(0), DropReason::DriverRefused), 40);
    bench.plane.turn(active_backup(Some(0)));
    assert!(!bench.plane.owes_kick());
    assert_eq!(bench.plane.censuses().next().unwrap().tx, 0);
    bench.check();
}

#[test]
fn a_ring_that_filled_up_while_the_netdev_was_down_works_again() {
    let mut bench = Bench::new(1);
    bench.slave(0).answer = Kick::Down;
    for _ in 0..3 {
        bench.host_sends(64);
        bench.plane.turn(active_backup(Some(0)));
    }
    assert_eq!(bench.drops(PortId::slave(0), DropReason::TxFull), 64, "the ring holds 128");
    bench.slave(0).answer = Kick::Done;
    bench.slave(0).sends_on_kick = true;
    bench.slave(0).take_sent();
    let sent = bench.host_sends(64);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.slave(0).take_sent(), sent);
    bench.check();
}

#[test]
fn forged_descriptors_are_refused_and_counted() {
    let mut bench = Bench::new(1);
    for chunk in [CHUNKS, u32::MAX, CHUNKS - 1] {
        bench.slave_rx(0).forge(crate::xsk::Desc { chunk, offset: 0, len: 60 });
    }
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.drops(PortId::slave(0), DropReason::BadDescriptor), 3);
    assert_eq!(bench.host().take_sent(), []);
    bench.check();
}

#[test]
fn frames_cross_between_umems_by_copy_both_ways() {
    let mut bench = Bench::new(1);
    let slave = SlavePort { queues: vec![queue(PortId::slave(1), 2)] };
    bench.plane.attach(1, slave, Some((2, umem(2))));
    let up = bench.wire_sends(1, 5);
    let down = bench.host_sends(7);
    bench.plane.turn(active_backup(Some(1)));
    assert_eq!(bench.host().take_sent(), up);
    assert_eq!(bench.slave(1).take_sent(), down);
    assert_eq!(bench.counters.port(PortId::HOST).seam_copies.get(), 5);
    assert_eq!(bench.counters.port(PortId::slave(1)).seam_copies.get(), 7);
    bench.check();
}

#[test]
fn an_exhausted_umem_at_the_seam_is_a_counted_drop() {
    let mut bench = Bench::new(0);
    let small = Umem { frames: Frames::new(1, 4), memory: SoftMemory::new(4) };
    let slave = SlavePort { queues: vec![queue(PortId::slave(0), 1)] };
    bench.plane.attach(0, slave, Some((1, small)));
    assert_eq!(bench.slave_rx(0).filled(), 4, "all of its chunks wait to receive");
    bench.host_sends(3);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.drops(PortId::slave(0), DropReason::NoFreeFrame), 3);
}

#[test]
fn a_slave_that_leaves_gives_everything_back() {
    let mut bench = Bench::new(2);
    bench.host_sends(20);
    bench.plane.turn(active_backup(Some(0)));
    let before = bench.plane.censuses().next().unwrap();
    assert_eq!((before.fill, before.tx), (3 * 128, 20));
    drop(bench.plane.detach(0));
    let back = bench.plane.reclaim(0);
    assert_eq!((back.fill, back.tx), (128, 20));
    assert_eq!(bench.drops(PortId::slave(0), DropReason::SlaveGone), 20);
    bench.check();
    // And comes back.
    let slave = SlavePort { queues: vec![queue(PortId::slave(0), 0)] };
    bench.plane.attach(0, slave, None);
    let sent = bench.host_sends(3);
    bench.plane.turn(active_backup(Some(0)));
    assert_eq!(bench.slave(0).take_sent(), sent);
    bench.check();
}

#[test]
fn every_receive_queue_of_a_slave_is_served() {
    let mut bench = Bench::new(0);
    let queues = (0..3).map(|_| queue(PortId::slave(0), 0)).collect();
    bench.plane.attach(0, SlavePort { queues }, None);
    let frames: Vec<SoftFrame> = (0..9).map(|_| bench.frame()).collect();
    for (at, frame) in frames.iter().enumerate() {
        let queues = bench.plane.halves_mut().0.slave_mut(0).unwrap();
        assert!(queues[at / 3].rings_mut().arrive(*frame));
    }
    assert_eq!(bench.plane.turn(active_backup(Some(0))), 9);
    assert_eq!(bench.host().take_sent(), frames);
    bench.check();
}

/// One step of the world around the poller.
#[derive(Clone, Debug)]
enum Step {
    HostSends(usize),
    WireSends(u8, usize),
    Finish(u8, usize),
    Turn,
    Rr(Vec<u8>, u16),
    Bc(Vec<u8>),
    Ab(Option<u8>),
    Leave(u8),
    Return(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..100usize).prop_map(Step::HostSends),
        3 => (0..3u8, 0..100usize).prop_map(|(slot, n)| Step::WireSends(slot, n)),
        3 => (0..4u8, 0..200usize).prop_map(|(port, n)| Step::Finish(port, n)),
        6 => Just(Step::Turn),
        1 => (prop::collection::vec(0..3u8, 0..3), 1..5u16).prop_map(|(s, p)| Step::Rr(s, p)),
        1 => prop::collection::vec(0..3u8, 0..3).prop_map(Step::Bc),
        1 => prop::option::of(0..3u8).prop_map(Step::Ab),
        1 => (0..3u8).prop_map(Step::Leave),
        1 => (0..3u8).prop_map(Step::Return),
    ]
}

impl Bench {
    fn take(&mut self, step: Step, snapshot: &mut Snapshot) {
        match step {
            Step::HostSends(count) => drop(self.host_sends(count)),
            Step::WireSends(slot, count) if self.has_slave(slot) => {
                self.wire_sends(slot, count);
            }
            Step::Finish(3, count) => {
                self.host().finish(count);
            }
            Step::Finish(slot, count) if self.has_slave(slot) => {
                self.slave(slot).finish(count);
            }
            Step::Turn => {
                self.plane.turn(*snapshot);
            }
            Step::Rr(usable, packets) => *snapshot = balance_rr(&usable, packets),
            Step::Bc(usable) => *snapshot = broadcast(&usable),
            Step::Ab(active) => *snapshot = active_backup(active),
            Step::Leave(slot) if self.plane.detach(slot).is_some() => {
                self.plane.reclaim(slot);
            }
            Step::Return(slot) if !self.has_slave(slot) => {
                let slave = SlavePort { queues: vec![queue(PortId::slave(slot), 0)] };
                self.plane.attach(slot, slave, None);
            }
            Step::WireSends(..) | Step::Finish(..) | Step::Leave(_) | Step::Return(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(crate::testing::property_tests())]

    /// Whatever happens around it, the frames add up, and nothing goes to a slave that is not usable.
    #[test]
    fn frames_always_add_up(steps in prop::collection::vec(step(), 1..if cfg!(miri) { 12 } else { 60 })) {
        let mut bench = Bench::new(3);
        let mut snapshot = active_backup(Some(0));
        for step in steps {
            bench.take(step, &mut snapshot);
            bench.check();
            for slot in 0..3 {
                if !bench.has_slave(slot) {
                    continue;
                }
                let sent = bench.slave(slot).take_sent();
                let selected = match snapshot.mode {
                    Mode::BalanceRr | Mode::BalanceXor | Mode::Broadcast => true,
                    Mode::ActiveBackup => snapshot.active == Some(slot),
                };
                let may = selected && snapshot.usable.contains(slot);
                prop_assert!(may || sent.is_empty(), "{} frames on slot {slot}", sent.len());
                prop_assert!(sent.windows(2).all(|pair| pair[0].tag < pair[1].tag), "out of order");
            }
        }
    }

    /// With room everywhere, every frame comes out exactly once, on either path.
    #[test]
    fn nothing_is_lost_below_capacity(
        bursts in prop::collection::vec((0..32usize, 0..32usize, 0..32usize), 1..if cfg!(miri) { 6 } else { 40 }),
        packets in 1..5u16,
    ) {
        let mut bench = Bench::new(2);
        let snapshot = balance_rr(&[0, 1], packets);
        let (mut down, mut up) = (Vec::new(), Vec::new());
        let (mut sent, mut delivered) = (Vec::new(), Vec::new());
        for (host, wire0, wire1) in bursts {
            down.extend(bench.host_sends(host));
            up.extend(bench.wire_sends(0, wire0));
            up.extend(bench.wire_sends(1, wire1));
            bench.plane.turn(snapshot);
            for slot in 0..2 {
                sent.extend(bench.slave(slot).take_sent());
                bench.slave(slot).finish(usize::MAX);
            }
            delivered.extend(bench.host().take_sent());
            bench.host().finish(usize::MAX);
        }
        let by_tag = |frames: &mut Vec<SoftFrame>| frames.sort_by_key(|frame| frame.tag);
        [&mut down, &mut up, &mut sent, &mut delivered].into_iter().for_each(by_tag);
        prop_assert_eq!(sent, down);
        prop_assert_eq!(delivered, up);
        bench.check();
    }
}
