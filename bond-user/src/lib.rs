//! AF_XDP zero-copy bonding: N slaves and one virtual egress, in user space.

pub mod netlink;
