//! What `bond show -j` prints.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Dropped frames by reason.
pub(crate) type Drops = BTreeMap<String, u64>;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct State {
    pub ifname: String,
    pub pid: u32,
    pub mode: String,
    pub miimon: u64,
    /// In ms, as the next one; builds of before them have none.
    #[serde(default)]
    pub updelay: u64,
    #[serde(default)]
    pub downdelay: u64,
    pub packets_per_slave: u64,
    pub primary: Option<String>,
    #[serde(default)]
    pub primary_reselect: String,
    pub active_slave: Option<String>,
    pub mii_status: String,
    pub address: String,
    pub mtu: u64,
    pub layout: String,
    pub poll: String,
    pub workers: Vec<Worker>,
    /// In ns; builds of before it have none.
    #[serde(default)]
    pub gro_flush_timeout: u64,
    pub host: Host,
    pub slaves: Vec<Slave>,
    pub failovers: Failovers,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Worker {
    pub worker: u64,
    pub core: u64,
    pub umems: Vec<Umem>,
}

/// Where the frames of a UMEM are: the parts add up to `total`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Umem {
    pub total: u64,
    pub free: u64,
    pub held: u64,
    pub fill: u64,
    pub tx: u64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Host {
    pub ifname: String,
    pub xdp_mode: String,
    pub bind_mode: String,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub seam_copies: u64,
    pub drops: Drops,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Slave {
    pub ifname: String,
    pub ifindex: Option<u32>,
    pub mii_status: String,
    pub evidence: String,
    pub state: String,
    pub link_failure_count: u64,
    #[serde(default)]
    pub prio: i64,
    /// In Mbit/s; builds of before it have none, and no duplex.
    pub speed: Option<u64>,
    #[serde(default)]
    pub duplex: String,
    pub perm_hwaddr: String,
    pub hwaddr: String,
    pub queues: u64,
    pub xdp_mode: String,
    pub bind_mode: String,
    pub promisc: bool,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub seam_copies: u64,
    pub drops: Drops,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Failovers {
    pub count: u64,
    pub last: Option<Failover>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Failover {
    pub from: Option<String>,
    pub to: Option<String>,
    pub reason: String,
    pub took_us: u64,
    pub at: String,
}

impl State {
    /// The slave `name`, if the bond has it.
    #[must_use]
    pub fn slave(&self, name: &str) -> Option<&Slave> {
        self.slaves.iter().find(|slave| slave.ifname == name)
    }

    /// Whether every slave is attached and has link.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.slaves.iter().all(|slave| slave.xdp_mode != "none" && slave.mii_status == "up")
    }

    /// Every UMEM of every worker.
    pub fn umems(&self) -> impl Iterator<Item = &Umem> {
        self.workers.iter().flat_map(|worker| &worker.umems)
    }
}
