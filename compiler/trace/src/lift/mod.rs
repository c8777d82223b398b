//! From a traced program to the graph of one sample.
//!
//! 1. What the caller promises is put in: masks that are all ones, and that padding ids do not occur where positions are
//!    counted from what is no padding (`assume`).
//! 2. The batch axis is proved to be one and erased ([`crate::batch`]).
//!    Parts of tables that begin where the sizes say move behind lookups (`windows`).
//! 3. From the outputs back, every value that is needed is given a plan (`plan`): an attention with all that leads to its
//!    scores, a rotation by positions, a share of rows, a number, consecutive integers or a table where the sizes alone decide,
//!    numbers that are looked up by id, a row that these choose, or its own op.
//! 4. The plans are carried out in order (`lower`). Axes of 1 are dropped, and reshapes and transposes are kept as views
//!    until an op needs the value, so that steps that undo one another leave nothing.
//!
//! What the sizes alone decide is evaluated at many sizes, up to the largest, and recognised by its values, never by the ops
//! that made it.

mod aligned;
mod assume;
mod attention;
mod by_id;
mod convolution;
mod distances;
mod lower;
mod mask;
mod ops;
mod picked;
mod plan;
mod probe;
mod rotary;
mod rows;
mod sampled;
mod scores;
mod share;
mod sizes;
mod tabled;
#[cfg(test)]
mod tests;
mod view;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::eval::Tensor;
use bytec_ir::graph::Graph;
use bytec_ir::verify::{VerifyError, verify};
use thiserror::Error;

use crate::batch::erase_batch;
use crate::program::{Trace, TraceError};
use crate::refusal::Refusals;

/// What the caller promises about the inputs, and what it holds besides the program.
#[derive(Clone, Debug, Default)]
pub struct LiftOptions {
    /// Inputs that are 1 everywhere, such as the mask of a batch without padding. They are not inputs of the graph.
    pub ones: BTreeSet<String>,
    /// Inputs that a sample may leave out, and the integer that every element is then.
    pub defaults: BTreeMap<String, i64>,
    /// Tensors of the checkpoint that no training changes, such as the frequencies of rotary positions: their elements may
    /// be looked at to say what the program does with them.
    pub known: BTreeMap<String, Tensor>,
    /// Whether the caller takes [`Lifted::tables`]; else what needs one is refused.
    pub tables: bool,
}

/// The graph of one sample.
#[derive(Clone, Debug)]
pub struct Lifted {
    /// It passes [`verify`].
    pub graph: Graph,
    /// What the graph takes for granted that the traced program did not, in words for the user.
    pub provisos: Vec<String>,
    /// Weights of the graph that no checkpoint holds, by name: floats that the sizes alone decide, or the ids' values.
    pub tables: BTreeMap<String, Tensor>,
}

/// A trace that can't become a graph.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LiftError {
    /// Nodes that stand in the way, all of them.
    #[error("{0}")]
    Refused(#[from] Refusals),
    /// A part of a table that could not be moved: a defect of this crate.
    #[error("a part of a table could not be moved behind its lookup: {0}")]
    Window(TraceError),
    /// The graph would break an invariant.
    #[error("the lifted graph does not verify:\n{0}")]
    Verify(#[from] VerifyError),
}

/// The graph of one sample of a traced program.
///
/// # Errors
/// Every node that mixes samples or that has no counterpart in the graph; or, if there is none, what the verifier finds.
pub fn lift(trace: &Trace, options: &LiftOptions) -> Result<Lifted, LiftError> {
    let (assumed, provisos) = assume::assume(trace, options);
    let sample = windows::moved(&erase_batch(&assumed)?).map_err(LiftError::Window)?;
    let program = sizes::Program::new(&sample, options);
    let plans = plan::plans(&program)?;
    let (graph, tables) = lower::lower(&program, &plans, options)?;
    verify(&graph)?;
    Ok(Lifted { graph, provisos, tables })
}
