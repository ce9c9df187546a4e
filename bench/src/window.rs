//! One measurement: a device has the machine to itself for less than a second.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bond_bench_ebpf::layout::Tally;
use hdrhistogram::Histogram;

use crate::{
    device::{Device, Direction},
    generator::Generator,
    machine::Foreign,
    profile::{Profiler, Spent},
    sink::histogram,
};

/// From the device's start to the first frame.
const WAKE: Duration = Duration::from_millis(10);
/// From the first frame to the first that counts: rings fill, adaptive workers wake up.
const WARM_UP: Duration = Duration::from_millis(100);
/// From the last frame to the halt: the device works off what it has.
const DRAIN: Duration = Duration::from_millis(10);

/// What a device is given to forward.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Load {
    pub direction: Direction,
    /// Bytes of a frame, without the FCS.
    pub length: usize,
    /// From one frame to the next; none: as many as the generator can.
    pub period: Option<Duration>,
    /// How long it is measured.
    pub window: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Window {
    /// Frames a second, sent by the generator and counted by the sink.
    pub sent: f64,
    pub received: f64,
    /// Of the received ones: damaged, and overtaken.
    pub bad: u64,
    pub late: u64,
    /// Of a load with a period: the frames of the whole run, until the device had worked them off, that never came.
    pub lost: u64,
    /// The frames that `lost` is of.
    pub of: u64,
    /// Of a load with a period, in ns.
    pub latency: Option<Histogram<u64>>,
    /// CPU time of the device's process, if somebody looked at it.
    pub spent: Option<Spent>,
    /// Cores that others used.
    pub foreign: f64,
}

/// What both ends had counted at one time.
struct Reading {
    at: Instant,
    sent: u64,
    tally: Tally,
    spent: Option<Spent>,
}

/// Measures `device` under `load`.
pub fn measure(
    device: &Device,
    generator: &mut Generator,
    load: Load,
    profiler: Option<&Profiler>,
) -> Result<Window> {
    let sink = device.sink(load.direction);
    let stream = device.stream(load.direction, load.length, load.period);
    let latencies = || load.period.map(|_| sink.latencies()).transpose();
    let foreign = Foreign::watch(&device.pids())?;
    let (before, sent_before) = (sink.tally()?, generator.sent()?);
    device.run(true)?;
    thread::sleep(WAKE);
    let (first, latency_first, last, latency_last) = generator.run(&stream, |sending| {
        let read = || -> Result<Reading> {
            let spent = profiler.map(Profiler::spent).transpose()?;
            let (sent, tally) = (sending.frames()?, sink.tally()?);
            Ok(Reading { at: Instant::now(), sent, tally, spent })
        };
        thread::sleep(WARM_UP);
        let latency = latencies()?;
        let first = read()?;
        thread::sleep(load.window);
        let last = read()?;
        Ok((first, latency, last, latencies()?))
    })?;
    thread::sleep(DRAIN);
    let (after, sent_after) = (sink.tally()?, generator.sent()?);
    device.run(false)?;

    let seconds = (last.at - first.at).as_secs_f64();
    let latency = latency_first
        .zip(latency_last)
        .map(|(first, last)| histogram(&first, &last))
        .transpose()?;
    let of = sent_after - sent_before;
    Ok(Window {
        sent: (last.sent - first.sent) as f64 / seconds,
        received: (last.tally.frames - first.tally.frames) as f64 / seconds,
        bad: after.bad - before.bad,
        late: last.tally.late - first.tally.late,
        lost: of.saturating_sub(after.frames - before.frames),
        of,
        latency,
        spent: first.spent.zip(last.spent).map(|(first, last)| last.since(first)),
        foreign: foreign.cores()?,
    })
}
