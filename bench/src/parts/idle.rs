//! What a device uses of its CPU when nothing comes.

use std::{thread, time::Duration, time::Instant};

use anyhow::{Context as _, Result};

use super::{About, Bench};
use crate::{
    device::Direction,
    machine::cpu_time,
    report::{Measurement, Name},
};

const SETTLE: Duration = Duration::from_millis(200);
const WINDOW: Duration = Duration::from_secs(1);

/// The native devices that have a process.
pub fn idle(bench: &mut Bench) -> Result<Vec<Measurement>> {
    let numbers = bench.select(|spec| spec.is_native() && spec.system.has_process());
    let readings = bench.turns("idle", &numbers, |bench, device| {
        let device = &bench.devices[device];
        let used = || -> Result<Duration> {
            device.pids().iter().map(|pid| cpu_time(*pid).context("a process is gone")).sum()
        };
        device.run(true)?;
        thread::sleep(SETTLE);
        let (before, start) = (used()?, Instant::now());
        thread::sleep(WINDOW);
        let part = (used()? - before).as_secs_f64() / start.elapsed().as_secs_f64();
        device.run(false)?;
        Ok(100.0 * part)
    })?;
    let about = About {
        name: Name::Idle,
        unit: "% of a core",
        direction: Direction::HostToWire,
        length: 64,
        load: Some("none".to_owned()),
    };
    Ok(bench.measurements(&about, &numbers, readings))
}
