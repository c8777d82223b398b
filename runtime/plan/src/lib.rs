//! The plan file: what the compiler writes and the runtime reads.

pub mod extent;
pub mod kernel;
pub mod manifest;
pub mod program;
