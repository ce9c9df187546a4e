//! What the benchmark's programs and its user space share: the frames and the maps' layouts.
#![no_std]

pub mod frame;
pub mod layout;
#[cfg(not(target_arch = "bpf"))]
mod object;

#[cfg(not(target_arch = "bpf"))]
pub use object::OBJECT;
