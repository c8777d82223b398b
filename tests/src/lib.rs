//! What the workspace's tests share: where things are, golden data and its error bound, plans made for a test,
//! batches run and compared.

pub mod archives;
pub mod batches;
pub mod families;
pub mod figures;
pub mod golden;
pub mod interpreter;
pub mod minilm;
pub mod nvrtc;
pub mod plans;
pub mod program;
pub mod tensors;
pub mod tokenizer;

use std::path::PathBuf;

/// The root of the workspace.
pub fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map(PathBuf::from).unwrap_or(tests)
}
