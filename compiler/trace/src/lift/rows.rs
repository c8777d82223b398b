//! Rows of tables, and one row for all.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::dim::Dim;
use bytec_ir::ops::{Op as IrOp, OpKind};

use super::lower::{Lower, Lowered};
use super::ops;
use super::view::View;
use crate::dims::{product, squeezed, squeezed_axis};
use crate::op::{BinaryOp, Op};
use crate::program::ValueId;

/// A value that is one row of a table for every index, or a sum with one, or `None` for any other.
///
/// RoBERTa adds the only row of its table of segments to every token's. Added to the table of positions, when the plan is
/// written, it costs nothing.
pub(super) fn lower(l: &mut Lower<'_, '_>, value: ValueId) -> Result<Option<Lowered>, String> {
    let node = l.program.node(value);
    let name = l.name(value);
    match (&node.op, &node.operands[..]) {
        (Op::Index | Op::IndexSelect { axis: 0 }, &[table, ids]) => {
            let (Lowered::Number(row), [extent, width]) =
                (l.lowered(ids).clone(), l.program.shape(table))
            else {
                return Ok(None);
            };
            if squeezed(l.program.shape(ids)).is_empty() || l.program.origin(table).input {
                return Ok(None);
            }
            let row = index(row, extent)?;
            let view = l.view(table)?;
            let id = l.shaped(&view, &[extent.clone(), width.clone()], &name)?;
            let row = l.made(&name, IrOp::Select { axis: 0, index: row }, &[id])?;
            Ok(Some(Lowered::Row(row)))
        }
        (Op::Binary(BinaryOp::Add), &[a, b]) => {
            let (x, y) = (l.lowered(a).clone(), l.lowered(b).clone());
            match (x, y) {
                (Lowered::Row(r), Lowered::Row(t)) => {
                    Ok(Some(Lowered::Row(sum(l, &r, &t, &name)?)))
                }
                (Lowered::View(x), Lowered::Row(r)) | (Lowered::Row(r), Lowered::View(x)) => {
                    with_row(l, [value, a, b], x, r, &name).map(Some)
                }
                (Lowered::Plus(x, r), Lowered::Row(t)) | (Lowered::Row(t), Lowered::Plus(x, r)) => {
                    let row = sum(l, &r, &t, &name)?;
                    Ok(Some(Lowered::Plus(x, row)))
                }
                (Lowered::Plus(x, r), Lowered::View(y))
                | (Lowered::View(y), Lowered::Plus(x, r)) => {
                    let whole = squeezed(l.program.shape(value));
                    if y.shape() != whole || x.shape() != whole {
                        return Ok(None);
                    }
                    match taken_in(l, &y, &r, &name)? {
                        Some(y) => Ok(Some(Lowered::View(sum(l, &x, &y, &name)?))),
                        None => Ok(Some(Lowered::Plus(sum(l, &x, &y, &name)?, r))),
                    }
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn index(row: f64, extent: &Dim) -> Result<usize, String> {
    let rows = extent.as_fixed().ok_or("expected a table of fixed size")?;
    // Counted from the end, as PyTorch does.
    let row = if row < 0.0 { row + rows as f64 } else { row };
    match row >= 0.0 && row < rows as f64 {
        true => Ok(row as usize),
        false => Err(format!("row {row} is not in a table of {rows}")),
    }
}

fn sum(l: &mut Lower<'_, '_>, x: &View, y: &View, name: &str) -> Result<View, String> {
    let operands = [l.computed(x, name)?, l.computed(y, name)?];
    l.made(name, IrOp::Binary { f: BinaryFn::Add }, &operands)
}

/// `x` and a row, added at once if `x` is of a table of positions.
fn with_row(
    l: &mut Lower<'_, '_>,
    [value, a, b]: [ValueId; 3],
    x: View,
    row: View,
    name: &str,
) -> Result<Lowered, String> {
    // The sum is as wide as x, or nothing says how often the row is repeated.
    if x.shape() != squeezed(l.program.shape(value)) {
        let narrow = if l.program.shape(a) == l.program.shape(value) { b } else { a };
        return Err(format!("it repeats {} over rows", l.program.node(narrow).place()));
    }
    Ok(match taken_in(l, &x, &row, name)? {
        Some(x) => Lowered::View(x),
        None => Lowered::Plus(x, row),
    })
}

/// Rows looked up by position, with a row added to the table.
fn taken_in(
    l: &mut Lower<'_, '_>,
    x: &View,
    row: &View,
    name: &str,
) -> Result<Option<View>, String> {
    let kind = |l: &Lower<'_, '_>, id| l.graph().op(id).map(bytec_ir::Op::kind);
    let Some(id) = x.bare().filter(|&id| kind(l, id) == Some(OpKind::Gather)) else {
        return Ok(None);
    };
    let operands = l.graph().operands(id);
    if !matches!(kind(l, operands[1]), Some(OpKind::Iota | OpKind::Places)) {
        return Ok(None);
    }
    let row = l.computed(row, name)?;
    let add = IrOp::Binary { f: BinaryFn::Add };
    let table = l.op(&format!("{name}.table"), add, &[operands[0], row])?;
    let gathered = l.graph().name(id).to_owned();
    l.made(&gathered, IrOp::Gather {}, &[table, operands[1]]).map(Some)
}

/// Rows of a table, or some indices of an axis of anything.
pub(super) fn looked_up(
    l: &mut Lower<'_, '_>,
    x: ValueId,
    ids: ValueId,
    axis: usize,
    name: &str,
) -> Result<View, String> {
    let from = l.program.shape(x).to_vec();
    let extent = from.get(axis).cloned().ok_or("it has no such axis")?;
    let view = l.view(x)?;
    let others: Vec<_> =
        from.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, d)| d.clone()).collect();
    let width = product(&others).ok_or("the rows are too wide")?;
    let first = l.reshaped(&view, &from, name)?;
    let perm: Vec<_> = [axis].into_iter().chain((0..from.len()).filter(|a| *a != axis)).collect();
    let table = first.transposed(&perm);
    let ids_shape = squeezed(l.program.shape(ids));
    let found = match l.lowered(ids).clone() {
        Lowered::Number(row) => {
            if !ids_shape.is_empty() {
                let reason =
                    "it takes the same index all along an axis, which a graph does not repeat";
                return Err(reason.to_owned());
            }
            let row = Dim::from(index(row, &extent)?);
            return match squeezed_axis(&from, axis) {
                Some(at) => ops::pick(l, &view, at, &row, &extent, name),
                None => Ok(view),
            };
        }
        Lowered::Refused => return Err(String::new()),
        Lowered::Row(_) | Lowered::Plus(..) => {
            return Err("expected integers for indices".to_owned());
        }
        Lowered::View(ids) => {
            if l.program.origin(x).input {
                return Err(
                    "it looks up rows of the sample itself, in an order of its own".to_owned()
                );
            }
            let table = l.shaped(&table, &[extent, width], name)?;
            let ids = l.computed(&ids, name)?;
            l.made(name, IrOp::Gather {}, &[table, ids])?
        }
    };
    // Indices first, then the other axes; an axis that is not the first goes back to its place.
    let full: Vec<_> = ids_shape.iter().cloned().chain(others).collect();
    let found = l.reshaped(&found, &full, name)?;
    if axis == 0 {
        return Ok(found);
    }
    let count = ids_shape.len();
    let mut back: Vec<_> = (count..count + axis).collect();
    back.extend(0..count);
    back.extend(count + axis..full.len());
    Ok(found.transposed(&back))
}
