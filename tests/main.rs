//! Tests that need more than one crate, in one binary.

mod boundaries;
mod tidy;
