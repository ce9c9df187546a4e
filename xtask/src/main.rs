//! The project's own commands, one module a verb.

mod bench;
mod command;
mod ebpf;
mod run;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::Parser;

use crate::setup::Need;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
enum Verb {
    /// Find what this machine lacks and install it, or name the packages
    Setup(setup::SetupArgs),
    /// Build and run `bond`: on your interfaces, or without --iface in the embedded lab
    Run(run::RunArgs),
    /// Run every check: style, tests, models, the XDP programs
    Test(test::TestArgs),
    /// Test on NICs that do zero-copy and lose their carrier, in an emulated machine
    Vm(vm::VmArgs),
    /// Measure bond beside other systems: rates, loss, latency, outages, CPU use
    Bench(bench::BenchArgs),
    /// Rebuild the object of the XDP programs
    Ebpf(ebpf::EbpfArgs),
}

fn main() -> ExitCode {
    let done = match Verb::parse_from(run::ours_first(std::env::args_os())) {
        Verb::Setup(args) => setup::setup(&args),
        Verb::Run(args) => setup::ensure(Need::Build).and_then(|()| run::run(args)),
        Verb::Test(args) => test::test(&args),
        Verb::Vm(args) => vm::vm(&args),
        Verb::Bench(args) => bench::bench(&args),
        Verb::Ebpf(args) => ebpf::ebpf(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
