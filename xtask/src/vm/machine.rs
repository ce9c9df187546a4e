//! The emulated machine: its NICs, its console, and the plugs that can be pulled.
//!
//! ```text
//!   near0 virtio-net ── far0      The far NICs are virtio-net. Each cable is a pair of datagram
//!   near1 virtio-net ── far1      sockets; MACs are 02:00:00:00:01:<n> near, 02:00:00:00:02:<n> far.
//!   near2 igb        ── far2
//!   near3 igb        ── far3
//!   near4 virtio-net ── far4      without an IOMMU: it refuses zero-copy
//! ```

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{packages::Parts, qmp::Qmp, report::Record};

/// Models of the near NICs.
const NEAR: [&str; 5] = [VIRTIO, VIRTIO, "igb", "igb", "virtio-net-pci,speed=10000,duplex=full"];
const VIRTIO: &str = "virtio-net-pci,iommu_platform=on,disable-legacy=on,speed=10000,duplex=full";
/// Lines of the console that are shown when something is wrong.
const LAST_LINES: usize = 60;

/// What is started.
pub(super) struct Machine<'a> {
    pub(super) parts: &'a Parts,
    pub(super) initramfs: &'a Path,
    /// For sockets; a short path.
    pub(super) scratch: &'a Path,
}

/// How the tests ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    /// What the tests measured.
    pub(super) records: Vec<Record>,
    /// Why the machine did not get to the end of its tests.
    pub(super) trouble: Option<String>,
}

impl Machine<'_> {
    /// Boots, runs the tests whose names contain one of `tests`, and prints how each ended.
    pub(super) fn run(&self, tests: &[String], limit: Duration, verbose: bool) -> Result<Outcome> {
        let qmp = self.scratch.join("qmp");
        let mut qemu = self.qemu(tests, &qmp)?;
        let die_with_us = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: between fork and exec it makes one system call and allocates nothing.
        unsafe { qemu.pre_exec(die_with_us) };
        let mut child = Running(qemu.spawn().context("cannot start QEMU")?);
        let stdout = child.0.stdout.take().context("no console")?;
        let mut console = Console {
            lines: follow(stdout),
            last: VecDeque::new(),
            qmp: Qmp::new(qmp),
            verbose,
            running: None,
            outcome: Outcome::default(),
        };
        let ended = console.read(Instant::now() + limit)?;
        console.outcome.trouble = match (ended, &console.running) {
            (End::Finished, _) => None,
            (End::Stopped, None) => Some("the machine stopped before the tests began".to_owned()),
            (End::Stopped, Some(test)) => Some(format!("the machine stopped in {test}")),
            (End::Late, test) => {
                let test = test.as_deref().unwrap_or("the boot");
                Some(format!("switched off after {limit:?}, in {test}"))
            }
        };
        if console.outcome.trouble.is_some() {
            console.tell();
        }
        Ok(console.outcome)
    }

    fn qemu(&self, tests: &[String], qmp: &Path) -> Result<Command> {
        let mut qemu = self.parts.qemu();
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "512"])
            .args(["-accel", "tcg,thread=multi"])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", qmp.display()))
            .arg("-kernel")
            .arg(self.parts.vmlinuz()?)
            .arg("-initrd")
            .arg(self.initramfs)
            .arg("-append")
            .arg(format!("console=ttyS0 panic=-1 quiet bond.tests={}", tests.join(",")))
            .stdout(Stdio::piped());
        for (number, near) in NEAR.iter().enumerate() {
            let port = format!("port{number}");
            qemu.arg("-device").arg(format!("pcie-root-port,id={port},chassis={number}"));
            self.nic(&mut qemu, number, ["near", "far"], &format!("{near},bus={port}"));
            self.nic(&mut qemu, number, ["far", "near"], "virtio-net-pci");
        }
        Ok(qemu)
    }

    /// One end of cable `number`.
    fn nic(&self, qemu: &mut Command, number: usize, [this, other]: [&str; 2], model: &str) {
        let path = |end| self.scratch.join(format!("{end}{number}"));
        let side = if this == "near" { 1 } else { 2 };
        qemu.arg("-netdev").arg(format!(
            "dgram,id={this}{number}-cable,local.type=unix,local.path={},remote.type=unix,\
             remote.path={}",
            path(this).display(),
            path(other).display()
        ));
        qemu.arg("-device").arg(format!(
            "{model},id={this}{number},netdev={this}{number}-cable,romfile=,\
             mac=02:00:00:00:{side:02x}:{number:02x}"
        ));
    }
}

/// QEMU, which ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

enum End {
    /// All tests were run.
    Finished,
    /// The console was closed.
    Stopped,
    /// Out of time.
    Late,
}

struct Console {
    lines: Receiver<String>,
    last: VecDeque<String>,
    qmp: Qmp,
    verbose: bool,
    /// The test that has not ended yet.
    running: Option<String>,
    outcome: Outcome,
}

impl Console {
    /// Follows the console to the end of the tests.
    fn read(&mut self, deadline: Instant) -> Result<End> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Ok(End::Late),
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Stopped),
            };
            if self.verbose {
                eprintln!("| {line}");
            }
            if line == "@end" {
                return Ok(End::Finished);
            }
            self.line(&line)?;
            self.last.push_back(line);
            if self.last.len() > LAST_LINES {
                self.last.pop_front();
            }
        }
    }

    /// What was written lately.
    fn tell(&mut self) {
        if !self.verbose {
            self.last.drain(..).for_each(|line| eprintln!("| {line}"));
        }
    }

    /// The guest's words: `@begin TEST`, `@link NIC on|off`, `@note TEXT`, `@record JSON`, and `test TEST ... OUTCOME, SECONDS s`.
    fn line(&mut self, line: &str) -> Result<()> {
        if let Some(test) = line.strip_prefix("@begin ") {
            self.running = Some(test.to_owned());
            self.last.clear();
        } else if let Some((nic, state)) =
            line.strip_prefix("@link ").and_then(|rest| rest.split_once(' '))
        {
            self.qmp.set_link(nic, state == "on")?;
        } else if let Some(record) = line.strip_prefix("@record ") {
            let record = serde_json::from_str(record);
            self.outcome.records.push(record.with_context(|| format!("not a record: {line}"))?);
        } else if let Some(note) = line.strip_prefix("@note ") {
            println!("     {note}");
        } else if let Some((_, end)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            println!("{line}");
            match end.split([':', ',']).next() {
                Some("ok") => self.outcome.passed += 1,
                Some("skipped") => self.outcome.skipped += 1,
                _ => {
                    self.outcome.failed += 1;
                    self.tell();
                }
            }
        }
        Ok(())
    }
}

/// The lines of the console as they come.
fn follow(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
