//! What does it cost to find out where a frame goes?

use std::hint::black_box;

use bond::mode::Mode;
use bond::poller::BATCH;
use bond::snapshot::{Snapshot, SnapshotCell};
use bond_bench::micro::{self, soft_bond::snapshot};
use bond_ebpf::ether::is_link_local;
use bond_ebpf::hash::{HashPolicy, hash};
use bond_ebpf::select::RoundRobin;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The slot of each frame of a batch.
type Slots = [u8; BATCH];

/// Frames in a row to one slave.
const PACKETS_PER_SLAVE: [u16; 3] = [1, 8, 64];

/// Slave selection: a snapshot a batch, and a slot for each frame.
fn select(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut bench =
        |id: BenchmarkId, snapshot: Snapshot, fill: &mut dyn FnMut(Snapshot, &mut Slots)| {
            let cell = SnapshotCell::new(snapshot);
            let mut slots = [u8::MAX; BATCH];
            group.bench_function(id, |bencher| {
                bencher.iter(|| fill(black_box(&cell).load(), black_box(&mut slots)));
            });
            assert!(slots.iter().all(|slot| snapshot.usable.contains(*slot)), "{slots:?}");
        };
    for packets_per_slave in PACKETS_PER_SLAVE {
        let snapshot = Snapshot { packets_per_slave, ..snapshot(Mode::BalanceRr) };
        let [mut by_runs, mut by_frames] = [RoundRobin::default(); 2];
        let id = |name| BenchmarkId::new(name, packets_per_slave);
        bench(id("balance-rr-runs"), snapshot, &mut |s, slots| runs(&mut by_runs, s, slots));
        bench(id("balance-rr-frames"), snapshot, &mut |s, slots| frames(&mut by_frames, s, slots));
    }
    bench(
        BenchmarkId::from_parameter("active-backup"),
        snapshot(Mode::ActiveBackup),
        &mut |snapshot, slots| {
            if let Some(active) = snapshot.active {
                slots.fill(active);
            }
        },
    );
    group.finish();
}

/// Selection by hash: of each frame of a batch, of flows that differ by their ports, the slot.
fn hash_policies(criterion: &mut Criterion) {
    let frames: [[u8; 60]; BATCH] = std::array::from_fn(|i| {
        let mut frame = [0; 60];
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        frame[23] = 17; // UDP
        frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame[35] = u8::try_from(i).expect("64 ports");
        frame
    });
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(BATCH as u64));
    let Snapshot { usable, weights, .. } = snapshot(Mode::BalanceXor);
    for policy in HashPolicy::ALL {
        let mut slots = [u8::MAX; BATCH];
        group.bench_function(policy.name(), |bencher| {
            bencher.iter(|| {
                for (slot, frame) in black_box(&mut slots).iter_mut().zip(black_box(&frames)) {
                    *slot =
                        black_box(usable).hashed(hash(frame, policy), weights).unwrap_or(u8::MAX);
                }
            });
        });
        assert!(slots.iter().all(|slot| usable.contains(*slot)), "{slots:?}");
    }
    group.finish();
}

/// By runs: how many frames in a row go to one slave.
fn runs(round_robin: &mut RoundRobin, snapshot: Snapshot, mut slots: &mut [u8]) {
    let turn = snapshot.turn();
    while let Some((slot, run)) = round_robin.run(snapshot.usable, turn, slots.len()) {
        let (now, later) = slots.split_at_mut(run);
        now.fill(slot);
        if later.is_empty() {
            return;
        }
        slots = later;
    }
}

/// As workers do, and an XDP program would: frame by frame.
fn frames(round_robin: &mut RoundRobin, snapshot: Snapshot, slots: &mut [u8]) {
    let turn = snapshot.turn();
    for slot in slots {
        if let Some(selected) = round_robin.select(snapshot.usable, turn) {
            *slot = selected;
        }
    }
}

/// Classification: today the link-local test of the XDP program is all that looks into a frame.
fn classify(criterion: &mut Criterion) {
    let addresses: [[u8; 6]; BATCH] = std::array::from_fn(|i| {
        let last = u8::try_from(i).expect("64 addresses");
        if i % 16 == 0 { [0x01, 0x80, 0xc2, 0, 0, last / 16] } else { [0x02, 0, 0, 0, 0, last] }
    });
    let mut group = criterion.benchmark_group("classify");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("link-local", |bencher| {
        bencher.iter(|| {
            let found = black_box(&addresses).iter().filter(|address| is_link_local(**address));
            assert_eq!(found.count(), 4);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(micro::WARM_UP).measurement_time(micro::MEASUREMENT);
    targets = select, hash_policies, classify
}
criterion_main!(benches);
