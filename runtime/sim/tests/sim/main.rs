//! Tests of the simulator from outside: whole kernels, single instructions, every check, and bad text.

mod checks;
mod cluster;
mod cluster_mutants;
mod driver;
mod floats;
mod hopper;
mod instructions;
mod kernels;
mod malformed;
mod mbarrier;
mod mutants;
mod overlap;
mod products;
mod stores;
mod streams;
mod support;
mod transfer;
mod warp;
mod wgmma;
