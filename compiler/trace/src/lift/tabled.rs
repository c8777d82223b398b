//! Floats that the sizes alone decide and that are the same at every size: a table of the plan's own.
//!
//! Such a value has fixed extents, or one row for each place of the sample, which is the same row however long the sample
//! is. Recognised by the values at many sizes.

use std::collections::BTreeMap;

use bytec_ir::dim::Dim;
use bytec_ir::ops::Op as IrOp;

use super::lower::Lower;
use super::sizes::Program;
use super::view::View;
use crate::dims::{product, squeezed};
use crate::op::{Op, UnaryOp};
use crate::program::{Kind, ValueId};

/// The most elements of a table.
const MOST: u64 = 1 << 22;

/// The elements of a value at the largest size.
#[derive(Clone, Debug)]
pub(super) struct Tabled {
    /// The axis of the sample's places, if there is one.
    rows: Option<usize>,
    extents: Vec<u64>,
    values: Vec<f64>,
}

/// A function that a graph has none of, of what is known when the plan is written.
pub(super) fn is_due(program: &Program<'_>, value: ValueId) -> bool {
    use UnaryOp::{Ceil, Cos, Floor, Log, Round, Sign, Sin};
    let function =
        matches!(program.node(value).op, Op::Unary(Ceil | Cos | Floor | Log | Round | Sign | Sin));
    function && program.is_known(value)
}

/// The table that a value is, if it is one and tables are taken.
pub(super) fn recognise(program: &Program<'_>, value: ValueId) -> Option<Tabled> {
    let node = program.node(value);
    if !program.takes_tables() || node.ty.kind != Kind::Float {
        return None;
    }
    let shape = &node.ty.shape;
    let mut symbolic = (0..shape.len()).filter(|&axis| shape[axis].as_fixed().is_none());
    let (rows, None) = (symbolic.next(), symbolic.next()) else { return None };
    let is_length = |axis: usize| {
        let mut symbols = program.trace.symbols.iter();
        symbols.any(|range| shape[axis] == Dim::symbol(range.symbol.name()))
    };
    if rows.is_some_and(|axis| !is_length(axis)) {
        return None;
    }
    let largest = program.largest();
    if program.count(value, &largest).ok()? > MOST {
        return None;
    }
    let whole = program.at(&largest, value, BTreeMap::new()).ok()?;
    let values = whole.as_floats()?.to_vec();
    if values.is_empty() || !values.iter().all(|x| x.is_finite()) {
        return None;
    }
    // A value of fixed extents is one block of rows for all.
    let at = rows.unwrap_or(0);
    let inner: usize = whole.shape.iter().skip(at + usize::from(rows.is_some())).product();
    let count = rows.map_or(1, |axis| whole.shape[axis]);
    let mut same = true;
    let nothing = |_: &_| Ok(BTreeMap::new());
    let looked = program.at_sizes(&[value], nothing, |look, found| {
        let found_rows = rows.map_or(1, |axis| found[0].shape[axis]);
        let places = match rows {
            Some(_) => look.places(found_rows),
            None => vec![0],
        };
        let found = found[0].as_floats().ok_or("expected floats")?;
        for (i, row) in found.chunks(inner.max(1)).enumerate() {
            let place = (i / found_rows * count + places[i % found_rows]) * inner;
            let expected = values.get(place..place + inner);
            same &= expected.is_some_and(|expected| {
                expected.iter().zip(row).all(|(x, y)| x.to_bits() == y.to_bits())
            });
        }
        Ok(())
    });
    looked.ok()?;
    let extents = whole.shape.iter().map(|&extent| extent as u64).collect();
    same.then_some(Tabled { rows, extents, values })
}

/// The table, or its row for each place.
pub(super) fn lower(
    l: &mut Lower<'_, '_>,
    value: ValueId,
    found: &Tabled,
    name: &str,
) -> Result<View, String> {
    let shape = l.program.shape(value).to_vec();
    let Some(axis) = found.rows else {
        let id = l.table(&format!("{name}.table"), &found.extents, found.values.clone());
        return Ok(View::of(id, &shape));
    };
    let inner: usize = found.extents[axis + 1..].iter().product::<u64>() as usize;
    let (rows, outer) = (found.extents[axis] as usize, found.values.len() / inner.max(1));
    let outer = outer / rows.max(1);
    let mut values = Vec::with_capacity(found.values.len());
    for row in 0..rows {
        for block in 0..outer {
            let first = (block * rows + row) * inner;
            values.extend_from_slice(&found.values[first..first + inner]);
        }
    }
    let width = [rows as u64, (outer * inner) as u64];
    let table = l.table(&format!("{name}.table"), &width, values);
    let places = IrOp::Iota { extent: shape[axis].clone(), start: 0 };
    let places = l.op(&format!("{name}.places"), places, &[])?;
    let view = l.made(name, IrOp::Gather {}, &[table, places])?;
    // Places first, then the axes before them and behind.
    let mut order: Vec<usize> = vec![axis];
    order.extend((0..shape.len()).filter(|&other| other != axis));
    let moved: Vec<Dim> = order.iter().map(|&axis| shape[axis].clone()).collect();
    if product(&moved).is_none() {
        return Err("the table is too large".to_owned());
    }
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let view = l.reshaped(&view, &moved, name)?.transposed(&back);
    l.reshaped(&view, &squeezed(&shape), name)
}
