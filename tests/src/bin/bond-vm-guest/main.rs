//! The first program of the machine that `cargo xtask vm` boots: runs tests on its NICs and switches it off.
//!
//! What it tells the outside, a line each on the console: `@begin TEST`, `@note TEXT`, `@link NIC on|off` (a wish),
//! `@record JSON` (what was measured, for docs/zero-copy.md), `test TEST ... ok|FAILED: why, SECONDS s`, `@end`.

mod carrier;
mod copies;
mod failover;
mod hash;
mod kernel_bond;
mod mtu;
mod nics;
mod rebind;
mod traffic;
mod vlan;

use std::{
    env, fs,
    fs::File,
    io::ErrorKind,
    panic,
    process::{self, ExitCode},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot},
};

/// A test.
struct Test {
    name: String,
    run: Box<dyn FnOnce() -> Result<()> + Send>,
}

fn main() -> ExitCode {
    if process::id() != 1 {
        eprintln!("this runs as the first program of the machine that `cargo xtask vm` boots");
        return ExitCode::FAILURE;
    }
    match prepare() {
        Ok(filter) => run(&filter),
        Err(error) => println!("the machine is not ready: {error:#}"),
    }
    // Only returns when it fails, and then the end of the first program is the machine's as well.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn run(filter: &[String]) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    record("machine", serde_json::json!({ "kernel": kernel.trim() }));
    let asked =
        |test: &Test| filter.is_empty() || filter.iter().any(|part| test.name.contains(part));
    for Test { name, run } in tests().filter(asked) {
        println!("@begin {name}");
        let start = Instant::now();
        let outcome = thread::spawn(run).join();
        let outcome = outcome.unwrap_or_else(|panic| Err(anyhow!("{}", message(&*panic))));
        let outcome = outcome.and_then(|()| nics::wait_home());
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("test {name} ... ok, {seconds:.1} s"),
            Err(error) => {
                println!("{error:?}");
                println!(
                    "test {name} ... FAILED: {}, {seconds:.1} s",
                    format!("{error:#}").lines().next().unwrap_or_default()
                );
            }
        }
    }
    println!("@end");
}

fn tests() -> impl Iterator<Item = Test> {
    [
        traffic::tests(),
        failover::tests(),
        carrier::tests(),
        rebind::tests(),
        kernel_bond::tests(),
        hash::tests(),
        vlan::tests(),
        mtu::tests(),
    ]
    .into_iter()
    .flatten()
}

/// Tells the outside what was measured.
fn record(what: &str, mut values: serde_json::Value) {
    values["what"] = what.into();
    println!("@record {values}");
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// Mounts what programs expect, loads the drivers, and returns the names of the tests asked for.
fn prepare() -> Result<Vec<String>> {
    panic::set_hook(Box::new(|info| println!("{info}")));
    let systems = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("tracefs", "/sys/kernel/tracing"),
        ("bpf", "/sys/fs/bpf"),
    ];
    for (system, place) in systems {
        mount(system, place, system, MountFlags::empty(), None)
            .with_context(|| format!("mounting {place}"))?;
    }
    load_modules()?;
    // SAFETY: no other thread is running yet.
    unsafe { env::set_var("PATH", "/bin") };
    // SAFETY: as above.
    unsafe { env::set_var("BOND_BIN", "/bin/bond") };
    nics::wait_home()?;
    let line = fs::read_to_string("/proc/cmdline")?;
    let tests = line.split_whitespace().find_map(|word| word.strip_prefix("bond.tests="));
    Ok(tests
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Loads the files in /modules in the order of their names.
fn load_modules() -> Result<()> {
    let entries = match fs::read_dir("/modules") {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let name = file.display();
        finit_module(File::open(&file)?, c"", 0).with_context(|| format!("loading {name}"))?;
    }
    Ok(())
}
