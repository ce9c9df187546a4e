//! Benchmarks.

pub mod micro;
