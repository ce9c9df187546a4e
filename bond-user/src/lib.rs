//! AF_XDP zero-copy bonding: N slaves and one virtual egress, in user space.

pub mod ring;
pub mod snapshot;
pub mod mode;
pub mod watch;
pub mod netlink;
