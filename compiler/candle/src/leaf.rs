//! Tensors that the model's code made from numbers of its own, and how they follow the sizes.

use bytec_ir::dim::{Bindings, Dim, Symbol};
use candle_core::{DType, Tensor};

use crate::error::Error;
use crate::options::BATCH;
use crate::program::{Symbolic, place, sizes};

/// More elements than this are not kept for one constant.
const MOST: usize = 1 << 24;

/// More elements than this are not looked at, to see how a constant follows the sizes: they take 1 GiB.
const MOST_READ: usize = 1 << 27;

/// The elements of a leaf at some sizes; axes of the batch have extent 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

/// How the elements follow the sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    /// The same at all sizes.
    Fixed(Table),
    /// One number everywhere.
    Fill(f64),
    /// `start + step * i` along an axis; every other axis has extent 1.
    Arange { axis: usize, start: i64, step: i64 },
    /// The first elements of a table made at the largest sizes.
    Prefix(Table),
    /// `table[column - row + last]`, where `last` is the largest row.
    Toeplitz { row: usize, column: usize, last: usize, table: Vec<f64> },
}

/// Reads a tensor's elements.
pub(crate) fn read(tensor: &Tensor) -> candle_core::Result<Table> {
    let values = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    Ok(Table { shape: tensor.dims().to_vec(), values })
}

/// How a leaf follows the sizes. `largest` runs the model at the largest sizes and gives this leaf there.
///
/// # Errors
/// If it follows them in another way than the [`Pattern`]s.
pub(crate) fn pattern(
    i: usize,
    leaf: &Symbolic,
    at: &[Bindings],
    largest: impl FnOnce() -> Result<Tensor, Error>,
) -> Result<Pattern, Error> {
    let fail = |why: String| {
        let shape: Vec<_> = leaf.shape.iter().map(ToString::to_string).collect();
        Error::Constant { at: place(i, &leaf.step), shape: format!("[{}]", shape.join(", ")), why }
    };
    let same = leaf.leaves.windows(2).all(|pair| pair[0].id() == pair[1].id());
    let runs = if same { &leaf.leaves[..1] } else { &leaf.leaves[..] };
    let readable = |tensor: &Tensor| match tensor.elem_count() {
        ..=MOST_READ => read(tensor).map_err(Error::candle("read a constant")),
        elements => Err(fail(format!(
            "it has {elements} elements, at most {MOST_READ} are looked at; lower the most tokens (--max-tokens)"
        ))),
    };
    let mut tables = Vec::new();
    for (tensor, at) in runs.iter().zip(at) {
        let table = readable(tensor)?;
        let what = |axis| {
            fail(format!("rows of axis {axis}, the batch, differ from each other at {}", sizes(at)))
        };
        tables.push(one_of_batch(table, &leaf.shape).map_err(what)?);
    }
    let first = &tables[0];
    if let Some(&value) = first.values.first()
        && tables
            .iter()
            .all(|table| table.values.iter().all(|&other| other.to_bits() == value.to_bits()))
        && first.values.len() > 1
    {
        return Ok(Pattern::Fill(value));
    }
    if tables.iter().all(|table| table == first) {
        return Ok(Pattern::Fixed(first.clone()));
    }
    if let Some(arange) = tables.last().and_then(arange)
        && tables.iter().all(|table| holds_arange(table, &arange))
    {
        return Ok(arange);
    }
    let table = readable(&largest()?)?;
    let table = one_of_batch(table, &leaf.shape)
        .map_err(|axis| fail(format!("rows of axis {axis}, the batch, differ from each other")))?;
    for (smaller, at) in tables.iter().zip(at) {
        if !is_prefix(smaller, &table) {
            return Err(fail(format!(
                "at {} it is not the first part of what it is at the largest sizes",
                sizes(at)
            )));
        }
    }
    if let Some(toeplitz) = toeplitz(&table, &leaf.shape) {
        return Ok(toeplitz);
    }
    if table.values.len() > MOST {
        let elements = table.values.len();
        return Err(fail(format!(
            "it has {elements} elements at the largest sizes, at most {MOST} are kept; lower the most tokens (--max-tokens)"
        )));
    }
    Ok(Pattern::Prefix(table))
}

/// The first index of every axis whose extent follows the batch, if all its indices hold the same; else that axis.
fn one_of_batch(table: Table, shape: &[Dim]) -> Result<Table, usize> {
    let batch = Symbol::new(BATCH);
    let mut table = table;
    for (axis, _) in shape.iter().enumerate().filter(|(_, dim)| dim.symbols().contains(&batch)) {
        let inner: usize = table.shape[axis + 1..].iter().product();
        let extent = table.shape[axis];
        let mut kept = Vec::new();
        for block in table.values.chunks((extent * inner).max(1)) {
            let first = &block[..inner];
            if block.chunks(inner.max(1)).any(|row| row != first) {
                return Err(axis);
            }
            kept.extend_from_slice(first);
        }
        table.values = kept;
        table.shape[axis] = 1;
    }
    Ok(table)
}

fn arange(table: &Table) -> Option<Pattern> {
    let mut long = (0..table.shape.len()).filter(|&axis| table.shape[axis] > 1);
    let (axis, None) = (long.next()?, long.next()) else { return None };
    let whole = |x: f64| (x.abs() < 2f64.powi(52) && x.fract() == 0.0).then_some(x as i64);
    let start = whole(table.values[0])?;
    Some(Pattern::Arange { axis, start, step: whole(table.values[1])?.checked_sub(start)? })
}

fn holds_arange(table: &Table, pattern: &Pattern) -> bool {
    let Pattern::Arange { axis, start, step } = pattern else { return false };
    table.shape.iter().enumerate().all(|(other, &extent)| other == *axis || extent == 1)
        && table
            .values
            .iter()
            .enumerate()
            .all(|(i, &value)| value == *start as f64 + *step as f64 * i as f64)
}

/// Whether the elements of one table are those of another with the same indices.
fn is_prefix(small: &Table, large: &Table) -> bool {
    if small.shape.len() != large.shape.len()
        || small.shape.iter().zip(&large.shape).any(|(a, b)| a > b)
    {
        return false;
    }
    small.values.iter().enumerate().all(|(flat, value)| {
        let (mut rest, mut place, mut stride) = (flat, 0, 1);
        for (&extent, &outer) in small.shape.iter().zip(&large.shape).rev() {
            place += rest % extent * stride;
            rest /= extent;
            stride *= outer;
        }
        large.values[place].to_bits() == value.to_bits()
    })
}

/// Two axes that grow alike, and elements that depend on their difference alone.
fn toeplitz(table: &Table, shape: &[Dim]) -> Option<Pattern> {
    let mut long = (0..shape.len()).filter(|&axis| table.shape[axis] > 1);
    let (row, column, None) = (long.next()?, long.next()?, long.next()) else { return None };
    if shape[row] != shape[column] {
        return None;
    }
    let n = table.shape[row];
    let by_distance: Vec<f64> = (0..2 * n - 1)
        .map(|d| if d < n { table.values[(n - 1 - d) * n] } else { table.values[d + 1 - n] })
        .collect();
    let holds = |i: usize, j: usize| {
        table.values[i * n + j].to_bits() == by_distance[j + n - 1 - i].to_bits()
    };
    (0..n).all(|i| (0..n).all(|j| holds(i, j))).then_some(Pattern::Toeplitz {
        row,
        column,
        last: n - 1,
        table: by_distance,
    })
}
