//! The virtual egress: where frames meet those who use the bond.

mod host;

pub use host::{Host, HostShare, HostSpec};
