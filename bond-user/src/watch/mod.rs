//! Link monitors: from evidence to verdict, one file a kind. Pure: the caller gives the evidence and
//! the time.

pub mod carrier;

pub use carrier::{Carrier, Evidence, Source, Verdict};
