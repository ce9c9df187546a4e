//! The state of a running bond: one tree, and every view is rendered from it.
//!
//! Keys follow iproute2's JSON of kernel bonds (ip/iplink_bond.c, ip/iplink_bond_slave.c) where it
//! has them. A field never changes its type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Frames dropped, by reason. Reasons with a count of 0 are listed too.
pub type Drops = BTreeMap<String, u64>;

/// A bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BondState {
    /// The bond's netdev.
    pub ifname: String,
    /// The process that runs it.
    pub pid: u32,
    /// Mode, by the kernel's name.
    pub mode: String,
    /// Carrier poll interval in ms.
    pub miimon: u64,
    /// From a slave's carrier to its link being up, in ms.
    #[serde(default)]
    pub updelay: u64,
    /// From the loss of its carrier to its link being down, in ms.
    #[serde(default)]
    pub downdelay: u64,
    /// Frames in a row to one slave in balance-rr; 0: each to one at random.
    pub packets_per_slave: u16,
    /// What balance-xor hashes, by the kernel's name.
    #[serde(default)]
    pub xmit_hash_policy: String,
    /// 1 if the frames of backups are delivered too, else 0.
    #[serde(default)]
    pub all_slaves_active: u8,
    /// Announcements after a change of the active slave.
    #[serde(default)]
    pub num_peer_notif: u8,
    /// From one of them to the next in ms; 0: miimon.
    #[serde(default)]
    pub peer_notif_delay: u64,
    /// Times that the host's IPv4 groups are reported when IGMP goes by another slave.
    #[serde(default)]
    pub resend_igmp: u8,
    /// Preferred slave.
    pub primary: Option<String>,
    /// When a better slave takes over from an active one that is up: "always", "better" or "failure".
    #[serde(default)]
    pub primary_reselect: String,
    /// Active slave, in modes that have one.
    pub active_slave: Option<String>,
    /// "up" when frames can be sent, else "down".
    pub mii_status: String,
    /// The bond's MAC.
    pub address: String,
    /// Its MTU.
    pub mtu: u32,
    /// Which threads a worker has: "run-to-completion" or "pipeline".
    pub layout: String,
    /// How the workers wait.
    pub poll: String,
    /// One a core; in the pipeline layout one a pair of cores.
    pub workers: Vec<WorkerState>,
    /// How long frames gather before bond0 gives them to the host, in ns; 0 unless workers are overloaded.
    #[serde(default)]
    pub gro_flush_timeout: u64,
    /// Our end of the bond's veth pair.
    pub host: PortState,
    /// The slaves, in order.
    pub slaves: Vec<SlaveState>,
    /// Changes of the active slave.
    pub failovers: Failovers,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerState {
    /// Its number: it owns this queue of the bond.
    pub worker: usize,
    /// Its thread; in the pipeline layout the poller.
    #[serde(flatten)]
    pub thread: ThreadState,
    /// The second thread of the pipeline layout, else null.
    pub egress: Option<ThreadState>,
    /// Its UMEMs, the shared one first.
    pub umems: Vec<UmemState>,
}

/// A thread of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadState {
    /// Its CPU.
    pub core: usize,
    /// Turns of its loop.
    pub turns: u64,
    /// Turns that moved no frame.
    pub idle_turns: u64,
    /// Turns that found slaves receiving faster than it can forward.
    #[serde(default)]
    pub overloaded_turns: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
}

/// Who owns the frames of a UMEM. The parts add up to `total`; in the pipeline layout two threads tell them, and a frame
/// that changes hands meanwhile may be in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UmemState {
    /// All frames.
    pub total: u32,
    /// On the free list.
    pub free: u32,
    /// In a batch or in the ring.
    pub held: u32,
    /// With the kernel, for receiving.
    pub fill: u32,
    /// With the kernel, for sending.
    pub tx: u32,
}

/// A netdev that the data plane works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// Its name.
    pub ifname: String,
    /// Where its XDP program really runs: "native", "generic" or "none".
    pub xdp_mode: String,
    /// How its sockets are really bound: "zero-copy", "copy" or "none".
    pub bind_mode: String,
    /// Its receive queues.
    pub queues: u32,
    /// Frames received from it.
    pub rx_packets: u64,
    /// Bytes received from it.
    pub rx_bytes: u64,
    /// Frames put on its tx rings.
    pub tx_packets: u64,
    /// Bytes put on its tx rings.
    pub tx_bytes: u64,
    /// Frames copied into its UMEM from another one.
    pub seam_copies: u64,
    /// Wake-ups that the kernel answered with ENETDOWN or ENXIO.
    pub kicks_down: u64,
    /// Frames dropped.
    pub drops: Drops,
}

/// A slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaveState {
    /// Its ifindex; null while it is gone.
    pub ifindex: Option<u32>,
    /// "active" when the bond sends on it, else "backup".
    pub state: String,
    /// "up", "going down", "down" or "going back".
    pub mii_status: String,
    /// Evidence for `mii_status`.
    pub evidence: String,
    /// Its share in balance-rr and balance-xor.
    #[serde(default)]
    pub weight: u8,
    /// How often it went down.
    pub link_failure_count: u32,
    /// Preference where the primary is not up: higher first.
    #[serde(default)]
    pub prio: i32,
    /// Its speed in Mbit/s; null when its driver does not tell.
    pub speed: Option<u32>,
    /// "full" or "half"; "unknown" when its speed is.
    #[serde(default)]
    pub duplex: String,
    /// Its own MAC, before it became a slave.
    pub perm_hwaddr: String,
    /// Its MAC now.
    pub hwaddr: String,
    /// In promiscuous mode, because its driver refused the bond's MAC.
    pub promisc: bool,
    /// Link-local frames that went up its own netdev.
    pub link_local: u64,
    /// What the data plane sees.
    #[serde(flatten)]
    pub port: PortState,
}

/// Changes of the active slave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failovers {
    /// How many, the first choice not counted.
    pub count: u64,
    /// The last one.
    pub last: Option<Failover>,
}

/// One change of the active slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// The old one.
    pub from: Option<String>,
    /// The new one.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
    /// From reading the evidence, or from the end of its delay, to having told workers and XDP programs, in us.
    pub took_us: u64,
    /// When, UTC, RFC 3339.
    pub at: String,
}
