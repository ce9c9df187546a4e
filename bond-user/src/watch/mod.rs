//! Link monitors: from evidence to verdict, one file a kind. Pure: the caller gives the evidence and
//! the time.

pub mod carrier;
mod counts;
mod doubt;

pub use carrier::{Carrier, Delays, Evidence, LinkEvent, LinkState, Seen, Source};
pub use counts::{CarrierCounts, CarrierGauge};
pub use doubt::Doubt;
