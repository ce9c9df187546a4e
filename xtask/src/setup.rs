//! `cargo xtask setup`: finds what this machine lacks, and installs it where it can.

mod parts;

use std::{
    fs, io,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::parts::{Part, Places, Probe};
use crate::{
    command::{Toolchain, as_root, can_be_root, command, output, run},
    ebpf,
};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Need {
    /// Build `bond` and run it
    Build,
    /// `cargo xtask test`, without the eBPF tools
    Test,
    /// Build the XDP programs
    Ebpf,
    /// Measure DPDK and Open vSwitch beside bond
    Peers,
}

#[derive(Args, Debug)]
pub(crate) struct SetupArgs {
    /// What to get ready for; everything, unless said
    need: Option<Need>,
}

pub(crate) fn setup(args: &SetupArgs) -> Result<()> {
    let needs = args.need.map_or_else(|| vec![Need::Test, Need::Ebpf], |need| vec![need]);
    for need in needs {
        match need {
            Need::Build | Need::Test | Need::Peers => ensure(need)?,
            Need::Ebpf => drop(ebpf::Tools::ensure()?),
        }
    }
    eprintln!("setup: everything needed is there");
    Ok(())
}

/// Something is missing that no command of ours can bring to this machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unobtainable(String);

/// Makes sure that all `need` asks for is there, installing what is not.
///
/// # Errors
///
/// [`Unobtainable`] names the packages when this machine has no means to install them.
pub(crate) fn ensure(need: Need) -> Result<()> {
    let missing = Places::here().missing(need);
    if !missing.is_empty() {
        install(&missing)?;
        let still: Vec<_> = Places::here().missing(need).iter().map(|part| part.debian).collect();
        if !still.is_empty() {
            bail!("installed, but still not found: what {} brings", still.join(", "));
        }
    }
    if need == Need::Test {
        component(Toolchain::Pinned, "rustfmt", "bin/rustfmt")?;
        component(Toolchain::Pinned, "clippy", "bin/cargo-clippy")?;
    }
    Ok(())
}

/// Makes sure that the component of a toolchain, known by one of its files, is there.
///
/// Returns the toolchain's directory.
pub(crate) fn component(toolchain: Toolchain, name: &str, file: &str) -> Result<PathBuf> {
    let sysroot = output(&mut toolchain.command("rustc --print sysroot"))?;
    let sysroot = PathBuf::from(sysroot.trim_end());
    if !sysroot.join(file).exists() {
        eprintln!("setup: adding {name} to the toolchain in {}", sysroot.display());
        run(toolchain.command("rustup component add").arg(name).stdout(io::stderr()))?;
    }
    Ok(sysroot)
}

fn install(parts: &[&Part]) -> Result<()> {
    let packages: Vec<_> = parts.iter().map(|part| part.debian).collect();
    let by_hand = |why: &str| {
        let fedora: Vec<_> = parts.iter().map(|part| part.fedora).collect();
        Unobtainable(format!(
            "{why}; Debian, Ubuntu: apt-get install {}; Fedora: dnf install {}",
            packages.join(" "),
            fedora.join(" ")
        ))
    };

    if !Places::here().has(&Probe::Program("apt-get")) {
        bail!(by_hand("parts are missing and there is no apt-get to install them with"));
    }
    if !can_be_root() {
        bail!(by_hand("parts are missing and installing them takes root or sudo"));
    }

    eprintln!("setup: installing {}", packages.join(" "));
    let mut apt_install = apt_get("install");
    apt_install.arg("--no-install-recommends").args(&packages);
    if has_package_lists() && run(&mut apt_install).is_ok() {
        return Ok(());
    }
    run(&mut apt_get("update")).context("the package lists cannot be had")?;
    let unknown: Vec<_> = packages.iter().copied().filter(|package| !is_package(package)).collect();
    if !unknown.is_empty() {
        bail!(by_hand(&format!("apt-get knows no {}", unknown.join(", "))));
    }
    run(&mut apt_install)
}

/// `apt-get` with the rights of root, without questions, and silent unless something is wrong.
fn apt_get(verb: &str) -> Command {
    let mut apt = as_root("env");
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", verb, "-qq", "--yes"])
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .stdout(Stdio::null());
    apt
}

/// Whether apt-get has ever been updated here, and not been emptied since, as in an image.
fn has_package_lists() -> bool {
    let mut lists = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    lists.any(|list| list.file_name().to_string_lossy().contains("_Packages"))
}

fn is_package(name: &str) -> bool {
    let mut show = command("apt-cache");
    show.args(["show", "--no-all-versions", name]).stdout(Stdio::null()).stderr(Stdio::null());
    run(&mut show).is_ok()
}
