//! A netdev opened for AF_XDP: its program, its sockets, its settings saved and restored.
//!
//! The only place that names aya.

mod carrier;
mod error;
mod ethtool;
mod link_mode;
mod napi;
mod program;
mod run_lock;
mod settings;
mod share;
mod slave;
mod state_file;
mod sysfs;

pub use carrier::CarrierFiles;
pub use error::PortError;
pub use ethtool::Ethtool;
pub(crate) use ethtool::{GRO, UNFINISHED};
pub use link_mode::LinkMode;
pub use napi::NapiFiles;
pub use program::{Program, ProgramFailure, XdpMode};
pub use run_lock::RunLock;
pub(crate) use settings::disable_ipv6;
pub use settings::{Applied, Saved, SettingsError, Wanted};
pub(crate) use share::own_umem;
pub use share::{Binding, Bound, SHARED_UMEM, Share};
pub use slave::{Candidate, Port, PortSpec};
pub use state_file::{StateFile, socket_path};
