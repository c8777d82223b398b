//! The runtime on programs made in memory.

mod batch;
mod encoder;
mod engine;
mod kernels;
mod linear;
mod programs;
