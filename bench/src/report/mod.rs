//! What was measured, as JSON, and everything made from it.

mod chart;
mod figure;
mod markdown;
mod promise;
mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    device::{Direction, Spec},
    machine::Environment,
    micro,
};

pub use figure::Figure;
pub use markdown::write;
pub use promise::{Promise, promise_table, promises};
pub use table::{blocks, table, title, unit};

/// Changes when a reader of older reports would misunderstand a newer one.
pub const SCHEMA: u32 = 1;

/// The whole run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub schema: u32,
    pub environment: Environment,
    /// How each device really ran.
    pub devices: Vec<Facts>,
    /// Systems that were left out, and why.
    pub missing: Vec<String>,
    /// Windows that were repeated because others used the machine.
    pub repeated: u32,
    pub measurements: Vec<Measurement>,
    /// The micro benchmarks, by name: what user space costs without a kernel.
    #[serde(default)]
    pub micro: Vec<micro::Figure>,
}

/// How a device really ran, in its own words.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Facts {
    #[serde(flatten)]
    pub spec: Spec,
    pub facts: String,
}

/// One quantity of one device under one load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measurement {
    pub name: Name,
    pub unit: String,
    #[serde(flatten)]
    pub spec: Spec,
    pub direction: Direction,
    /// Bytes of a frame, without the FCS.
    pub length: usize,
    /// Frames a second that were offered, or percent of what the device can; none: as many as the generator can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub load: Option<String>,
    #[serde(flatten)]
    pub figure: Figure,
    /// To our bond in the same mode, in the same rounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ratio: Option<Figure>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What a measurement is of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Frames a second at the receiver, of more than the device can take.
    Rate,
    /// Frames that came after one with a higher sequence number.
    Overtaken,
    /// Time in user space.
    UserTime,
    /// Time in user space and in the kernel on its behalf.
    CpuTime,
    /// From the generator to the sink.
    Latency50,
    Latency99,
    Latency999,
    /// CPU use without traffic.
    Idle,
    /// The highest rate at which nothing is lost.
    RateWithoutLoss,
    /// The highest rate at which no more than 0.1 % is lost.
    RateAtLoss,
    /// Lost frames after a pulled cable, as time.
    Outage,
}
