//! A vector that multiplies a linear's columns becomes part of its weight and bias.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! weight @b: f32[16]
//! weight @lambda: f32[16]
//! %up: f32[L, 16] = linear(%x, @w, @b) {epilogue = []}
//! %scaled: f32[L, 16] = binary(%up, @lambda) {f = mul}
//! output y = %scaled
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! weight @b: f32[16]
//! weight @lambda: f32[16]
//! %up.scale: f32[16, 1] = reshape(@lambda) {shape = [16, 1]}
//! %up.weight: f32[16, 8] = binary(@w, %up.scale) {f = mul}
//! %up.bias: f32[16] = binary(@b, @lambda) {f = mul}
//! %up: f32[L, 16] = linear(%x, %up.weight, %up.bias) {epilogue = []}
//! output y = %up
//! ```
//!
//! It does not apply when the product before the scale is needed as well, when the linear has an epilogue, or when the
//! factor is not one vector of weights for all samples. The result takes the linear's name: it is the layer of that name
//! in the model.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::dim::Dim;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::Change;

use super::pattern::{Linear, binary, either_way, is_shared, linear, only_for, shown};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct LinearScale;

impl Rule for LinearScale {
    fn name(&self) -> &'static str {
        "linear_scale"
    }

    fn summary(&self) -> &'static str {
        "a vector that multiplies a linear's columns becomes part of its weight and bias"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(pair) = binary(graph, at, BinaryFn::Mul) else { return Outcome::NoMatch };
        let found = either_way(pair, |product, scale| {
            let layer = linear(graph, product)?;
            let width = graph.ty(product).shape.last()?;
            let vector = graph.ty(scale).shape == [width.clone()] && product != scale;
            (vector && layer.epilogue.is_empty()).then_some((product, layer, scale))
        });
        let Some((product, layer, scale)) = found else { return Outcome::NoMatch };
        for factor in [Some(layer.weight), layer.bias, Some(scale)].into_iter().flatten() {
            if !is_shared(graph, factor) {
                return Outcome::Refused(format!(
                    "{} is computed for each sample, expected one made of weights",
                    shown(graph, factor)
                ));
            }
        }
        if let Err(reason) = only_for(graph, product, at) {
            return Outcome::Refused(reason);
        }
        build(graph, at, product, &layer, scale).into()
    }
}

fn build(
    graph: &Graph,
    at: NodeId,
    product: NodeId,
    layer: &Linear<'_>,
    scale: NodeId,
) -> Result<Change, InferError> {
    let (mut rewrite, name) = (Rewrite::new(graph), graph.name(product));
    let scaled = Op::Binary { f: BinaryFn::Mul };
    let shape = vec![graph.ty(scale).shape[0].clone(), Dim::fixed(1)];
    let column = rewrite.op(&format!("{name}.scale"), Op::Reshape { shape }, &[scale])?;
    let weight = rewrite.op(&format!("{name}.weight"), scaled.clone(), &[layer.weight, column])?;
    let mut operands = vec![layer.x, weight];
    if let Some(bias) = layer.bias {
        operands.push(rewrite.op(&format!("{name}.bias"), scaled, &[bias, scale])?);
    }
    let whole = rewrite.op(name, Op::Linear { epilogue: Vec::new() }, &operands)?;
    rewrite.replace(at, whole);
    Ok(rewrite.finish())
}
