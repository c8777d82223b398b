//! Which ops treat rows alone or by segment, and why the others can't run on a batch.

use std::collections::BTreeMap;

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;
use bytec_ir::types::TensorType;

use super::{Placement, extent, is_fixed, row_axes};

/// One op under examination.
struct Site<'a> {
    graph: &'a Graph,
    operands: &'a [NodeId],
    placement: &'a BTreeMap<NodeId, Placement>,
}

/// The op treats every row alone, or knows where samples begin and end. The error says what it would mix.
pub(super) fn check(
    graph: &Graph,
    op: &Op,
    id: NodeId,
    operands: &[NodeId],
    placement: &BTreeMap<NodeId, Placement>,
) -> Result<(), String> {
    let site = Site { graph, operands, placement };
    match op {
        Op::Iota { .. } | Op::Unary { .. } | Op::Binary { .. } | Op::Pointwise { .. } => Ok(()),
        Op::Attention { .. } => (3..operands.len()).try_for_each(|i| site.shared(i, "table")),
        Op::Places { .. } | Op::Rotary { .. } | Op::Unfold { .. } => site.counts_rows(0),
        Op::Gather {} => site.shared(0, "table"),
        Op::Linear { .. } => {
            site.shared(1, "weight")?;
            if operands.len() > 2 {
                site.shared(2, "bias")?;
            }
            Ok(())
        }
        Op::MatMul {} => {
            let ty = site.ty(1);
            match ty.shape[ty.rank() - 2].as_fixed() {
                Some(_) => Ok(()),
                None => Err(format!("it sums over the rows of {ty}")),
            }
        }
        Op::Softmax {}
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. }
        | Op::L2Normalize { .. }
        | Op::AddLayerNorm { .. } => site.fixed_last_axis(),
        Op::EmbedLayerNorm { .. } => {
            (2..operands.len()).step_by(2).try_for_each(|i| site.shared(i, "table"))
        }
        Op::Pool { .. } => site.over_rows(0, "pools"),
        Op::Reduce { axis, .. } => site.over_rows(*axis, "reduces"),
        Op::Select { axis, .. } => site.over_rows(*axis, "selects from"),
        Op::Slice { .. } => Ok(()),
        Op::Concat { axis } => match row_axes(graph.ty(id)) {
            rows if *axis < rows && rows > 1 => Err(format!(
                "it joins values along axis {axis}, one of {rows} that make up the rows"
            )),
            _ => Ok(()),
        },
        Op::Reshape { .. } => {
            let (from, to) = (site.ty(0), graph.ty(id));
            match extent(from) == extent(to) || is_fixed(from) && is_fixed(to) {
                true => Ok(()),
                false => Err(format!("it makes {} rows of {} rows", extent(to), extent(from))),
            }
        }
        Op::Transpose { perm } => {
            let moved = (0..row_axes(site.ty(0))).find(|&axis| perm[axis] != axis);
            match moved.filter(|_| !is_fixed(site.ty(0))) {
                Some(axis) => Err(format!("it moves axis {axis}, the rows of {}", site.ty(0))),
                None => Ok(()),
            }
        }
    }
}

impl Site<'_> {
    fn ty(&self, operand: usize) -> &TensorType {
        self.graph.ty(self.operands[operand])
    }

    /// The operand is the same for every sample.
    fn shared(&self, operand: usize, role: &str) -> Result<(), String> {
        let id = self.operands[operand];
        if self.placement.get(&id) == Some(&Placement::Shared) {
            return Ok(());
        }
        Err(format!(
            "its {role} %{} is computed for each sample, expected one made of weights",
            self.graph.name(id)
        ))
    }

    /// The operand is packed rows: one row for each sample is not told from the rows of one.
    fn counts_rows(&self, operand: usize) -> Result<(), String> {
        let ty = self.ty(operand);
        match row_axes(ty) {
            0 => Err(format!("{ty} has one row in every sample, expected a symbol or several")),
            _ => Ok(()),
        }
    }

    /// The last axis of the first operand is a number.
    fn fixed_last_axis(&self) -> Result<(), String> {
        match self.ty(0).shape.last().and_then(|dim| dim.as_fixed()) {
            Some(_) => Ok(()),
            None => Err(format!("it normalises over the rows of {}", self.ty(0))),
        }
    }

    /// `axis` of the first operand lies within a row, or is all that makes up the rows.
    fn over_rows(&self, axis: usize, verb: &str) -> Result<(), String> {
        let rows = row_axes(self.ty(0));
        if axis >= rows || rows == 1 {
            return Ok(());
        }
        Err(format!("it {verb} axis {axis}, one of {rows} that make up the rows of {}", self.ty(0)))
    }
}
