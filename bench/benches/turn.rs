//! What does a frame cost in user space, from the poller to the egress?
//!
//! A turn of a worker over software NICs: completions, rx rings, the ring, selection, tx rings, fill rings, counters.
//! The clock runs during the turn alone: what the kernel does between two turns is left out, and the reading of
//! the clock, twice a turn, is in. The software NIC's user half, which stands for xsk-rs, is in too.

use std::time::Instant;

use bond::poller::BATCH;
use bond_bench::micro::{
    self,
    soft_bond::{self, Direction, MODES, SoftBond, snapshot},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn turn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    group.throughput(Throughput::Elements(BATCH as u64));
    for direction in Direction::ALL {
        for mode in MODES {
            let mut bond = SoftBond::new(snapshot(mode));
            let id = BenchmarkId::new(mode.name(), direction.name());
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|turns| {
                    let timed = |_| {
                        bond.arrive(direction);
                        let start = Instant::now();
                        assert_eq!(bond.turn(), BATCH);
                        start.elapsed()
                    };
                    (0..turns).map(timed).sum()
                });
            });
            bond.check();
        }
    }
    group.finish();
}

/// The same in two threads, on two cores. The kernel's half is in, beside each thread's own: the figure is for
/// comparing pipelines with each other, and as frames a second.
fn pipeline(criterion: &mut Criterion) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let [poller, egress, ..] = cores[..] else {
        println!("skipped: turn-pipeline needs two cores");
        return;
    };
    let mut group = criterion.benchmark_group("turn-pipeline");
    group.throughput(Throughput::Elements(BATCH as u64));
    for direction in Direction::ALL {
        for mode in MODES {
            let id = BenchmarkId::new(mode.name(), direction.name());
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|batches| {
                    soft_bond::pipeline(snapshot(mode), direction, batches, [poller, egress])
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(micro::WARM_UP).measurement_time(micro::MEASUREMENT);
    targets = turn, pipeline
}
criterion_main!(benches);
