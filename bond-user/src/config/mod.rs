//! What a bond shall be: a validated type, in the kernel's bonding names.

mod active;
mod per_slave;

use std::fmt;
use std::time::Duration;

use bond_ebpf::hash::HashPolicy;
use bond_ebpf::layout::{MAX_QUEUES, MAX_SLAVES};

use crate::mode::{Mode, PrimaryReselect};
use crate::netlink::Mac;
use crate::poller::{Layout, Poll};

/// Longest name of a netdev: IFNAMSIZ (include/uapi/linux/if.h) less the terminator.
const IFNAME_MAX: usize = 15;
/// What our end of bond0 adds to the bond's name.
pub const HOST_SUFFIX: &str = "-xsk";

/// Where the XDP programs of the slaves shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpChoice {
    /// In the driver if it can, else in the generic hook.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the generic hook, after the driver made an skb.
    Generic,
}

/// How the slaves' sockets shall be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindChoice {
    /// Zero-copy where the driver can and runs the program itself, else copy.
    Auto,
    /// Zero-copy, or not at all.
    ZeroCopy,
    /// Copy.
    Copy,
}

/// Everything that `bond run` was told.
#[derive(Clone, Debug)]
pub struct BondConfig {
    /// Name of the bond's netdev.
    pub name: String,
    /// Slaves, in order: slot 0 first.
    pub slaves: Vec<String>,
    /// How slaves are chosen for sending.
    pub mode: Mode,
    /// Carrier poll interval. Netlink events are followed at once beside it.
    pub miimon: Duration,
    /// How long a carrier must last before the link is up, unless nothing else can be used.
    pub updelay: Duration,
    /// How long a carrier must be gone before the link is down.
    pub downdelay: Duration,
    /// Preferred slave of active-backup.
    pub primary: Option<String>,
    /// When a better slave takes over from an active one that is up, in active-backup; always if not given.
    pub primary_reselect: Option<PrimaryReselect>,
    /// Preference of slaves where the primary is not up, in active-backup: higher first, 0 if not given.
    pub prio: Vec<(String, i32)>,
    /// Frames in a row to one slave in balance-rr; 0: each to one at random.
    pub packets_per_slave: u16,
    /// What balance-xor hashes.
    pub xmit_hash_policy: HashPolicy,
    /// Shares of slaves in balance-rr and balance-xor; 1 if not given.
    pub weight: Vec<(String, u8)>,
    /// Deliver the frames of backups too.
    pub all_slaves_active: bool,
    /// Announcements after a change of the active slave.
    pub num_peer_notif: u8,
    /// From one of them to the next; zero: miimon.
    pub peer_notif_delay: Duration,
    /// Times that the host's IPv4 groups are reported when IGMP goes by another slave.
    pub resend_igmp: u8,
    /// The bond's MAC; the first slave's if not given.
    pub mac: Option<Mac>,
    /// Where the slaves' XDP programs run.
    pub xdp: XdpChoice,
    /// How the slaves' sockets are bound.
    pub bind: BindChoice,
    /// Which threads a worker has.
    pub layout: Layout,
    /// Number of workers, and of bond0's queues; as many as `cores` serve if not given.
    pub queues: Option<u32>,
    /// Take slaves that carry a default route.
    pub force: bool,
    /// CPUs of the workers' threads; the first ones this process may use if empty.
    pub cores: Vec<usize>,
    /// How workers wait.
    pub poll: Poll,
}

/// A configuration that cannot work, told apart before anything is touched.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The bond's name does not leave room for `-xsk`.
    #[error("bond name {0:?} is too long: {max} characters at most, so that {0}{HOST_SUFFIX} is still an interface name", max = IFNAME_MAX - HOST_SUFFIX.len())]
    NameTooLong(String),
    /// The name is no interface name.
    #[error(
        "{0:?} is no interface name: 1 to {IFNAME_MAX} characters, no white space, '/' or ':', not '.' or '..'"
    )]
    BadName(String),
    /// No slave.
    #[error("a bond needs at least one slave: --iface eth0,eth1")]
    NoSlaves,
    /// Too many slaves.
    #[error("{0} slaves are too many: {MAX_SLAVES} at most")]
    TooManySlaves(usize),
    /// A slave twice.
    #[error("interface {0} is named twice: each slave once")]
    Repeated(String),
    /// The bond itself as a slave.
    #[error("{0} cannot be a slave of itself: choose another name for the bond")]
    SlaveOfItself(String),
    /// The primary is no slave.
    #[error("primary {primary} is not among the slaves ({slaves})")]
    PrimaryNotSlave {
        /// As given.
        primary: String,
        /// As given.
        slaves: String,
    },
    /// A weight where nothing is shared.
    #[error("--weight works in modes balance-rr and balance-xor, not in {0}")]
    WeightWithoutShares(Mode),
    /// A preference where the mode has no active slave.
    #[error("{option} works in mode active-backup, not in {mode}")]
    WithoutActive {
        /// The option.
        option: &'static str,
        /// As given.
        mode: Mode,
    },
    /// An option of slaves names what is no slave.
    #[error("{option} {name}={value}: {name} is not among the slaves ({slaves})")]
    OptionNotSlave {
        /// The option.
        option: &'static str,
        /// As given.
        name: String,
        /// As given.
        value: String,
        /// As given.
        slaves: String,
    },
    /// An option of slaves names one twice.
    #[error("{option} names {name} twice: each slave once")]
    OptionRepeated {
        /// The option.
        option: &'static str,
        /// As given.
        name: String,
    },
    /// Not a unicast address.
    #[error("{0} cannot be the bond's MAC: it must be unicast and not zero")]
    BadMac(Mac),
    /// `--queues` and `--cores` disagree.
    #[error(
        "{queues} queues need {needed} cores{}, and {cores} are given: one worker owns one queue of {name}", in_pairs(*.layout)
    )]
    QueuesCores {
        /// The bond.
        name: String,
        /// As given.
        queues: u32,
        /// For as many queues.
        needed: usize,
        /// As given.
        cores: usize,
        /// As given.
        layout: Layout,
    },
    /// A poller without an egress.
    #[error(
        "--layout pipeline takes cores in pairs (poller,egress), and {0} are given: name one more or one less, or use --layout run-to-completion"
    )]
    OddCores(usize),
    /// More than the maps hold.
    #[error("{0} queues are too many: {MAX_QUEUES} at most")]
    TooManyQueues(u32),
    /// A core twice.
    #[error("core {0} is named twice: one thread a core")]
    RepeatedCore(usize),
    /// A core that this process may not use.
    #[error("core {core} is not available: this process may use {available:?}")]
    NoCore {
        /// As given.
        core: usize,
        /// What there is.
        available: Vec<usize>,
    },
    /// More threads than cores.
    #[error(
        "{queues} queue(s) need {needed} cores{} and this process may use {available}: {}",
        in_pairs(*.layout),
        if *.queues > 1 { "lower --queues" } else { "use --layout run-to-completion" }
    )]
    TooFewCores {
        /// As given.
        queues: u32,
        /// For as many queues.
        needed: usize,
        /// What there is.
        available: usize,
        /// As given.
        layout: Layout,
    },
    /// Monitoring cannot be off.
    #[error("miimon 0 would switch link monitoring off, which bond does not do: give 1 ms or more")]
    MiimonOff,
}

impl BondConfig {
    /// Checks all that can be checked without asking the kernel about interfaces.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !is_ifname(&self.name) {
            return Err(ConfigError::BadName(self.name.clone()));
        }
        if self.name.len() + HOST_SUFFIX.len() > IFNAME_MAX {
            return Err(ConfigError::NameTooLong(self.name.clone()));
        }
        if self.miimon.is_zero() {
            return Err(ConfigError::MiimonOff);
        }
        self.validate_slaves()?;
        self.validate_weights()?;
        self.validate_preferences()?;
        match self.mac {
            Some(mac) if mac.is_multicast() || mac.is_zero() => Err(ConfigError::BadMac(mac)),
            _ => Ok(()),
        }
    }

    /// From one announcement to the next (kernel: one a monitor tick, or one each `peer_notif_delay`).
    #[must_use]
    pub fn peer_notif_period(&self) -> Duration {
        if self.peer_notif_delay.is_zero() { self.miimon } else { self.peer_notif_delay }
    }

    fn validate_slaves(&self) -> Result<(), ConfigError> {
        if self.slaves.is_empty() {
            return Err(ConfigError::NoSlaves);
        }
        if self.slaves.len() > MAX_SLAVES {
            return Err(ConfigError::TooManySlaves(self.slaves.len()));
        }
        for (slot, slave) in self.slaves.iter().enumerate() {
            if !is_ifname(slave) {
                return Err(ConfigError::BadName(slave.clone()));
            }
            if *slave == self.name {
                return Err(ConfigError::SlaveOfItself(slave.clone()));
            }
            if self.slaves[..slot].contains(slave) {
                return Err(ConfigError::Repeated(slave.clone()));
            }
        }
        Ok(())
    }

    /// The CPUs of the workers' threads, those of worker 0 first, out of those `available` to this process.
    ///
    /// # Errors
    /// When there are not enough, or the options disagree.
    pub fn worker_cores(&self, available: &[usize]) -> Result<Vec<usize>, ConfigError> {
        if let Some(queues) = self.queues.filter(|queues| *queues > MAX_QUEUES) {
            return Err(ConfigError::TooManyQueues(queues));
        }
        for (at, core) in self.cores.iter().enumerate() {
            if !available.contains(core) {
                return Err(ConfigError::NoCore { core: *core, available: available.to_vec() });
            }
            if self.cores[..at].contains(core) {
                return Err(ConfigError::RepeatedCore(*core));
            }
        }
        let (layout, cores) = (self.layout, self.cores.len());
        if !cores.is_multiple_of(layout.threads()) {
            return Err(ConfigError::OddCores(cores));
        }
        let needed = |queues: u32| queues as usize * layout.threads();
        match self.queues {
            Some(queues) if cores > 0 && needed(queues) != cores => {
                let (name, needed) = (self.name.clone(), needed(queues));
                Err(ConfigError::QueuesCores { name, queues, needed, cores, layout })
            }
            _ if cores > 0 => Ok(self.cores.clone()),
            queues => {
                let queues = queues.unwrap_or(1);
                let (needed, has) = (needed(queues), available.len());
                let few = ConfigError::TooFewCores { queues, needed, available: has, layout };
                available.get(..needed).map(<[usize]>::to_vec).ok_or(few)
            }
        }
    }
}

/// What to say of a number of cores.
fn in_pairs(layout: Layout) -> &'static str {
    match layout {
        Layout::RunToCompletion => "",
        Layout::Pipeline => " (poller and egress)",
    }
}

/// `dev_valid_name`, net/core/dev.c.
fn is_ifname(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= IFNAME_MAX
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

impl fmt::Display for XdpChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

#[cfg(test)]
mod tests;
