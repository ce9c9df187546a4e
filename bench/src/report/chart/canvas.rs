//! What the charts have in common: colours, letters, and lines of devices.

use std::{collections::BTreeSet, fmt::Display, ops::Range};

use anyhow::Result;
use plotters::{
    coord::{
        Shift,
        ranged1d::{Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{device::Spec, peers::System, report::Measurement};

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Panel<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;

pub(super) const WIDTH: u32 = 1000;
/// Title and note.
pub(super) const HEAD: u32 = 66;
/// What names the rows, left of the panels.
pub(super) const NAMES: u32 = 220;
const ROW: u32 = 20;
/// A panel's title, and its axis.
const ABOVE: u32 = 28;
pub(super) const BELOW: u32 = 48;
/// The most on an axis; of a logarithmic one they are the powers of ten.
const LABELS: usize = 8;
/// Between two of them.
const LIGHT_LINES: usize = 4;
const GREY: RGBColor = RGBColor(0x44, 0x44, 0x44);

/// The same in all charts. They can be told apart without seeing red or green (Okabe and Ito's palette).
pub(super) const fn colour(system: System) -> RGBColor {
    match system {
        System::Bond => RGBColor(0x00, 0x72, 0xb2),
        System::OtherBond => RGBColor(0xf0, 0xe4, 0x42),
        System::BareForwarder => RGBColor(0x56, 0xb4, 0xe9),
        System::DpdkAfXdp => RGBColor(0xd5, 0x5e, 0x00),
        System::DpdkAfPacket => RGBColor(0xe6, 0x9f, 0x00),
        System::OvsAfxdp => RGBColor(0x00, 0x9e, 0x73),
        System::DevmapRedirect => RGBColor(0xcc, 0x79, 0xa7),
        System::LinuxBridge => RGBColor(0x77, 0x77, 0x77),
    }
}

/// Letters of `size` in the SVG's own units.
pub(super) fn letters(size: f64, horizontal: HPos) -> TextStyle<'static> {
    // The backend takes points for pixels.
    let font = ("sans-serif", size * 1.24).into_font();
    TextStyle::from(font).color(&BLACK).pos(Pos::new(horizontal, VPos::Center))
}

/// An SVG with a title and a note under it.
pub(super) fn canvas(
    height: u32,
    title: &str,
    note: &str,
    paint: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    // Also where a page is dark.
    root.fill(&WHITE)?;
    let middle = WIDTH.cast_signed() / 2;
    let bold = letters(17.0, HPos::Center);
    let bold = TextStyle { font: bold.font.style(FontStyle::Bold), ..bold };
    root.draw_text(title, &bold, (middle, 20))?;
    root.draw_text(note, &letters(13.0, HPos::Center).color(&GREY), (middle, 44))?;
    paint(&root)?;
    root.present()?;
    drop(root);
    Ok(svg)
}

/// The place of panel `number` of `of`, which stand side by side below `top` and right of `left`, under its title.
pub(super) fn panel_area<'a>(
    root: &Area<'a>,
    (left, top): (u32, u32),
    (number, of): (usize, usize),
    title: &str,
) -> Result<Area<'a>> {
    let (width, height) = root.dim_in_pixel();
    let panels = root.clone().shrink((left, top), (width - left, height - top));
    let area = panels.split_evenly((1, of)).swap_remove(number);
    area.draw_text(title, &letters(14.0, HPos::Left), (0, ABOVE.cast_signed() / 2))?;
    Ok(area.margin(ABOVE, 0, 0, 0))
}

/// The loads, in the order of the report.
pub(super) fn loads<'a>(measurements: &[&'a Measurement]) -> Vec<&'a str> {
    let mut loads: Vec<&str> = Vec::new();
    for load in measurements.iter().filter_map(|one| one.load.as_deref()) {
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    loads
}

/// A line across the panels: a heading, or a device under the heading before it.
#[derive(Debug)]
pub(super) struct Row<K> {
    pub(super) key: K,
    pub(super) spec: Option<Spec>,
}

/// A heading for each key, and under it the devices that were measured.
pub(super) fn rows<K: Ord + Copy>(
    measurements: &[&Measurement],
    key: impl Fn(&Measurement) -> K,
) -> Vec<Row<K>> {
    let devices: BTreeSet<_> = measurements.iter().map(|one| (key(one), one.spec)).collect();
    let mut rows = Vec::new();
    let mut last = None;
    for (key, spec) in devices {
        if last.replace(key) != Some(key) {
            rows.push(Row { key, spec: None });
        }
        rows.push(Row { key, spec: Some(spec) });
    }
    rows
}

/// The height of a chart with these rows.
pub(super) fn height<K>(rows: &[Row<K>]) -> u32 {
    HEAD + ABOVE + ROW * u32::try_from(rows.len()).unwrap_or_default() + BELOW
}

/// Where a row's middle is, on an axis from 0 at the bottom to the number of rows at the top.
pub(super) fn place<K>(rows: &[Row<K>], number: usize) -> f64 {
    (rows.len() - number) as f64 - 0.5
}

/// Writes the rows' names left of `panel`.
pub(super) fn names<K: Display, X: Ranged<ValueType = f64>>(
    root: &Area<'_>,
    panel: &Panel<'_, '_, X>,
    rows: &[Row<K>],
) -> Result<()> {
    let right = NAMES.cast_signed() - 8;
    let name = letters(13.0, HPos::Right);
    let heading = TextStyle { font: name.font.clone().style(FontStyle::Bold), ..name.clone() };
    for (number, row) in rows.iter().enumerate() {
        let (_, y) = panel.backend_coord(&(panel.x_range().start, place(rows, number)));
        match row.spec {
            Some(spec) => root.draw_text(&short(spec), &name, (right, y))?,
            None => root.draw_text(&row.key.to_string(), &heading, (right, y))?,
        }
    }
    Ok(())
}

/// A device without what all of a chart have in common.
pub(super) fn short(spec: Spec) -> String {
    spec.to_string().replacen(&format!(" {}", spec.xdp), "", 1)
}

/// Draws axes; without a name for the upright one, the rows stand for it.
pub(super) fn axes<X>(panel: &mut Panel<'_, '_, X>, across: &str, up: Option<&str>) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh = panel.configure_mesh();
    if up.is_none() {
        mesh.disable_y_mesh().y_labels(0);
    }
    mesh.x_labels(LABELS)
        .x_max_light_lines(LIGHT_LINES)
        .x_label_formatter(&|value| plain(*value))
        .y_label_formatter(&|value| plain(*value))
        .x_desc(across)
        .y_desc(up.unwrap_or_default())
        .label_style(letters(12.0, HPos::Center))
        .axis_desc_style(letters(13.0, HPos::Center))
        .bold_line_style(BLACK.mix(0.2))
        .light_line_style(BLACK.mix(0.08))
        .draw()?;
    Ok(())
}

/// A number on an axis.
fn plain(value: f64) -> String {
    if value >= 1e3 {
        return format!("{}k", (value / 1e3).round());
    }
    ((value * 1e3).round() / 1e3).to_string()
}

/// The powers of ten between which all positive `values` are.
pub(super) fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let logs: Vec<_> = values.filter(|value| *value > 0.0).map(f64::log10).collect();
    let first = logs.first().copied().unwrap_or_default();
    let low = logs.iter().copied().fold(first, f64::min).floor();
    let high = logs.iter().copied().fold(first, f64::max).ceil().max(low + 1.0);
    // A little more: the ends are to be labelled, however they are rounded.
    0.9999 * 10f64.powf(low)..1.0001 * 10f64.powf(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_axes() {
        let labels = [0.0, 0.01, 0.2 + 0.1, 10.0, 999.0, 1000.0, 1e5].map(plain);
        assert_eq!(labels, ["0", "0.01", "0.3", "10", "999", "1k", "100k"]);
    }

    #[test]
    fn decades_hold_all_positive_values() {
        let range = |values: &[f64]| {
            let Range { start, end } = decades(values.iter().copied());
            (start / 0.9999, end / 1.0001)
        };
        assert_eq!(range(&[0.0, 20.0, 300.0]), (10.0, 1000.0));
        assert_eq!(range(&[100.0]), (100.0, 1000.0));
        assert_eq!(range(&[0.0]), (1.0, 10.0));
    }
}
