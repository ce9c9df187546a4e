//! A network namespace of our own.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::AsFd as _,
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
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

use crate::{guard, sys};

/// A network namespace, removed with everything in it when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    file: File,
}

impl Netns {
    /// Makes the namespace `bt-<pid>-<n>-<role>` with its loopback up. Needs root.
    pub fn new(role: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        guard::prepare().context("preparing to clean up")?;
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{n}-{role}", guard::PREFIX, process::id());
        guard::register(&name);
        let added = run(Command::new("ip").args(["netns", "add", &name]));
        let opened = added.and_then(|_| Ok(File::open(Path::new(guard::RUN_NETNS).join(&name))?));
        let file = opened.inspect_err(|_| guard::give_up(&name))?;
        let netns = Self(Arc::new(Inner { name, file }));
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
        let inode = self.0.file.metadata()?.ino();
        Ok(format!("/run/bond/netns-{inode}").into())
    }

    /// Runs `work` inside the namespace, on a thread of its own: sockets made there stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            self.enter()?;
            work()
        };
        let outcome = thread::scope(|scope| scope.spawn(inside).join());
        outcome
            .unwrap_or_else(|panic| resume_unwind(panic))
            .with_context(|| format!("in namespace {}", self.name()))
    }

    /// `program`, to be run inside the namespace. The child's pid is the program's.
    ///
    /// Unlike `ip netns exec` and `ip -n` this mounts no /sys of its own: unmounting it again takes seconds on a busy
    /// machine. So what the program reads there is not the namespace's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let netns = self.clone();
        let mut command = Command::new(program);
        // SAFETY: between fork and exec it makes one system call and allocates nothing.
        unsafe { command.pre_exec(move || Ok(netns.enter()?)) };
        command
    }

    /// Runs `ip` inside the namespace with `arguments`, split at blanks, and returns what it printed.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        run(self.command("ip").args(arguments.split_whitespace()))
    }

    /// Asks for link `name`, by which the kernel takes in at once what has changed about it (`linkwatch_sync_dev`).
    ///
    /// Left to itself, a busy machine can leave a link without its queues, or as a bridge port disabled, for a second
    /// after its carrier came.
    pub fn settle(&self, name: &str) -> Result<()> {
        self.ip(&format!("link show {name}")).map(drop)
    }

    /// Makes the tap `name`, a netdev whose speed can be set. It lives, and can have a carrier, while the file is open.
    pub fn tap(&self, name: &str) -> Result<File> {
        self.run(|| sys::tap(name))
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

    /// Moves the calling thread into the namespace, for good.
    fn enter(&self) -> rustix::io::Result<()> {
        move_into_link_name_space(self.0.file.as_fd(), Some(LinkNameSpaceType::Network))
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
