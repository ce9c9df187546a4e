//! `bond-bench`: measures, and reports. `cargo xtask bench` builds and runs it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bond_bench::{
    device::{Device, Direction},
    machine::Environment,
    micro,
    parts::{self, Bench},
    peers,
    plan::Plan,
    report::{Facts, Measurement, Report, SCHEMA, promise_table, promises, table, write},
};
use clap::{Args, Parser, ValueEnum};

/// Measures bond beside other systems, and shows what was measured.
#[derive(Debug, Parser)]
enum Verb {
    /// Measure, on veth cables in network namespaces of its own; needs root
    Run(Options),
    /// Print a report
    Show {
        report: PathBuf,
        /// Write benchmarks.md and its pictures into this directory
        #[arg(long, value_name = "DIR")]
        docs: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// Fewer loads, devices and rounds: less than 5 minutes
    #[arg(long)]
    quick: bool,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    /// Readings of each quantity
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Pulled cables under each load
    #[arg(long, value_name = "N")]
    pulls: Option<usize>,
    /// Bytes of a frame, without the FCS
    #[arg(long, value_name = "BYTES", value_delimiter = ',')]
    lengths: Vec<usize>,
    /// Only devices whose names hold one of these
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    only: Vec<String>,
    /// Neither DPDK nor Open vSwitch
    #[arg(long)]
    no_peers: bool,
    /// Criterion's directory: the micro benchmarks' figures go into the report
    #[arg(long, value_name = "DIR")]
    micro: Option<PathBuf>,
    /// Nothing but these figures
    #[arg(long, requires = "micro")]
    micro_only: bool,
    /// Only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    part: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Part {
    Rate,
    Profile,
    Latency,
    Loss,
    Idle,
    Failover,
}

impl Options {
    fn plan(&self) -> Plan {
        let mut plan = if self.quick { Plan::quick() } else { Plan::full() };
        if let Some(rounds) = self.rounds {
            plan.rounds = rounds;
        }
        if let Some(pulls) = self.pulls {
            plan.pulls = pulls;
        }
        if !self.lengths.is_empty() {
            plan.lengths.clone_from(&self.lengths);
        }
        let named = |name: &str| self.only.iter().any(|text| name.contains(text.as_str()));
        plan.specs.retain(|spec| self.only.is_empty() || named(&spec.to_string()));
        plan.specs.retain(|spec| !(self.micro_only || self.no_peers && spec.system.is_foreign()));
        plan
    }

    fn wants(&self, part: Part) -> bool {
        !self.micro_only && (self.part.is_empty() || self.part.contains(&part))
    }
}

fn main() -> Result<()> {
    match Verb::parse() {
        Verb::Run(options) => run(&options),
        Verb::Show { report, docs } => show(&report, docs.as_deref()),
    }
}

fn run(options: &Options) -> Result<()> {
    let plan = options.plan();
    let mut missing = Vec::new();
    let mut devices = Vec::new();
    for spec in &plan.specs {
        match peers::lacks(spec) {
            Some(why) => missing.push(format!("{spec}: {why}")),
            None => devices.push(Device::start(*spec)?),
        }
    }
    let mut bench = Bench::new(devices, plan.rounds)?;
    let measurements = measure(options, &plan, &mut bench)?;
    bench.finish();
    let facts = |device: &Device| Facts { spec: device.spec, facts: device.running.facts.clone() };
    let report = Report {
        schema: SCHEMA,
        environment: Environment::read()?,
        devices: bench.devices.iter().map(facts).collect(),
        missing,
        repeated: bench.repeated,
        measurements,
        micro: options.micro.as_deref().map_or_else(|| Ok(Vec::new()), micro::figures)?,
    };
    let text = serde_json::to_string_pretty(&report)?;
    fs::write(&options.json, text)
        .with_context(|| format!("cannot write {}", options.json.display()))
}

fn show(path: &Path, docs: Option<&Path>) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{} is no report of this benchmark", path.display()))?;
    print!("{}\n{}", table(&report), promise_table(&promises(&report)));
    for file in docs.map_or_else(|| Ok(Vec::new()), |docs| write(&report, docs))? {
        println!("{} is written", file.display());
    }
    Ok(())
}

fn measure(options: &Options, plan: &Plan, bench: &mut Bench) -> Result<Vec<Measurement>> {
    let mut out = Vec::new();
    let both = [Direction::HostToWire, Direction::WireToHost];
    if options.wants(Part::Rate) {
        for direction in both {
            for &length in &plan.lengths {
                out.extend(parts::rate(bench, direction, length)?);
            }
        }
    }
    if options.wants(Part::Profile) {
        out.extend(parts::profile(bench)?);
    }
    if options.wants(Part::Latency) {
        for direction in plan.latency {
            let measured = parts::latency(bench, *direction, &out, &plan.loads)?;
            out.extend(measured);
        }
    }
    if options.wants(Part::Loss) && plan.loss {
        out.extend(parts::loss(bench)?);
    }
    if options.wants(Part::Idle) {
        out.extend(parts::idle(bench)?);
    }
    if options.wants(Part::Failover) {
        let measured = parts::failover(bench, &out, &plan.pull_loads, plan.pulls)?;
        out.extend(measured);
    }
    Ok(out)
}
