//! The runtime on programs made in memory.

mod batch;
mod device;
mod distance;
mod encoder;
mod engine;
mod graphs;
mod kernels;
mod linear;
mod linear_int8;
mod linear_layer_norm;
mod moves;
mod observed;
mod on_device;
mod programs;
mod recorder;
