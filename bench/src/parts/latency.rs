//! How long frames take from the generator to the sink, both in the kernel, at several loads.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{About, Bench, percent, period, rate_of};
use crate::{
    device::Direction,
    report::{Measurement, Name},
    window::Load,
};

const WINDOW: Duration = Duration::from_millis(500);
const SLOW: f64 = 10_000.0;
const PERCENTILES: [(Name, f64); 3] =
    [(Name::Latency50, 50.0), (Name::Latency99, 99.0), (Name::Latency999, 99.9)];

/// All native devices at 10,000 frames a second and at `parts` of what each can forward, by `rates`.
pub fn latency(
    bench: &mut Bench,
    direction: Direction,
    rates: &[Measurement],
    parts: &[f64],
) -> Result<Vec<Measurement>> {
    let length = 64;
    let numbers = bench.select(|spec| spec.is_native());
    let mut out = Vec::new();
    let loads = [None].into_iter().chain(parts.iter().copied().map(Some));
    for part in loads {
        let histograms = bench.turns("latency", &numbers, |bench, device| {
            let rate = |part| {
                rate_of(rates, &bench.devices[device], direction, length).map(|rate| part * rate)
            };
            let period = Some(period(part.map_or(Ok(SLOW), rate)?));
            let load = Load { direction, length, period, window: WINDOW };
            bench.measure(device, load, None)?.latency.context("a paced load has latencies")
        })?;
        let text = part.map_or_else(|| "10 kpps".to_owned(), percent);
        for (name, percentile) in PERCENTILES {
            let microseconds = |turns: &Vec<hdrhistogram::Histogram<u64>>| {
                turns.iter().map(|one| one.value_at_percentile(percentile) as f64 / 1e3).collect()
            };
            let about = About { name, unit: "us", direction, length, load: Some(text.clone()) };
            let readings = histograms.iter().map(microseconds).collect();
            out.extend(bench.measurements(&about, &numbers, readings));
        }
    }
    Ok(out)
}
