//! The two halves in two threads over software NICs: exact order, exact counts, and frames that add up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::pipeline::{Bell, Stock, pipeline};
use super::soft_nic::{SoftFrame, SoftNic, SoftRx, SoftTx};
use super::tests::{CHUNKS, active_backup, balance_rr, queue, umem};
use super::*;
use crate::snapshot::Snapshot;
use crate::xsk::{Census, PortId};

/// Frames that the egress keeps of each UMEM.
const SEAM: usize = 150;

struct Bench {
    poller: Poller<SoftNic>,
    sender: Sender<SoftNic>,
    counters: [Arc<Counters>; 2],
}

impl Bench {
    /// bond0 and `slaves` slaves on one UMEM; the slave in `own` has one of its own.
    fn new(slaves: u8, own: Option<u8>) -> Self {
        let counters = [(); 2].map(|()| Arc::new(Counters::default()));
        let bell = Arc::new(Bell::new().unwrap());
        let host = queue(PortId::HOST, 0);
        let halves = pipeline(host, umem(0), SEAM, counters.clone(), bell);
        let (poller, sender) = halves.unwrap();
        let mut bench = Self { poller, sender, counters };
        for slot in 0..slaves {
            bench.attach(slot, own == Some(slot));
        }
        bench
    }

    fn attach(&mut self, slot: u8, own: bool) {
        let id = if own { slot + 1 } else { 0 };
        let slave = SlavePort { queues: vec![queue(PortId::slave(slot), id)] };
        let (rx, tx) = slave.split();
        let mut umem = own.then(|| (id, umem(id)));
        let sending = umem.as_mut().map(|(id, umem)| {
            let stock = Stock::new(umem, SEAM);
            (*id, (umem.for_sending(), stock))
        });
        self.sender.attach(slot, tx, sending);
        self.poller.attach(slot, rx, umem);
    }

    fn host_sends(&mut self, tags: std::ops::Range<u64>) {
        let nic = self.poller.ingress_mut().host_mut().rings_mut();
        tags.for_each(|tag| assert!(nic.arrive(SoftFrame { tag, len: 60 })));
    }

    fn wire_sends(&mut self, slot: u8, tags: std::ops::Range<u64>) {
        let nic = self.poller.ingress_mut().slave_mut(slot).unwrap()[0].rings_mut();
        tags.for_each(|tag| assert!(nic.arrive(SoftFrame { tag, len: 60 })));
    }

    fn sent(&mut self) -> [Vec<u64>; 3] {
        sent(&mut self.sender)
    }

    fn turn(&mut self, snapshot: Snapshot) {
        self.poller.turn(snapshot);
        self.sender.turn(snapshot);
    }

    /// Nothing is under way: every chunk is free or waits to receive.
    fn check_at_rest(&mut self, snapshot: Snapshot) {
        (0..8).for_each(|_| self.turn(snapshot));
        for census in Counters::umems(&self.counters) {
            let Census { total, free, held, fill, tx } = census;
            assert_eq!((total, free + fill, held, tx), (CHUNKS, CHUNKS, 0, 0));
        }
    }

    fn drops(&self, port: PortId, reason: DropReason) -> u64 {
        self.counters.iter().map(|counters| counters.port(port).dropped(reason)).sum()
    }
}

/// What was put on the tx rings of bond0 and of two slaves since the last call. The kernel has sent it by then.
fn sent(sender: &mut Sender<SoftNic>) -> [Vec<u64>; 3] {
    let egress = sender.egress_mut();
    let take = |nic: &mut SoftTx| {
        nic.finish(usize::MAX);
        nic.take_sent().into_iter().map(|frame| frame.tag).collect()
    };
    let host = take(egress.host_mut().rings_mut());
    let [first, second] = [0, 1].map(|slot| match egress.slave_mut(slot) {
        Some(queues) => take(queues[0].rings_mut()),
        None => Vec::new(),
    });
    [host, first, second]
}

/// Fills the rx rings of bond0, with frames of even tags, and of slave 0, with odd ones; `next` counts them.
fn feed(ingress: &mut Ingress<SoftNic>, next: &mut [u64; 2], frames: u64) {
    let mut arrive = |nic: &mut SoftRx, way: usize| {
        while next[way] < frames
            && nic.arrive(SoftFrame { tag: 2 * next[way] + way as u64, len: 60 })
        {
            next[way] += 1;
        }
    };
    arrive(ingress.host_mut().rings_mut(), 0);
    arrive(ingress.slave_mut(0).unwrap()[0].rings_mut(), 1);
}

/// Everything that comes from bond0 and from both slaves, with as many frames on the way as there is room for.
fn both_ways(snapshot: Snapshot, frames: u64) -> ([Vec<u64>; 3], Bench) {
    let Bench { mut poller, mut sender, counters } = Bench::new(2, None);
    // As copy mode does: what is kicked is sent.
    let egress = sender.egress_mut();
    egress.host_mut().rings_mut().sends_on_kick = true;
    for slot in [0, 1] {
        egress.slave_mut(slot).unwrap()[0].rings_mut().sends_on_kick = true;
    }
    let done = AtomicBool::new(false);
    let mut out: [Vec<u64>; 3] = Default::default();
    thread::scope(|scope| {
        let poller = &mut poller;
        let sending = scope.spawn(|| {
            let mut next = [0; 2];
            while next != [frames; 2] {
                feed(poller.ingress_mut(), &mut next, frames);
                poller.turn(snapshot);
            }
            while poller.turn(snapshot) > 0 || !done.load(Ordering::Acquire) {}
        });
        let mut count = 0;
        while count < 2 * frames {
            sender.turn(snapshot);
            for (out, new) in out.iter_mut().zip(sent(&mut sender)) {
                count += new.len() as u64;
                out.extend(new);
            }
        }
        done.store(true, Ordering::Release);
        sending.join().unwrap();
    });
    (out, Bench { poller, sender, counters })
}

#[test]
fn two_threads_move_every_frame_once_and_in_order() {
    const FRAMES: u64 = if cfg!(miri) { 200 } else { 100_000 };
    let tags = |first: u64, step: usize| (first..2 * FRAMES).step_by(step).collect::<Vec<_>>();
    let (out, mut bench) = both_ways(balance_rr(&[0, 1], 1), FRAMES);
    assert!(out == [tags(1, 2), tags(0, 4), tags(2, 4)], "balance-rr");
    bench.check_at_rest(balance_rr(&[0, 1], 1));
    let (out, mut bench) = both_ways(active_backup(Some(0)), FRAMES);
    assert!(out == [tags(1, 2), tags(0, 2), Vec::new()], "active-backup");
    bench.check_at_rest(active_backup(Some(0)));
}

#[test]
fn an_egress_that_does_not_keep_up_leaves_frames_on_the_rx_ring() {
    let mut bench = Bench::new(1, None);
    let snapshot = active_backup(Some(0));
    let mut arrived = 0;
    for _ in 0..8 {
        bench.host_sends(arrived..arrived + 64);
        arrived += 64;
        bench.poller.turn(snapshot);
        if arrived == 384 {
            break;
        }
    }
    assert_eq!(bench.counters[0].port(PortId::HOST).rx_frames.get(), 256, "as the ring holds");
    let mut out = Vec::new();
    for _ in 0..8 {
        bench.turn(snapshot);
        out.extend(bench.sent()[1].iter().copied());
    }
    let refused = bench.drops(PortId::slave(0), DropReason::TxFull);
    assert_eq!((out.len() as u64 + refused, refused), (384, 128), "the tx ring holds 128");
    bench.check_at_rest(snapshot);
}

#[test]
fn frames_cross_between_umems_by_copy_both_ways() {
    let mut bench = Bench::new(2, Some(1));
    let snapshot = active_backup(Some(1));
    for round in 0..20 {
        let first = round * 100;
        bench.host_sends(first..first + 60);
        bench.wire_sends(1, first + 60..first + 100);
        bench.turn(snapshot);
        let [host, _, slave] = bench.sent();
        assert_eq!(slave, Vec::from_iter(first..first + 60));
        assert_eq!(host, Vec::from_iter(first + 60..first + 100));
    }
    let copies = |port| bench.counters[1].port(port).seam_copies.get();
    assert_eq!((copies(PortId::HOST), copies(PortId::slave(1))), (20 * 40, 20 * 60));
    bench.check_at_rest(snapshot);
}

#[test]
fn a_slave_that_leaves_gives_everything_back() {
    for own in [false, true] {
        let mut bench = Bench::new(2, own.then_some(0));
        let id = 1;
        let snapshot = active_backup(Some(0));
        bench.host_sends(0..20);
        bench.turn(snapshot);
        // Seven more on the ring when it leaves.
        bench.wire_sends(0, 20..27);
        bench.poller.turn(snapshot);
        drop((bench.poller.detach(0), bench.sender.detach(0)));
        assert_eq!(bench.sender.reclaim(0, id, snapshot), 20);
        let (back, umem) = bench.poller.reclaim(0, id);
        assert_eq!((back, umem.is_some()), (128, own));
        assert_eq!(bench.drops(PortId::slave(0), DropReason::SlaveGone), 20);
        assert_eq!(bench.sent()[0], Vec::from_iter(20..27));
        assert_eq!(Counters::umems(&bench.counters).count(), 1);
        bench.check_at_rest(snapshot);
        // And comes back.
        bench.attach(0, own);
        bench.host_sends(30..33);
        bench.turn(snapshot);
        assert_eq!(bench.sent()[1], [30, 31, 32]);
        bench.check_at_rest(snapshot);
    }
}
