//! The highest rate at which a device loses nothing, or next to nothing.

use std::time::Duration;

use anyhow::Result;

use super::{About, Bench, period};
use crate::{
    device::Direction,
    report::{Measurement, Name},
    window::Load,
};

const WINDOW: Duration = Duration::from_millis(400);
/// Halvings of the range in which the rate is looked for.
const STEPS: u32 = 6;
/// The upper end of that range, frames a second: more than any AF_XDP device forwards.
const CEILING: f64 = 1.2e6;

/// The native devices with a process, 64 bytes, from the host to the wire.
pub fn loss(bench: &mut Bench) -> Result<Vec<Measurement>> {
    let (direction, length) = (Direction::HostToWire, 64);
    let numbers = bench.select(|spec| spec.is_native() && spec.system.has_process());
    let mut out = Vec::new();
    for (name, allowed) in [(Name::RateWithoutLoss, 0.0), (Name::RateAtLoss, 0.001)] {
        let readings = bench.turns("loss", &numbers, |bench, device| {
            let (mut low, mut high) = (0.0, CEILING);
            for _ in 0..STEPS {
                let pps = f64::midpoint(low, high);
                let period = Some(period(pps));
                let load = Load { direction, length, period, window: WINDOW };
                let window = bench.measure(device, load, None)?;
                if window.lost as f64 > allowed * window.of as f64 {
                    high = pps;
                } else {
                    low = pps;
                }
            }
            Ok(low)
        })?;
        let about = About { name, unit: "frames/s", direction, length, load: None };
        out.extend(bench.measurements(&about, &numbers, readings));
    }
    Ok(out)
}
