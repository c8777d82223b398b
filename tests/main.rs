//! Tests that need more than one crate, in one binary.

mod bad_inputs;
mod boundaries;
mod cli;
mod determinism;
mod isolation;
mod parity;
mod random_graphs;
mod readme;
mod reports;
mod tidy;
