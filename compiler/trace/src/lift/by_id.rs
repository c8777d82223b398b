//! Numbers that each id of an input decides on its own: a table by id.
//!
//! `ids == mask` is 1 for one id and 0 for the others, wherever it stands. A graph computes no integers, so such a value is
//! found for every id there is and looked up. The ids there are, are the rows of the smallest table that they look up.

use std::collections::BTreeMap;

use bytec_ir::dim::Dim;
use bytec_ir::eval::{Data, Tensor};
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op as IrOp;

use super::lower::Lower;
use super::probe::sources;
use super::sizes::Program;
use super::view::View;
use crate::dims::squeezed;
use crate::eval::sizes;
use crate::op::Op;
use crate::program::{Kind, ValueId};

/// The most ids, and places of a sample.
const MOST: u64 = 1 << 20;

/// The most evaluations for all ids.
const MOST_RUNS: u64 = 1 << 14;

/// A value of each id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ById {
    /// The input.
    pub(super) ids: ValueId,
    /// The value of each id.
    pub(super) values: Vec<f64>,
}

/// What leaves each element where it is.
fn keeps_places(program: &Program<'_>, value: ValueId) -> bool {
    let node = program.node(value);
    match &node.op {
        Op::Cast | Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Reshape | Op::Expand => {
            let shape = squeezed(&node.ty.shape);
            node.operands.iter().all(|&x| match program.is_sizes_only(x) {
                true => program.uniform(x).is_some(),
                false => squeezed(program.shape(x)) == shape,
            })
        }
        _ => false,
    }
}

/// What the value is, if each id decides it alone and something is computed on the way.
pub(super) fn recognise(program: &Program<'_>, value: ValueId) -> Option<ById> {
    decided(program, value, false)
}

/// The ids themselves, as numbers.
pub(super) fn plain(program: &Program<'_>, value: ValueId) -> Option<ById> {
    decided(program, value, true)
}

fn decided(program: &Program<'_>, value: ValueId, plain: bool) -> Option<ById> {
    if !program.takes_tables() || program.is_sizes_only(value) {
        return None;
    }
    let shape = squeezed(program.shape(value));
    let [length] = &shape[..] else { return None };
    if length.as_fixed().is_some() {
        return None;
    }
    let through = |op: &Op| {
        matches!(op, Op::Cast | Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Reshape | Op::Expand)
    };
    let found = sources(program, value, |v| program.is_sizes_only(v), through);
    let is_input = |v: &ValueId| matches!(program.node(*v).op, Op::Input { .. });
    let ids = [value].into_iter().chain(found).find(is_input)?;
    let range = program.trace.symbols.iter().find(|range| {
        program.shape(ids) == [Dim::symbol(range.symbol.name())]
            && *length == Dim::symbol(range.symbol.name())
    })?;
    if program.node(ids).ty.kind != Kind::Int || computes(program, value, ids)? == plain {
        return None;
    }
    let count = rows(program, ids)?;
    let longest = range.max;
    if !(1..=MOST).contains(&longest) || count > MOST || count.div_ceil(longest) > MOST_RUNS {
        return None;
    }
    let bindings = program.largest();
    let [most] = sizes(program.shape(ids), &bindings).ok()?[..] else { return None };
    let mut values = Vec::new();
    for first in (0..count as i64).step_by(most) {
        let some = (0..most as i64).map(|i| (first + i).min(count as i64 - 1)).collect();
        let given = Tensor { shape: vec![most], data: Data::Int(some) };
        let found = program.at(&bindings, value, BTreeMap::from([(ids, given)])).ok()?;
        let wanted = most.min(count as usize - values.len());
        match &found.data {
            Data::Float(x) => values.extend_from_slice(x.get(..wanted)?),
            Data::Int(x) => values.extend(x.get(..wanted)?.iter().map(|&x| x as f64)),
        }
    }
    values.iter().all(|x| x.is_finite()).then_some(ById { ids, values })
}

/// Whether something is computed between the ids and the value; `None` if an element may move.
fn computes(program: &Program<'_>, value: ValueId, ids: ValueId) -> Option<bool> {
    let mut left = vec![value];
    let mut seen = std::collections::BTreeSet::new();
    let mut found = false;
    while let Some(at) = left.pop() {
        if at == ids || program.is_sizes_only(at) || !seen.insert(at) {
            continue;
        }
        if !keeps_places(program, at) {
            return None;
        }
        let node = program.node(at);
        found |= match &node.op {
            Op::Unary(_) | Op::Binary(_) | Op::Where => true,
            Op::Cast => program.node(node.operands[0]).ty.kind != node.ty.kind,
            _ => false,
        };
        left.extend(&node.operands);
    }
    Some(found)
}

/// How many rows the smallest table has that the ids look up.
fn rows(program: &Program<'_>, ids: ValueId) -> Option<u64> {
    let looked_up = program.nodes.iter().filter_map(|node| {
        let (Op::Index | Op::IndexSelect { axis: 0 }, &[table, by]) =
            (&node.op, &node.operands[..])
        else {
            return None;
        };
        (bare(program, by) == ids && !program.origin(table).input)
            .then(|| program.shape(table).first()?.as_fixed())?
    });
    looked_up.min()
}

/// The value before axes of 1 came or went and integers were widened.
pub(super) fn bare(program: &Program<'_>, mut value: ValueId) -> ValueId {
    loop {
        let node = program.node(value);
        match (&node.op, &node.operands[..]) {
            (Op::Reshape | Op::Expand, &[x])
                if squeezed(program.shape(x)) == squeezed(&node.ty.shape) =>
            {
                value = x;
            }
            (Op::Cast, &[x]) if program.node(x).ty.kind == node.ty.kind => value = x,
            _ => return value,
        }
    }
}

/// A table of one number for each id.
pub(super) fn column(l: &mut Lower<'_, '_>, values: Vec<f64>, name: &str) -> NodeId {
    let shape = [values.len() as u64, 1];
    l.table(&format!("{name}.by_id"), &shape, values)
}

/// The number of each of the sample's ids, `[rows, 1]`.
pub(super) fn looked_up(
    l: &mut Lower<'_, '_>,
    ids: ValueId,
    values: Vec<f64>,
    name: &str,
) -> Result<NodeId, String> {
    let table = column(l, values, name);
    let ids = l.view(ids)?;
    let ids = l.computed(&ids, name)?;
    l.op(name, IrOp::Gather {}, &[table, ids])
}

/// The value of each id, one for each place.
pub(super) fn lower(l: &mut Lower<'_, '_>, found: &ById, name: &str) -> Result<View, String> {
    let column = looked_up(l, found.ids, found.values.clone(), name)?;
    let length = l.program.shape(found.ids).to_vec();
    Ok(View::of(column, &[length[0].clone(), Dim::fixed(1)]))
}

/// Rows looked up by ids, those of some ids replaced by zeros.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// The rows.
    pub(super) x: ValueId,
    /// The ids and, for each, 1 if its row stays, else 0.
    pub(super) by: ById,
}

/// `where(condition of the id, 0, rows looked up by the id)`, or the other way round.
pub(super) fn kept(program: &Program<'_>, value: ValueId) -> Option<Kept> {
    let node = program.node(value);
    let (Op::Where, &[condition, a, b]) = (&node.op, &node.operands[..]) else { return None };
    let (x, stays) = match (program.uniform(a), program.uniform(b)) {
        (Some(0.0), _) => (b, 0.0),
        (_, Some(0.0)) => (a, 1.0),
        _ => return None,
    };
    if program.shape(x) != node.ty.shape {
        return None;
    }
    // The condition has one element for each row, whose axis is the last but one.
    let rank = node.ty.shape.len();
    let of = program.shape(condition);
    if of.len() != rank || of.last() != Some(&Dim::fixed(1)) {
        return None;
    }
    let mut by = recognise(program, condition)?;
    let rows = bare(program, x);
    let (Op::Index, &[table, ids]) = (&program.node(rows).op, &program.node(rows).operands[..])
    else {
        return None;
    };
    let of_ids = bare(program, ids) == by.ids && !program.origin(table).input;
    if !of_ids || program.shape(table).len() != 2 {
        return None;
    }
    by.values.iter_mut().for_each(|x| *x = f64::from(u8::from((*x != 0.0) == (stays != 0.0))));
    Some(Kept { x, by })
}

/// The rows of a table in which some rows are zeros.
pub(super) fn lower_kept(l: &mut Lower<'_, '_>, found: &Kept, name: &str) -> Result<View, String> {
    let rows = bare(l.program, found.x);
    let [table, _] = l.program.node(rows).operands[..] else {
        return Err("expected rows of a table".to_owned());
    };
    let extent = l.program.shape(table)[0].as_fixed();
    let extent = extent.ok_or("expected a table of fixed size")? as usize;
    let mut values = found.by.values.clone();
    // Ids are in every table that they look up, the smallest one too.
    values.resize(extent, 1.0);
    let column = column(l, values, name);
    let whole = l.view(table)?;
    let whole = l.computed(&whole, name)?;
    let multiply = IrOp::Binary { f: bytec_ir::attrs::BinaryFn::Mul };
    let table = l.op(&format!("{name}.table"), multiply, &[whole, column])?;
    let ids = l.view(found.by.ids)?;
    let ids = l.computed(&ids, name)?;
    l.made(name, IrOp::Gather {}, &[table, ids])
}
