//! `cargo xtask ebpf`: builds the XDP programs into the objects that lie beside their source.

mod compare;
mod tools;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use clap::Args;

pub(crate) use self::tools::{Tools, llvm_prefix};
use crate::{
    command::{is_ci, root},
    setup::Unobtainable,
    test::Outcome,
};

/// An object that is checked in.
#[derive(Debug)]
pub(crate) struct Object {
    package: &'static str,
    /// Of the package.
    binary: &'static str,
    /// From the workspace's root.
    path: &'static str,
}

const OBJECTS: [Object; 2] = [
    Object { package: "bond-ebpf", binary: "bond", path: "bond-ebpf/bond-ebpf.o" },
    Object { package: "bond-bench-ebpf", binary: "traffic", path: "bench/ebpf/traffic.o" },
];

#[derive(Args, Debug)]
pub(crate) struct EbpfArgs {
    /// Change nothing; fail when an object is not what the source builds
    #[arg(long)]
    check: bool,
}

pub(crate) fn ebpf(args: &EbpfArgs) -> Result<()> {
    if args.check {
        match check()? {
            Outcome::Passed => {
                OBJECTS
                    .iter()
                    .for_each(|object| println!("{} is what the source builds", object.path));
            }
            Outcome::Skipped(why) => println!("skipped: ebpf check: {why}"),
        }
        return Ok(());
    }

    let tools = Tools::ensure()?;
    for object in &OBJECTS {
        let built = tools.build(object)?;
        let path = root().join(object.path);
        if fs::read(&path).is_ok_and(|checked_in| checked_in == built) {
            println!("{}: unchanged", object.path);
        } else {
            write(&path, &built)?;
            println!("{}: changed, {} bytes", object.path, built.len());
        }
    }
    Ok(())
}

/// Lints the programs, builds them aside and compares what a loader sees of them with the objects.
///
/// Skipped where the tools cannot be had; an unattended run must try everything first.
pub(crate) fn check() -> Result<Outcome> {
    let tools = match Tools::ensure() {
        Ok(tools) => tools,
        Err(error) if error.is::<Unobtainable>() || !is_ci() => {
            return Ok(Outcome::Skipped(format!("{error:#}")));
        }
        Err(error) => return Err(error),
    };
    for object in &OBJECTS {
        tools.lint(object)?;
        let path = object.path;
        let checked_in =
            fs::read(root().join(path)).with_context(|| format!("cannot read {path}"))?;
        let differences = compare::differences(&checked_in, &tools.build(object)?)?;
        if !differences.is_empty() {
            bail!(
                "{path} is not what the source builds; run `cargo xtask ebpf` and commit it:\n  {}",
                differences.join("\n  ")
            );
        }
    }
    Ok(Outcome::Passed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
