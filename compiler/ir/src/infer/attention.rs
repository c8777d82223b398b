//! Attention and its options.

use super::{Outcome, float, same};
use crate::attention::{Band, Bias, Rotary};
use crate::dim::Dim;
use crate::types::TensorType;

fn heads_width(heads: usize, head_size: usize) -> Result<Dim, String> {
    heads
        .checked_mul(head_size)
        .filter(|&width| width > 0)
        .map(Dim::from)
        .ok_or_else(|| format!("{heads} heads of {head_size} columns are not a width"))
}

/// An operand is rows of heads, of the element type of another.
fn rows_of_heads(name: &str, x: &TensorType, of: &TensorType, width: &Dim) -> Result<(), String> {
    float(x)?;
    if x.dtype != of.dtype || x.rank() != 2 || x.shape[1] != *width {
        return Err(format!("{name} must be {}[rows, {width}], found {x}", of.dtype));
    }
    Ok(())
}

/// q, k and v are rows of heads; k and v have one type, and a head for each `group` of q's.
pub(super) fn attention(
    xs: &[&TensorType],
    heads: usize,
    head_size: usize,
    group: usize,
) -> Result<(), String> {
    if group == 0 || !heads.is_multiple_of(group) {
        return Err(format!("{heads} heads don't fall into groups of {group}"));
    }
    let (width, shared) = (heads_width(heads, head_size)?, heads_width(heads / group, head_size)?);
    for (name, x, width) in [("q", xs[0], &width), ("k", xs[1], &shared), ("v", xs[2], &shared)] {
        rows_of_heads(name, x, xs[0], width)?;
    }
    same(xs[1], xs[2], "k and v")
}

/// The mask and the bias have the rows and tables that they need.
pub(super) fn options(xs: &[&TensorType], heads: usize, mask: Band, bias: &Bias) -> Outcome {
    let (q, k, tables) = (xs[0], xs[1], &xs[3..]);
    if (mask != Band::ALL || *bias != Bias::None) && q.shape[0] != k.shape[0] {
        return Err(format!("a mask or a bias needs q and k of the same rows, found {q} and {k}"));
    }
    if tables.len() != bias.tables() {
        return Err(format!(
            "the bias {bias} takes {} operands after v, found {}",
            bias.tables(),
            tables.len()
        ));
    }
    let (buckets, columns) = match bias {
        Bias::None => return Ok(q.clone()),
        Bias::Alibi(slopes) if slopes.len() == heads => return Ok(q.clone()),
        Bias::Alibi(slopes) => {
            return Err(format!(
                "expected a slope for each of {heads} heads, found {}",
                slopes.len()
            ));
        }
        Bias::Relative(buckets) => (buckets, Dim::from(heads)),
        Bias::Disentangled { c2p: false, p2c: false, .. } => {
            return Err("a disentangled bias needs c2p, p2c or both".to_owned());
        }
        Bias::Disentangled { buckets, .. } => (buckets, q.shape[1].clone()),
    };
    buckets.check()?;
    for table in tables {
        if table.dtype != q.dtype || table.shape != [Dim::from(buckets.rows()), columns.clone()] {
            let rows = buckets.rows();
            return Err(format!(
                "the table of {bias} must be {}[{rows}, {columns}], found {table}",
                q.dtype
            ));
        }
    }
    Ok(q.clone())
}

/// A head has the columns that a rotation turns.
pub(super) fn turns(rotary: &Rotary, head_size: usize) -> Result<(), String> {
    let dims = rotary.dims;
    if dims == 0 || !dims.is_multiple_of(2) || dims > head_size {
        return Err(format!(
            "a rotation takes an even number of columns up to the head's {head_size}, found {dims}"
        ));
    }
    Ok(())
}

/// The result of turning the heads of x.
pub(super) fn rotary(x: &TensorType, heads: usize, head_size: usize, by: &Rotary) -> Outcome {
    rows_of_heads("x", x, x, &heads_width(heads, head_size)?)?;
    turns(by, head_size)?;
    Ok(x.clone())
}
