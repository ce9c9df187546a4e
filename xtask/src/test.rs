//! `cargo xtask test`: every check, one step after the other.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, builder::PossibleValuesParser};

use crate::{
    command::{self, Toolchain, can_be_root, is_root, target_dir},
    ebpf,
    setup::{self, Need},
};

#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Run this step only; may be given several times
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(STEPS.map(|step| step.name)))]
    only: Vec<String>,
    /// List the steps
    #[arg(long)]
    list: bool,
}

/// How a step ended that did not fail.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    /// Could not be run here, and why.
    Skipped(String),
}

#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Log) -> Result<Outcome>,
}

const fn step(name: &'static str, what: &'static str, run: fn(&Log) -> Result<Outcome>) -> Step {
    Step { name, what, run }
}

const STEPS: [Step; 7] = [
    step("fmt", "formatting", |log| log.cargo("fmt --all --check")),
    step("clippy", "lints, no warning left", |log| {
        log.cargo("clippy --workspace --all-targets -- -D warnings")
    }),
    step("unit", "unit, doc and integration tests that need no root", |log| {
        log.cargo("test --workspace --exclude bond-tests --no-fail-fast")
    }),
    step("loom", "the lock-free parts in every interleaving", loom),
    step("miri", "what needs no kernel, interpreted", miri),
    step("ebpf", "bond-ebpf.o is what its source builds", |_| ebpf::check()),
    step("root", "tests on real netdevs in namespaces, as root", root),
];

pub(crate) fn test(args: &TestArgs) -> Result<()> {
    if args.list {
        STEPS.iter().for_each(|Step { name, what, .. }| println!("{name:<8}{what}"));
        return Ok(());
    }
    setup::ensure(Need::Test)?;

    let asked =
        |step: &&Step| args.only.is_empty() || args.only.iter().any(|name| name == step.name);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for step in STEPS.iter().filter(asked) {
        match run(step)? {
            Ok(Outcome::Passed) => passed += 1,
            Ok(Outcome::Skipped(_)) => skipped += 1,
            Err(_) => failed += 1,
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        bail!("not all steps passed");
    }
    Ok(())
}

/// Runs one step and prints how it went; what it wrote only when it failed.
fn run(step: &Step) -> Result<Result<Outcome>> {
    let log = Log::create(step.name)?;
    let mut stdout = io::stdout();
    if stdout.is_terminal() {
        write!(stdout, "{:<8}...\r", step.name)?;
        stdout.flush()?;
    }
    let start = Instant::now();
    let mut outcome = (step.run)(&log);
    let head = format!("{:<8}{:7.1} s ", step.name, start.elapsed().as_secs_f64());
    let text = log.read()?;
    let tests = tests_run(&text);
    if outcome.is_ok() && tests == Some(0) {
        outcome = Err(anyhow!("no test was run"));
    }
    match &outcome {
        Ok(Outcome::Passed) => {
            let tests = tests.map_or_else(String::new, |tests| format!(", {tests} tests"));
            println!("{head} ok{tests}");
            let skipped = text.lines().filter(|line| line.starts_with("skipped: "));
            skipped.for_each(|line| println!("{:19}{line}", ""));
        }
        Ok(Outcome::Skipped(why)) => println!("{head} skipped: {}", why.replace('\n', "; ")),
        Err(error) => println!("{text}\n{head} FAILED: {error:#}"),
    }
    Ok(outcome)
}

/// Where a step's commands write.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn create(step: &str) -> Result<Self> {
        let directory = target_dir().join("test-logs");
        let path = directory.join(step).with_extension("log");
        let file = fs::create_dir_all(&directory)
            .and_then(|()| File::create(&path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn cargo(&self, arguments: &str) -> Result<Outcome> {
        self.run(&mut Toolchain::Pinned.command(&format!("cargo {arguments}")))
    }

    fn run(&self, command: &mut Command) -> Result<Outcome> {
        command::run(command.stdout(self.file.try_clone()?).stderr(self.file.try_clone()?))?;
        Ok(Outcome::Passed)
    }

    fn read(&self) -> Result<String> {
        let bytes =
            fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// How many tests passed, by the summaries of libtest in `log`; none when it holds no summary.
fn tests_run(log: &str) -> Option<usize> {
    let summaries = log.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    let counts = summaries.filter_map(|summary| summary.split(' ').next()?.parse::<usize>().ok());
    counts.reduce(|sum, count| sum + count)
}

fn loom(log: &Log) -> Result<Outcome> {
    log.cargo("test --package bond-user --lib --features loom -- loom")
}

fn miri(log: &Log) -> Result<Outcome> {
    let core = "lib/rustlib/src/rust/library/core/src/lib.rs";
    for (name, file) in [("miri", "bin/cargo-miri"), ("rust-src", core)] {
        if let Err(error) = setup::component(Toolchain::Nightly, name, file) {
            return Ok(Outcome::Skipped(format!("no miri: {error:#}")));
        }
    }
    let miri = |arguments| {
        let mut cargo = Toolchain::Nightly.command(&format!("cargo miri test {arguments}"));
        cargo
            .env("CARGO_TARGET_DIR", target_dir().join("miri"))
            // proptest asks for the directory it is in.
            .env("MIRIFLAGS", "-Zmiri-disable-isolation");
        log.run(&mut cargo)
    };
    miri("--package bond-ebpf --lib")?;
    // The modules that touch neither kernel nor C.
    miri("--package bond-user --lib -- ring:: snapshot:: mode:: watch:: poller::")
}

fn root(log: &Log) -> Result<Outcome> {
    if !can_be_root() {
        return Ok(Outcome::Skipped("needs root or sudo".to_owned()));
    }
    // Built by the user, run by root: no file of root's stays in the target directory.
    let runner = if is_root() { "" } else { "--config target.'cfg(all())'.runner=['sudo','-E']" };
    let test = |tests| {
        log.cargo(&format!("test {runner} --no-fail-fast {tests} --test-threads=1 --show-output"))
    };
    log.cargo("build --package bond-user --bins")?;
    test("--package bond-user --tests -- --ignored")?;
    test("--package bond-bench --test smoke -- --ignored")?;
    test("--package bond-tests -- --include-ignored")
}

#[cfg(test)]
mod tests {
    use super::tests_run;

    #[test]
    fn summaries_add_up() {
        let log = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
            test a ... ok\n\
            test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out\n";
        assert_eq!(tests_run(log), Some(15));
        assert_eq!(tests_run("Finished `dev` profile\n"), None);
    }
}
