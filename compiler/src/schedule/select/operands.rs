//! What a step reads: rows of buffers and inputs, weights in the layout of their kernel.

use bytec_ir::NodeId;
use bytec_plan::extent::Rows;
use bytec_plan::kernel::Broadcast;
use bytec_plan::program::{Layout, Operand};

use super::Selector;
use crate::fuse::pack::Placement;
use crate::schedule::shapes::Matrix;
use crate::schedule::{Content, WeightUse};

impl Selector<'_> {
    /// A value as rows to read, with its width; it must have these rows and, if given, this width.
    pub(super) fn rows_of(
        &mut self,
        id: NodeId,
        rows: Rows,
        width: Option<u64>,
    ) -> Result<(Operand, u64), String> {
        let graph = &self.packed.graph;
        if *self.placement(id) == Placement::Shared {
            return Err(format!("%{} is a weight where rows are read", graph.name(id)));
        }
        let matrix = self.matrix(id)?;
        if matrix.rows != rows || width.is_some_and(|width| width != matrix.width) {
            return Err(format!(
                "%{} ({}) does not have the rows that are read",
                graph.name(id),
                graph.ty(id)
            ));
        }
        if let Some(&index) = self.input_index.get(&id) {
            return Ok((Operand::Input(index), matrix.width));
        }
        let view = self
            .values
            .get(&id)
            .ok_or_else(|| format!("%{} has no kernel itself", graph.name(id)))?;
        Ok((Operand::View(*view), matrix.width))
    }

    pub(super) fn weight(&mut self, id: NodeId, layout: Layout) -> Result<Operand, String> {
        if *self.placement(id) != Placement::Shared {
            let name = self.packed.graph.name(id);
            return Err(format!("%{name} depends on the sample where a weight is read"));
        }
        let shape = &self.packed.graph.ty(id).shape;
        let shape = shape.iter().filter_map(|dim| dim.as_fixed()).collect();
        Ok(self.weight_use(WeightUse { content: Content::Value(id), shape, layout }))
    }

    /// A weight, which equal ones share.
    pub(super) fn weight_use(&mut self, wanted: WeightUse) -> Operand {
        let index = self.weights.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            self.weights.push(wanted);
            self.weights.len() - 1
        });
        Operand::Weight(index as u32)
    }

    pub(super) fn broadcast(
        &mut self,
        xs: &[NodeId],
        out: Matrix,
    ) -> Result<(Vec<Operand>, Vec<Broadcast>), String> {
        let mut operands = Vec::new();
        let mut broadcasts = Vec::new();
        for &x in xs {
            let graph = &self.packed.graph;
            let matrix = self.matrix(x)?;
            let shared = *self.placement(x) == Placement::Shared;
            let broadcast = match (shared, matrix.width == out.width, matrix.rows == out.rows) {
                (true, _, _) if matrix.width == 1 => Broadcast::Scalar,
                (true, true, _) => Broadcast::Row,
                (true, false, _) if self.by_place(matrix.width, out) => Broadcast::Place,
                (false, true, true) => Broadcast::Full,
                (false, true, false) if matrix.rows == Rows::PerSample => Broadcast::Sample,
                _ => {
                    return Err(format!(
                        "%{} ({}) does not repeat over whole rows of {}",
                        graph.name(x),
                        graph.ty(x),
                        out.width
                    ));
                }
            };
            operands.push(if shared {
                self.weight(x, Layout::RowMajor)?
            } else {
                self.rows_of(x, matrix.rows, None)?.0
            });
            broadcasts.push(broadcast);
        }
        Ok((operands, broadcasts))
    }

    /// Whether so many elements are a row for each place in a sample, of which all have as many.
    fn by_place(&self, elements: u64, out: Matrix) -> bool {
        let rows = self.extents.fixed(out.rows).filter(|rows| *rows > 1);
        rows.and_then(|rows| rows.checked_mul(out.width)) == Some(elements)
    }
}
