//! A device under test, and the ends it stands between.

use std::{any::Any, fmt, time::Duration};

use anyhow::{Context as _, Result};
use bond_tests::{Mac, Port};
use serde::{Deserialize, Serialize};

use crate::{
    generator::Stream,
    peers::{self, System},
    process::Process,
    rig::{self, Rig},
    sink::Sink,
};

/// What speaks on the host's side.
pub(crate) const HOST_MAC: Mac = Mac::local(9, 1);
/// What it speaks to.
pub(crate) const WIRE_MAC: Mac = Mac::local(9, 2);

/// A bonding mode.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    BalanceRr,
    ActiveBackup,
}

impl Mode {
    /// All that are measured.
    pub const ALL: [Self; 2] = [Self::BalanceRr, Self::ActiveBackup];
}

/// Where the XDP programs of the slaves run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Xdp {
    Native,
    Generic,
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    HostToWire,
    WireToHost,
}

/// How a device waits for frames, where that can be chosen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Poll {
    Adaptive,
    Busy,
}

/// Which threads a worker of our bond has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One.
    RunToCompletion,
    /// A poller and an egress.
    Pipeline,
}

/// The name that options, views and reports give to a choice.
macro_rules! name_as_serde {
    ($($choice:ty),+) => {$(
        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    )+};
}
name_as_serde!(Mode, Xdp, Direction, Poll, Layout, System);

/// What to set up.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Spec {
    pub system: System,
    pub mode: Mode,
    pub xdp: Xdp,
    pub poll: Poll,
    pub layout: Layout,
    pub slaves: u8,
}

impl Spec {
    /// Two slaves, native XDP, adaptive polling, run to completion.
    #[must_use]
    pub const fn new(system: System, mode: Mode) -> Self {
        let (xdp, poll, layout) = (Xdp::Native, Poll::Adaptive, Layout::RunToCompletion);
        Self { system, mode, xdp, poll, layout, slaves: 2 }
    }

    /// Native XDP and two slaves.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.xdp == Xdp::Native && self.slaves == 2
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, mode, xdp, poll, layout, slaves } = self;
        write!(f, "{system} {mode} {xdp}")?;
        if *poll == Poll::Busy {
            write!(f, " busy")?;
        }
        if *layout == Layout::Pipeline {
            write!(f, " pipeline")?;
        }
        if *slaves != 2 {
            write!(f, " {slaves} slave")?;
        }
        Ok(())
    }
}

/// What a peer's start leaves: its programs, and whatever else must live on.
#[derive(Debug)]
pub struct Running {
    pub processes: Vec<Process>,
    /// The netdev that the host uses.
    pub host_port: Port,
    pub keep: Box<dyn Any>,
    /// How it really runs, in its own words.
    pub facts: String,
}

/// A device under test with its rig and its sinks, halted unless it is its turn.
pub struct Device {
    pub spec: Spec,
    pub rig: Rig,
    pub host_sink: Sink,
    pub wire_sink: Sink,
    pub running: Running,
    host_index: u32,
    wire_indices: Vec<u32>,
}

impl Device {
    /// Sets it up.
    pub fn start(spec: Spec) -> Result<Self> {
        Self::try_start(spec).with_context(|| format!("setting up {spec}"))
    }

    fn try_start(spec: Spec) -> Result<Self> {
        let rig = Rig::new(spec.slaves)?;
        // First: a device finds its cables able to take what it redirects.
        let wire_sink = Sink::attach(&rig.wire_ends())?;
        let running = peers::start(&rig, &spec)?;
        let host_sink = Sink::attach(std::slice::from_ref(&running.host_port))?;
        let host_index = rig::index(&running.host_port)?;
        let wire_indices = rig.wire_ends().iter().map(rig::index).collect::<Result<_>>()?;
        let device = Self { spec, rig, host_sink, wire_sink, running, host_index, wire_indices };
        device.run(false)?;
        Ok(device)
    }

    /// Lets it run, or halts it.
    pub fn run(&self, run: bool) -> Result<()> {
        self.running.processes.iter().try_for_each(|process| process.run(run))
    }

    /// Its processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.running.processes.iter().map(Process::pid).collect()
    }

    /// Where frames that went `direction` arrive.
    #[must_use]
    pub fn sink(&self, direction: Direction) -> &Sink {
        match direction {
            Direction::HostToWire => &self.wire_sink,
            Direction::WireToHost => &self.host_sink,
        }
    }

    /// Frames of `length` bytes for it; from the wire they come to the active slave, or to all in turn.
    #[must_use]
    pub fn stream(&self, direction: Direction, length: usize, period: Option<Duration>) -> Stream {
        let (netns, ports, source, destination) = match direction {
            Direction::HostToWire => (&self.rig.host, vec![self.host_index], HOST_MAC, WIRE_MAC),
            Direction::WireToHost => {
                let mut ports = self.wire_indices.clone();
                if self.spec.mode == Mode::ActiveBackup || !self.spec.system.is_bond() {
                    ports.truncate(1);
                }
                (&self.rig.wire, ports, WIRE_MAC, HOST_MAC)
            }
        };
        Stream { netns: netns.clone(), ports, source, destination, length, period }
    }
}
