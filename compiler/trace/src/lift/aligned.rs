//! Operands of arithmetic, with the extents and in the order in which a graph repeats them.
//!
//! Rows come first in a graph: a value is as many rows as the sample has, each of one width. Where heads come before the rows
//! and an operand is the same for all heads, the arithmetic is done with the rows first.

use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op as IrOp;

use super::lower::{Lower, Lowered};
use super::plan::unexpanded;
use super::view::View;
use crate::program::ValueId;

/// The most copies side by side.
const MOST: u64 = 256;

/// The result of arithmetic, without axes of 1, and the order that its axes are computed in.
#[derive(Debug)]
pub(super) struct Frame {
    shape: Vec<Dim>,
    axes: Vec<Dim>,
    order: Vec<usize>,
}

impl Frame {
    /// Of a result of this shape with these operands.
    pub(super) fn new(l: &Lower<'_, '_>, shape: &[Dim], xs: &[ValueId]) -> Self {
        let one = Dim::fixed(1);
        let axes: Vec<Dim> = shape.iter().filter(|dim| **dim != one).cloned().collect();
        let mut frame = Self { shape: shape.to_vec(), order: (0..axes.len()).collect(), axes };
        let Some(rows) = frame.rows().filter(|&rows| rows > 0) else { return frame };
        let last = frame.axes.len() - 1;
        // The rules of a graph know what is repeated along the last axis only, or along all others.
        let repeated = xs.iter().any(|&x| {
            let Ok(own) = frame.wanted(l, unexpanded(l.program, x)) else { return false };
            let of_many = (0..last).any(|axis| own[axis] != one);
            let seen = !matches!(l.lowered(x), Lowered::Number(_));
            seen && of_many && (0..last).any(|axis| own[axis] != frame.axes[axis])
        });
        if repeated {
            frame.order.retain(|&axis| axis != rows);
            frame.order.insert(0, rows);
        }
        frame
    }

    /// The only axis that depends on the sample.
    fn rows(&self) -> Option<usize> {
        let mut symbolic =
            (0..self.axes.len()).filter(|&axis| self.axes[axis].as_fixed().is_none());
        match (symbolic.next(), symbolic.next()) {
            (found, None) => found,
            _ => None,
        }
    }

    /// An operand's extents along the axes, 1 where it is repeated.
    fn wanted(&self, l: &Lower<'_, '_>, x: ValueId) -> Result<Vec<Dim>, String> {
        let one = Dim::fixed(1);
        let own = l.program.shape(x);
        let ahead = self.shape.len().saturating_sub(own.len());
        let mut wanted = Vec::new();
        for (axis, dim) in self.shape.iter().enumerate().filter(|(_, dim)| **dim != one) {
            let extent = axis.checked_sub(ahead).map_or(&one, |own_axis| &own[own_axis]);
            if *extent != one && extent != dim {
                return Err(format!("an axis of {extent} is repeated to {dim}"));
            }
            wanted.push(extent.clone());
        }
        Ok(wanted)
    }

    /// An operand, with axes of 1 where it is repeated; leading ones are missing.
    pub(super) fn operand(
        &self,
        l: &mut Lower<'_, '_>,
        x: ValueId,
        name: &str,
    ) -> Result<NodeId, String> {
        let one = Dim::fixed(1);
        let x = unexpanded(l.program, x);
        let view = l.view(x)?;
        let wanted = self.wanted(l, x)?;
        let rows = self.rows();
        if let Some(spread) = self.spread(l, x, name)? {
            return Ok(spread);
        }
        let mut view = l.reshaped(&view, &wanted, name)?.transposed(&self.order);
        let mut shape: Vec<Dim> = self.order.iter().map(|&axis| wanted[axis].clone()).collect();
        // What has rows of its own is only repeated over whole rows: others are copies side by side.
        let has_rows = rows.is_some_and(|rows| self.order[0] == rows && wanted[rows] != one);
        for (at, &axis) in self.order.iter().enumerate() {
            let (inner, times) = (at > 0 && at + 1 < self.order.len(), self.axes[axis].as_fixed());
            if has_rows
                && inner
                && shape[at] == one
                && self.axes[axis] != one
                && let Some(times) = times.filter(|&times| times <= MOST)
            {
                let id = l.shaped(&view, &shape, name)?;
                shape[at] = Dim::fixed(times);
                let copies = vec![id; times as usize];
                view = l.made(&format!("{name}.copies"), IrOp::Concat { axis: at }, &copies)?;
            }
        }
        let leading = shape.iter().take_while(|dim| **dim == one).count();
        l.shaped(&view, &shape[leading..], name)
    }

    /// One number of the sample for every element of its rows: as wide as they are.
    fn spread(
        &self,
        l: &mut Lower<'_, '_>,
        x: ValueId,
        name: &str,
    ) -> Result<Option<NodeId>, String> {
        let one = Dim::fixed(1);
        let alone = l.program.shape(x).iter().all(|dim| *dim == one);
        if !alone || !l.program.origin(x).input || !l.program.takes_tables() {
            return Ok(None);
        }
        let (Some(0), [_, rest @ ..]) = (self.rows(), &self.axes[..]) else { return Ok(None) };
        let width = rest.iter().try_fold(1u64, |width, dim| width.checked_mul(dim.as_fixed()?));
        let Some(width) = width.filter(|&width| width > 1 && width <= 1 << 20) else {
            return Ok(None);
        };
        let view = l.view(x)?;
        let number = l.shaped(&view, &[one.clone(), one], name)?;
        let ones = l.table(&format!("{name}.ones"), &[width, 1], vec![1.0; width as usize]);
        let spread = IrOp::Linear { epilogue: Vec::new() };
        let spread = l.made(&format!("{name}.spread"), spread, &[number, ones])?;
        l.shaped(&spread, rest, name).map(Some)
    }

    /// What was computed of such operands, with its own axes in their order; `None` if it lacks one.
    pub(super) fn result(&self, out: &View) -> Option<View> {
        let computed = self.order.iter().map(|&axis| &self.axes[axis]);
        if !out.shape().iter().eq(computed) {
            return None;
        }
        let mut back = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        Some(out.transposed(&back))
    }
}
