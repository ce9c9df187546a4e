//! `bond cleanup`.

use std::process::ExitCode;

use crate::control;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bond
    #[arg(default_value = "bond0")]
    bond: String,
}

pub(super) fn cleanup(args: &Args) -> anyhow::Result<ExitCode> {
    match control::cleanup(&args.bond)? {
        Some(pid) => println!("{}: put back what process {pid} left", args.bond),
        None => println!("{}: nothing left behind in this network namespace", args.bond),
    }
    Ok(ExitCode::SUCCESS)
}
