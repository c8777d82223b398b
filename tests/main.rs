//! Tests that need more than one crate, in one binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archives;
mod bad_inputs;
mod benchmarks;
mod boundaries;
mod cli;
mod determinism;
mod gpu_run;
mod graph_format;
mod isolation;
mod measured;
mod numerics;
mod one_form;
mod parity;
mod random_graphs;
mod random_models;
mod readme;
mod reports;
mod sentence_folders;
mod sim_kernels;
mod sim_models;
mod sim_products;
mod tidy;
