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
use crate::{
    config::HOST_SUFFIX,
    netlink::{Netlink, netns},
};

/// A running bond, as far as another process must know it to undo what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    pub bond: String,
    pub pid: u32,
    /// Start of the process in clock ticks since boot, which tells it from a later one of the same pid.
    pub start_time: u64,
    /// The network namespace, which tells it from a later one of the same inode.
    pub netns_cookie: Option<u64>,
    /// The bond's own veth pair is about to be created, or was.
    pub creating: bool,
    /// ifindex of the bond's own netdev, once it is created.
    pub bond_ifindex: Option<u32>,
    /// ifindex of our end of it.
    pub port_ifindex: Option<u32>,
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
            creating: false,
            bond_ifindex: None,
            port_ifindex: None,
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
        fs::DirBuilder::new().recursive(true).mode(0o755).create(run_dir()?)?;
        let temporary = run_file(&self.bond, "json.new")?;
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(temporary, path)
    }

    /// Removes the file and the socket beside it. Without them it is no error.
    pub fn remove(&self) -> io::Result<()> {
        for extension in ["sock", "json", "json.new"] {
            remove_if_there(&run_file(&self.bond, extension)?)?;
        }
        remove_netns_dir();
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
                    .map_err(|source| SettingsError::File { op: "remove", path: path(), source })
                    .err(),
            );
        }
        errors
    }

    /// Deletes the bond's veth pair by either end, whatever name or place the other has by now.
    fn delete_netdev(&self, nl: &mut Netlink) -> Result<(), SettingsError> {
        let ends = match (self.bond_ifindex, self.port_ifindex) {
            // Killed while it created the pair: both names were free just before.
            (None, None) => {
                let names = [self.bond.clone(), format!("{}{HOST_SUFFIX}", self.bond)];
                let mut ends = Vec::new();
                for name in names {
                    ends.extend(nl.link(&name)?.filter(|_| self.creating));
                }
                ends
            }
            (bond, port) => {
                let mut ends = Vec::new();
                for ifindex in [bond, port].into_iter().flatten() {
                    ends.extend(nl.link_by_index(ifindex)?);
                }
                ends
            }
        };
        match ends.into_iter().find(|link| link.kind.as_deref() == Some("veth")) {
            Some(end) => Ok(nl.delete(end.index)?),
            None => Ok(()),
        }
    }
}

/// Where state files and sockets are: /run/bond, and for each further network namespace a directory in it.
pub(super) fn run_dir() -> io::Result<PathBuf> {
    let run = PathBuf::from("/run/bond");
    Ok(match netns::inode()? {
        None => run,
        Some(inode) => run.join(format!("netns-{inode}")),
    })
}

/// The state file of a bond in the calling thread's network namespace.
pub(super) fn state_path(bond: &str) -> io::Result<PathBuf> {
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

/// A network namespace's own directory goes with the last file in it; /run/bond stays.
pub(super) fn remove_netns_dir() {
    if let (Ok(Some(_)), Ok(dir)) = (netns::inode(), run_dir()) {
        let _ = fs::remove_dir(dir);
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
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
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return Ok(None);
    }
    Ok(fields.nth(18).and_then(|field| field.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::MetadataExt, process::Command};

    use super::*;
    use crate::{
        netlink::{
            Mac, VethSpec,
            testing::{in_netns, run},
        },
        port::settings::Wanted,
    };

    const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0xb0]);

    /// A bond of two slaves, s0 and s1, as it stands when its process is killed; and what the slaves were before.
    fn crashed(nl: &mut Netlink) -> (StateFile, String) {
        run("ip link add s0 type veth peer s1");
        // A netdev gets its queueing discipline when it first comes up, and keeps it.
        run("ip link set s0 up");
        run("ip link set s0 down");
        let before = run("ip -d link show s0");
        let mut state = StateFile::new("bond0", nl).unwrap();
        for name in ["s0", "s1"] {
            let link = nl.link(name).unwrap().unwrap();
            state.slaves.push(Saved::read(nl, &link).unwrap());
        }
        state.save().unwrap();
        for slave in &state.slaves {
            slave.apply(nl, Wanted { mac: MAC, mtu: 1400 }).unwrap();
        }
        nl.create_veth(&VethSpec {
            name: "bond0",
            peer: "bond0-xsk",
            mac: MAC,
            mtu: 1400,
            queues: 1,
        })
        .unwrap();
        state.bond_ifindex = nl.link("bond0").unwrap().map(|link| link.index);
        state.save().unwrap();
        fs::write(socket_path("bond0").unwrap(), "").unwrap();
        (state, before)
    }

    #[test]
    #[ignore = "needs root"]
    fn cleanup_after_a_crash_leaves_no_trace() {
        in_netns(|| {
            let mut nl = Netlink::new().unwrap();
            let (state, before) = crashed(&mut nl);
            assert_ne!(run("ip -d link show s0"), before);

            let loaded = StateFile::load("bond0").unwrap().unwrap();
            assert_eq!(loaded, state);
            let errors = loaded.cleanup(&mut nl);
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(run("ip -d link show s0"), before);
            assert_eq!(nl.link("bond0").unwrap(), None);
            assert_eq!(StateFile::load("bond0").unwrap(), None);
            assert!(!run_dir().unwrap().exists());
            assert!(loaded.cleanup(&mut nl).is_empty());
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn the_file_of_a_network_namespace_that_is_gone_touches_nothing() {
        in_netns(|| {
            let mut nl = Netlink::new().unwrap();
            let (mut state, _) = crashed(&mut nl);
            state.netns_cookie = state.netns_cookie.map(|cookie| cookie + 1);
            let settings = |nl: &mut Netlink| -> Vec<_> {
                nl.links()
                    .unwrap()
                    .into_iter()
                    .map(|link| (link.name, link.mac, link.mtu, link.up))
                    .collect()
            };
            let before = settings(&mut nl);
            assert!(before.contains(&("s0".to_owned(), MAC, 1400, true)));
            assert!(state.cleanup(&mut nl).is_empty());
            assert_eq!(settings(&mut nl), before);
            assert_eq!(StateFile::load("bond0").unwrap(), None);
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn another_netdev_named_like_the_bond_is_kept() {
        in_netns(|| {
            let mut nl = Netlink::new().unwrap();
            let (state, _) = crashed(&mut nl);
            nl.delete(state.bond_ifindex.unwrap()).unwrap();
            run("ip link add bond0 type bridge");
            assert!(state.cleanup(&mut nl).is_empty());
            assert_eq!(nl.link("bond0").unwrap().unwrap().kind.as_deref(), Some("bridge"));
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn the_file_is_private_and_in_the_namespaces_own_directory() {
        in_netns(|| {
            let nl = Netlink::new().unwrap();
            let state = StateFile::new("bond0.5", &nl).unwrap();
            state.save().unwrap();
            let path = state_path("bond0.5").unwrap();
            let inode = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
            assert_eq!(path, Path::new(&format!("/run/bond/netns-{inode}/bond0.5.json")));
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
            assert_eq!(fs::read_dir(run_dir().unwrap()).unwrap().count(), 1);
            state.remove().unwrap();
            assert!(!run_dir().unwrap().exists());
        });
    }

    #[test]
    fn a_process_lives_until_it_ends_even_unreaped() {
        let own = start_time(process::id()).unwrap();
        assert!(own.is_some());
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let state = StateFile {
            bond: "bond0".to_owned(),
            pid: child.id(),
            start_time: start_time(child.id()).unwrap().unwrap(),
            netns_cookie: None,
            creating: false,
            bond_ifindex: None,
            port_ifindex: None,
            slaves: Vec::new(),
        };
        assert!(state.is_alive().unwrap());
        assert!(
            !StateFile { start_time: state.start_time + 1, ..state.clone() }.is_alive().unwrap()
        );
        child.kill().unwrap();
        while state.is_alive().unwrap() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!state.is_alive().unwrap());
    }

    #[test]
    fn only_interface_names_make_paths() {
        for bad in ["", ".", "..", "../etc", "a/b", "a b", "a:1", "sixteen-bytes-xx"] {
            assert_eq!(state_path(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
        assert!(socket_path("fifteen-bytes-x").unwrap().ends_with("fifteen-bytes-x.sock"));
    }
}
