//! The kernel's copies of AF_XDP frames, counted where they are made, by netdev.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

const TRACING: &str = "/sys/kernel/tracing";
/// Called once a frame that is copied, and never for one that is not. Received: net/xdp/xsk.c copies there. Sent:
/// `__xsk_generic_xmit` copies into a buffer and hands it on there; beside it only packet sockets without a queueing
/// discipline do, and no test has one.
const PROBES: [(&str, &str); 2] = [
    ("received", "__xsk_rcv dev=xs->dev->name:string"),
    ("sent", "__dev_direct_xmit dev=skb->dev->name:string"),
];

/// Counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Copies(());

/// Frames copied, by what was done with them and the netdev.
pub(crate) type Counts = BTreeMap<(&'static str, String), u64>;

impl Copies {
    /// Counts from zero.
    pub(crate) fn count() -> Result<Self> {
        let copies = Self(());
        for (event, probe) in PROBES {
            append("kprobe_events", &format!("p:bond/{event} {probe}"))
                .with_context(|| format!("the kernel refuses to probe {probe}"))?;
            append(&format!("events/bond/{event}/trigger"), "hist:keys=dev")?;
        }
        Ok(copies)
    }

    /// The counts until now; a netdev without a copy has none.
    pub(crate) fn read(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for (event, _) in PROBES {
            let path = Path::new(TRACING).join(format!("events/bond/{event}/hist"));
            let histogram = fs::read_to_string(path)?;
            // { dev: bond0-xsk  } hitcount:      20000
            let lines = histogram.lines().filter_map(|line| line.strip_prefix("{ dev:"));
            for (dev, count) in lines.filter_map(|line| line.split_once("} hitcount:")) {
                counts.insert((event, dev.trim().to_owned()), count.trim().parse()?);
            }
        }
        Ok(counts)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for (event, _) in PROBES {
            // The next test that counts says what is wrong.
            let _ = append(&format!("events/bond/{event}/trigger"), "!hist:keys=dev");
            let _ = append("kprobe_events", &format!("-:bond/{event}"));
        }
    }
}

/// Writes a line to one of tracefs's command files, which add what they are told.
fn append(file: &str, line: &str) -> Result<()> {
    use std::io::Write as _;
    let path = Path::new(TRACING).join(file);
    let mut file = fs::OpenOptions::new().append(true).open(&path)?;
    file.write_all(line.as_bytes()).with_context(|| format!("{}: {line}", path.display()))
}
