//! The elements of a block in another order.

use bytec_plan::device::{Arg, Count, Of};
use serde::Serialize;

use super::{Launch, Params, RenderError, Site, rows};

/// Threads of a block.
const THREADS: u32 = 256;

/// Vectors of a thread, while rows are that long.
const VECTORS: u32 = 4;

/// The largest block: its elements are counted in ints.
const LARGEST: u64 = 1 << 30;

/// The most blocks along the second axis of a grid.
const MAX_COLUMNS: u64 = 65535;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Permute {
    x_rows: u32,
    x_width: u32,
    x_stride: u32,
    rows: u32,
    width: u32,
    stride: u32,
    start: u32,
    step: u32,
    /// The last axis first.
    axes: Vec<Axis>,
    vec: u32,
    threads: u32,
    rows_per_block: u32,
    vectors: u32,
}

/// An axis of the output's block.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Axis {
    pub(super) extent: u32,
    pub(super) stride: u32,
}

/// Parameters for blocks of `from` and `to` rows and columns, and axes that begin at `start` in x.
pub(super) fn params(
    site: &Site<'_>,
    from: [u32; 2],
    to: [u32; 2],
    start: u32,
    axes: &[Axis],
) -> Result<Permute, RenderError> {
    let kernel = site.kernel.name();
    for [rows, width] in [from, to] {
        let found = u64::from(rows) * u64::from(width);
        if !(1..=LARGEST).contains(&found) {
            let what = "the number of elements of a block";
            return Err(RenderError::Size { kernel, what, min: 1, max: LARGEST, found });
        }
    }
    let x = site.operand(0)?;
    let mut last_first: Vec<_> = axes.to_vec();
    last_first.reverse();
    let (last, others) = match &last_first[..] {
        [last, others @ ..] => (*last, others),
        [] => (Axis { extent: 1, stride: 1 }, &[][..]),
    };
    // What a vector begins with is a multiple of it on both sides, and no vector crosses a row or an axis.
    let mut aligned = u64::from(last.extent) | u64::from(to[1]);
    let mut matrices = vec![site.output];
    if last.stride == 1 {
        aligned |= u64::from(start) | u64::from(from[1]);
        aligned = others.iter().fold(aligned, |bits, axis| bits | u64::from(axis.stride));
        matrices.push(x);
    }
    let vec = rows::access(site.dtype, &matrices).min(1 << aligned.trailing_zeros().min(4));
    let all = to[1] / vec;
    let vectors = all.min(VECTORS * THREADS);
    let columns = u64::from(all.div_ceil(vectors));
    if columns > MAX_COLUMNS {
        let (what, max) = ("the width", MAX_COLUMNS * u64::from(vectors * vec));
        return Err(RenderError::Size { kernel, what, min: 1, max, found: to[1].into() });
    }
    Ok(Permute {
        x_rows: from[0],
        x_width: from[1],
        x_stride: rows::stride(kernel, from[1], x)?,
        rows: to[0],
        width: to[1],
        stride: rows::stride(kernel, to[1], site.output)?,
        start,
        step: last.stride,
        axes: last_first,
        vec,
        threads: THREADS,
        rows_per_block: (VECTORS * THREADS / vectors).max(1),
        vectors,
    })
}

impl Params for Permute {
    const TEMPLATE: &'static str = "kernels/permute.cu.tera";

    fn stem(&self) -> String {
        let extents: Vec<_> = self.axes.iter().rev().map(|axis| axis.extent.to_string()).collect();
        format!("permute_{}", extents.join("x"))
    }

    fn launch(&self) -> Launch {
        let columns = (self.width / self.vec).div_ceil(self.vectors);
        Launch {
            grid: [
                Count::Rows { per: self.rows_per_block },
                Count::Fixed(columns),
                Count::Fixed(1),
            ],
            block: self.threads,
            shared: 0,
        }
    }

    fn args(&self) -> Vec<Arg> {
        vec![Arg::Output, Arg::Operand(0), Arg::Rows(Of::Output)]
    }
}
