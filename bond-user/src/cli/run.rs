//! `bond run`.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use bond_ebpf::hash::HashPolicy;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tracing_subscriber::EnvFilter;

use crate::config::{BindChoice, BondConfig, XdpChoice};
use crate::control;
use crate::mode::{Mode, PrimaryReselect};
use crate::netlink::Mac;
use crate::poller::{Layout, Poll};

/// The kernel's limit of updelay and downdelay: INT_MAX.
const DELAY_MAX: u64 = 0x7fff_ffff;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the bond's interface, 11 characters at most
    #[arg(default_value = "bond0")]
    bond: String,
    /// The slaves, separated by commas
    #[arg(long, short, required = true, value_delimiter = ',', value_name = "IF,IF")]
    iface: Vec<String>,
    /// Bonding mode, by the kernel's name or number: balance-rr (0), active-backup (1), balance-xor (2), broadcast (3)
    #[arg(long, default_value = "active-backup")]
    mode: Mode,
    /// Carrier poll interval in ms; link events are followed at once beside it
    #[arg(long, default_value_t = 10, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    miimon: u64,
    /// How long, in ms, a slave's carrier must last before the slave is used; skipped when there is no other
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=DELAY_MAX))]
    updelay: u64,
    /// How long, in ms, a slave's carrier must be gone before the slave is given up
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=DELAY_MAX))]
    downdelay: u64,
    /// Preferred slave of active-backup: active whenever its link is up
    #[arg(long, value_name = "IF")]
    primary: Option<String>,
    /// When the primary, or else the slave of the highest prio, takes over from an active slave that is up [default: always]
    #[arg(long, value_enum)]
    primary_reselect: Option<Reselect>,
    /// Preference of slaves of active-backup where the primary is not up: the highest first, 0 for those not named
    #[arg(long, value_delimiter = ',', value_name = "IF=N,IF=N", value_parser = prio)]
    prio: Vec<(String, i32)>,
    /// Frames in a row to one slave in balance-rr; 0: each to one at random
    #[arg(long, default_value_t = 1, value_name = "N")]
    packets_per_slave: u16,
    /// What balance-xor chooses a flow's slave by
    #[arg(long, default_value = "layer2", value_name = "POLICY", value_parser = hash_policy())]
    xmit_hash_policy: HashPolicy,
    /// Shares of slaves in balance-rr and balance-xor, 1 to 255; 1 for those not named
    #[arg(long, value_delimiter = ',', value_name = "IF=N,IF=N", value_parser = weight)]
    weight: Vec<(String, u8)>,
    /// Deliver the frames of backups too: duplicates, of what a switch floods
    #[arg(long)]
    all_slaves_active: bool,
    /// Gratuitous ARPs and unsolicited NAs after each change of the active slave, for each address of the bond and its VLANs
    #[arg(long, default_value_t = 1, value_name = "N", visible_aliases = ["num-grat-arp", "num-unsol-na"])]
    num_peer_notif: u8,
    /// From one of them to the next in ms; 0: miimon
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=300_000))]
    peer_notif_delay: u64,
    /// IGMP reports of each of the host's groups after a change of the slave that IGMP goes by, 200 ms apart
    #[arg(long, default_value_t = 1, value_name = "N")]
    resend_igmp: u8,
    /// The bond's MAC address [default: the first slave's]
    #[arg(long)]
    mac: Option<Mac>,
    /// Where the slaves' XDP programs run
    #[arg(long, value_enum, default_value_t = Xdp::Auto)]
    xdp_mode: Xdp,
    /// How the slaves' AF_XDP sockets are bound
    #[arg(long, value_enum, default_value_t = Bind::Auto)]
    bind_mode: Bind,
    /// Queues of the bond, one worker each [default: as many as --cores serve, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    queues: Option<u32>,
    /// Threads of a worker: one that does everything, or a poller and an egress
    #[arg(long, value_enum, default_value_t = Threads::RunToCompletion)]
    layout: Threads,
    /// CPUs to pin the workers to; in the pipeline layout pairs of poller and egress [default: the first ones this process may use]
    #[arg(long, value_delimiter = ',', value_name = "CPU,CPU")]
    cores: Vec<usize>,
    /// Take a slave even if it carries the default route, and the machine's network with it
    #[arg(long)]
    force: bool,
    /// How workers wait for frames: asleep when idle, or never
    #[arg(long, value_enum, default_value_t = Waiting::Adaptive)]
    poll: Waiting,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Xdp {
    Auto,
    Native,
    Generic,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bind {
    Auto,
    ZeroCopy,
    Copy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Threads {
    RunToCompletion,
    Pipeline,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Waiting {
    Adaptive,
    Busy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reselect {
    /// Whenever its link is up
    #[value(alias = "0")]
    Always,
    /// When it is faster, or as fast with a better duplex
    #[value(alias = "1")]
    Better,
    /// Not before the active slave fails
    #[value(alias = "2")]
    Failure,
}

impl From<Reselect> for PrimaryReselect {
    fn from(reselect: Reselect) -> Self {
        match reselect {
            Reselect::Always => Self::Always,
            Reselect::Better => Self::Better,
            Reselect::Failure => Self::Failure,
        }
    }
}

/// By the kernel's names.
fn hash_policy() -> impl TypedValueParser<Value = HashPolicy> {
    let names = PossibleValuesParser::new(HashPolicy::ALL.map(HashPolicy::name));
    names.try_map(|name| HashPolicy::from_name(&name).ok_or("there is no such policy"))
}

/// One IF=N.
fn numbered<N: FromStr>(text: &str) -> Option<(String, N)> {
    let (name, number) = text.split_once('=')?;
    Some((name.to_owned(), number.parse().ok()?))
}

fn weight(text: &str) -> Result<(String, u8), &'static str> {
    numbered(text)
        .filter(|(_, weight)| *weight > 0)
        .ok_or("give an interface and a number from 1 to 255: eth0=3")
}

fn prio(text: &str) -> Result<(String, i32), String> {
    let (least, most) = (i32::MIN, i32::MAX);
    let wrong = || format!("give an interface and a number from {least} to {most}: eth0=10");
    numbered(text).ok_or_else(wrong)
}

impl Args {
    fn into_config(self) -> BondConfig {
        BondConfig {
            name: self.bond,
            slaves: self.iface,
            mode: self.mode,
            miimon: Duration::from_millis(self.miimon),
            updelay: Duration::from_millis(self.updelay),
            downdelay: Duration::from_millis(self.downdelay),
            primary: self.primary,
            primary_reselect: self.primary_reselect.map(PrimaryReselect::from),
            prio: self.prio,
            packets_per_slave: self.packets_per_slave,
            xmit_hash_policy: self.xmit_hash_policy,
            weight: self.weight,
            all_slaves_active: self.all_slaves_active,
            num_peer_notif: self.num_peer_notif,
            peer_notif_delay: Duration::from_millis(self.peer_notif_delay),
            resend_igmp: self.resend_igmp,
            mac: self.mac,
            xdp: match self.xdp_mode {
                Xdp::Auto => XdpChoice::Auto,
                Xdp::Native => XdpChoice::Native,
                Xdp::Generic => XdpChoice::Generic,
            },
            bind: match self.bind_mode {
                Bind::Auto => BindChoice::Auto,
                Bind::ZeroCopy => BindChoice::ZeroCopy,
                Bind::Copy => BindChoice::Copy,
            },
            queues: self.queues,
            force: self.force,
            cores: self.cores,
            layout: match self.layout {
                Threads::RunToCompletion => Layout::RunToCompletion,
                Threads::Pipeline => Layout::Pipeline,
            },
            poll: match self.poll {
                Waiting::Adaptive => Poll::Adaptive,
                Waiting::Busy => Poll::Busy,
            },
        }
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    log_to_stderr();
    control::run(args.into_config())?;
    Ok(ExitCode::SUCCESS)
}

/// Level info, or what RUST_LOG says.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
}
