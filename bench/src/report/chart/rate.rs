//! What each device forwards when it is given more than it can take, as bars.

use std::fmt;

use anyhow::Result;
use plotters::{coord::types::RangedCoordf64, prelude::*, style::text_anchor::HPos};

use super::canvas::{
    Area, BELOW, HEAD, NAMES, Panel, axes, canvas, colour, height, letters, names, panel_area,
    place, rows,
};
use crate::{
    device::{Direction, Spec, Xdp},
    peers::System,
    report::{Measurement, Name, Report, unit},
};

/// Right of a panel: the rate, and its ratio to our bond's.
const NUMBERS: i32 = 108;
/// Half of a bar's thickness, of a row's.
const HALF: f64 = 0.36;

/// What heads rows.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Length(usize);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// The devices with `xdp`, one panel for each direction.
pub(super) fn chart(report: &Report, xdp: Xdp) -> Result<Option<String>> {
    let shown = |one: &&Measurement| {
        let spec = one.spec;
        one.name == Name::Rate && spec == Spec { xdp, ..Spec::new(spec.system, spec.mode) }
    };
    let measured: Vec<_> = report.measurements.iter().filter(shown).collect();
    let Some(limit) = limit(&measured) else { return Ok(None) };
    let rows = rows(&measured, |one| Length(one.length));
    let title = format!("Frames a second that each device forwards, {xdp} XDP: longer is better");
    let note = "bar: median; whisker: least and most; torn bar: longer than the axis; \
                to bond: in the same mode and rounds";
    let svg = canvas(height(&rows), &title, note, |root| {
        for (number, direction) in
            [Direction::HostToWire, Direction::WireToHost].into_iter().enumerate()
        {
            let area = panel_area(root, (NAMES, HEAD), (number, 2), &direction.to_string())?;
            let mut panel = ChartBuilder::on(&area)
                .margin_right(NUMBERS)
                .x_label_area_size(BELOW)
                .build_cartesian_2d(0.0..limit, 0.0..rows.len() as f64)?;
            axes(&mut panel, "Mpps", None)?;
            if number == 0 {
                names(root, &panel, &rows)?;
            }
            for (number, row) in rows.iter().enumerate() {
                let y = place(&rows, number);
                let is_it = |one: &&&Measurement| {
                    (Some(one.spec), Length(one.length), one.direction)
                        == (row.spec, row.key, direction)
                };
                match measured.iter().find(is_it) {
                    Some(one) => bar(root, &mut panel, y, one, limit)?,
                    None if row.spec.is_none() => columns(root, &panel, y, "Mpps", "to bond")?,
                    None => {}
                }
            }
        }
        Ok(())
    })?;
    Ok(Some(svg))
}

/// The end of the axis: redirection in the kernel is several times as fast as all others, and its bars are torn.
fn limit(measured: &[&Measurement]) -> Option<f64> {
    let most = |torn: bool| {
        let shown = measured.iter().filter(|one| torn || one.spec.system != System::DevmapRedirect);
        shown.map(|one| one.figure.max / unit(one).1).max_by(f64::total_cmp)
    };
    most(false).or_else(|| most(true)).map(|most| 1.05 * most)
}

type Bars<'a, 'b> = Panel<'a, 'b, RangedCoordf64>;

fn bar(
    root: &Area<'_>,
    panel: &mut Bars<'_, '_>,
    y: f64,
    one: &Measurement,
    limit: f64,
) -> Result<()> {
    let per = unit(one).1;
    let [median, min, max] =
        [one.figure.median, one.figure.min, one.figure.max].map(|value| value / per);
    let corners = [(0.0, y - HALF), (median.min(limit), y + HALF)];
    panel.draw_series([Rectangle::new(corners, colour(one.spec.system).filled())])?;
    if max <= limit {
        let end = |x: f64| vec![(x, y - 0.2), (x, y + 0.2)];
        let lines = [vec![(min, y), (max, y)], end(min), end(max)];
        panel.draw_series(lines.map(|line| PathElement::new(line, BLACK)))?;
    } else {
        let tear = [(0.955, -0.5), (0.975, -0.5), (0.965, 0.5), (0.945, 0.5)];
        let tear = tear.map(|(x, up)| (x * limit, y + up)).to_vec();
        panel.draw_series([Polygon::new(tear, WHITE.filled())])?;
    }
    let ratio = one.ratio.as_ref();
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{:.3}", ratio.median));
    columns(root, panel, y, &format!("{median:.3}"), &ratio)
}

/// Writes two columns right of the panel.
fn columns(root: &Area<'_>, panel: &Bars<'_, '_>, y: f64, rate: &str, ratio: &str) -> Result<()> {
    let (right, y) = panel.backend_coord(&(panel.x_range().end, y));
    for (text, column) in [(rate, 46), (ratio, NUMBERS - 4)] {
        root.draw_text(text, &letters(12.0, HPos::Right), (right + column, y))?;
    }
    Ok(())
}
