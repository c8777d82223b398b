//! Tests that need more than one crate, in one binary.

mod boundaries;
mod determinism;
mod isolation;
mod parity;
mod tidy;
