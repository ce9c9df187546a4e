//! How long nothing arrives after a cable was pulled, as distributions.

use std::{collections::BTreeSet, ops::Range};

use anyhow::Result;
use plotters::{coord::combinators::IntoLogRange, prelude::*, style::text_anchor::HPos};

use super::canvas::{
    Area, BELOW, HEAD, WIDTH, axes, canvas, colour, decades, letters, loads, panel_area, short,
};
use crate::report::{Figure, Measurement, Name, Report};

const HEIGHT: u32 = 400;
const MARGIN: u32 = 14;
/// Above the panels.
const LEGEND: u32 = 28;
/// Left of a panel: the numbers of its axis.
const LEFT: u32 = 56;

/// The devices that fail over, one panel for each load.
pub(super) fn chart(report: &Report) -> Result<Option<String>> {
    let shown = |one: &&Measurement| one.name == Name::Outage;
    let measured: Vec<_> = report.measurements.iter().filter(shown).collect();
    if measured.is_empty() {
        return Ok(None);
    }
    let loads = loads(&measured);
    let range = decades(measured.iter().flat_map(|one| one.figure.values.iter().copied()));
    let title = "Frames lost by a pulled cable, as time, native XDP: further left is better";
    let note = "how many of the pulls cost no more than this time; left edge: no frame; \
                a load in % is of a device's own rate";
    let svg = canvas(HEIGHT, title, note, |root| {
        legend(root, &measured)?;
        for (number, load) in loads.iter().enumerate() {
            let area = panel_area(
                root,
                (MARGIN, HEAD + LEGEND),
                (number, loads.len()),
                &format!("load {load}"),
            )?;
            let mut panel = ChartBuilder::on(&area)
                .margin_right(16)
                .x_label_area_size(BELOW)
                .y_label_area_size(LEFT)
                .build_cartesian_2d(range.clone().log_scale(), 0.0..103.0)?;
            axes(&mut panel, "ms", Some("% of the pulls"))?;
            for one in measured.iter().filter(|one| one.load.as_deref() == Some(load)) {
                let steps = steps(&one.figure, &range);
                panel.draw_series([PathElement::new(
                    steps,
                    colour(one.spec.system).stroke_width(3),
                )])?;
            }
        }
        Ok(())
    })?;
    Ok(Some(svg))
}

/// Names the lines' colours, once for all panels.
fn legend(root: &Area<'_>, measured: &[&Measurement]) -> Result<()> {
    let specs: BTreeSet<_> = measured.iter().map(|one| one.spec).collect();
    let width = i32::try_from(WIDTH as usize / specs.len())?;
    let y = HEAD.cast_signed() + LEGEND.cast_signed() / 2;
    for (number, spec) in (0..).zip(specs) {
        let x = 24 + number * width;
        let line = vec![(x, y), (x + 28, y)];
        root.draw(&PathElement::new(line, colour(spec.system).stroke_width(3)))?;
        root.draw_text(&short(spec), &letters(13.0, HPos::Left), (x + 36, y))?;
    }
    Ok(())
}

/// The part of the readings that is not above x, as steps over `range`.
fn steps(figure: &Figure, range: &Range<f64>) -> Vec<(f64, f64)> {
    let mut sorted = figure.values.clone();
    sorted.sort_by(f64::total_cmp);
    let mut steps = vec![(range.start, 0.0)];
    for (number, value) in sorted.iter().enumerate() {
        let x = value.max(range.start);
        steps.push((x, 100.0 * number as f64 / sorted.len() as f64));
        steps.push((x, 100.0 * (number + 1) as f64 / sorted.len() as f64));
    }
    steps.push((range.end, 100.0));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_what_is_not_above() {
        let steps = steps(&Figure::of(vec![2.0, 0.0, 2.0, 4.0]), &(0.1..10.0));
        let expected = [
            (0.1, 0.0),
            (0.1, 0.0),
            (0.1, 25.0),
            (2.0, 25.0),
            (2.0, 50.0),
            (2.0, 50.0),
            (2.0, 75.0),
            (4.0, 75.0),
            (4.0, 100.0),
            (10.0, 100.0),
        ];
        assert_eq!(steps, expected);
    }
}
