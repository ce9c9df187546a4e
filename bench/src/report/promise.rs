//! What the project promises of its speed, held against a report.

use std::fmt::{self, Write as _};

use super::{Figure, Measurement, Name, Report};
use crate::{
    device::{Direction, Mode, Poll, Spec, Xdp},
    peers::System,
};

const DIRECTIONS: [Direction; 2] = [Direction::HostToWire, Direction::WireToHost];
/// The load of the promises about latencies and outages.
const SLOW: &str = "10 kpps";

/// A bound, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Promise {
    pub what: String,
    pub bound: String,
    pub measured: String,
    /// None: not measured in this report.
    pub kept: Option<bool>,
}

impl Promise {
    fn new(what: impl Into<String>, bound: &str, measured: Option<(bool, String)>) -> Self {
        let (kept, measured) = measured.unzip();
        let measured = measured.unwrap_or_else(|| "-".to_owned());
        Self { what: what.into(), bound: bound.to_owned(), measured, kept }
    }

    /// Of a `value` in `unit`; `beside` it others are shown that were measured.
    fn of(
        (what, bound): (impl Into<String>, &str),
        (value, unit): (Option<f64>, &str),
        holds: impl Fn(f64) -> bool,
        beside: &[(&str, Option<f64>)],
    ) -> Self {
        let others = beside.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        let others: String =
            others.map(|(name, value)| format!("; {name} {value:.3} {unit}")).collect();
        let text = |value| (holds(value), format!("{value:.3} {unit}{others}"));
        Self::new(what, bound, value.map(text))
    }

    /// What became of it, in words.
    #[must_use]
    pub const fn verdict(&self) -> &'static str {
        match self.kept {
            Some(true) => "kept",
            Some(false) => "NOT kept",
            None => "not measured",
        }
    }
}

/// One comparison of our bond's rate with that of the best peer which goes through AF_XDP too.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    spec: Spec,
    direction: Direction,
    length: usize,
    /// Whose median is the highest.
    peer: Spec,
    /// Ours to its, in the same rounds.
    pub(super) ratio: Figure,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, direction, length, peer, .. } = self;
        write!(f, "{spec}, {direction}, {length} bytes, to {} {}", peer.system, peer.mode)
    }
}

/// The promises for a terminal, one a line.
#[must_use]
pub fn promise_table(promises: &[Promise]) -> String {
    let mut out = String::new();
    for promise in promises {
        let Promise { what, bound, measured, .. } = promise;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<12}  {what:<57}  {bound:<23}  {measured}", promise.verdict());
    }
    out
}

/// All promises, measured in `report` or not.
#[must_use]
pub fn promises(report: &Report) -> Vec<Promise> {
    let parts: [fn(&Report) -> Vec<Promise>; 7] =
        [cost, against_peers, user_time, latency, micro, outage, idle];
    parts.iter().flat_map(|part| part(report)).collect()
}

/// What is compared with the best peer, as far as it was measured.
pub(super) fn cells(report: &Report) -> Vec<Cell> {
    const PEERS: [Spec; 3] = [
        Spec::new(System::DpdkAfXdp, Mode::BalanceRr),
        Spec::new(System::DpdkAfXdp, Mode::ActiveBackup),
        Spec::new(System::OvsAfxdp, Mode::ActiveBackup),
    ];
    let cell = |xdp, direction, length, mode| {
        let rate = |spec| figure(report, Name::Rate, None, spec, direction, length);
        let spec = Spec { xdp, ..Spec::new(System::Bond, mode) };
        let peers = PEERS.map(|peer| Spec { xdp, ..peer }).into_iter();
        let (peer, best) = peers
            .filter_map(|peer| Some((peer, rate(peer)?)))
            .max_by(|(_, a), (_, b)| a.median.total_cmp(&b.median))?;
        Some(Cell { spec, direction, length, peer, ratio: rate(spec)?.ratio_to(best) })
    };
    let mut cells = Vec::new();
    for xdp in [Xdp::Native, Xdp::Generic] {
        for direction in DIRECTIONS {
            for length in [64, 1514] {
                cells.extend(Mode::ALL.into_iter().filter_map(|m| cell(xdp, direction, length, m)));
            }
        }
    }
    cells
}

fn figure<'a>(
    report: &'a Report,
    name: Name,
    load: Option<&str>,
    spec: Spec,
    direction: Direction,
    length: usize,
) -> Option<&'a Figure> {
    let is_it = |one: &&Measurement| {
        (one.name, one.load.as_deref(), one.spec) == (name, load, spec)
            && (one.direction, one.length) == (direction, length)
    };
    report.measurements.iter().find(is_it).map(|one| &one.figure)
}

/// A quantile from the host to the wire, 64 bytes.
fn value(report: &Report, name: Name, load: Option<&str>, spec: Spec, part: f64) -> Option<f64> {
    let figure = figure(report, name, load, spec, Direction::HostToWire, 64);
    figure.map(|figure| figure.quantile(part))
}

fn spread(ratio: &Figure) -> String {
    format!("{:.3} ({:.3} - {:.3})", ratio.median, ratio.min, ratio.max)
}

fn cost(report: &Report) -> Vec<Promise> {
    let promise = |direction, mode| {
        let rate = |spec| figure(report, Name::Rate, None, spec, direction, 64);
        let bare = rate(Spec::new(System::BareForwarder, Mode::ActiveBackup));
        let ratio = rate(Spec::new(System::Bond, mode)).zip(bare);
        let ratio = ratio.map(|(ours, bare)| ours.ratio_to(bare));
        let measured = ratio.map(|ratio| (ratio.median >= 0.97, spread(&ratio)));
        let what = format!("rate to the bare forwarder's, {direction}, {mode}");
        Promise::new(what, "at least 0.97", measured)
    };
    DIRECTIONS.iter().flat_map(|way| Mode::ALL.map(|mode| promise(*way, mode))).collect()
}

fn against_peers(report: &Report) -> Vec<Promise> {
    let cells = cells(report);
    let lowest = cells.iter().min_by(|a, b| a.ratio.median.total_cmp(&b.ratio.median));
    let lowest =
        lowest.map(|cell| (cell.ratio.median >= 1.0, format!("{:.3}: {cell}", cell.ratio.median)));
    let middle = (!cells.is_empty()).then(|| {
        let medians = Figure::of(cells.iter().map(|cell| cell.ratio.median).collect());
        (medians.median >= 1.05, format!("{}, {} cells", spread(&medians), medians.n))
    });
    vec![
        Promise::new("rate to the best AF_XDP peer's, lowest cell", "at least 1.00", lowest),
        Promise::new("rate to the best AF_XDP peer's, median of cells", "at least 1.05", middle),
    ]
}

fn user_time(report: &Report) -> Vec<Promise> {
    let promise = |mode| {
        let time = |system, mode| value(report, Name::UserTime, None, Spec::new(system, mode), 0.5);
        let peers = [
            ("dpdk-af-xdp", time(System::DpdkAfXdp, mode)),
            ("ovs-afxdp", time(System::OvsAfxdp, Mode::ActiveBackup)),
        ];
        let head = (format!("user time a frame, {mode}"), "at most 30 ns");
        Promise::of(head, (time(System::Bond, mode), "ns"), |ns| ns <= 30.0, &peers)
    };
    Mode::ALL.map(promise).into()
}

fn latency(report: &Report) -> Vec<Promise> {
    let promise = |mode| {
        let [ours, dpdk] = [System::Bond, System::DpdkAfXdp].map(|system| {
            [Name::Latency50, Name::Latency99]
                .map(|name| value(report, name, Some(SLOW), Spec::new(system, mode), 0.5))
        });
        let others = [("dpdk-af-xdp", dpdk[0]), ("p99", ours[1]), ("dpdk-af-xdp p99", dpdk[1])];
        let head = (format!("latency p50 at {SLOW}, {mode}"), "not above dpdk-af-xdp's");
        let holds = |us| dpdk[0].is_some_and(|dpdk| us <= dpdk);
        Promise::of(head, (ours[0].and_then(|us| dpdk[0].and(Some(us))), "us"), holds, &others)
    };
    Mode::ALL.map(promise).into()
}

fn micro(report: &Report) -> Vec<Promise> {
    let worst = |what: &str, group: &str, bound: f64| {
        let figures = report.micro.iter().filter(|figure| figure.name.starts_with(group));
        let worst = figures.max_by(|a, b| a.median.total_cmp(&b.median));
        let text = |ns, name| (ns <= bound, format!("{ns:.3} ns: {name}"));
        let measured = worst.map(|worst| text(worst.median, &worst.name));
        Promise::new(what, &format!("at most {bound} ns"), measured)
    };
    // Millions a second.
    let ring = |name: &str| {
        let name = format!("ring-cross/{name}/64");
        let figure = report.micro.iter().find(|figure| figure.name == name);
        figure.map(|figure| figure.per_second().median / 1e6)
    };
    let others = ["array-queue", "rtrb-chunks"].map(|name| (name, ring(name)));
    let head = ("ring between two cores, in batches of 64", "at least 200 M/s");
    vec![
        worst("turn of a worker without a kernel, a frame, worst case", "turn/", 25.0),
        worst("selection of a slave, a frame, worst case", "select/", 5.0),
        worst("selection of a slave by hash, a frame, worst case", "hash/", 15.0),
        Promise::of(head, (ring("bond"), "M/s"), |rate| rate >= 200.0, &others),
    ]
}

fn outage(report: &Report) -> Vec<Promise> {
    let of = |part: f64| {
        [System::Bond, System::DpdkAfXdp, System::OvsAfxdp].map(|system| {
            let spec = Spec::new(system, Mode::ActiveBackup);
            value(report, Name::Outage, Some(SLOW), spec, part)
        })
    };
    let ([ours, dpdk, ovs], [p99, dpdk_p99, _]) = (of(0.5), of(0.99));
    let what = |of: &str| format!("outage at a pulled cable, {SLOW}, {of}");
    let (dpdk, against) = ([("dpdk-af-xdp", dpdk)], [("ovs-afxdp", ovs)]);
    let holds = |ms| ovs.is_some_and(|ovs| ms <= ovs);
    let both = (ours.and_then(|ms| ovs.and(Some(ms))), "ms");
    vec![
        Promise::of((what("median"), "at most 1.5 ms"), (ours, "ms"), |ms| ms <= 1.5, &dpdk),
        Promise::of((what("median"), "not above ovs-afxdp's"), both, holds, &against),
        Promise::of(
            (what("p99"), "at most 5 ms"),
            (p99, "ms"),
            |ms| ms <= 5.0,
            &[("dpdk-af-xdp", dpdk_p99)],
        ),
    ]
}

fn idle(report: &Report) -> Vec<Promise> {
    let promise = |mode| {
        let spec = Spec::new(System::Bond, mode);
        let p99 = |poll| {
            let spec = Spec { poll, ..spec };
            let p99 = value(report, Name::Latency99, Some("10 %"), spec, 0.5);
            p99.map_or_else(String::new, |us| format!("; latency p99 at 10 %, {poll}: {us:.3} us"))
        };
        let measured = value(report, Name::Idle, Some("none"), spec, 0.5).map(|idle| {
            let latencies = [Poll::Adaptive, Poll::Busy].map(p99).concat();
            (idle < 2.0, format!("{idle:.3} %{latencies}"))
        });
        Promise::new(format!("CPU use when idle, {mode}"), "below 2 % of a core", measured)
    };
    Mode::ALL.map(promise).into()
}

#[cfg(test)]
mod tests;
