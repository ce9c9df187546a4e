//! What the XDP programs and user space share: map layouts and slave selection.
//!
//! `no_std`, allocation-free and without aya, so that both halves compile the same lines.
#![no_std]

pub mod ether;
pub mod hash;
pub mod header;
pub mod layout;
#[cfg(not(target_arch = "bpf"))]
mod object;
pub mod select;

#[cfg(not(target_arch = "bpf"))]
pub use object::OBJECT;
