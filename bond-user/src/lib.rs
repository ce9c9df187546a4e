//! AF_XDP zero-copy bonding: N slaves and one virtual egress, in user space.

pub mod control;
pub mod netlink;
pub mod port;
