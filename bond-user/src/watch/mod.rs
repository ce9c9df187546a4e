//! Link monitors: from evidence to verdict, one file a kind. Pure: the caller gives the evidence and
//! the time.

pub mod carrier;
mod counts;
mod doubt;

pub use carrier::{Carrier, Evidence, Source, Verdict};
pub use counts::{CarrierCounts, CarrierGauge};
pub use doubt::Doubt;
