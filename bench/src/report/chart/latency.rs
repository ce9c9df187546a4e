//! How long frames take, as three percentiles of each device.

use anyhow::Result;
use plotters::{
    coord::combinators::{IntoLogRange, LogCoord},
    prelude::*,
};

use super::canvas::{
    BELOW, HEAD, NAMES, Panel, axes, canvas, colour, decades, height, loads, names, panel_area,
    place, rows,
};
use crate::{
    device::Spec,
    report::{Measurement, Name, Report},
};

const PERCENTILES: [Name; 3] = [Name::Latency50, Name::Latency99, Name::Latency999];

/// The native devices, one panel for each load.
pub(super) fn chart(report: &Report) -> Result<Option<String>> {
    let shown = |one: &&Measurement| PERCENTILES.contains(&one.name) && one.spec.is_native();
    let measured: Vec<_> = report.measurements.iter().filter(shown).collect();
    if measured.is_empty() {
        return Ok(None);
    }
    let loads = loads(&measured);
    let rows = rows(&measured, |one| one.direction);
    let range = decades(measured.iter().map(|one| one.figure.median));
    let title = "Time from the generator to the sink by load, native XDP: further left is better";
    let note = "circle: p50; triangle: p99; cross: p99.9; each is the median of the rounds; \
                loads in % are of a device's own rate";
    let svg = canvas(height(&rows), title, note, |root| {
        for (number, load) in loads.iter().enumerate() {
            let area =
                panel_area(root, (NAMES, HEAD), (number, loads.len()), &format!("load {load}"))?;
            let mut panel = ChartBuilder::on(&area)
                .margin_right(26)
                .x_label_area_size(BELOW)
                .build_cartesian_2d(range.clone().log_scale(), 0.0..rows.len() as f64)?;
            axes(&mut panel, "us", None)?;
            if number == 0 {
                names(root, &panel, &rows)?;
            }
            for (number, row) in rows.iter().enumerate() {
                let Some(spec) = row.spec else { continue };
                let value = |name: Name| {
                    let is_it = |one: &&&Measurement| {
                        (one.name, one.spec, one.direction) == (name, spec, row.key)
                            && one.load.as_deref() == Some(load)
                    };
                    measured.iter().find(is_it).map(|one| one.figure.median)
                };
                marks(&mut panel, place(&rows, number), spec, PERCENTILES.map(value))?;
            }
        }
        Ok(())
    })?;
    Ok(Some(svg))
}

/// One row: the percentiles that were measured, and a line through them.
fn marks(
    panel: &mut Panel<'_, '_, LogCoord<f64>>,
    y: f64,
    spec: Spec,
    percentiles: [Option<f64>; 3],
) -> Result<()> {
    let colour = colour(spec.system);
    let line = percentiles.into_iter().flatten().map(|x| (x, y)).collect::<Vec<_>>();
    panel.draw_series([PathElement::new(line, colour.stroke_width(2))])?;
    let [p50, p99, p999] = percentiles.map(|value| value.map(|x| (x, y)));
    panel.draw_series(p50.map(|at| Circle::new(at, 5, colour.filled())))?;
    panel.draw_series(p99.map(|at| TriangleMarker::new(at, 6, colour.filled())))?;
    panel.draw_series(p999.map(|at| Cross::new(at, 4, colour.stroke_width(2))))?;
    Ok(())
}
