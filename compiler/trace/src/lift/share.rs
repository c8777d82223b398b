//! A sum over the rows of a sample divided by a number that the sizes decide: how many rows there are, or its root.
//!
//! Pooling is written so where padding was masked: the sum of the mask is the number of rows, with or without a smallest
//! number that it is kept above.

use std::collections::BTreeMap;

use bytec_ir::attrs::{PoolKind, ReduceFn};
use bytec_ir::dim::Dim;
use bytec_ir::eval::Data;
use bytec_ir::ops::Op as IrOp;

use super::by_id::{self, ById};
use super::lower::Lower;
use super::ops;
use super::sizes::Program;
use super::view::View;
use crate::dims::{product, squeezed, squeezed_axis};
use crate::op::{BinaryOp, Op, ReduceOp};
use crate::program::{Kind, ValueId};

/// A sum and what it is divided by.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// What is summed.
    x: ValueId,
    /// What each id adds, if that is all.
    by_id: Option<ById>,
    axes: Vec<usize>,
    root: bool,
}

impl Share {
    /// The value that it is computed from.
    pub(super) fn source(&self) -> ValueId {
        self.by_id.as_ref().map_or(self.x, |found| found.ids)
    }
}

/// The share that a value is, if it is one. A fixed number of rows is left to the graph's rules.
pub(super) fn recognise(program: &Program<'_>, value: ValueId) -> Option<Share> {
    let node = program.node(value);
    let (Op::Binary(BinaryOp::Div), &[dividend, divisor]) = (&node.op, &node.operands[..]) else {
        return None;
    };
    let shape = squeezed(&node.ty.shape);
    if node.ty.kind != Kind::Float
        || !program.is_sizes_only(divisor)
        || program.uniform(divisor).is_some()
        || squeezed(program.shape(dividend)) != shape
    {
        return None;
    }
    let mut sum = program.node(dividend);
    while let (Op::Reshape | Op::Cast, &[x]) = (&sum.op, &sum.operands[..])
        && program.node(x).ty.kind != Kind::Bool
        && squeezed(program.shape(x)) == shape
    {
        sum = program.node(x);
    }
    let (Op::Reduce { f: ReduceOp::Sum, axes, .. }, &[x]) = (&sum.op, &sum.operands[..]) else {
        return None;
    };
    let extents: Vec<Dim> = axes.iter().map(|&axis| program.shape(x)[axis].clone()).collect();
    let count = product(&extents).filter(|count| count.as_fixed().is_none())?;
    let (mut whole, mut root) = (true, true);
    let nothing = |_: &_| Ok(BTreeMap::new());
    let looked = program.at_sizes(&[divisor], nothing, |look, found| {
        let count = count.eval(&look.bindings).map_err(|error| error.to_string())? as f64;
        let all = |number: f64| match &found[0].data {
            // A root may have been rounded to f32.
            Data::Float(values) => values.iter().all(|x| (x - number).abs() <= 1e-7 * number),
            Data::Int(values) => values.iter().all(|&x| x as f64 == number),
        };
        whole &= all(count);
        root &= all(count.sqrt());
        Ok(())
    });
    looked.ok()?;
    if !(whole || root) {
        return None;
    }
    // Integers are only summed where each is a number of an id.
    let by_id = match program.node(x).ty.kind {
        Kind::Float => None,
        _ if whole => Some(by_id::recognise(program, x)?),
        _ => return None,
    };
    Some(Share { x, by_id, axes: axes.clone(), root: !whole })
}

pub(super) fn lower(
    l: &mut Lower<'_, '_>,
    Share { x, by_id, axes, root }: &Share,
    name: &str,
) -> Result<View, String> {
    if let Some(found) = by_id {
        let numbers = by_id::looked_up(l, found.ids, found.values.clone(), &format!("{name}.of"))?;
        return l.made(name, IrOp::Reduce { f: ReduceFn::Mean, axis: 0 }, &[numbers]);
    }
    if !root {
        return ops::reduce(l, ReduceOp::Mean, axes, *x, name);
    }
    let from = l.program.shape(*x).to_vec();
    let rows: Vec<_> = axes.iter().filter_map(|&axis| squeezed_axis(&from, axis)).collect();
    let view = l.view(*x)?;
    if rows != [0] || view.shape().len() != 2 {
        return Err(
            "expected rows of one width for a sum divided by the root of their number".to_owned()
        );
    }
    let id = l.computed(&view, name)?;
    l.made(name, IrOp::Pool { kind: PoolKind::MeanSqrtLen, normalize: None }, &[id])
}
