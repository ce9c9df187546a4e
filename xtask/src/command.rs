//! Starting other programs.

use std::{
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(manifest_dir);
    root.pop();
    root
}

/// Where builds go.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Whether nobody watches this run, so that nothing may be left out without a good reason.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| ci == "true")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A Rust toolchain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Toolchain {
    /// The one in `rust-toolchain.toml`.
    Pinned,
    Nightly,
}

impl Toolchain {
    /// A program of rustup or of this toolchain with its arguments, all in `line`, split at blanks.
    pub(crate) fn command(self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let mut command = command(words.next().unwrap_or_default());
        match self {
            Self::Pinned => {}
            Self::Nightly => {
                command.arg("+nightly");
            }
        }
        command.args(words);
        command
    }
}

/// `program` in the workspace's root, without what `cargo run` told this process.
///
/// Cargo's variables describe xtask, not what the program builds; rustup's would win over
/// `rust-toolchain.toml` and `+nightly`.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    const NAMES: [&str; 3] = ["CARGO", "OUT_DIR", "RUSTUP_TOOLCHAIN"];
    const PREFIXES: [&str; 4] = ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_"];

    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let told = |name: &String| {
        NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    for name in names.filter(told) {
        command.env_remove(name);
    }
    command
}

/// Whether [`as_root`] would succeed; sudo may ask for a password here.
pub(crate) fn can_be_root() -> bool {
    is_root() || run(command("sudo").arg("--validate").stderr(Stdio::null())).is_ok()
}

/// `program` with the rights of root: as it is when we have them, else by sudo.
pub(crate) fn as_root(program: &str) -> Command {
    if is_root() {
        return command(program);
    }
    let mut sudo = command("sudo");
    sudo.arg(program);
    sudo
}

/// Runs `command` and asks it to succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs `command`, asks it to succeed and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", line(command)))?;
    let Output { status, stdout, stderr } = output;
    if !status.success() {
        bail!("`{}` failed: {status}\n{}", line(command), String::from_utf8_lossy(&stderr));
    }
    String::from_utf8(stdout).with_context(|| format!("`{}` printed no text", line(command)))
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
