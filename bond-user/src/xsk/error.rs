//! What can go wrong below.

use std::io;

/// Errors of UMEMs, sockets and probes.
#[derive(Debug, thiserror::Error)]
pub enum XskError {
    /// The UMEM could not be made or registered.
    #[error(
        "cannot register a UMEM of {mib} MiB: {reason} (too little memory, or RLIMIT_MEMLOCK without CAP_IPC_LOCK)"
    )]
    Umem {
        /// Its size in MiB.
        mib: u64,
        /// The kernel's reason.
        reason: String,
    },
    /// A frame of this MTU does not fit a chunk.
    #[error(
        "MTU {mtu} is too large: a frame must fit one UMEM chunk, at most {max} here; lower the MTU of the slaves, or try --bind-mode copy"
    )]
    Mtu {
        /// The MTU asked for.
        mtu: u32,
        /// The largest that works.
        max: u32,
    },
    /// An AF_XDP socket could not be bound.
    #[error("cannot bind an AF_XDP socket to {ifname} queue {queue} in {mode} mode: {reason}")]
    Bind {
        /// The netdev.
        ifname: String,
        /// Its queue.
        queue: u32,
        /// The mode asked for.
        mode: &'static str,
        /// The kernel's reason.
        reason: String,
    },
    /// A socket option could not be read.
    #[error("cannot read {option} of an AF_XDP socket: {source}")]
    Option {
        /// Its name.
        option: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// XDP features of a netdev could not be read.
    #[error("cannot ask {ifname} for its XDP features: {source}")]
    Probe {
        /// The netdev.
        ifname: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// An error with its cause in one line, as xsk-rs keeps the errno in the source.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
