//! The row of a sample at the first largest of numbers that its ids decide.
//!
//! CLIP gives out the row of the token that ends a text: the first `argmax` of the ids, or of `ids == end`. A graph computes
//! no places, so rows are chosen by products: a row counts 1 if no other has a larger number, or an equal one further ahead,
//! and 0 otherwise, and the sum of all rows times these is the row itself.
//!
//! The numbers only matter by their order. They are replaced by their ranks, written in digits of base 128, the places
//! counted from the end as the last digits; each digit's largest among the rows that are left leaves fewer. So every number
//! is a whole one of at most 128, which all element types hold exactly.

use bytec_ir::attrs::{BinaryFn, ReduceFn, UnaryFn};
use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op as IrOp;

use super::by_id::{self, ById, bare};
use super::lower::Lower;
use super::sizes::Program;
use super::view::View;
use crate::dims::{product, squeezed};
use crate::op::{Op, ReduceOp};
use crate::program::{Kind, ValueId};

/// What a digit is less than.
const BASE: u64 = 128;

/// A row and what it is chosen by.
#[derive(Clone, Debug)]
pub(super) struct Picked {
    /// The rows.
    pub(super) x: ValueId,
    /// The ids and, for each, its number's rank.
    pub(super) by: ById,
    /// How many ranks there are.
    ranks: u64,
    /// The most rows.
    most: u64,
}

/// The row that a value is, if it is chosen so: `x[0, argmax(numbers)]` of the one sample.
pub(super) fn recognise(program: &Program<'_>, value: ValueId) -> Option<Picked> {
    let node = program.node(value);
    let (Op::Index, &[x, first, place]) = (&node.op, &node.operands[..]) else { return None };
    let [one, length, ..] = program.shape(x) else { return None };
    if *one != Dim::fixed(1) || program.uniform(first) != Some(0.0) || node.ty.kind != Kind::Float {
        return None;
    }
    let range =
        program.trace.symbols.iter().find(|range| *length == Dim::symbol(range.symbol.name()))?;
    let place = program.node(bare(program, place));
    let (Op::Reduce { f: ReduceOp::ArgMax, axes, .. }, &[numbers]) =
        (&place.op, &place.operands[..])
    else {
        return None;
    };
    let reduced = axes.first().map(|&axis| &program.shape(numbers)[axis]);
    let of_rows = squeezed(program.shape(numbers)) == std::slice::from_ref(length)
        && reduced == Some(length)
        && squeezed(&place.ty.shape).is_empty();
    if !of_rows || !program.takes_tables() {
        return None;
    }
    let mut by = match by_id::recognise(program, numbers) {
        Some(by) => by,
        None => by_id::plain(program, numbers)?,
    };
    let mut order = by.values.clone();
    order.sort_by(f64::total_cmp);
    order.dedup();
    let rank = |x: &f64| order.partition_point(|other| other < x) as f64;
    by.values = by.values.iter().map(rank).collect();
    Some(Picked { x, by, ranks: order.len() as u64, most: range.max })
}

/// The digits of numbers less than `limit`, the first one first; none if there is one number only.
fn digits(numbers: &[f64], limit: u64) -> Vec<Vec<f64>> {
    let mut unit = 1;
    let mut found = Vec::new();
    while unit < limit {
        let digit = |&x: &f64| (x as u64 / unit % BASE) as f64;
        found.insert(0, numbers.iter().map(digit).collect());
        unit *= BASE;
    }
    found
}

pub(super) fn lower(
    l: &mut Lower<'_, '_>,
    found: &Picked,
    shape: &[Dim],
    name: &str,
) -> Result<View, String> {
    let from = l.program.shape(found.x).to_vec();
    let length = from[1].clone();
    let width = product(&from[2..]).ok_or("the rows are too wide")?;
    let columns = width.as_fixed().ok_or("expected rows of a fixed width")?;
    let part = |part: String| format!("{name}.{part}");
    let mut left: Option<NodeId> = None;
    for (i, digit) in digits(&found.by.values, found.ranks).into_iter().enumerate() {
        let numbers = by_id::looked_up(l, found.by.ids, digit, &part(format!("rank_{i}")))?;
        left = Some(largest(l, left, numbers, &part(format!("rank_{i}")))?);
    }
    let places: Vec<f64> = (0..found.most).rev().map(|place| place as f64).collect();
    for (i, digit) in digits(&places, found.most).into_iter().enumerate() {
        let of = part(format!("place_{i}"));
        let table = l.table(&format!("{of}.table"), &[found.most, 1], digit);
        let places = IrOp::Iota { extent: length.clone(), start: 0 };
        let places = l.op(&format!("{of}.places"), places, &[])?;
        let numbers = l.op(&of, IrOp::Gather {}, &[table, places])?;
        left = Some(largest(l, left, numbers, &of)?);
    }
    let view = l.view(found.x)?;
    let x = l.shaped(&view, &[length, width.clone()], name)?;
    let chosen = match left {
        Some(left) => {
            let ones = l.table(&part("ones".into()), &[columns, 1], vec![1.0; columns as usize]);
            let spread = IrOp::Linear { epilogue: Vec::new() };
            let spread = l.op(&part("spread".into()), spread, &[left, ones])?;
            let multiply = IrOp::Binary { f: BinaryFn::Mul };
            l.op(&part("chosen".into()), multiply, &[x, spread])?
        }
        None => x,
    };
    let sum = IrOp::Reduce { f: ReduceFn::Sum, axis: 0 };
    let row = l.made(name, sum, &[chosen])?;
    l.reshaped(&row, &squeezed(shape), name)
}

/// 1 for the rows that have the largest number among those that are left, 0 for the others: `[rows, 1]`.
fn largest(
    l: &mut Lower<'_, '_>,
    left: Option<NodeId>,
    numbers: NodeId,
    name: &str,
) -> Result<NodeId, String> {
    let one = l.number(&format!("{name}.one"), 1.0);
    let binary = |f| IrOp::Binary { f };
    let own = match left {
        Some(left) => {
            // Rows that are left have at least 1, the others 0.
            let more = l.op(&format!("{name}.more"), binary(BinaryFn::Add), &[numbers, one])?;
            l.op(&format!("{name}.left"), binary(BinaryFn::Mul), &[more, left])?
        }
        None => numbers,
    };
    let most = IrOp::Reduce { f: ReduceFn::Max, axis: 0 };
    let most = l.op(&format!("{name}.most"), most, &[own])?;
    let below = l.op(&format!("{name}.below"), binary(BinaryFn::Sub), &[own, most])?;
    let above = l.op(&format!("{name}.above"), binary(BinaryFn::Add), &[below, one])?;
    l.op(&format!("{name}.largest"), IrOp::Unary { f: UnaryFn::Relu }, &[above])
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn digits_are_small_and_keep_the_order() {
        assert!(digits(&[0.0], 1).is_empty());
        assert_eq!(digits(&[0.0, 1.0], 2), [[0.0, 1.0]]);
        let numbers: Vec<f64> = (0..50_000).map(f64::from).collect();
        let found = digits(&numbers, 50_000);
        assert_eq!(found.len(), 3);
        let whole = |i: usize| found.iter().fold(0.0, |whole, digit| whole * 128.0 + digit[i]);
        assert!((0..50_000).all(|i| whole(i) == i as f64));
        assert!(found.iter().flatten().all(|&digit| digit < 128.0));
    }
}
