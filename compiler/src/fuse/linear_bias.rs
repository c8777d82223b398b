//! A bias added to a linear becomes the linear's own.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! weight @b: f32[16]
//! %dense: f32[L, 16] = linear(%x, @w) {epilogue = []}
//! %dense.add_bias: f32[L, 16] = binary(%dense, @b) {f = add}
//! output y = %dense.add_bias
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! weight @b: f32[16]
//! %dense: f32[L, 16] = linear(%x, @w, @b) {epilogue = []}
//! output y = %dense
//! ```
//!
//! It does not apply when the sum without the bias is needed as well, when the linear already has a bias or an epilogue,
//! or when the addend is not one vector of weights for all samples. The result takes the linear's name, not the sum's: it
//! is the layer of that name in the model.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::{binary, either_way, is_shared, linear, only_for, shown};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct LinearBias;

impl Rule for LinearBias {
    fn name(&self) -> &'static str {
        "linear_bias"
    }

    fn summary(&self) -> &'static str {
        "a bias added to a linear becomes the linear's own"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(pair) = binary(graph, at, BinaryFn::Add) else { return Outcome::NoMatch };
        let found = either_way(pair, |product, bias| {
            let layer = linear(graph, product)?;
            let width = graph.ty(product).shape.last()?;
            let vector = graph.ty(bias).shape == [width.clone()] && product != bias;
            (vector && layer.epilogue.is_empty()).then_some((product, layer, bias))
        });
        let Some((product, layer, bias)) = found else { return Outcome::NoMatch };
        if layer.bias.is_some() {
            return Outcome::Refused(format!("{} already has a bias", shown(graph, product)));
        }
        if !is_shared(graph, bias) {
            return Outcome::Refused(format!(
                "{} is computed for each sample, a bias must be made of weights",
                shown(graph, bias)
            ));
        }
        if let Err(reason) = only_for(graph, product, at) {
            return Outcome::Refused(reason);
        }
        let mut rewrite = Rewrite::new(graph);
        let op = Op::Linear { epilogue: Vec::new() };
        rewrite
            .op(graph.name(product), op, &[layer.x, layer.weight, bias])
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}
