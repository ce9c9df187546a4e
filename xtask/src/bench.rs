//! `cargo xtask bench`: measures bond beside other systems, and writes down what came of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    command::{Toolchain, as_root, command, root, run, target_dir},
    setup::{self, Need},
};

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Fewer loads, systems and rounds: less than 5 minutes; the full run takes less than 40
    #[arg(long)]
    quick: bool,
    /// Write the report to this file (its schema: docs/benchmarks.md)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What to measure beside bond; unless said, whatever of it is installed
    #[arg(long)]
    peers: Option<Peers>,
    /// Write docs/benchmarks.md and its pictures
    #[arg(long)]
    write: bool,
    /// Only the micro benchmarks, which need no root
    #[arg(long)]
    micro: bool,
    /// Options of the packet-rate benchmark (see `-- --help`)
    #[arg(last = true, value_name = "OPTIONS")]
    rest: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peers {
    /// Install DPDK and Open vSwitch from the distribution's packages (Open vSwitch's starts its own service)
    Install,
    /// Neither DPDK nor Open vSwitch
    None,
}

pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    setup::ensure(Need::Test)?;
    if args.peers == Some(Peers::Install) {
        setup::ensure(Need::Peers)?;
    }
    eprintln!("bench: building for speed");
    run(&mut Toolchain::Pinned.command("cargo build --quiet --release --package bond-user --bins"))?;
    run(
        &mut Toolchain::Pinned.command("cargo build --quiet --release --package bond-bench --bins")
    )?;
    let micro = micro_benchmarks(args.quick)?;
    let report = target_dir().join("bench/report.json");
    fs::create_dir_all(target_dir().join("bench"))?;

    let mut measure = if args.micro { bond_bench() } else { as_root_bench() };
    measure.arg("run").arg("--json").arg(&report).arg("--micro").arg(&micro);
    measure.args(args.quick.then_some("--quick"));
    measure.args((args.peers == Some(Peers::None)).then_some("--no-peers"));
    measure.args(args.micro.then_some("--micro-only"));
    run(measure.args(&args.rest))?;

    let mut show = bond_bench();
    show.arg("show").arg(&report);
    if args.write {
        show.arg("--docs").arg(root().join("docs"));
    }
    run(&mut show)?;
    if let Some(to) = &args.json {
        fs::copy(&report, to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// The micro benchmarks of a quick run: what docs/benchmarks.md makes promises about.
const QUICK: &str = "^(ring-cross/.*/64$|select/|turn)";

/// Runs the micro benchmarks, and returns where criterion left their figures: of this run only.
fn micro_benchmarks(quick: bool) -> Result<PathBuf> {
    let figures = target_dir().join("criterion");
    if figures.exists() {
        fs::remove_dir_all(&figures)
            .with_context(|| format!("cannot empty {}", figures.display()))?;
    }
    eprintln!("bench: micro benchmarks, some {}", if quick { "40 seconds" } else { "two minutes" });
    let log = target_dir().join("bench-micro.log");
    let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut cargo = Toolchain::Pinned.command("cargo bench --quiet --package bond-bench --benches");
    cargo.args(quick.then_some(["--", QUICK]).into_iter().flatten());
    run(cargo.stdout(file.try_clone()?).stderr(file))
        .with_context(|| format!("what they said is in {}", log.display()))?;
    Ok(figures)
}

fn program() -> PathBuf {
    target_dir().join("release/bond-bench")
}

fn bond_bench() -> Command {
    command(program())
}

fn as_root_bench() -> Command {
    as_root(&Path::new(&program()).to_string_lossy())
}
