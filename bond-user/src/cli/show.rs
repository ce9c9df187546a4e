//! `bond show`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::{NOT_RUNNING, proc, text};
use crate::port::socket_path;
use crate::state::BondState;

/// How long a running bond may take to answer. Meanwhile it may be taking in slaves, and some NICs reset for a
/// second or two when a program is attached.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bond
    #[arg(default_value = "bond0")]
    bond: String,
    /// One JSON object instead of text
    #[arg(short, long)]
    json: bool,
    /// The text of /proc/net/bonding instead, for scripts that read it
    #[arg(long, conflicts_with = "json")]
    proc: bool,
}

impl Args {
    fn render(&self, state: &BondState) -> anyhow::Result<String> {
        if self.json {
            return Ok(serde_json::to_string(state)? + "\n");
        }
        if self.proc {
            let kernel = rustix::system::uname();
            return Ok(proc::render(state, &kernel.release().to_string_lossy()));
        }
        Ok(text::render(state))
    }
}

pub(super) fn show(args: &Args) -> anyhow::Result<ExitCode> {
    let path = socket_path(&args.bond)?;
    let mut socket = match UnixStream::connect(&path) {
        Ok(socket) => socket,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            eprintln!("bond: {} is not running in this network namespace", args.bond);
            return Ok(ExitCode::from(NOT_RUNNING));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot connect to {}", path.display()));
        }
    };
    socket.set_read_timeout(Some(ANSWER))?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).context("the bond does not answer")?;
    let state: BondState =
        serde_json::from_str(&answer).context("the bond's answer is of another version")?;
    match std::io::stdout().write_all(args.render(&state)?.as_bytes()) {
        // The reader has seen enough: `bond show | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).context("cannot write the state"),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser as _, error::ErrorKind};

    use crate::cli::Cli;

    #[test]
    fn one_view_at_a_time() {
        for view in ["--json", "-j", "--proc"] {
            assert!(Cli::try_parse_from(["bond", "show", view]).is_ok(), "{view}");
        }
        for views in [["--proc", "--json"], ["-j", "--proc"]] {
            let refused = Cli::try_parse_from(["bond", "show"].into_iter().chain(views));
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ArgumentConflict, "{views:?}");
        }
    }
}
