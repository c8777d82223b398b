//! The front end: sources that load, results against the reference, and every way in which a source can be wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_configs;
mod bad_weights;
mod dense;
mod folder;
mod golden;
mod graphs;
mod heads;
mod lift;
mod loading;
mod pt2;
mod sentence;
