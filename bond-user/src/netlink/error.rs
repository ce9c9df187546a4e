//! What can go wrong when the kernel is asked.

use std::{fmt, io};

use netlink_packet_core::DecodeError;
use rustix::io::Errno;

/// A request the kernel refused or that could not be exchanged: what was asked, of which interface, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {name}: {cause}")]
pub struct NetlinkError {
    /// The operation, to be read after "cannot": "set the MAC address of".
    pub op: &'static str,
    /// The interface, or "ifindex N" when it has no name any more.
    pub name: String,
    #[source]
    pub cause: Cause,
}

impl NetlinkError {
    /// The kernel's error number, when the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Kernel { errno, .. } => Some(errno),
            Cause::Socket(ref error) => Errno::from_io_error(error),
            Cause::Decode(_) | Cause::Interrupted => None,
        }
    }

    /// The caller lacks CAP_NET_ADMIN in the user namespace that owns this network namespace.
    pub fn is_permission(&self) -> bool {
        self.errno() == Some(Errno::PERM)
    }

    /// The interface does not exist (any more).
    pub fn is_gone(&self) -> bool {
        self.errno() == Some(Errno::NODEV)
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The kernel's refusal, with its extended acknowledgement text when it sent one.
    Kernel {
        errno: Errno,
        message: Option<String>,
    },
    Socket(#[from] io::Error),
    /// The answer is not what rtnetlink(7) describes.
    Decode(#[from] DecodeError),
    /// The list changed at every attempt to read it whole.
    Interrupted,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { errno, message } => {
                write!(f, "{errno}")?;
                if let Some(message) = message {
                    write!(f, ": {message}")?;
                }
                if *errno == Errno::PERM {
                    f.write_str("; run as root or with CAP_NET_ADMIN")?;
                }
                Ok(())
            }
            Self::Socket(error) => write!(f, "netlink socket: {error}"),
            Self::Decode(error) => write!(f, "the kernel's answer makes no sense: {error}"),
            Self::Interrupted => f.write_str("the list kept changing while it was read; try again"),
        }
    }
}
