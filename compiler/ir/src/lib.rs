//! The graph that bytec compiles.

pub mod attrs;
pub mod builder;
pub mod dim;
pub mod eval;
pub mod graph;
pub mod infer;
pub mod ops;
pub mod patch;
pub mod text;
pub mod types;
pub mod verify;
