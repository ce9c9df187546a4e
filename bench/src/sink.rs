//! The sink: an XDP program that checks, counts and drops.

use anyhow::Result;
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use bond_bench_ebpf::layout::{BUCKETS, Tally, lowest, maps, programs};
use bond_tests::Port;
use hdrhistogram::Histogram;

use crate::objects;

/// The program on the netdevs of one end.
pub struct Sink {
    tally: PerCpuArray<MapData, [u64; 5]>,
    latency: PerCpuArray<MapData, u64>,
    /// Holds the attachments.
    _ebpf: Ebpf,
}

impl Sink {
    /// Attaches it to `ports`, in their drivers.
    pub fn attach(ports: &[Port]) -> Result<Self> {
        let mut ebpf = objects::load()?;
        let program = objects::xdp(&mut ebpf, programs::SINK)?;
        ports.iter().try_for_each(|port| objects::attach(program, port))?;
        let tally = objects::map(&mut ebpf, maps::TALLY)?;
        let latency = objects::map(&mut ebpf, maps::LATENCY)?;
        Ok(Self { tally, latency, _ebpf: ebpf })
    }

    /// Everything seen since it was attached.
    pub fn tally(&self) -> Result<Tally> {
        let tallies = objects::per_cpu(&self.tally, 0)?.into_iter().map(Tally::from);
        Ok(tallies.fold(Tally::default(), |sum, one| Tally {
            frames: sum.frames + one.frames,
            bad: sum.bad + one.bad,
            late: sum.late + one.late,
            other: sum.other + one.other,
            next: sum.next.max(one.next),
        }))
    }

    /// The latencies of all frames with a stamp since it was attached, counted by bucket.
    pub fn latencies(&self) -> Result<Vec<u64>> {
        (0..BUCKETS)
            .map(|bucket| Ok(objects::per_cpu(&self.latency, bucket)?.into_iter().sum()))
            .collect()
    }
}

/// The frames between two readings of [`Sink::latencies`], in ns.
pub fn histogram(before: &[u64], after: &[u64]) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_max(1 << 31, 3)?;
    for (bucket, (before, after)) in (0..).zip(before.iter().zip(after)) {
        let middle = u64::midpoint(lowest(bucket), lowest(bucket + 1));
        histogram.record_n(middle, after - before)?;
    }
    Ok(histogram)
}
