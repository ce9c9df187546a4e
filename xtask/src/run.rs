//! `cargo xtask run`: builds `bond`, then runs it on the given interfaces, or in the embedded lab.

mod lab;
mod outcome;
mod timeline;

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use bond_tests::Switch;
use clap::Args;
use serde_json::Value;

use crate::command::{command, is_root};

/// Names the `bond` to run; nothing is built then.
const BOND_BIN: &str = "BOND_BIN";
/// Options that are ours, and take a value.
const VALUED: [&str; 5] = ["--iface", "-i", "--mode", "--xdp-mode", "--rate"];
/// Options that are ours, and take none.
const FLAGS: [&str; 2] = ["--hold", "--json"];

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Interfaces to bond, separated by commas; without them the embedded lab runs
    #[arg(long, short, value_name = "IF,IF")]
    iface: Option<String>,
    /// Bonding mode, by the kernel's name or number
    #[arg(long)]
    mode: Option<String>,
    /// Where the slaves' XDP programs run: auto, native or generic
    #[arg(long)]
    xdp_mode: Option<String>,
    #[command(flatten)]
    lab: lab::LabArgs,
    /// Any other options of `bond run` (see `bond run --help`)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "BOND_OPTIONS")]
    rest: Vec<String>,
}

impl RunArgs {
    /// What the mode asks of a switch.
    fn switch(&self) -> Switch {
        match self.mode.as_deref() {
            None | Some("active-backup" | "1") => Switch::Plain,
            Some(_) => Switch::StaticLag,
        }
    }

    /// The options for `bond run`, without the interfaces.
    fn bond_options(&self) -> Vec<String> {
        let named = [("--mode", &self.mode), ("--xdp-mode", &self.xdp_mode)];
        let given =
            named.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value.clone()?]));
        given.flatten().chain(self.rest.iter().cloned()).collect()
    }
}

/// The arguments of this program with our options of the verb `run` in front: clap takes what follows the first one
/// that it does not know for `bond run`, whatever it is.
pub(crate) fn ours_first(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut ours: Vec<OsString> = arguments.by_ref().take(2).collect();
    if ours.get(1).is_none_or(|verb| verb != "run") {
        return ours.into_iter().chain(arguments).collect();
    }
    let mut rest = Vec::new();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, value) = text.split_once('=').map_or((&*text, None), |(n, v)| (n, Some(v)));
        if FLAGS.contains(&name) {
            ours.push(argument);
        } else if VALUED.contains(&name) {
            ours.push(argument);
            ours.extend(if value.is_none() { arguments.next() } else { None });
        } else {
            rest.push(argument);
        }
    }
    ours.into_iter().chain(rest).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the arguments are handed over for good")]
pub(crate) fn run(args: RunArgs) -> Result<()> {
    let options = args.bond_options();
    let chosen = env::var_os(BOND_BIN).map(PathBuf::from);
    match (&args.iface, &chosen) {
        (None, Some(_)) if is_root() => lab::run(&args.lab, args.switch(), &options),
        // The lab needs root and a bond: once more, with both.
        (None, _) => become_root(
            &chosen.map_or_else(build, Ok)?,
            &env::current_exe()?,
            env::args_os().skip(1),
        ),
        (Some(iface), _) => {
            let bond = chosen.map_or_else(build, Ok)?;
            let arguments = ["run", "bond0", "--iface", iface]
                .into_iter()
                .chain(options.iter().map(String::as_str));
            become_root(&bond, &bond, arguments)
        }
    }
}

/// Replaces this process by `program`, as root, with [`BOND_BIN`] set to `bond`. Returns only when that fails.
fn become_root<S: AsRef<OsStr>>(
    bond: &Path,
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Result<()> {
    let mut setting = OsString::from(format!("{BOND_BIN}="));
    setting.push(bond);
    let mut command = Command::new(if is_root() { "env" } else { "sudo" });
    if !is_root() {
        // sudo drops these unless told.
        command.args(["--preserve-env=NO_COLOR,RUST_LOG,RUST_BACKTRACE", "env"]);
    }
    command.arg(setting).arg(program).args(arguments);
    Err(command.exec()).context("this needs root: run it as root, or install sudo")
}

/// Builds the command `bond` for speed, and returns where it is.
fn build() -> Result<PathBuf> {
    let mut cargo = command("cargo");
    cargo.args(["build", "--release", "--package", "bond-user", "--bin", "bond"]);
    let output =
        cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "bond cannot be built: {}", output.status);
    let messages = output.stdout.split(|&byte| byte == b'\n');
    let mut executables = messages.filter_map(|message| {
        let message: Value = serde_json::from_slice(message).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executables.next_back().context("cargo built no executable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_options_may_stand_anywhere() {
        let sorted = |line: &str| -> Vec<String> {
            ours_first(line.split(' ').map(OsString::from))
                .into_iter()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(
            sorted("xtask run --miimon 100 --json --primary eth1 --mode 1 --xdp-mode=generic"),
            "xtask run --json --mode 1 --xdp-mode=generic --miimon 100 --primary eth1"
                .split(' ')
                .collect::<Vec<_>>()
        );
        assert_eq!(sorted("xtask test --only --json"), ["xtask", "test", "--only", "--json"]);
    }
}
