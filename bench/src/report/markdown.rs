//! The report as docs/benchmarks.md, with its charts.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    Facts, Figure, Measurement, Name, Report, blocks,
    chart::{Chart, charts},
    promise::{cells, promises},
    title, unit,
};
use crate::peers::System;

/// Writes benchmarks.md and its charts into `docs`, and returns the paths.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &Report, docs: &Path) -> Result<Vec<PathBuf>> {
    let charts = charts(report)?;
    let pictures = docs.join("benchmarks");
    fs::create_dir_all(&pictures).with_context(|| format!("cannot make {}", pictures.display()))?;
    let page = (docs.join("benchmarks.md"), page(report, &charts));
    let svg = |chart: Chart| (pictures.join(chart.name).with_extension("svg"), chart.svg);
    let files = [page].into_iter().chain(charts.into_iter().map(svg));
    let written = files.map(|(path, text)| {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    });
    written.collect()
}

fn page(report: &Report, charts: &[Chart]) -> String {
    let systems = SYSTEMS.map(|(system, meaning)| vec![format!("`{system}`"), meaning.to_owned()]);
    let names = NAMES.map(|(name, unit, meaning)| {
        vec![format!("`{name}`"), unit.to_owned(), meaning.to_owned()]
    });
    [
        INTRODUCTION.to_owned(),
        rows(&["system", "what it is"], systems),
        environment(report),
        kept(report),
        pictures(charts),
        figures(report),
        micro(report),
        JSON.to_owned(),
        rows(&["name", "unit", "meaning"], names),
    ]
    .join("\n")
}

/// A table with the heads `head`.
fn rows(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<_> =
            row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

fn environment(report: &Report) -> String {
    let machine = &report.environment;
    let facts = [
        ("kernel", machine.kernel.clone()),
        ("CPU", machine.cpu.clone()),
        ("CPUs", machine.cpus.to_string()),
        ("frequency governor", machine.governor.clone()),
        ("date", machine.date.clone()),
        ("windows repeated, because others used the machine", report.repeated.to_string()),
    ];
    let facts = facts.map(|(what, value)| vec![what.to_owned(), value]);
    let mut out = format!("## Where this was measured\n\n{}", rows(&["what", "value"], facts));
    if !report.devices.is_empty() {
        let device = |one: &Facts| vec![one.spec.to_string(), one.facts.clone()];
        let head = ["device", "how it really ran, by its own account"];
        out += &format!("\n{}", rows(&head, report.devices.iter().map(device)));
    }
    if !report.missing.is_empty() {
        out += "\nLeft out:\n\n";
        out.extend(report.missing.iter().map(|missing| format!("- {missing}\n")));
    }
    out
}

fn kept(report: &Report) -> String {
    let promises = promises(report);
    let promise = promises.into_iter().map(|one| {
        let verdict = one.verdict().to_owned();
        vec![one.what, one.bound, one.measured, verdict]
    });
    let table = rows(&["what", "bound", "measured", "verdict"], promise);
    let mut out = format!("{PROMISES}\n{table}");
    let cells = cells(report);
    if !cells.is_empty() {
        let row = cells.iter().map(|cell| vec![cell.to_string(), spread(&cell.ratio)]);
        let table = rows(&["our bond to the best AF_XDP peer", "ratio"], row);
        out += &format!(
            "\nThe cells, each with the peer whose median is the highest, and the ratio's quartiles:\n\n{table}"
        );
    }
    out
}

fn pictures(charts: &[Chart]) -> String {
    let mut out = "## Charts\n".to_owned();
    for Chart { name, title, .. } in charts {
        out += &format!("\n![{title}](benchmarks/{name}.svg)\n");
    }
    if charts.is_empty() {
        out += "\nNone: nothing that they show was measured.\n";
    }
    out
}

fn figures(report: &Report) -> String {
    let mut out = FIGURES.to_owned();
    for block in blocks(&report.measurements) {
        let head =
            ["device", &format!("median, {}", unit(block[0]).0), "min - max", "n", "to bond"];
        let row = |one: &&Measurement| {
            let [median, min, max] = [one.figure.median, one.figure.min, one.figure.max]
                .map(|value| format!("{:.3}", value / unit(one).1));
            let ratio = one.ratio.as_ref().map_or_else(|| "-".to_owned(), spread);
            let n = one.figure.n.to_string();
            vec![one.spec.to_string(), median, format!("{min} - {max}"), n, ratio]
        };
        out += &format!("\n### {}\n\n{}", title(block[0]), rows(&head, block.iter().map(row)));
    }
    out
}

/// A ratio with its quartiles.
fn spread(ratio: &Figure) -> String {
    if ratio.n == 0 {
        return "-".to_owned();
    }
    let [low, high] = [0.25, 0.75].map(|part| ratio.quantile(part));
    format!("{:.3} ({low:.3} - {high:.3})", ratio.median)
}

fn micro(report: &Report) -> String {
    if report.micro.is_empty() {
        return format!("{MICRO}\nNot measured.\n");
    }
    let row = report.micro.iter().map(|one| {
        let [median, min, max] = [one.median, one.min, one.max].map(|ns| format!("{ns:.3}"));
        let rate = format!("{:.3}", one.per_second().median / 1e6);
        vec![one.name.clone(), median, format!("{min} - {max}"), one.n.to_string(), rate]
    });
    let head = ["benchmark", "median, ns", "min - max", "n", "million a second"];
    format!("{MICRO}\n{}", rows(&head, row))
}

const SYSTEMS: [(System, &str); 8] = [
    (System::Bond, "this project's bond"),
    (System::OtherBond, "another build of it, for a before and an after"),
    (System::BareForwarder, "the same AF_XDP sockets without a bond: from h1 to s0 and back"),
    (System::DpdkAfXdp, "DPDK's testpmd with its bonding driver over net_af_xdp"),
    (System::DpdkAfPacket, "the same over net_af_packet"),
    (System::OvsAfxdp, "Open vSwitch's userspace bond over afxdp"),
    (System::DevmapRedirect, "XDP programs that redirect by a devmap: all in the kernel"),
    (System::LinuxBridge, "the kernel's bridge between h1 and s0"),
];

const NAMES: [(Name, &str, &str); 11] = [
    (Name::Rate, "frames/s", "received frames, of more than the device can take"),
    (Name::Overtaken, "%", "of the received frames: after one with a higher sequence number"),
    (Name::UserTime, "ns/frame", "the process in user space, by samples of its CPU"),
    (Name::CpuTime, "ns/frame", "the same, and the kernel on the process's behalf"),
    (Name::Latency50, "us", "from the generator to the sink: half of a window's frames"),
    (Name::Latency99, "us", "the same: 99 % of the frames"),
    (Name::Latency999, "us", "the same: 99.9 % of the frames"),
    (Name::Idle, "% of a core", "CPU time of the process without traffic"),
    (Name::RateWithoutLoss, "frames/s", "the highest rate at which nothing was lost, by bisection"),
    (
        Name::RateAtLoss,
        "frames/s",
        "the highest rate at which at most 0.1 % was lost, by bisection",
    ),
    (
        Name::Outage,
        "ms",
        "frames lost by a pull of the active slave's cable, as time; one value a pull",
    ),
];

const INTRODUCTION: &str = "# Benchmarks

Written by `cargo xtask bench --write`. To repeat it, as root, on a machine with two CPUs or more:

    cargo xtask bench                       # what is installed of DPDK and Open vSwitch is measured too
    cargo xtask bench --peers install       # installs both first
    cargo xtask bench --quick               # less of everything
    cargo xtask bench --json report.json    # the report as JSON, see below

Every device stands between the same ends. A generator in the kernel sends on the one side, a sink in the kernel counts
and checks on the other:

```text
  generator  h0 -> h1 [ device ] s0, s1 -> w0, w1  sink       host-to-wire
  sink       h0 <- h1 [ device ] s0, s1 <- w0, w1  generator  wire-to-host
```

All cables are veth pairs in namespaces of their own. The generator has one CPU, the device another one. The devices
take turns, in a new random order each round, and only one runs at a time. A machine's speed changes with the minutes:
compare ratios, which are taken within each round, rather than figures of different rounds.

What this does not show: NICs, zero-copy, several queues and several flows. On veth most of a frame's time is the
kernel's, whoever forwards. A cable stays pulled for 150 ms: an outage of that length means that the device did not
notice, as DPDK's bond over net_af_xdp never does.
";

const PROMISES: &str = "## What is promised

Native XDP, two slaves, 64 bytes and adaptive polling, where nothing else is said. A ratio is the median of the rounds'
ratios, with the least and the greatest; the median of cells, that of their medians. What is not kept is shown as such.
";

const FIGURES: &str = "## All figures

The ratio is to our bond in the same mode, in the same rounds, with its quartiles. A device has adaptive polling and two
slaves, where its name does not say otherwise. A load in % is of the device's own rate.
";

const MICRO: &str = "## Micro benchmarks

User space alone, without a kernel: `cargo xtask bench --micro`. Nanoseconds for one frame or descriptor; n samples,
each a mean over many iterations. Beside our ring: `rtrb` and crossbeam's `ArrayQueue`.
";

const JSON: &str = "## The JSON

`cargo xtask bench --json FILE` writes one object. The number in `schema` changes when a reader of older reports would
misunderstand a newer one; fields may be added without that.

| field | type, unit | meaning |
|---|---|---|
| `schema` | number | this description: 1 |
| `environment` | object | what the figures depend on: |
| `environment.kernel` | string | its release |
| `environment.cpu` | string | model name |
| `environment.cpus` | number | CPUs that the kernel sees |
| `environment.governor` | string | of the first CPU's frequency; `none` where the machine has no say in it |
| `environment.date` | string, RFC 3339 | end of the run, UTC |
| `devices` | list | the devices that were measured; each has the fields of a device, below, and: |
| `devices[].facts` | string | XDP mode and sockets that it really got, by its own account |
| `missing` | list of strings | devices that were left out, and why |
| `repeated` | number | windows that were repeated because others used the machine |
| `measurements` | list | one quantity of one device under one load; each has the fields of a device, and: |
| `measurements[].name` | string | the quantity: see the last table |
| `measurements[].unit` | string | unit of `median`, `min`, `max` and `values` |
| `measurements[].direction` | string | `host-to-wire` or `wire-to-host` |
| `measurements[].length` | number, bytes | of a frame without the FCS |
| `measurements[].load` | string, or absent | `10 kpps`; `50 %` of the device's own rate; `none`; absent: no load is set |
| `measurements[].median` | number, `unit` | of the readings |
| `measurements[].min` | number, `unit` | the least reading |
| `measurements[].max` | number, `unit` | the greatest reading |
| `measurements[].n` | number | how many readings |
| `measurements[].values` | list of numbers, `unit` | the readings, in the order of the rounds |
| `measurements[].ratio` | object, or absent | to our bond in the same mode and rounds: `median` to `values`, no unit |
| `micro` | list | the micro benchmarks: |
| `micro[].name` | string | criterion's: group, function, parameter |
| `micro[].unit` | string | `ns`: nanoseconds for one frame or descriptor |
| `micro[].median` | number, `unit` | of the samples, each of which is a mean over many iterations |
| `micro[].min` | number, `unit` | the least sample |
| `micro[].max` | number, `unit` | the greatest sample |
| `micro[].n` | number | how many samples |

A `ratio` is absent where our bond was not measured, and has fewer values where a reading of our bond was 0.

A device:

| field | type, unit | meaning |
|---|---|---|
| `system` | string | see the table of systems above |
| `mode` | string | `balance-rr` or `active-backup`; the latter of what is no bond, and forwards to one port |
| `xdp` | string | where XDP programs were asked to run: `native` or `generic` |
| `poll` | string | how our bond waits for frames: `adaptive` or `busy` |
| `layout` | string | threads of a worker of our bond: one (`run-to-completion`) or two (`pipeline`) |
| `slaves` | number | slaves of the bond |

The names of measurements:
";

#[cfg(test)]
mod tests;
