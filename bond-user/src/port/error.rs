//! Why a netdev cannot be a port of the bond.

use super::program::ProgramFailure;
use super::settings::SettingsError;
use crate::netlink::{Mac, NetlinkError};
use crate::xsk::XskError;

/// A netdev that cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No such netdev.
    #[error("there is no interface {0} in this network namespace (see: ip link)")]
    Missing(String),
    /// The loopback device, or another that is not Ethernet.
    #[error("{0} is not an Ethernet interface and cannot be a slave")]
    NotEthernet(String),
    /// Enslaved already.
    #[error("{name} belongs to {master} already; take it out first: ip link set {name} nomaster")]
    Enslaved {
        /// The slave.
        name: String,
        /// Bridge, bond or team.
        master: String,
    },
    /// Part of another bond of ours.
    #[error("{name} is a slave of another running bond (XDP program {program} is attached)")]
    OtherBond {
        /// The slave.
        name: String,
        /// Program id.
        program: u32,
    },
    /// Taking it would cut the machine off.
    #[error(
        "{0} carries the default route: as a slave it would take the network away from this machine until the bond has its addresses and routes; use --force if that is what you want"
    )]
    DefaultRoute(String),
    /// Another process of ours has it.
    #[error("{0} is a slave of another running bond")]
    ClaimedByOther(String),
    /// Some other XDP program.
    #[error(
        "{name} has XDP program {program} attached; detach it first: ip link set {name} xdp off"
    )]
    OtherProgram {
        /// The slave.
        name: String,
        /// Program id.
        program: u32,
    },
    /// MTUs differ.
    #[error(
        "{name} has MTU {mtu} and {first} has {expected}: all slaves need the same; ip link set {name} mtu {expected}"
    )]
    MtuDiffers {
        /// The slave.
        name: String,
        /// Its MTU.
        mtu: u32,
        /// The first slave.
        first: String,
        /// The first slave's MTU.
        expected: u32,
    },
    /// Fewer receive queues than workers.
    #[error(
        "{name} has {has} receive queue(s) and {wanted} are asked for; lower --queues (or --cores), or: ethtool -L {name} combined {wanted}"
    )]
    TooFewQueues {
        /// The slave.
        name: String,
        /// Its receive queues.
        has: u32,
        /// Workers.
        wanted: u32,
    },
    /// More receive queues than the XSKMAP holds.
    #[error(
        "{name} has {has} receive queues, more than the {max} that it can have here; ethtool -L {name} combined {max}"
    )]
    TooManyQueues {
        /// The slave.
        name: String,
        /// Its receive queues.
        has: u32,
        /// The XSKMAP's size.
        max: u32,
    },
    /// Zero-copy was asked for.
    #[error("{name}: its driver ({driver}) has no AF_XDP zero-copy; use --bind-mode auto or copy")]
    NoZeroCopy {
        /// The slave.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// Zero-copy needs the program in the driver.
    #[error("{0}: zero-copy needs native XDP, and --xdp-mode generic was asked for")]
    ZeroCopyGeneric(String),
    /// The netdev has no unicast address.
    #[error("{name} has no MAC address of its own ({mac})")]
    NoMac {
        /// The slave.
        name: String,
        /// What it has.
        mac: Mac,
    },
    /// The name of the bond or of our end is taken.
    #[error(
        "there is an interface {0} already; choose another name, or remove it: ip link del {0} (left by a killed bond: bond cleanup)"
    )]
    NameTaken(String),
    /// bond0's offloads could not be set.
    #[error("cannot switch checksum and segmentation offloads of {name} off: {errno}")]
    Offloads {
        /// The netdev.
        name: String,
        /// The kernel's reason.
        errno: rustix::io::Errno,
    },
    /// A kernel request failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Programs and maps.
    #[error(transparent)]
    Program(#[from] ProgramFailure),
    /// Sockets and UMEMs.
    #[error(transparent)]
    Xsk(#[from] XskError),
}
