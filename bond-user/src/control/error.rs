//! Why a bond does not start, or ended.

use std::io;

use crate::config::ConfigError;
use crate::netlink::NetlinkError;
use crate::port::{PortError, ProgramFailure};
use crate::xsk::XskError;

/// Errors of `bond run`.
#[derive(Debug, thiserror::Error)]
pub enum BondError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Capabilities are missing.
    #[error("not enough privileges: {0} missing; run as root, or with sudo")]
    Privileges(String),
    /// The bond runs already.
    #[error("{bond} is running already{} in this network namespace", pid.map_or_else(String::new, |pid| format!(" (pid {pid})")))]
    Running {
        /// The bond.
        bond: String,
        /// Its process, unless that is only just starting.
        pid: Option<u32>,
    },
    /// An interface.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The kernel refused a request.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A worker failed.
    #[error("worker {worker} ended: {source}")]
    Worker {
        /// Which one.
        worker: usize,
        /// Why.
        source: io::Error,
    },
    /// bond0 was deleted while the bond ran.
    #[error("{0} was deleted by someone else: stopping")]
    Deleted(String),
    /// State file or socket.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Not everything could be put back.
    #[error("not everything could be put back:\n{0}")]
    Restore(String),
}

impl BondError {
    /// Wraps an I/O error with what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<XskError> for BondError {
    fn from(error: XskError) -> Self {
        Self::Port(error.into())
    }
}

impl From<ProgramFailure> for BondError {
    fn from(error: ProgramFailure) -> Self {
        Self::Port(error.into())
    }
}
