//! A root mean square normalisation written out becomes one.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @gamma: f32[8]
//! %squares: f32[L, 8] = binary(%x, %x) {f = mul}
//! %mean: f32[L] = reduce(%squares) {f = mean, axis = 1}
//! const %eps = 1e-6
//! %safe: f32[L] = binary(%mean, %eps) {f = add}
//! %root: f32[L] = unary(%safe) {f = rsqrt}
//! %factor: f32[L, 1] = reshape(%root) {shape = [L, 1]}
//! %normal: f32[L, 8] = binary(%x, %factor) {f = mul}
//! %y: f32[L, 8] = binary(@gamma, %normal) {f = mul}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @gamma: f32[8]
//! %y: f32[L, 8] = rms_norm(%x, @gamma) {eps = 1e-6}
//! output y = %y
//! ```
//!
//! The rule is applied at the quotient, or the product with the reciprocal root. Without a scale a vector of ones takes its
//! place. Rows that are centred first are a layer normalisation.
//!
//! It does not apply when the mean of the squares or the root is needed as well.

use bytec_ir::attrs::Real;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::Change;

use super::super::pattern::fixed;
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};
use super::rows::{Affine, OverRoot, affine, epsilon, filled, mean_square, over_root, private};

/// The rule of this file.
pub(in super::super) struct RmsNorm;

impl Rule for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn summary(&self) -> &'static str {
        "a root mean square normalisation written out becomes one"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(OverRoot { x, radicand, between }) = over_root(graph, at) else {
            return Outcome::NoMatch;
        };
        let Some((rows, eps, means)) = mean_square(graph, radicand) else {
            return Outcome::NoMatch;
        };
        if rows != x {
            return Outcome::NoMatch;
        }
        let chain: Vec<_> = between.into_iter().chain([radicand]).chain(means).collect();
        let width = graph.ty(x).shape.last().and_then(fixed);
        let checked = private(graph, at, &chain)
            .and_then(|()| epsilon(eps))
            .and_then(|eps| Ok((eps, width.ok_or("the width is not a number")?)));
        match checked {
            Ok((eps, width)) => build(graph, at, x, eps, width).into(),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

fn build(
    graph: &Graph,
    at: NodeId,
    x: NodeId,
    eps: Real,
    width: usize,
) -> Result<Change, InferError> {
    let Affine { gamma, result, .. } = affine(graph, at, false);
    let name = graph.name(result);
    let mut rewrite = Rewrite::new(graph);
    let gamma = match gamma {
        Some(gamma) => gamma,
        None => filled(&mut rewrite, &format!("{name}.no_scale"), 1.0, width)?,
    };
    let whole = rewrite.op(name, Op::RmsNorm { eps }, &[x, gamma])?;
    rewrite.replace(result, whole);
    Ok(rewrite.finish())
}
