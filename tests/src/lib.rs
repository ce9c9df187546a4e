//! Namespaces, cables, traffic: real parts for the tests and for the lab of `cargo xtask run`.
//!
//! Everything lives in network namespaces of its own, named `bt-<pid>-<n>-<role>`, which end with the value that made
//! them: at its drop, at a panic, at Ctrl-C, and at the latest at the next start.

mod bpf;
mod cable;
mod command;
mod echo;
mod frame;
mod guard;
mod long;
mod netns;
mod packet;
mod process;
mod snapshot;
mod state;
mod sys;
mod topology;
mod traffic;
mod xdp_mode;

pub use bpf::ForeignXdp;
pub use cable::{Cable, LinkEvents, Port};
pub use command::{Finished, bounded, wait_until};
pub use echo::{Echo, EchoServer, Sample, Samples, internet_checksum};
pub use frame::{ETHERTYPE, Flow, Mac};
pub use guard::set_interrupt_status;
pub use long::pass;
pub use netns::Netns;
pub use packet::{ALL_ETHERTYPES, PacketSocket};
pub use process::{BondProcess, binary, bond, built};
pub use snapshot::Snapshot;
pub use state::{Failover, Failovers, Host, Slave, State, Umem, Worker};
pub use topology::{Lan, Switch, Wire};
pub use traffic::{Arrivals, Faults, Pace, Report, Sink, exchange, exchange_copies, send};
pub use xdp_mode::XdpMode;
