//! AF_XDP zero-copy bonding: N slaves and one virtual egress, in user space.

pub mod mode;
pub mod netlink;
pub mod ring;
pub mod snapshot;
pub mod watch;
