//! Seeded random graphs, inputs and weights, for tests that hold over all of them: every rule, and the whole pipeline,
//! preserves [`crate::eval`].
//!
//! ```
//! use bytec_ir::eval::{Rounding, eval};
//! use bytec_ir::sample;
//!
//! let graph = sample::graph(7);
//! let weights = sample::weights(&graph, 7);
//! let inputs = sample::inputs(&graph, &sample::bindings(&graph, 7), 7);
//! let outputs = eval(&graph, &inputs, &weights, Rounding::Exact)?;
//! assert_eq!(outputs.len(), graph.outputs().len());
//! # Ok::<(), bytec_ir::eval::EvalError>(())
//! ```
//!
//! A tensor depends on the seed, its name and its shape alone, so a graph and what a rule made of it get the same ones.

mod distance;
mod graph;
#[cfg(test)]
mod tests;
mod written_out;

use std::collections::BTreeMap;

pub use graph::graph;

use crate::dim::Bindings;
use crate::eval::{Data, Rounding, Tensor};
use crate::graph::{Graph, NodeId};
use crate::ids::input_limits;
use crate::types::DType;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence of a seed and a name.
    fn named(seed: u64, name: &str) -> Self {
        // FNV-1a keeps names apart.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(Self(seed ^ hash).bits())
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `n`, which is not 0. Near enough to uniform for tests.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number in -1..1 that is an f32.
    pub fn real(&mut self) -> f64 {
        let unit = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        Rounding::F32.round(2.0 * unit - 1.0)
    }
}

/// Sizes within the symbols' limits, small ones.
pub fn bindings(graph: &Graph, seed: u64) -> Bindings {
    graph
        .symbols()
        .iter()
        .map(|range| {
            let mut random = Random::named(seed, range.symbol.name());
            let choices = (range.max - range.min).min(11) as usize + 1;
            (range.symbol.clone(), range.min + random.below(choices) as u64)
        })
        .collect()
}

/// All inputs of a sample with these sizes, those with a default too. Floats are in -1..1; ids are rows of their tables.
///
/// # Panics
/// If the bindings do not give the inputs their sizes.
pub fn inputs(graph: &Graph, bindings: &Bindings, seed: u64) -> BTreeMap<String, Tensor> {
    let limits = input_limits(graph);
    let below = |id: NodeId| {
        let rows = limits.get(&id).and_then(|dim| dim.eval(bindings).ok());
        rows.map_or(1, |rows| rows as usize)
    };
    graph
        .inputs()
        .into_iter()
        .map(|id| (graph.name(id).to_owned(), tensor(graph, id, bindings, seed, 1.0, below(id))))
        .collect()
}

/// All weights, as f32 numbers of a size that keeps sums over the last axis near 1.
pub fn weights(graph: &Graph, seed: u64) -> BTreeMap<String, Tensor> {
    let tensors = graph.weights().into_iter().map(|id| {
        let shape = &graph.ty(id).shape;
        let summed =
            if shape.len() > 1 { shape.last().and_then(|dim| dim.as_fixed()) } else { None };
        let scale = (3.0 / summed.unwrap_or(3) as f64).sqrt();
        (graph.name(id).to_owned(), tensor(graph, id, &Bindings::new(), seed, scale, 1))
    });
    tensors.collect()
}

fn tensor(
    graph: &Graph,
    id: NodeId,
    bindings: &Bindings,
    seed: u64,
    scale: f64,
    below: usize,
) -> Tensor {
    let ty = graph.ty(id);
    let size = |dim: &crate::dim::Dim| dim.eval(bindings).expect("the bindings cover the graph");
    let shape: Vec<_> = ty.shape.iter().map(|dim| size(dim) as usize).collect();
    let count = shape.iter().product();
    let mut random = Random::named(seed, graph.name(id));
    let data = match ty.dtype {
        DType::I64 => Data::Int((0..count).map(|_| random.below(below) as i64).collect()),
        _ => Data::Float((0..count).map(|_| Rounding::F32.round(scale * random.real())).collect()),
    };
    Tensor { shape, data }
}
