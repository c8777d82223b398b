//! Neighbouring rows of a sample side by side.

use bytec_plan::device::{Arg, Count, Of};
use serde::Serialize;

use super::{Launch, Matrix, Params, RenderError, Site, rows};

/// Threads of a block.
const THREADS: u32 = 256;

/// Vectors of a thread, while rows are that short.
const VECTORS: u32 = 4;

/// The widest row of the output: a block's vectors are counted in ints.
const WIDEST: u32 = 1 << 28;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Unfold {
    width: u32,
    size: u32,
    before: u32,
    x_stride: u32,
    out_stride: u32,
    vec: u32,
    threads: u32,
    rows_per_block: u32,
}

/// Parameters for `size` rows of `width` columns, `before` of them before the row itself.
pub(super) fn params(
    site: &Site<'_>,
    width: u32,
    size: u32,
    before: u32,
) -> Result<Unfold, RenderError> {
    let kernel = site.kernel.name();
    let whole = width.checked_mul(size).filter(|whole| (1..=WIDEST).contains(whole));
    let whole = whole.ok_or(RenderError::Size {
        kernel,
        what: "the width of all rows side by side",
        min: 1,
        max: WIDEST.into(),
        found: u64::from(width) * u64::from(size),
    })?;
    if before >= size {
        let (what, max) = ("the number of rows before", u64::from(size) - 1);
        return Err(RenderError::Size { kernel, what, min: 0, max, found: before.into() });
    }
    let x = site.operand(0)?;
    // Every tap begins at a multiple of the width.
    let vec = rows::access(site.dtype, &[x, site.output, Matrix::dense(width)]);
    Ok(Unfold {
        width,
        size,
        before,
        x_stride: rows::stride(kernel, width, x)?,
        out_stride: rows::stride(kernel, whole, site.output)?,
        vec,
        threads: THREADS,
        rows_per_block: (VECTORS * THREADS / (whole / vec)).max(1),
    })
}

impl Params for Unfold {
    const TEMPLATE: &'static str = "kernels/unfold.cu.tera";

    fn stem(&self) -> String {
        format!("unfold_{}x{}", self.size, self.width)
    }

    fn launch(&self) -> Launch {
        Launch {
            grid: [Count::Rows { per: self.rows_per_block }, Count::Fixed(1), Count::Fixed(1)],
            block: self.threads,
            shared: 0,
        }
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::Output, Arg::Operand(0), Arg::SampleOfRow(Of::Output)];
        args.extend([Arg::Offsets(Of::Output), Arg::Rows(Of::Output)]);
        args
    }
}
