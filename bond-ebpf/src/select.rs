//! Slave selection.
