//! Rotary positions, recognised by what they do to numbers.

use std::collections::BTreeMap;

use bytec_ir::attention::{Pairs, Rotary};
use bytec_ir::attrs::Real;
use bytec_ir::dim::Bindings;
use bytec_ir::eval::{Data, Tensor};
use bytec_ir::sample::Random;

use super::probe::sources;
use super::sizes::Program;
use crate::eval::sizes;
use crate::op::{BinaryOp, Op, UnaryOp};
use crate::program::{Kind, ValueId};

/// A rotation of a value `[.., rows, .., head size]` by its rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rotation {
    pub(super) x: ValueId,
    /// Which axis the rows are.
    pub(super) rows: usize,
    pub(super) by: Rotary,
}

/// What rotations are written with.
fn linear(op: &Op) -> bool {
    matches!(
        op,
        Op::Rope { .. }
            | Op::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul)
            | Op::Unary(UnaryOp::Neg)
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Select { .. }
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Expand
            | Op::Cast
    )
}

/// The rotation that a value is the result of, if it is one.
///
/// # Errors
/// If it is a named rotation by other angles than positions times powers of a base.
pub(super) fn recognise(program: &Program<'_>, value: ValueId) -> Result<Option<Rotation>, String> {
    let node = program.node(value);
    let named = matches!(node.op, Op::Rope { .. });
    let ends = match (&node.op, &node.operands[..]) {
        (Op::Rope { .. } | Op::Concat { .. }, _) => true,
        (Op::Binary(BinaryOp::Add | BinaryOp::Sub), _) => true,
        (Op::Reshape, &[x]) => matches!(program.node(x).op, Op::Concat { .. }),
        _ => false,
    };
    if !ends || node.ty.kind != Kind::Float || !program.origin(value).input {
        return Ok(None);
    }
    let shape = program.shape(value);
    let mut reason = "its tables are no angles of positions".to_owned();
    for x in sources(program, value, |v| program.is_known(v), linear) {
        if program.shape(x) != shape || !turns(program, value, x) {
            continue;
        }
        for rows in 0..shape.len().saturating_sub(1) {
            match at(program, value, x, rows) {
                Ok(by) => return Ok(Some(Rotation { x, rows, by })),
                Err(found) => reason = found,
            }
        }
        break;
    }
    if named { Err(format!("it is no rotation by positions: {reason}")) } else { Ok(None) }
}

/// Whether tables that are not the same everywhere are between a value and its source.
fn turns(program: &Program<'_>, value: ValueId, x: ValueId) -> bool {
    let mut left = vec![value];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(at) = left.pop() {
        if at == x || !seen.insert(at) {
            continue;
        }
        if program.is_known(at) {
            if program.node(at).ty.kind == Kind::Float && program.uniform(at).is_none() {
                return true;
            }
            continue;
        }
        left.extend(&program.node(at).operands);
    }
    false
}

/// The rotation by axis `rows`, checked at many sizes.
fn at(program: &Program<'_>, value: ValueId, x: ValueId, rows: usize) -> Result<Rotary, String> {
    let mut found: Option<Vec<Rotary>> = None;
    let run = |bindings: &Bindings, fill: &dyn Fn(usize) -> f64| {
        let shape = sizes(program.shape(x), bindings)?;
        let count = shape.iter().product();
        Ok::<_, String>(Tensor { shape, data: Data::Float((0..count).map(fill).collect()) })
    };
    // The first columns of row 1 show what is paired with what, and how fast the first two pairs turn.
    let width = program.shape(x).last().and_then(|dim| dim.as_fixed()).ok_or("no head size")?;
    let width = usize::try_from(width).map_err(|_| "the heads are too wide")?;
    for column in 0..width.min(3) {
        let mut parts: Option<Vec<f64>> = None;
        let unit = |b: &Bindings| {
            let unit = |i: usize| if i % width == column { 1.0 } else { 0.0 };
            Ok(BTreeMap::from([(x, run(b, &unit)?)]))
        };
        program.at_sizes(&[value], unit, |_, tensors| {
            let y = &tensors[0];
            let step: usize = y.shape[rows + 1..].iter().product();
            if parts.is_none() && y.shape[rows] > 1 {
                let row = y.as_floats().map(|y| y[step..step + width].to_vec());
                parts = row;
            }
            Ok(())
        })?;
        let parts = parts.ok_or("it never has a second row")?;
        found = Some(candidates(found, column, &parts)?);
        if found.as_ref().is_some_and(|found| found.iter().all(|by| by.dims == 2)) {
            break;
        }
    }
    let mut reason = "no rotation fits".to_owned();
    for by in found.unwrap_or_default() {
        match check(program, [value, x], rows, &by) {
            Ok(()) => return Ok(by),
            Err(found) => reason = found,
        }
    }
    Err(reason)
}

/// What rotations row 1 of a unit column is in keeping with.
fn candidates(
    found: Option<Vec<Rotary>>,
    column: usize,
    row: &[f64],
) -> Result<Vec<Rotary>, String> {
    let width = row.len();
    let partner = (0..width).find(|&other| other != column && row[other].abs() > 1e-9);
    let Some(found) = found else {
        // The first pair turns by one radian a row, whatever the base.
        let partner = partner.ok_or("the first column does not turn")?;
        if (row[0] - 1f64.cos()).abs() > 1e-5 || (row[partner] - 1f64.sin()).abs() > 1e-5 {
            return Err("the first column does not turn by a radian a row".to_owned());
        }
        let base = Real(10_000.0);
        return Ok(match partner {
            1 => {
                let two = Rotary { pairs: Pairs::Half, dims: 2, base };
                let all = (1..=width / 2).rev();
                let rest = all.map(|n| Rotary { pairs: Pairs::Interleaved, dims: 2 * n, base });
                std::iter::once(two).chain(rest).collect()
            }
            half => vec![Rotary { pairs: Pairs::Half, dims: 2 * half, base }],
        });
    };
    let mut kept = Vec::new();
    for by in found {
        let pair = (0..by.dims / 2).find(|&pair| by.columns(pair)[0] == column);
        let Some(pair) = pair.filter(|&pair| pair > 0) else {
            kept.push(by);
            continue;
        };
        let [a, b] = by.columns(pair);
        let angle = row[b].atan2(row[a]);
        if angle <= 0.0 {
            continue;
        }
        let base = angle.powf(-(by.dims as f64) / (2.0 * pair as f64));
        kept.extend(rounded(base).into_iter().map(|base| Rotary { base: Real(base), ..by }));
    }
    if kept.is_empty() { Err("the second pair does not turn".to_owned()) } else { Ok(kept) }
}

/// A number that was found by measuring, as few digits as may be meant first.
fn rounded(x: f64) -> Vec<f64> {
    let digits = |n: usize| format!("{x:.n$e}").parse::<f64>().unwrap_or(x);
    let mut all: Vec<f64> = (0..6).map(digits).collect();
    all.extend([x.round(), x]);
    let near = |y: &f64| (y - x).abs() <= 1e-4 * x.abs() && *y > 0.0 && y.is_finite();
    let mut kept: Vec<f64> = Vec::new();
    for y in all.into_iter().filter(near) {
        if !kept.contains(&y) {
            kept.push(y);
        }
    }
    kept
}

/// Random numbers are turned as the rotation turns them, at every size.
fn check(
    program: &Program<'_>,
    [value, x]: [ValueId; 2],
    rows: usize,
    by: &Rotary,
) -> Result<(), String> {
    let given = |bindings: &Bindings| {
        let shape = sizes(program.shape(x), bindings)?;
        let mut random = Random::new(7);
        let count = shape.iter().product();
        let data = Data::Float((0..count).map(|_| random.real()).collect());
        Ok(BTreeMap::from([(x, Tensor { shape, data })]))
    };
    program.at_sizes(&[value], given, |look, tensors| {
        let before = given(&look.bindings)?;
        let before = before[&x].as_floats().ok_or("expected floats")?;
        let after = tensors[0].as_floats().ok_or("expected floats")?;
        let shape = &tensors[0].shape;
        let width = *shape.last().ok_or("no head size")?;
        let inner: usize = shape[rows + 1..].iter().product();
        let places = look.places(shape[rows]);
        let frequencies: Vec<_> = (0..by.dims / 2).map(|pair| by.frequency(pair)).collect();
        for (line, (before, after)) in before.chunks(width).zip(after.chunks(width)).enumerate() {
            let row = places[line * width / inner % shape[rows]];
            let mut expected = before.to_vec();
            let mut bounds = vec![1e-9; width];
            for (pair, frequency) in frequencies.iter().enumerate() {
                let [a, b] = by.columns(pair);
                let angle = row as f64 * frequency;
                let (sin, cos) = angle.sin_cos();
                expected[a] = before[a] * cos - before[b] * sin;
                expected[b] = before[b] * cos + before[a] * sin;
                // The library multiplies and rounds the angle in f32.
                let bound = 2e-6 + 5e-7 * angle;
                (bounds[a], bounds[b]) = (bound, bound);
            }
            for (column, (found, expected)) in after.iter().zip(&expected).enumerate() {
                let off = (found - expected).abs();
                if off.is_nan() || off > bounds[column] {
                    return Err(format!(
                        "column {column} of row {row} is not turned by {by}: {found} for {expected}"
                    ));
                }
            }
        }
        Ok(())
    })
}
