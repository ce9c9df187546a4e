//! A network namespace of our own.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::guard;

/// A network namespace, removed with everything in it when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
}

impl Netns {
    /// Makes the namespace `bt-<pid>-<n>-<role>` with its loopback up. Needs root.
    pub fn new(role: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        guard::prepare().context("preparing to clean up")?;
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{n}-{role}", guard::PREFIX, process::id());
        guard::register(&name);
        let netns = Self(Arc::new(Inner { name }));
        run(Command::new("ip").args(["netns", "add", netns.name()]))?;
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// The name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The directory where a bond in this namespace keeps its socket and its state file.
    pub fn bond_directory(&self) -> Result<PathBuf> {
        let inode = fs::metadata(self.path())?.ino();
        Ok(format!("/run/bond/netns-{inode}").into())
    }

    /// Runs `work` inside the namespace, on a thread of its own: sockets made there stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            let file = File::open(self.path())?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        let outcome = thread::scope(|scope| scope.spawn(inside).join());
        outcome
            .unwrap_or_else(|panic| resume_unwind(panic))
            .with_context(|| format!("in namespace {}", self.name()))
    }

    /// `program`, to be run inside the namespace with its own view of /sys. The child's pid is the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name()]).arg(program.as_ref());
        command
    }

    /// Runs `ip` inside the namespace with `arguments`, split at blanks, and returns what it printed.
    ///
    /// Not by `ip -n`, which mounts a /sys of its own: unmounting it again can take seconds on a busy machine.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.run(|| run(Command::new("ip").args(arguments.split_whitespace())))
    }

    /// Asks for link `name`, by which the kernel takes in at once what has changed about it (`linkwatch_sync_dev`).
    ///
    /// Left to itself, a busy machine can leave a link without its queues, or as a bridge port disabled, for a second
    /// after its carrier came.
    pub fn settle(&self, name: &str) -> Result<()> {
        self.ip(&format!("link show {name}")).map(drop)
    }

    /// Sets the sysctl `net/<key>` of the namespace; a key that this kernel does not have is no error.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.run(|| match fs::write(Path::new("/proc/sys/net").join(key), value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.with_context(|| format!("setting {key} to {value}")),
        })
    }

    /// No IPv6 on any netdev, present or future: its own chatter would disturb exact counts.
    pub fn quiet_ipv6(&self) -> Result<()> {
        self.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        self.sysctl("ipv6/conf/default/disable_ipv6", "1")
    }

    fn path(&self) -> PathBuf {
        Path::new(guard::RUN_NETNS).join(self.name())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        guard::give_up(&self.name);
    }
}

/// Runs `command` to its end; an exit code other than 0 is an error that carries what it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
