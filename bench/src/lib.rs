//! The packet-rate benchmark: devices under test in namespaces of their own, measured in turns.
//!
//! ```text
//!   generator  h0 -> h1 [ device ] s0, s1 -> w0, w1  sink       host -> wire
//!   sink       h0 <- h1 [ device ] s0, s1 <- w0, w1  generator  wire -> host
//! ```
#![expect(missing_debug_implementations, reason = "aya's maps have none")]

pub mod device;
pub mod generator;
pub mod machine;
pub mod micro;
pub mod objects;
pub mod parts;
pub mod peers;
pub mod plan;
pub mod process;
pub mod profile;
pub mod report;
pub mod rig;
pub mod sink;
pub mod window;

/// The generator and the softirqs of the ends it sends to.
pub const GENERATOR_CPU: usize = 0;
/// The device under test, what it sends, and the softirqs of the sink.
pub const DEVICE_CPU: usize = 1;
/// The second thread of a device that takes two.
pub const SECOND_CPU: usize = 2;
