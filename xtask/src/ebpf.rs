//! `cargo xtask ebpf`: builds the XDP programs into the object that lies beside their source.

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

/// From the workspace's root.
const OBJECT: &str = "bond-ebpf/bond-ebpf.o";

#[derive(Args, Debug)]
pub(crate) struct EbpfArgs {
    /// Change nothing; fail when the object is not what the source builds
    #[arg(long)]
    check: bool,
}

pub(crate) fn ebpf(args: &EbpfArgs) -> Result<()> {
    if args.check {
        match check()? {
            Outcome::Passed => println!("{OBJECT} is what the source builds"),
            Outcome::Skipped(why) => println!("skipped: ebpf check: {why}"),
        }
        return Ok(());
    }

    let built = Tools::ensure()?.build()?;
    let object = root().join(OBJECT);
    if fs::read(&object).is_ok_and(|checked_in| checked_in == built) {
        println!("{OBJECT}: unchanged");
    } else {
        write(&object, &built)?;
        println!("{OBJECT}: changed, {} bytes", built.len());
    }
    Ok(())
}

/// Lints the programs, builds them aside and compares what a loader sees of them with the object.
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
    tools.lint()?;
    let built = tools.build()?;
    let checked_in =
        fs::read(root().join(OBJECT)).with_context(|| format!("cannot read {OBJECT}"))?;
    let differences = compare::differences(&checked_in, &built)?;
    if !differences.is_empty() {
        bail!(
            "{OBJECT} is not what the source builds; run `cargo xtask ebpf` and commit it:\n  {}",
            differences.join("\n  ")
        );
    }
    Ok(Outcome::Passed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
