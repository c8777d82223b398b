//! Generated elementwise chains.

use bytec_plan::device::{Arg, Count, Of};
use bytec_plan::kernel::{Broadcast, Instr};
use serde::Serialize;

use super::functions;
use super::rows;
use super::{CFloat, Launch, Params, RenderError, Site};

/// Threads of a block.
const THREADS: u32 = 256;

/// Vectors of a thread, while rows are that short.
const VECTORS: u32 = 4;

/// The widest row: columns and vectors are counted in ints.
const WIDEST: u32 = 1 << 30;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Pointwise {
    width: u32,
    operands: Vec<Operand>,
    by_sample: bool,
    by_place: bool,
    body: Vec<String>,
    out_stride: u32,
    vec: u32,
    threads: u32,
    rows_per_block: u32,
}

/// One operand.
#[derive(Debug, Serialize)]
struct Operand {
    /// The index that the stride multiplies.
    row: &'static str,
    stride: u32,
    /// Whether it is one element for all columns.
    scalar: bool,
}

/// Parameters for outputs of `width` columns.
pub(super) fn params(
    site: &Site<'_>,
    width: u32,
    broadcasts: &[Broadcast],
    body: &[Instr],
) -> Result<Pointwise, RenderError> {
    let kernel = site.kernel.name();
    if !(1..=WIDEST).contains(&width) {
        let (what, min, max) = ("the width", 1, WIDEST.into());
        return Err(RenderError::Size { kernel, what, min, max, found: width.into() });
    }
    let mut matrices = vec![site.output];
    let mut operands = Vec::with_capacity(broadcasts.len());
    for (nth, broadcast) in broadcasts.iter().enumerate() {
        let matrix = site.operand(nth)?;
        operands.push(match broadcast {
            Broadcast::Full | Broadcast::Sample => {
                matrices.push(matrix);
                let row = if *broadcast == Broadcast::Full { "row" } else { "sample" };
                Operand { row, stride: rows::stride(kernel, width, matrix)?, scalar: false }
            }
            Broadcast::Place => {
                matrices.push(super::Matrix::dense(width));
                Operand { row: "place", stride: width, scalar: false }
            }
            Broadcast::Row => Operand { row: "row", stride: 0, scalar: false },
            Broadcast::Scalar => Operand { row: "row", stride: 0, scalar: true },
        });
    }
    let vec = rows::access(site.dtype, &matrices);
    Ok(Pointwise {
        width,
        by_sample: broadcasts.contains(&Broadcast::Sample),
        by_place: broadcasts.contains(&Broadcast::Place),
        operands,
        body: lines(kernel, broadcasts.len(), body)?,
        out_stride: rows::stride(kernel, width, site.output)?,
        vec,
        threads: THREADS,
        rows_per_block: (VECTORS * THREADS / width.div_ceil(vec)).max(1),
    })
}

/// The chain as CUDA, one line for each instruction and one that returns the last.
fn lines(
    kernel: &'static str,
    operands: usize,
    body: &[Instr],
) -> Result<Vec<String>, RenderError> {
    let wrong = |at: usize, expected, index: u32| RenderError::Parameter {
        kernel,
        what: format!("the index in instruction {at}"),
        expected,
        found: index.to_string(),
    };
    let mut lines = Vec::with_capacity(body.len() + 1);
    for (at, instr) in body.iter().enumerate() {
        let value = |index: u32| {
            let earlier = (index as usize) < at;
            earlier.then(|| format!("v{index}")).ok_or(wrong(at, "that of an earlier one", index))
        };
        let expression = match *instr {
            Instr::Operand(index) if (index as usize) < operands => format!("x{index}"),
            Instr::Operand(index) => return Err(wrong(at, "that of an operand", index)),
            Instr::Const(bits) => CFloat(f32::from_bits(bits)).to_string(),
            Instr::Unary(function, x) => format!("{}({})", functions::unary(function), value(x)?),
            Instr::Binary(function, x, y) => functions::binary(function, &value(x)?, &value(y)?),
        };
        lines.push(format!("const float v{at} = {expression};"));
    }
    let last = body.len().checked_sub(1).ok_or(RenderError::Size {
        kernel,
        what: "the number of instructions",
        min: 1,
        max: u64::MAX,
        found: 0,
    })?;
    lines.push(format!("return v{last};"));
    Ok(lines)
}

impl Params for Pointwise {
    const TEMPLATE: &'static str = "kernels/pointwise.cu.tera";

    fn stem(&self) -> String {
        format!("pointwise_{}", self.width)
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
        if self.by_sample {
            args.push(Arg::SampleOfRow(Of::Output));
        }
        if self.by_place {
            args.push(Arg::Positions(Of::Output));
        }
        args.push(Arg::Rows(Of::Output));
        args
    }
}
