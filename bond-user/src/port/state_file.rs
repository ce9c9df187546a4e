//! The state file: what a killed bond leaves for `bond cleanup` and the next start to put back.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use serde::{Deserialize, Serialize};

use super::settings::{Saved, SettingsError};
use crate::netlink::{Netlink, netns};

/// A running bond, as far as another process must know it to undo what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    pub bond: String,
    pub pid: u32,
    /// Start of the process in clock ticks since boot, which tells it from a later one of the same pid.
    pub start_time: u64,
    /// The network namespace, which tells it from a later one of the same inode.
    pub netns_cookie: Option<u64>,
    /// ifindex of the bond's own netdev, once it is created.
    pub bond_ifindex: Option<u32>,
    pub slaves: Vec<Saved>,
}

impl StateFile {
    /// The state of a bond of this process in the network namespace of `nl`, with nothing to undo yet.
    pub fn new(bond: &str, nl: &Netlink) -> io::Result<Self> {
        let pid = process::id();
        let start_time = start_time(pid)?.ok_or(io::ErrorKind::NotFound)?;
        let netns_cookie = netns::cookie(nl);
        Ok(Self {
            bond: bond.to_owned(),
            pid,
            start_time,
            netns_cookie,
            bond_ifindex: None,
            slaves: Vec::new(),
        })
    }

    /// The state file of that bond in the calling thread's network namespace. `None`: there is none.
    pub fn load(bond: &str) -> io::Result<Option<Self>> {
        match fs::read(state_path(bond)?) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file whole or not at all, readable by root only.
    pub fn save(&self) -> io::Result<()> {
        let path = state_path(&self.bond)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(run_dir()?)?;
        let temporary = run_file(&self.bond, "json.new")?;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(temporary, path)
    }

    /// Removes the file and the socket beside it. Without them it is no error.
    pub fn remove(&self) -> io::Result<()> {
        remove_if_there(&socket_path(&self.bond)?)?;
        remove_if_there(&state_path(&self.bond)?)?;
        // A network namespace's own directory goes with its last bond.
        if netns::inode()?.is_some() {
            let _ = fs::remove_dir(run_dir()?);
        }
        Ok(())
    }

    /// The process that wrote this still runs.
    pub fn is_alive(&self) -> io::Result<bool> {
        Ok(start_time(self.pid)? == Some(self.start_time))
    }

    /// Puts the slaves back, deletes the bond's netdev and removes file and socket. Returns what could not be done; the
    /// file stays then, so that it can be tried again. Ask [`StateFile::is_alive`] first, unless the bond is one's own.
    #[must_use = "each error is something that was left behind"]
    pub fn cleanup(&self, nl: &mut Netlink) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        // The file of a network namespace that is gone: the slaves here are others, whatever their names.
        if self.netns_cookie == netns::cookie(nl) {
            errors.extend(self.slaves.iter().flat_map(|slave| slave.restore(nl)));
            errors.extend(self.delete_netdev(nl).err());
        }
        if errors.is_empty() {
            let path = || state_path(&self.bond).unwrap_or_default();
            errors.extend(
                self.remove()
                    .map_err(|source| SettingsError::File {
                        op: "remove",
                        path: path(),
                        source,
                    })
                    .err(),
            );
        }
        errors
    }

    fn delete_netdev(&self, nl: &mut Netlink) -> Result<(), SettingsError> {
        let Some(ifindex) = self.bond_ifindex else {
            return Ok(());
        };
        let link = nl.link_by_index(ifindex)?;
        if link.is_some_and(|link| link.name == self.bond && link.kind.as_deref() == Some("veth")) {
            nl.delete(ifindex)?;
        }
        Ok(())
    }
}

/// Where state files and sockets are: /run/bond, and for each further network namespace a directory in it.
pub fn run_dir() -> io::Result<PathBuf> {
    let run = PathBuf::from("/run/bond");
    Ok(match netns::inode()? {
        None => run,
        Some(inode) => run.join(format!("netns-{inode}")),
    })
}

/// The state file of a bond in the calling thread's network namespace.
pub fn state_path(bond: &str) -> io::Result<PathBuf> {
    run_file(bond, "json")
}

/// The control socket of a bond in the calling thread's network namespace.
pub fn socket_path(bond: &str) -> io::Result<PathBuf> {
    run_file(bond, "sock")
}

fn run_file(bond: &str, extension: &str) -> io::Result<PathBuf> {
    // The kernel's rule (`dev_valid_name`), which also keeps the path inside the directory.
    let valid = (1..16).contains(&bond.len()) && bond != "." && bond != "..";
    if !valid || bond.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{bond}` is no interface name"),
        ));
    }
    Ok(run_dir()?.join(format!("{bond}.{extension}")))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

/// When a process started (proc_pid_stat(5), field 22). `None`: there is no such process, or only its exit status.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
            return Ok(None);
        }
        other => other?,
    };
    // The second field is the command's name in brackets, which may hold anything.
    let mut fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return Ok(None);
    }
    Ok(fields.nth(18).and_then(|field| field.parse().ok()))
}
