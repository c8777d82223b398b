//! Heads turned by position, where no attention takes it in.

use bytec_plan::attention::{Pairs, Rotary};
use bytec_plan::device::{Arg, Count, Of};
use serde::Serialize;

use super::{Launch, Params, RenderError, Site, rows};

/// Threads of a block.
const THREADS: u32 = 256;

/// Pairs and single columns of a thread, while rows are that short.
const ITEMS: u32 = 4;

/// The widest row: a block's pairs and columns are counted in ints.
const WIDEST: u32 = 1 << 28;

/// A rotation as templates take it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Turns {
    dims: u32,
    /// Whether a pair's columns are neighbours.
    neighbours: bool,
}

impl Turns {
    /// Turns of heads of `head_size` columns.
    pub(super) fn new(
        kernel: &'static str,
        rotary: Rotary,
        head_size: u32,
    ) -> Result<Self, RenderError> {
        let Rotary { pairs, dims } = rotary;
        if dims == 0 || !dims.is_multiple_of(2) || dims > head_size {
            return Err(RenderError::Parameter {
                kernel,
                what: format!("the turned columns of heads of {head_size}"),
                expected: "an even number, at least 2 and at most the head size",
                found: dims.to_string(),
            });
        }
        Ok(Self { dims, neighbours: pairs == Pairs::Interleaved })
    }
}

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Standalone {
    heads: u32,
    head_size: u32,
    #[serde(flatten)]
    turns: Turns,
    x_stride: u32,
    out_stride: u32,
    threads: u32,
    rows_per_block: u32,
}

/// Parameters for rows of `heads` heads of `head_size` columns.
pub(super) fn params(
    site: &Site<'_>,
    heads: u32,
    head_size: u32,
    rotary: Rotary,
) -> Result<Standalone, RenderError> {
    let kernel = site.kernel.name();
    let turns = Turns::new(kernel, rotary, head_size)?;
    let width = heads.checked_mul(head_size).filter(|width| (1..=WIDEST).contains(width));
    let width = width.ok_or(RenderError::Size {
        kernel,
        what: "the width",
        min: 1,
        max: WIDEST.into(),
        found: u64::from(heads) * u64::from(head_size),
    })?;
    let items = heads * (head_size - turns.dims / 2);
    Ok(Standalone {
        heads,
        head_size,
        turns,
        x_stride: rows::stride(kernel, width, site.operand(0)?)?,
        out_stride: rows::stride(kernel, width, site.output)?,
        threads: THREADS,
        rows_per_block: (ITEMS * THREADS / items).max(1),
    })
}

impl Params for Standalone {
    const TEMPLATE: &'static str = "kernels/rotary.cu.tera";

    fn stem(&self) -> String {
        format!("rotary_{}x{}", self.heads, self.head_size)
    }

    fn launch(&self) -> Launch {
        Launch {
            grid: [Count::Rows { per: self.rows_per_block }, Count::Fixed(1), Count::Fixed(1)],
            block: self.threads,
            shared: 0,
        }
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::Output, Arg::Operand(0), Arg::Operand(1)];
        args.extend([Arg::Positions(Of::Output), Arg::Rows(Of::Output)]);
        args
    }
}
