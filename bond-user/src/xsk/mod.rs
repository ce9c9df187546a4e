//! AF_XDP: UMEM, frames, sockets, wake-ups, and what a netdev can do.
//!
//! The only place that names `xsk_rs`, `libbpf_sys` or mapped memory. Everything above works on
//! [`Frame`] tokens and on the [`Rings`](crate::poller::Rings) trait.

mod error;
mod frame;
mod frames;
mod lent;
mod memory;
mod options;
mod probe;
mod rings;
mod socket;

pub use error::XskError;
pub use frame::{Desc, Frame, UmemId};
pub use frames::{Census, Frames, PortId, Reclaimed};
pub use lent::Lent;
pub use memory::{Geometry, UmemHandle, XskMemory};
pub use options::{SocketStats, StatsHandle};
pub use probe::{Features, probe};
pub use socket::{BindMode, XskRings, XskRx, XskTx};
