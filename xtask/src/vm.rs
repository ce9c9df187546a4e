//! `cargo xtask vm`: tests on NICs that do zero-copy, lose their carrier and go away, in an emulated machine.
//!
//! The machine is QEMU's own emulation (TCG): it needs neither root nor /dev/kvm, and proves correctness, not speed.

mod initramfs;
mod machine;
mod packages;
mod qmp;
mod report;

use std::{
    env,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;

use self::machine::Machine;
use crate::{
    command::{Toolchain, command, is_ci, root, run, target_dir},
    setup::{self, Need},
};

#[derive(Args, Debug)]
pub(crate) struct VmArgs {
    /// Run the tests whose names contain one of these; all, unless said
    tests: Vec<String>,
    /// Seconds after which the machine is switched off
    #[arg(long, default_value_t = 420, value_parser = clap::value_parser!(u64).range(10..=3600))]
    limit: u64,
    /// Write what was measured into docs/zero-copy.md, if all tests passed
    #[arg(long, conflicts_with = "tests")]
    write: bool,
    /// Print all that the machine writes on its console
    #[arg(long, short)]
    verbose: bool,
}

pub(crate) fn vm(args: &VmArgs) -> Result<()> {
    setup::ensure(Need::Build)?;
    let cache = cache()?;
    let (parts, programs) = thread::scope(|scope| {
        let programs = scope.spawn(build);
        (packages::fetch(&cache), programs.join())
    });
    let parts = match parts {
        Ok(parts) => parts,
        Err(error) if is_ci() => return Err(error),
        Err(error) => {
            println!("vm skipped: {error:#}");
            return Ok(());
        }
    };
    let programs = programs.map_err(|_panic| anyhow!("the build panicked"))??;
    let scratch = tempfile::tempdir()?;
    let programs = programs.stripped(scratch.path())?;
    let initramfs = scratch.path().join("initramfs");
    initramfs::write(&initramfs, &parts, &programs)?;

    let machine = Machine { parts: &parts, initramfs: &initramfs, scratch: scratch.path() };
    let start = Instant::now();
    let outcome = machine.run(&args.tests, Duration::from_secs(args.limit), args.verbose)?;
    println!(
        "{} passed, {} failed, {} skipped in {:.0} s",
        outcome.passed,
        outcome.failed,
        outcome.skipped,
        start.elapsed().as_secs_f64()
    );
    if let Some(trouble) = outcome.trouble {
        bail!("{trouble}");
    }
    ensure!(outcome.failed == 0, "not all tests passed");
    ensure!(outcome.passed > 0, "no test was run");
    ensure!(outcome.skipped == 0 || !(is_ci() || args.write), "tests were skipped");
    if args.write {
        report::write(&root().join("docs/zero-copy.md"), &outcome.records)?;
        println!("docs/zero-copy.md is written");
    }
    Ok(())
}

/// The directory of what was fetched, outside the source tree.
fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME says where to keep QEMU")?.join("bond-vm"))
}

/// The programs that run inside, by the names they have there.
struct Programs {
    guest: PathBuf,
    bond: PathBuf,
}

/// As for the other tests: what they have built is not built again, and nothing here is measured in nanoseconds.
fn build() -> Result<Programs> {
    run(&mut Toolchain::Pinned
        .command("cargo build --quiet --package bond-tests --bin bond-vm-guest"))?;
    run(&mut Toolchain::Pinned.command("cargo build --quiet --package bond-user --bin bond"))?;
    let built = target_dir().join("debug");
    Ok(Programs { guest: built.join("bond-vm-guest"), bond: built.join("bond") })
}

impl Programs {
    /// The same without what only a debugger needs, which would fill the machine's memory; in `directory`.
    fn stripped(&self, directory: &Path) -> Result<Self> {
        let strip = |program: &Path, name| {
            let to = directory.join(name);
            run(command("strip").arg("--strip-debug").arg("-o").arg(&to).arg(program))?;
            anyhow::Ok(to)
        };
        Ok(Self { guest: strip(&self.guest, "guest")?, bond: strip(&self.bond, "bond")? })
    }
}
