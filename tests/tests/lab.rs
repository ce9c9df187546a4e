//! `cargo xtask run`: the embedded lab tells its story, and leaves nothing behind, whatever happens in the middle.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bond_tests::{Netns, Wire, XdpMode, binary, built, native_and_generic, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::NamedTempFile;

native_and_generic!(
    active_backup_does_its_job,
    balance_rr_does_its_job,
    an_interrupt_leaves_nothing,
    a_crash_of_the_bond_leaves_nothing
);

/// Longest run of the lab.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    mode: String,
    xdp_mode: String,
    sent: u64,
    lost: u64,
    outages_ms: Vec<f64>,
    frames_per_slave: BTreeMap<String, u64>,
}

/// A running `cargo xtask run`.
struct Lab {
    child: Child,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
    /// The bond's directories, of every namespace seen.
    directories: Vec<PathBuf>,
}

impl Lab {
    fn start(xdp_mode: XdpMode, arguments: &[&str]) -> Result<Self> {
        let (stdout, stderr) = (NamedTempFile::new()?, NamedTempFile::new()?);
        let child = Command::new(built("xtask")?)
            .args(["run", "--xdp-mode", xdp_mode.name()])
            .args(arguments)
            .env("BOND_BIN", binary()?)
            .stdin(Stdio::null())
            .stdout(stdout.reopen()?)
            .stderr(stderr.reopen()?)
            .spawn()?;
        Ok(Self { child, stdout, stderr, directories: Vec::new() })
    }

    /// The lab's namespaces, each with its inode.
    fn namespaces(&self) -> Result<BTreeMap<String, u64>> {
        let prefix = format!("bt-{}-", self.child.id());
        let mut found = BTreeMap::new();
        for entry in fs::read_dir("/run/netns")? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) {
                found.insert(name, fs::metadata(entry.path())?.ino());
            }
        }
        Ok(found)
    }

    /// Waits until the bond runs on the host, and returns its pid.
    fn bond(&mut self) -> Result<Pid> {
        wait_until("the lab's bond runs", LIMIT, || {
            let namespaces = self.namespaces()?;
            let Some((host, inode)) = namespaces.iter().find(|(name, _)| name.ends_with("-host"))
            else {
                return Ok(None);
            };
            let directory = PathBuf::from(format!("/run/bond/netns-{inode}"));
            if !directory.join("bond0.sock").exists() {
                return Ok(None);
            }
            let inside = Command::new("ip").args(["netns", "pids", host]).output()?;
            self.directories = vec![directory];
            let pids = String::from_utf8(inside.stdout)?;
            Ok(pids.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?)))
        })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for the end, checks that nothing is left, and returns the exit code, stdout and stderr.
    fn end(mut self) -> Result<(Option<i32>, String, String)> {
        let status = wait_until("the lab has ended", LIMIT, || Ok(self.child.try_wait()?))?;
        let (stdout, stderr) =
            (fs::read_to_string(&self.stdout)?, fs::read_to_string(&self.stderr)?);
        assert_eq!(self.namespaces()?, BTreeMap::new(), "left behind; {stderr}");
        for directory in &self.directories {
            assert!(!directory.exists(), "{} is left behind", directory.display());
        }
        Ok((status.code(), stdout, stderr))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Already ended unless the test failed: then it cleans up after itself.
        let _ = self.signal(Signal::TERM);
        let _ = self.child.wait();
    }
}

fn assert_does_its_job(xdp_mode: XdpMode, mode: &str) -> Result<()> {
    let (code, stdout, stderr) = Lab::start(xdp_mode, &["--json", "--mode", mode])?.end()?;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let outcome: Outcome = serde_json::from_str(&stdout)?;
    println!("{outcome:?}");
    assert_eq!((outcome.mode.as_str(), outcome.xdp_mode.as_str()), (mode, xdp_mode.name()));
    assert_eq!(outcome.outages_ms.len(), 2);
    assert!(outcome.outages_ms.iter().all(|outage| *outage <= 20.0), "{outcome:?}");
    // Five seconds at a thousand a second, at least, and every one counted on its way out and back.
    assert!(outcome.sent >= 5000, "{outcome:?}");
    assert!(outcome.lost <= 40, "{outcome:?}");
    assert_eq!(outcome.frames_per_slave.keys().collect::<Vec<_>>(), ["eth0", "eth1"]);
    assert!(outcome.frames_per_slave.values().sum::<u64>() >= 2 * (outcome.sent - outcome.lost));
    assert!(outcome.frames_per_slave.values().all(|frames| *frames >= 2000), "{outcome:?}");
    Ok(())
}

fn active_backup_does_its_job(xdp_mode: XdpMode) -> Result<()> {
    assert_does_its_job(xdp_mode, "active-backup")
}

fn balance_rr_does_its_job(xdp_mode: XdpMode) -> Result<()> {
    assert_does_its_job(xdp_mode, "balance-rr")
}

fn an_interrupt_leaves_nothing(xdp_mode: XdpMode) -> Result<()> {
    let mut lab = Lab::start(xdp_mode, &[])?;
    lab.bond()?;
    lab.signal(Signal::INT)?;
    assert_eq!(lab.end()?.0, Some(130));
    Ok(())
}

fn a_crash_of_the_bond_leaves_nothing(xdp_mode: XdpMode) -> Result<()> {
    let mut lab = Lab::start(xdp_mode, &[])?;
    let bond = lab.bond()?;
    wait_until("the story has begun", LIMIT, || {
        Ok(fs::read_to_string(&lab.stdout)?.contains("pings").then_some(()))
    })?;
    kill_process(bond, Signal::KILL)?;
    let (code, _, stderr) = lab.end()?;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("bond0 is not running"), "{stderr}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_held_lab_works_until_it_is_interrupted() -> Result<()> {
    let mut lab = Lab::start(XdpMode::Native, &["--hold", "--rate", "100"])?;
    lab.bond()?;
    wait_until("it is held", LIMIT, || {
        Ok(fs::read_to_string(&lab.stderr)?.contains("Ctrl-C ends it").then_some(()))
    })?;
    let told = fs::read_to_string(&lab.stderr)?;
    let commands: Vec<_> = told
        .lines()
        .filter_map(|line| line.split_once('#')?.0.trim().strip_prefix("ip "))
        .collect();
    let show = commands
        .iter()
        .find(|command| command.contains("show bond0"))
        .context("how to see the bond")?;
    for command in
        [*show, commands.iter().find(|command| command.ends_with(" down")).context("how to pull")?]
    {
        let output = Command::new("ip").args(command.split_whitespace()).output()?;
        assert!(output.status.success(), "{command}: {output:?}");
    }
    lab.signal(Signal::INT)?;
    assert_eq!(lab.end()?.0, Some(0));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn with_interfaces_it_is_bond_run() -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let run = |netns: &Netns, arguments: &str| -> Result<bond_tests::Finished> {
        let mut command = netns.command(built("xtask")?);
        command.arg("run").args(arguments.split_whitespace()).env("BOND_BIN", binary()?);
        bond_tests::bounded(&mut command, LIMIT)
    };
    let refused = run(&wire.host, "--iface eth0,eth9 --mode 0 --miimon 50")?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("no interface eth9"), "{refused:?}");
    let refused = run(&wire.host, "--miimon 50 --iface eth0,eth9 --hold")?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--hold"), "{refused:?}");

    let mut command = wire.host.command(built("xtask")?);
    command
        .args(["run", "--miimon", "50", "--iface", "eth0,eth1", "--mode", "0"])
        .env("BOND_BIN", binary()?);
    let bond = bond_tests::BondProcess::spawn(&wire.host, "bond0", &mut command)?;
    let state = bond.show()?;
    assert_eq!((state.mode.as_str(), state.miimon), ("balance-rr", 50));
    bond.stop()
}
