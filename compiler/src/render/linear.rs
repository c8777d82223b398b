//! A linear layer: tiles of the result, each by one block.

use bytec_plan::device::{Arg, Count, Of};
use bytec_plan::kernel::UnaryFn;
use serde::Serialize;

use super::{Float, Launch, Matrix, Params, RenderError, Site, functions, rows};

/// Bytes of a row of a tile in shared memory: 16 products of four-byte numbers, 32 of two-byte ones.
const TILE_BYTES: u32 = 64;

/// The most outputs or inputs: counts of them stay far from overflowing an int.
const MOST: u32 = 1 << 24;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Linear {
    n: u32,
    k: u32,
    bias: bool,
    epilogue: Vec<&'static str>,
    x_stride: u32,
    weight_stride: u32,
    out_stride: u32,
    x_move: u32,
    weight_move: u32,
    out_move: u32,
    tile_k: u32,
    stages: u32,
    #[serde(flatten)]
    tile: Tile,
    /// What the report says of the choice.
    #[serde(skip)]
    pub(super) note: Option<String>,
}

/// The part of the result that a block makes. It does not change the result's bits.
#[derive(Clone, Copy, Debug, Serialize)]
struct Tile {
    #[serde(rename = "tile_rows")]
    rows: u32,
    #[serde(rename = "tile_columns")]
    columns: u32,
    /// Warps along the rows.
    warp_rows: u32,
    /// Warps along the columns.
    warp_columns: u32,
}

impl Tile {
    /// As many columns as there are, up to what registers of four warps hold; fewer rows where there would be too few
    /// blocks for a GPU at a few thousand rows.
    fn new(n: u32, dtype: Float) -> Self {
        let columns = match (n, dtype) {
            (65.., Float::F16 | Float::Bf16) => 128,
            (33.., _) => 64,
            (17.., _) => 32,
            _ => 16,
        };
        let rows = if n >= 768 { 128 } else { 64 };
        let (warp_rows, warp_columns) = match (rows, columns) {
            (_, 16) | (128, 64) => (4, 1),
            _ => (2, 2),
        };
        Self { rows, columns, warp_rows, warp_columns }
    }

    fn warps(self) -> u32 {
        self.warp_rows * self.warp_columns
    }
}

/// Parameters for `n` outputs of `k` inputs.
pub(super) fn params(
    site: &Site<'_>,
    n: u32,
    k: u32,
    bias: bool,
    epilogue: &[UnaryFn],
) -> Result<Linear, RenderError> {
    let kernel = site.kernel.name();
    let size = |what, found: u32| RenderError::Size {
        kernel,
        what,
        min: 1,
        max: MOST.into(),
        found: found.into(),
    };
    if !(1..=MOST).contains(&n) {
        return Err(size("n", n));
    }
    if !(1..=MOST).contains(&k) {
        return Err(size("k", k));
    }
    let (x, weight, out) = (site.operand(0)?, site.operand(1)?, site.output);
    let bytes = site.dtype.bytes();
    // A move is within a row's own numbers, so it divides their count too.
    let access = |matrix, width| rows::access(site.dtype, &[matrix, Matrix::dense(width)]) * bytes;
    let tile_k = TILE_BYTES / bytes;
    Ok(Linear {
        n,
        k,
        bias,
        epilogue: epilogue.iter().map(|f| functions::unary(*f)).collect(),
        x_stride: rows::stride(kernel, k, x)?,
        weight_stride: rows::stride(kernel, k, weight)?,
        out_stride: rows::stride(kernel, n, out)?,
        x_move: access(x, k),
        weight_move: access(weight, k),
        out_move: access(out, n),
        tile_k,
        stages: k.div_ceil(tile_k).clamp(2, 4),
        tile: Tile::new(n, site.dtype),
        note: None,
    })
}

impl Params for Linear {
    const TEMPLATE: &'static str = "kernels/linear.cu.tera";

    fn stem(&self) -> String {
        let mut stem = format!("linear_{}x{}", self.n, self.k);
        if self.bias {
            stem.push_str("_bias");
        }
        for function in &self.epilogue {
            stem.push('_');
            stem.push_str(function);
        }
        stem
    }

    fn launch(&self) -> Launch {
        let Tile { rows, columns, .. } = self.tile;
        Launch {
            grid: [
                Count::Fixed(self.n.div_ceil(columns)),
                Count::Rows { per: rows },
                Count::Fixed(1),
            ],
            block: self.tile.warps() * 32,
            shared: self.stages * (rows + columns) * TILE_BYTES,
        }
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::Output];
        args.extend((0..if self.bias { 3 } else { 2 }).map(Arg::Operand));
        args.push(Arg::Rows(Of::Output));
        args
    }

    fn note(&self) -> Option<String> {
        self.note.clone()
    }
}

#[cfg(test)]
mod tests {
    use bytec_plan::kernel::Kernel;

    use super::super::{Float, Matrix, Params, Site};
    use super::params;

    #[test]
    fn moves_divide_rows_and_rings_fit() {
        let kernel = Kernel::Linear { n: 1, k: 1, bias: false, epilogue: Vec::new() };
        for (n, k, column, stride, moves) in [
            (384, 384, 0, 384, [16, 16, 16]),
            (48, 12, 12, 36, [8, 8, 16]),
            (5, 9, 0, 9, [2, 2, 2]),
            (2, 9, 0, 16, [2, 2, 4]),
            (1, 768, 768, 2304, [16, 16, 2]),
        ] {
            let operands = [Matrix { column, stride }, Matrix::dense(k)];
            let site = Site {
                kernel: &kernel,
                dtype: Float::F16,
                operands: &operands,
                output: Matrix::dense(n),
            };
            let linear = params(&site, n, k, false, &[]).unwrap();
            assert_eq!([linear.x_move, linear.weight_move, linear.out_move], moves, "{n} {k}");
        }
        for dtype in [Float::F32, Float::F16, Float::Bf16] {
            for n in [1, 16, 17, 33, 64, 65, 767, 768, 30522] {
                let operands = [Matrix::dense(4096), Matrix::dense(4096)];
                let site =
                    Site { kernel: &kernel, dtype, operands: &operands, output: Matrix::dense(n) };
                let launch = params(&site, n, 4096, false, &[]).unwrap().launch();
                assert!(launch.shared <= 99 * 1024, "{n}: {}", launch.shared);
                assert!(launch.block <= 1024);
            }
        }
    }
}
