//! The machine: what it is, and what others do on it meanwhile.

use std::{
    collections::BTreeMap,
    fs, io, process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Clock ticks a second in /proc (`USER_HZ`).
const TICKS: f64 = 100.0;

/// What the figures depend on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Environment {
    pub kernel: String,
    pub cpu: String,
    pub cpus: usize,
    /// Of the first CPU's frequency; none where the machine has no say in it.
    pub governor: String,
    pub date: String,
}

impl Environment {
    pub fn read() -> Result<Self> {
        let info = fs::read_to_string("/proc/cpuinfo")?;
        let models = info.lines().filter_map(|line| line.strip_prefix("model name"));
        let cpus: Vec<_> =
            models.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned()).collect();
        let governor = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        Ok(Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpu: cpus.first().cloned().unwrap_or_default(),
            cpus: cpus.len(),
            governor: governor.map_or_else(|_| "none".to_owned(), |text| text.trim().to_owned()),
            date: now.to_string(),
        })
    }
}

/// CPU time of processes that have nothing to do with a measurement, and time stolen by the hypervisor.
#[derive(Debug)]
pub struct Foreign {
    start: Instant,
    ticks: BTreeMap<u32, u64>,
    stolen: u64,
}

impl Foreign {
    /// Begins to watch all but this process, the processes `ours`, and the kernel's softirq threads.
    pub fn watch(ours: &[u32]) -> Result<Self> {
        let mut ticks = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(pid) = pid.filter(|pid| !ours.contains(pid) && *pid != process::id()) else {
                continue;
            };
            // It may have ended since.
            if let Some((name, used)) = process_ticks(pid)
                && !name.starts_with("ksoftirqd")
            {
                ticks.insert(pid, used);
            }
        }
        Ok(Self { start: Instant::now(), ticks, stolen: stolen()? })
    }

    /// How many cores they have used since, on average.
    pub fn cores(&self) -> Result<f64> {
        let used = |(pid, before): (&u32, &u64)| {
            process_ticks(*pid).map_or(0, |(_, now)| now.saturating_sub(*before))
        };
        let foreign: u64 = self.ticks.iter().map(used).sum();
        let stolen = stolen()?.saturating_sub(self.stolen);
        Ok((foreign + stolen) as f64 / TICKS / self.start.elapsed().as_secs_f64())
    }
}

/// Name and CPU time of a process.
fn process_ticks(pid: u32) -> Option<(String, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold anything.
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some((name.to_owned(), next()? + next()?))
}

/// Ticks of all CPUs that the hypervisor gave to others.
fn stolen() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let field = stat.split_whitespace().nth(8).context("/proc/stat is too short")?;
    Ok(field.parse()?)
}

/// CPU time of all threads of a process, to the nanosecond.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let used = |thread: io::Result<fs::DirEntry>| -> Option<u64> {
        let stat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    Some(Duration::from_nanos(threads.filter_map(used).sum()))
}
