//! Columns of several matrices side by side.

use bytec_plan::device::{Arg, Count, Of};
use bytec_plan::kernel::Part;
use serde::Serialize;

use super::{Launch, Matrix, Params, RenderError, Site, rows};

/// Threads of a block.
const THREADS: u32 = 256;

/// Vectors of a thread, while rows are that short.
const VECTORS: u32 = 4;

/// The widest row of the output: a block's vectors are counted in ints.
const WIDEST: u64 = 1 << 28;

/// The most operands: a launch takes 4 KiB of arguments.
const MOST: u64 = 256;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Concat {
    groups: u32,
    width: u64,
    operands: Vec<Operand>,
    out_stride: u32,
    threads: u32,
    rows_per_block: u32,
}

/// One operand.
#[derive(Debug, Serialize)]
struct Operand {
    columns: u32,
    /// Zero for a weight, which is the same for every row.
    stride: u32,
    /// Where its columns begin in a group of the output.
    first: u64,
    /// Columns of one access.
    vec: u32,
}

/// Parameters for operands that take turns `groups` times in a row.
pub(super) fn params(site: &Site<'_>, groups: u32, parts: &[Part]) -> Result<Concat, RenderError> {
    let kernel = site.kernel.name();
    let size = |what, min, max, found| Err(RenderError::Size { kernel, what, min, max, found });
    if !(1..=MOST).contains(&(parts.len() as u64)) {
        return size("the number of operands", 1, MOST, parts.len() as u64);
    }
    let group: u64 = parts.iter().map(|part| u64::from(part.columns)).sum();
    let whole = group.saturating_mul(groups.into());
    if !(1..=WIDEST).contains(&whole) {
        return size("the width of all columns", 1, WIDEST, whole);
    }
    let mut operands = Vec::with_capacity(parts.len());
    let mut first = 0;
    for (nth, part) in parts.iter().enumerate() {
        let x = match part.weight {
            true => Matrix { column: 0, stride: 0 },
            false => site.operand(nth)?,
        };
        let columns = u64::from(part.columns);
        // Each of its groups begins at a multiple of its own columns, and lands `first` columns into one of the output.
        let taken = Matrix { column: 0, stride: columns };
        let given = Matrix { column: first, stride: group };
        let stride = match part.weight {
            true => 0,
            false => rows::stride(kernel, groups * part.columns, x)?,
        };
        operands.push(Operand {
            columns: part.columns,
            stride,
            first,
            vec: rows::access(site.dtype, &[x, site.output, taken, given]),
        });
        first += columns;
    }
    let vectors: u64 = operands.iter().map(|x| u64::from(groups * (x.columns / x.vec))).sum();
    Ok(Concat {
        groups,
        width: group,
        operands,
        out_stride: rows::stride(kernel, whole as u32, site.output)?,
        threads: THREADS,
        rows_per_block: (u64::from(VECTORS * THREADS) / vectors).max(1) as u32,
    })
}

impl Params for Concat {
    const TEMPLATE: &'static str = "kernels/concat.cu.tera";

    fn stem(&self) -> String {
        format!("concat_{}_of_{}", self.operands.len(), u64::from(self.groups) * self.width)
    }

    fn launch(&self) -> Launch {
        Launch {
            grid: [Count::Rows { per: self.rows_per_block }, Count::Fixed(1), Count::Fixed(1)],
            block: self.threads,
            shared: 0,
        }
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::Output];
        args.extend((0..self.operands.len() as u32).map(Arg::Operand));
        args.push(Arg::Rows(Of::Output));
        args
    }
}
