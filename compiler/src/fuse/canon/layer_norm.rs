//! A layer normalisation written out becomes one.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @gamma: f32[8]
//! weight @beta: f32[8]
//! %sums: f32[L] = reduce(%x) {f = mean, axis = 1}
//! %mean: f32[L, 1] = reshape(%sums) {shape = [L, 1]}
//! %centred: f32[L, 8] = binary(%x, %mean) {f = sub}
//! %squares: f32[L, 8] = binary(%centred, %centred) {f = mul}
//! %variance: f32[L] = reduce(%squares) {f = mean, axis = 1}
//! const %eps = 1e-5
//! %safe: f32[L] = binary(%variance, %eps) {f = add}
//! %root: f32[L] = unary(%safe) {f = sqrt}
//! %deviation: f32[L, 1] = reshape(%root) {shape = [L, 1]}
//! %normal: f32[L, 8] = binary(%centred, %deviation) {f = div}
//! %scaled: f32[L, 8] = binary(%normal, @gamma) {f = mul}
//! %y: f32[L, 8] = binary(%scaled, @beta) {f = add}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @gamma: f32[8]
//! weight @beta: f32[8]
//! %y: f32[L, 8] = layer_norm(%x, @gamma, @beta) {eps = 1e-5}
//! output y = %y
//! ```
//!
//! The rule is applied at the quotient, or the product with the reciprocal root. Without a scale or a shift, vectors of ones
//! or zeros take their place.
//!
//! It does not apply when the centred rows, their variance or the root are needed as well.

use bytec_ir::attrs::{BinaryFn, Real, ReduceFn};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::Change;

use super::super::pattern::{binary, fixed, only_within};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};
use super::rows::{
    Affine, OverRoot, affine, epsilon, filled, filled_like, mean_square, over_root, private,
    reduced, spread,
};

/// The rule of this file.
pub(in super::super) struct LayerNorm;

impl Rule for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn summary(&self) -> &'static str {
        "a layer normalisation written out becomes one"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(OverRoot { x: centred, radicand, between }) = over_root(graph, at) else {
            return Outcome::NoMatch;
        };
        let Some((rows, eps, means)) = mean_square(graph, radicand) else {
            return Outcome::NoMatch;
        };
        if rows != centred {
            return Outcome::NoMatch;
        }
        let Some(x) = centred_rows(graph, centred) else { return Outcome::NoMatch };
        let chain: Vec<_> = between.into_iter().chain([radicand]).chain(means).collect();
        let width = graph.ty(x).shape.last().and_then(fixed);
        let checked = private(graph, at, &chain)
            .and_then(|()| only_within(graph, centred, &[at, means[1]]))
            .and_then(|()| epsilon(eps))
            .and_then(|eps| Ok((eps, width.ok_or("the width is not a number")?)));
        match checked {
            Ok((eps, width)) => build(graph, at, x, eps, width).into(),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// `x` of `x - mean(x)`.
fn centred_rows(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let [x, mean] = binary(graph, id, BinaryFn::Sub)?;
    let of_rows = spread(graph, mean, x)?;
    (reduced(graph, of_rows, ReduceFn::Mean)? == x).then_some(x)
}

fn build(
    graph: &Graph,
    at: NodeId,
    x: NodeId,
    eps: Real,
    width: usize,
) -> Result<Change, InferError> {
    let Affine { gamma, beta, result } = affine(graph, at, true);
    let name = graph.name(result);
    let mut rewrite = Rewrite::new(graph);
    let (scale, shift) = (format!("{name}.no_scale"), format!("{name}.no_bias"));
    let (gamma, beta) = match (gamma, beta) {
        (Some(gamma), Some(beta)) => (gamma, beta),
        (Some(gamma), None) => (gamma, filled_like(&mut rewrite, &shift, 0.0, gamma)?),
        (None, Some(beta)) => (filled_like(&mut rewrite, &scale, 1.0, beta)?, beta),
        (None, None) => {
            let ones = filled(&mut rewrite, &scale, 1.0, width)?;
            (ones, filled_like(&mut rewrite, &shift, 0.0, ones)?)
        }
    };
    let whole = rewrite.op(name, Op::LayerNorm { eps }, &[x, gamma, beta])?;
    rewrite.replace(result, whole);
    Ok(rewrite.finish())
}
