//! A running `bond`.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::{Finished, Netns, Port, State, bounded, command::wait_until};

/// Longest start, and longest end, of a bond.
const LIMIT: Duration = Duration::from_secs(30);
/// Exit code of `bond show` when there is no such bond; 1 when it does not answer in time.
const NOT_RUNNING: i32 = 3;

/// The command `bond`: what the environment variable `BOND_BIN` names, else the one built beside this program.
pub fn binary() -> Result<PathBuf> {
    env::var_os("BOND_BIN").map_or_else(|| built("bond"), |path| Ok(fs::canonicalize(path)?))
}

/// The program `name` of this workspace, built beside this one.
pub fn built(name: &str) -> Result<PathBuf> {
    let exe = env::current_exe()?;
    let profile = exe
        .ancestors()
        .skip(1)
        .find(|dir| !dir.ends_with("deps"))
        .context("no target directory")?;
    let path = profile.join(name);
    ensure!(path.exists(), "there is no {}: build it with `cargo build`", path.display());
    Ok(path)
}

/// Runs `bond` inside `netns` with `arguments`, split at blanks, to its end.
pub fn bond(netns: &Netns, arguments: &str) -> Result<Finished> {
    bounded(netns.command(binary()?).args(arguments.split_whitespace()), LIMIT)
}

/// A `bond run` in a namespace, killed when it is dropped.
#[derive(Debug)]
pub struct BondProcess {
    netns: Netns,
    name: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl BondProcess {
    /// Starts `bond run <name> <arguments>`, and waits until all slaves it was given are attached and have link.
    ///
    /// The child ends with the calling thread, which must be one that lives on.
    pub fn start(netns: &Netns, name: &str, arguments: &str) -> Result<Self> {
        let mut command = netns.command(binary()?);
        command.args(["run", name]).args(arguments.split_whitespace());
        Self::spawn(netns, name, &mut command)
    }

    /// Like [`Self::start`], with the whole command given.
    pub fn spawn(netns: &Netns, name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let die_with_us = || Ok(set_parent_process_death_signal(Some(Signal::TERM))?);
        // SAFETY: between fork and exec it makes one system call and allocates nothing.
        unsafe { command.pre_exec(die_with_us) };
        let mut child = command.spawn().with_context(|| format!("running {command:?}"))?;
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().context("no stderr")?;
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut bond = Self { netns: netns.clone(), name: name.to_owned(), child, log };
        bond.wait_for("every slave is attached", |state| {
            state.slaves.iter().all(|slave| slave.xdp_mode != "none")
        })?;
        Ok(bond)
    }

    /// Its state, from `bond show -j`.
    pub fn show(&self) -> Result<State> {
        wait_until("bond show has an answer", LIMIT, || {
            let (shown, state) = self.ask()?;
            ensure!(shown.code != Some(NOT_RUNNING), "{shown:?}; the bond said:\n{}", self.log());
            Ok(state)
        })
    }

    /// Waits, within bounds, until its state satisfies `condition`, and returns that state.
    pub fn wait_for(&mut self, what: &str, condition: impl Fn(&State) -> bool) -> Result<State> {
        let mut last = None;
        let outcome = wait_until(what, LIMIT, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("bond ended with {status}");
            }
            let (shown, state) = self.ask()?;
            last = Some(shown);
            Ok(state.filter(&condition))
        });
        outcome.with_context(|| format!("last answer: {last:?}\nthe bond said:\n{}", self.log()))
    }

    /// Asks once: what `bond show -j` did, and the state unless it had none.
    fn ask(&self) -> Result<(Finished, Option<State>)> {
        let shown = bond(&self.netns, &format!("show {} -j", self.name))?;
        let state =
            (shown.code == Some(0)).then(|| serde_json::from_str(&shown.stdout)).transpose();
        Ok((shown.clone(), state.with_context(|| format!("unexpected state: {shown:?}"))?))
    }

    /// Waits until every slave is attached and has link.
    pub fn wait_until_whole(&mut self) -> Result<State> {
        self.wait_for("every slave is up", State::is_whole)
    }

    /// Its netdev, which the host uses.
    pub fn port(&self) -> Result<Port> {
        Ok(Port::new(&self.netns, &self.name, self.show()?.address.parse()?))
    }

    /// Everything it wrote to stderr until now.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Sends `signal` and waits, within bounds, for the end.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        let child = &mut self.child;
        let ended =
            wait_until(&format!("bond ended after {signal:?}"), LIMIT, || Ok(child.try_wait()?));
        ended.with_context(|| format!("the bond said:\n{}", self.log()))
    }

    /// Ends it as a service manager does; anything but exit code 0 is an error.
    ///
    /// Before, the frames of every UMEM must be free or wait to receive, and add up.
    pub fn stop(mut self) -> Result<()> {
        wait_until("all frames are back", LIMIT, || {
            let state = self.show()?;
            let mut umems = state.workers.iter().flat_map(|worker| &worker.umems);
            Ok(umems.all(|umem| umem.free + umem.fill == umem.total).then_some(()))
        })
        .with_context(|| format!("the last state: {:?}", self.show().map(|state| state.workers)))?;
        let status = self.end(Signal::TERM)?;
        ensure!(status.code() == Some(0), "bond ended with {status}; it said:\n{}", self.log());
        Ok(())
    }
}

impl Drop for BondProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
