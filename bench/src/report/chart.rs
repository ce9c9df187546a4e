//! Charts of a report, as SVG.

mod canvas;
mod latency;
mod outage;
mod rate;
#[cfg(test)]
pub(super) mod sample;

use anyhow::Result;

use super::Report;
use crate::device::Xdp;

/// A picture, and what it shows.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// Of its file, without `.svg`.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) svg: String,
}

/// Those that `report` has data for.
pub(super) fn charts(report: &Report) -> Result<Vec<Chart>> {
    let all = [
        ("rate-native", "Rates, native XDP", rate::chart(report, Xdp::Native)?),
        ("rate-generic", "Rates, generic XDP", rate::chart(report, Xdp::Generic)?),
        ("outage", "Outages at a pulled cable", outage::chart(report)?),
        ("latency", "Latencies", latency::chart(report)?),
    ];
    let made =
        all.into_iter().filter_map(|(name, title, svg)| Some(Chart { name, title, svg: svg? }));
    Ok(made.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{Mode, Spec},
        peers::System,
        report::Name,
    };

    const BOND: Spec = Spec::new(System::Bond, Mode::ActiveBackup);

    #[test]
    fn no_chart_without_data() {
        let time = sample::measured(Name::UserTime, BOND, &[1.0]);
        let one_slave = sample::measured(Name::Rate, Spec { slaves: 1, ..BOND }, &[1e6]);
        assert!(charts(&sample::report(vec![time, one_slave])).unwrap().is_empty());
    }

    #[test]
    fn one_chart_of_each_kind() {
        let devmap = Spec::new(System::DevmapRedirect, Mode::ActiveBackup);
        let generic = Spec { xdp: Xdp::Generic, ..BOND };
        let report = sample::report(vec![
            sample::measured(Name::Rate, BOND, &[0.9e6, 1.1e6]),
            sample::measured(Name::Rate, devmap, &[4e6]),
            sample::measured(Name::Rate, generic, &[0.5e6]),
            sample::loaded(Name::Outage, "10 kpps", BOND, &[0.0, 0.2]),
            sample::loaded(Name::Latency50, "50 %", BOND, &[20.0]),
        ]);
        let charts = charts(&report).unwrap();
        let of = |name| &charts.iter().find(|chart| chart.name == name).unwrap().svg;
        let has = |name, text: &str| of(name).contains(&format!(">\n{text}\n</text>"));
        assert_eq!(charts.len(), 4);
        // The bar is torn, and the rate is written.
        assert!(has("rate-native", "4.000") && of("rate-native").contains("<polygon"));
        assert!(has("rate-generic", "0.500") && !of("rate-generic").contains("<polygon"));
        assert!(has("outage", "load 10 kpps") && has("outage", "bond active-backup"));
        assert!(has("latency", "load 50 %") && has("latency", "100"));
    }
}
