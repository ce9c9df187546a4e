//! AF_XDP zero-copy bonding: N slaves and one virtual egress, in user space.
//!
//! Data flows one way: slave -> [`poller`] -> [`ring`] -> [`egress`]; the [`control`] thread
//! publishes a [`snapshot`], the data path reads it.

pub mod cli;
pub mod config;
pub mod control;
pub mod egress;
pub mod mode;
pub mod netlink;
pub mod poller;
pub mod port;
pub mod ring;
pub mod snapshot;
pub mod state;
mod sync;
#[cfg(test)]
mod testing;
pub mod watch;
pub mod xsk;
