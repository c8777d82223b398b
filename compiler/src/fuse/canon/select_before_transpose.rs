//! One element of an axis is picked before axes change places, not after.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 2, 8]
//! %parts: f32[2, L, 8] = transpose(%x) {perm = [1, 0, 2]}
//! %k: f32[L, 8] = select(%parts) {axis = 0, index = 0}
//! output y = %k
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 2, 8]
//! %k: f32[L, 8] = select(%x) {axis = 1, index = 0}
//! output y = %k
//! ```
//!
//! Then it is columns of a row, which kernels read where they lie. Keys and values that one linear makes are told apart
//! this way by `torch.nn.MultiheadAttention`.
//! Axes that are left in another order are turned after the pick. The rule is not applied to weights.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::Change;

use super::super::pattern::{is_shared, transpose};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct SelectBeforeTranspose;

impl Rule for SelectBeforeTranspose {
    fn name(&self) -> &'static str {
        "select_before_transpose"
    }

    fn summary(&self) -> &'static str {
        "one element of an axis is picked before axes change places"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(&Op::Select { axis, index }) = graph.op(at) else { return Outcome::NoMatch };
        match transpose(graph, graph.operands(at)[0]) {
            Some((perm, x)) if !is_shared(graph, x) => {
                build(graph, at, x, perm, (axis, index)).into()
            }
            _ => Outcome::NoMatch,
        }
    }
}

fn build(
    graph: &Graph,
    at: NodeId,
    x: NodeId,
    perm: &[usize],
    (axis, index): (usize, usize),
) -> Result<Change, InferError> {
    let name = graph.name(at);
    let picked = perm[axis];
    let rest = perm.iter().filter(|&&from| from != picked);
    let rest: Vec<usize> = rest.map(|&from| from - usize::from(from > picked)).collect();
    let mut rewrite = Rewrite::new(graph);
    let select = Op::Select { axis: picked, index };
    let result = if rest.is_sorted() {
        rewrite.op(name, select, &[x])?
    } else {
        let part = rewrite.op(&format!("{name}.picked"), select, &[x])?;
        rewrite.op(name, Op::Transpose { perm: rest }, &[part])?
    };
    rewrite.replace(at, result);
    Ok(rewrite.finish())
}
