//! Tests of the simulator from outside: whole kernels, single instructions, every check, and bad text.

mod kernels;
mod support;
