//! Where the time of a frame goes, user space or kernel, under the load of [`super::rate`].

use std::time::Duration;

use anyhow::Result;

use super::{About, Bench};
use crate::{
    device::Direction,
    profile::Profiler,
    report::{Measurement, Name},
    window::Load,
};

/// Long enough for some thousand samples.
const WINDOW: Duration = Duration::from_secs(1);

/// The devices that have a process, from the host to the wire, 64 bytes.
pub fn profile(bench: &mut Bench) -> Result<Vec<Measurement>> {
    let numbers = bench.select(|spec| spec.system.has_process());
    let (direction, length) = (Direction::HostToWire, 64);
    let load = Load { direction, length, period: None, window: WINDOW };
    let mut profiler = Profiler::attach()?;
    let spent = bench.turns("profile", &numbers, |bench, device| {
        profiler.look_at(bench.devices[device].pids()[0])?;
        let window = bench.measure(device, load, Some(&profiler))?;
        let frames = window.received * WINDOW.as_secs_f64();
        let spent = window.spent.unwrap_or_default();
        Ok([spent.user_ns, spent.user_ns + spent.kernel_ns].map(|ns| ns as f64 / frames))
    })?;
    let mut out = Vec::new();
    for (place, name) in [Name::UserTime, Name::CpuTime].into_iter().enumerate() {
        let about = About { name, unit: "ns/frame", direction, length, load: None };
        let readings = spent.iter().map(|turns| turns.iter().map(|one| one[place]).collect());
        out.extend(bench.measurements(&about, &numbers, readings.collect()));
    }
    Ok(out)
}
