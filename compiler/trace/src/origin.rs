//! What the values of a trace come from.

use crate::op::Op;
use crate::program::Trace;

/// What a value is computed from, besides numbers and sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Elements that the caller brings.
    pub input: bool,
    /// Tensors of the checkpoint.
    pub weight: bool,
}

impl Origin {
    /// True of a value that the sizes alone decide: masks, positions, tables of distances.
    pub fn is_sizes_only(self) -> bool {
        self == Self::default()
    }
}

/// The origin of every value, in order.
pub fn origins(trace: &Trace) -> Vec<Origin> {
    let mut found: Vec<Origin> = Vec::new();
    for (_, node) in trace.nodes() {
        let mut own = Origin {
            input: matches!(node.op, Op::Input { .. }),
            weight: matches!(node.op, Op::Weight { .. }),
        };
        for operand in &node.operands {
            own.input |= found[operand.index()].input;
            own.weight |= found[operand.index()].weight;
        }
        found.push(own);
    }
    found
}
