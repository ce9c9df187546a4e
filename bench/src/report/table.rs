//! The report for a terminal.

use std::fmt::Write as _;

use super::{Measurement, Report};

/// One block for each quantity and load, one line for each device.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    for block in blocks(&report.measurements) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\n{:<56} {:>9}    min -  max      to bond  quartiles",
            title(block[0]),
            unit(block[0]).0
        );
        for one in block {
            let _ = writeln!(out, "{}", line(one));
        }
    }
    if report.repeated > 0 {
        let _ = writeln!(out, "\n{} windows repeated: others used the machine", report.repeated);
    }
    for missing in &report.missing {
        let _ = writeln!(out, "\n{missing}");
    }
    out
}

/// What is compared with each other: one quantity under one load, by device.
#[must_use]
pub fn blocks(measurements: &[Measurement]) -> Vec<Vec<&Measurement>> {
    let mut blocks: Vec<Vec<&Measurement>> = Vec::new();
    for one in measurements {
        match blocks.iter_mut().find(|block| key(block[0]) == key(one)) {
            Some(block) => block.push(one),
            None => blocks.push(vec![one]),
        }
    }
    blocks.iter_mut().for_each(|block| block.sort_by_key(|one| one.spec));
    blocks
}

fn key(one: &Measurement) -> impl PartialEq + use<'_> {
    (one.name, one.direction, one.length, &one.load)
}

/// The head of a block.
#[must_use]
pub fn title(one: &Measurement) -> String {
    let load = one.load.as_ref().map_or_else(String::new, |load| format!(", load {load}"));
    format!("{}, {}, {} bytes{load}", one.name, one.direction, one.length)
}

/// The unit to print in, and how many of the report's own it is.
#[must_use]
pub fn unit(one: &Measurement) -> (&str, f64) {
    if one.unit == "frames/s" { ("Mpps", 1e6) } else { (&one.unit, 1.0) }
}

fn line(one: &Measurement) -> String {
    let figure = &one.figure;
    let ratio = one.ratio.as_ref().map_or_else(String::new, |ratio| {
        let [low, high] = [0.25, 0.75].map(|part| ratio.quantile(part));
        format!("{:8.3}  ({low:5.3} - {high:5.3})", ratio.median)
    });
    let per = unit(one).1;
    let [median, min, max] = [figure.median, figure.min, figure.max].map(|value| value / per);
    format!("  {:<54} {median:9.3}  ({min:7.3} - {max:7.3}) {ratio}", one.spec.to_string())
}
