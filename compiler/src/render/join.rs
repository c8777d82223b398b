//! Rows of several operands, one operand after the other in each sample.

use bytec_plan::device::{Arg, Count, Of};
use bytec_plan::kernel;
use serde::Serialize;

use super::{Launch, Params, RenderError, Site, rows};

/// Threads of a block.
const THREADS: u32 = 256;

/// Vectors of a thread, while rows are that short.
const VECTORS: u32 = 4;

/// The widest row: a block's vectors are counted in ints.
const WIDEST: u32 = 1 << 28;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Join {
    width: u32,
    parts: Vec<Part>,
    out_stride: u32,
    vec: u32,
    threads: u32,
    rows_per_block: u32,
}

/// An operand.
#[derive(Debug, Serialize)]
struct Part {
    /// Rows of a weight; none for packed rows.
    rows: u32,
    stride: u32,
}

/// Parameters for operands of `width` columns.
pub(super) fn params(
    site: &Site<'_>,
    width: u32,
    parts: &[kernel::Joined],
) -> Result<Join, RenderError> {
    let kernel = site.kernel.name();
    let wrong = |what, max: u64, found: u64| RenderError::Size { kernel, what, min: 1, max, found };
    if !(1..=WIDEST).contains(&width) {
        return Err(wrong("the width", WIDEST.into(), width.into()));
    }
    let mut matrices = vec![site.output, super::Matrix::dense(width)];
    let mut operands = Vec::with_capacity(parts.len());
    for (nth, part) in parts.iter().enumerate() {
        operands.push(match part {
            kernel::Joined::Rows => {
                let x = site.operand(nth)?;
                matrices.push(x);
                Part { rows: 0, stride: rows::stride(kernel, width, x)? }
            }
            // Elements of a weight are counted in ints.
            kernel::Joined::Shared { rows } => {
                let max = i32::MAX as u32 / width;
                if !(1..=max).contains(rows) {
                    return Err(wrong("the number of shared rows", max.into(), (*rows).into()));
                }
                Part { rows: *rows, stride: width }
            }
        });
    }
    let vec = rows::access(site.dtype, &matrices);
    Ok(Join {
        width,
        parts: operands,
        out_stride: rows::stride(kernel, width, site.output)?,
        vec,
        threads: THREADS,
        rows_per_block: (VECTORS * THREADS / (width / vec)).max(1),
    })
}

impl Params for Join {
    const TEMPLATE: &'static str = "kernels/join.cu.tera";

    fn stem(&self) -> String {
        format!("join_{}", self.width)
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
        for (nth, part) in (0..).zip(&self.parts) {
            args.push(Arg::Operand(nth));
            if part.rows == 0 {
                args.push(Arg::Offsets(Of::Operand(nth)));
            }
        }
        args.extend([Arg::SampleOfRow(Of::Output), Arg::Positions(Of::Output)]);
        args.push(Arg::Rows(Of::Output));
        args
    }
}
