//! How many frames a second each device forwards when it is given more than it can take.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{About, Bench};
use crate::{
    device::{Direction, Mode},
    report::{Measurement, Name},
    window::Load,
};

const WINDOW: Duration = Duration::from_millis(300);

/// All devices, in `direction`, with frames of `length` bytes.
pub fn rate(bench: &mut Bench, direction: Direction, length: usize) -> Result<Vec<Measurement>> {
    let all = bench.select(|_| true);
    let load = Load { direction, length, period: None, window: WINDOW };
    let windows = bench.turns("rate", &all, |bench, device| {
        let window = bench.measure(device, load, None)?;
        let spec = bench.devices[device].spec;
        ensure!(window.bad == 0, "{spec}: {} frames arrived damaged", window.bad);
        ensure!(window.received > 0.0, "{spec}: no frame arrived");
        Ok(window)
    })?;
    let about = |name, unit| About { name, unit, direction, length, load: None };
    let rates = windows.iter().map(|windows| windows.iter().map(|w| w.received).collect());
    let mut out = bench.measurements(&about(Name::Rate, "frames/s"), &all, rates.collect());

    let is_rr = |place: &usize| bench.devices[all[*place]].spec.mode == Mode::BalanceRr;
    let rr: Vec<_> = (0..all.len()).filter(is_rr).collect();
    let late = |place: &usize| {
        let windows = windows[*place].iter();
        windows.map(|w| 100.0 * w.late as f64 / (w.received * WINDOW.as_secs_f64())).collect()
    };
    let late = rr.iter().map(late).collect();
    let rr: Vec<_> = rr.iter().map(|place| all[*place]).collect();
    out.extend(bench.measurements(&about(Name::Overtaken, "%"), &rr, late));
    Ok(out)
}
