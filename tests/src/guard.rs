//! What must not outlive us: the namespaces we made, and everything that runs inside them.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    process,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

/// Where `ip netns add` keeps the namespaces.
pub(crate) const RUN_NETNS: &str = "/run/netns";
/// First part of the name of every namespace made here; the pid of its maker follows.
pub(crate) const PREFIX: &str = "bt-";
/// How long a process inside a namespace that goes away has to end by itself.
const GRACE: Duration = Duration::from_secs(2);

static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static INTERRUPT_STATUS: AtomicI32 = AtomicI32::new(130);

/// Sets the exit code of this process when a signal ends it (130 unless set).
pub fn set_interrupt_status(code: i32) {
    INTERRUPT_STATUS.store(code, Ordering::Relaxed);
}

/// Before the first namespace: catches the signals that would end us, and removes what dead processes left.
pub(crate) fn prepare() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut outcome = Ok(());
    ONCE.call_once(|| outcome = catch_signals().and_then(|()| sweep()));
    outcome
}

pub(crate) fn register(name: &str) {
    live().push(name.to_owned());
}

/// Gives up namespace `name`, as [`remove`] does.
pub(crate) fn give_up(name: &str) {
    // The signal's thread removes everything, and its exit code counts: not the error that its doing led to here.
    while INTERRUPTED.load(Ordering::Acquire) {
        thread::park();
    }
    remove(name);
}

/// Ends the processes of namespace `name`, then removes it and the bond's state directory for it.
fn remove(name: &str) {
    let path = Path::new(RUN_NETNS).join(name);
    if let Ok(inode) = fs::metadata(&path).map(|meta| meta.ino()) {
        end_processes(inode);
        // May be absent: only a bond that was killed leaves files there.
        let _ = fs::remove_dir_all(format!("/run/bond/netns-{inode}"));
    }
    let _ = process::Command::new("ip")
        .args(["netns", "del", name])
        .stderr(process::Stdio::null())
        .status();
    live().retain(|other| other != name);
}

fn live() -> std::sync::MutexGuard<'static, Vec<String>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn catch_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            INTERRUPTED.store(true, Ordering::Release);
            let names = live().clone();
            names.iter().for_each(|name| remove(name));
            process::exit(INTERRUPT_STATUS.load(Ordering::Relaxed));
        }
    });
    Ok(())
}

/// Removes the namespaces whose maker is dead.
fn sweep() -> io::Result<()> {
    let entries = match fs::read_dir(RUN_NETNS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker
            .is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
        {
            remove(&name);
        }
    }
    Ok(())
}

/// Ends every process inside the namespace `inode`: politely, and after [`GRACE`] by force.
fn end_processes(inode: u64) {
    let start = Instant::now();
    let mut asked = Vec::new();
    loop {
        let inside = processes(inode);
        if inside.is_empty() {
            return;
        }
        for pid in inside {
            if start.elapsed() > GRACE {
                let _ = kill_process(pid, Signal::KILL);
            } else if !asked.contains(&pid) {
                let _ = kill_process(pid, Signal::TERM);
                asked.push(pid);
            }
        }
        if start.elapsed() > 2 * GRACE {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Living processes, without this one, whose network namespace is `inode`.
fn processes(inode: u64) -> Vec<Pid> {
    let wanted = format!("net:[{inode}]");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            fs::read_link(entry.path().join("ns/net")).is_ok_and(|link| link == Path::new(&wanted))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != process::id().cast_signed())
        .filter_map(Pid::from_raw)
        .collect()
}
