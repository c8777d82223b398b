//! Tiny models of every family.

use bytec_ir::Graph;
use bytec_models::tiny::{TinyCheckpoint, draw};
use bytec_models::{Config, Family, Request};

/// A random tiny checkpoint of a family: each seed takes the next of its architectures.
///
/// # Panics
/// If the family refuses it, which is a defect of the family or of the draw.
pub fn checkpoint(family: &Family, seed: u64) -> TinyCheckpoint {
    let architectures = (family.architectures)();
    let architecture = architectures[seed as usize % architectures.len()];
    let drawn = draw(family, architecture, seed).checkpoint();
    drawn.unwrap_or_else(|error| panic!("{architecture}, seed {seed}: {error}"))
}

/// The graph of that checkpoint, before any fusion.
///
/// # Panics
/// If the family refuses it, which is a defect of the family or of the draw.
pub fn graph(family: &Family, seed: u64) -> Graph {
    let tiny = checkpoint(family, seed);
    let fields = tiny.config.as_object().cloned().unwrap_or_default();
    let config = Config::new("config.json", fields);
    let described = tiny.describe("model.safetensors", "F32");
    let built = (family.build)(&config, &described, &Request::default());
    built.unwrap_or_else(|error| panic!("{}, seed {seed}: {error}", family.name)).graph
}
