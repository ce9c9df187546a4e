//! A program under test: started, stopped while others are measured, and ended.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// A running program, killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: File,
    /// Some end with it.
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `command`. The child ends with the calling thread, which must be one that lives on.
    pub fn start(command: &mut Command) -> Result<Self> {
        let log = tempfile::tempfile()?;
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        let die_with_us = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: between fork and exec it makes one system call and allocates nothing.
        unsafe { command.pre_exec(die_with_us) };
        let mut child = command.spawn().with_context(|| format!("running {command:?}"))?;
        let stdin = child.stdin.take();
        Ok(Self { child, log, stdin })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it wrote until now.
    #[must_use]
    pub fn log(&self) -> String {
        let mut text = String::new();
        let mut log = &self.log;
        // What cannot be read is not worth failing for: this is for messages only.
        let _ = log.rewind().and_then(|()| log.read_to_string(&mut text));
        text
    }

    /// Fails with what it said if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status} and said:\n{}", self.log()),
        }
    }

    /// Lets it run, or not.
    pub fn run(&self, run: bool) -> Result<()> {
        let signal = if run { Signal::CONT } else { Signal::STOP };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin.take();
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
