//! The command's verbs.

mod cleanup;
mod proc;
mod run;
mod show;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Not running: exit code of `bond show`.
const NOT_RUNNING: u8 = 3;

/// AF_XDP bonding: two or more NICs become one, in user space.
#[derive(Debug, Parser)]
#[command(name = "bond", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a bond in the foreground, until SIGINT or SIGTERM
    Run(Box<run::Args>),
    /// Show the state of a running bond
    Show(show::Args),
    /// Put back what a killed bond process left behind
    Cleanup(cleanup::Args),
}

/// The error and its causes, leaving out those that the text has told already.
fn once(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

/// Runs the command with the process's arguments.
///
/// Exit codes: 0 done, 1 error, 2 usage, 3 the bond is not running.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Run(args) => run::run(*args),
        Verb::Show(args) => show::show(&args),
        Verb::Cleanup(args) => cleanup::cleanup(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("bond: {}", once(&error));
        ExitCode::FAILURE
    })
}
