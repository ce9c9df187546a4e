//! The virtual egress: where frames meet those who use the bond.

mod host;
mod moderation;

pub use host::{Host, HostShare, HostSpec};
pub use moderation::{Moderation, Work};
