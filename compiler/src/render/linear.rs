//! A linear layer: tiles of the result, each by one block.

use bytec_plan::device::{Arg, Count, Of};
use bytec_plan::kernel::UnaryFn;
use serde::Serialize;

use super::{Launch, Matrix, Params, RenderError, Site, functions, rows};
use crate::cost::linear::Layer;
use crate::cost::linear_mma::{TILE_BYTES, Tile};

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
    tile_rows: u32,
    tile_columns: u32,
    tile_k: u32,
    /// Warps along the rows.
    warp_rows: u32,
    /// Warps along the columns.
    warp_columns: u32,
    stages: u32,
    #[serde(skip)]
    tile: Tile,
    /// What the report says of the choice.
    #[serde(skip)]
    pub(super) note: String,
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
    let layer = Layer { n, k, epilogue: epilogue.to_vec() };
    let tile = Tile::best(&layer, bytes);
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
        tile_rows: tile.rows,
        tile_columns: tile.columns,
        tile_k: TILE_BYTES / bytes,
        warp_rows: tile.warp_rows,
        warp_columns: tile.warp_columns,
        stages: tile.stages,
        tile,
        note: note(tile, &layer),
    })
}

/// What the report says of the choice.
fn note(tile: Tile, layer: &Layer) -> String {
    let by = if tile.bytes == 2 { "mma.sync" } else { "fma" };
    let estimates: Vec<_> = [512, 4096, 32768]
        .map(|tokens| (tokens, tile.estimate(layer, tokens)))
        .into_iter()
        .map(|(tokens, e)| {
            let (waves, percent) = (e.waves, (e.share + 5) / 10);
            format!("{percent} % of the peak in {waves} waves at {tokens} rows")
        })
        .collect();
    let estimates = estimates.join(", ");
    format!("{by}, tiles of {tile}, {} stages; estimated for an A100: {estimates}", tile.stages)
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
        Launch {
            grid: [
                Count::Fixed(self.n.div_ceil(self.tile_columns)),
                Count::Rows { per: self.tile_rows },
                Count::Fixed(1),
            ],
            block: self.tile.threads(),
            shared: self.stages * self.tile.pair_bytes(),
        }
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::Output];
        args.extend((0..if self.bias { 3 } else { 2 }).map(Arg::Operand));
        args.push(Arg::Rows(Of::Output));
        args
    }

    fn note(&self) -> Option<String> {
        Some(self.note.clone())
    }
}

#[cfg(test)]
mod tests {
    use bytec_plan::device::Count;
    use bytec_plan::kernel::{Kernel, UnaryFn};

    use super::super::{Float, Matrix, Site};
    use super::{Layer, Tile, params};

    #[test]
    fn moves_divide_rows() {
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
    }

    /// The kernel and its launch have the tile that the cost model chooses.
    #[test]
    fn the_cost_model_decides() {
        let mut seen = Vec::new();
        for (n, k, epilogue, dtype) in [
            (2, 768, &[][..], Float::F16),
            (768, 768, &[], Float::F16),
            (3072, 768, &[UnaryFn::GeluErf], Float::Bf16),
            (768, 3072, &[], Float::F32),
        ] {
            let kernel = Kernel::Linear { n, k, bias: true, epilogue: epilogue.to_vec() };
            let operands = [Matrix::dense(k), Matrix::dense(k), Matrix::dense(n)];
            let site =
                Site { kernel: &kernel, dtype, operands: &operands, output: Matrix::dense(n) };
            let mut renderer = super::super::Renderer::new().unwrap();
            renderer.render(&site).unwrap();
            let source = &renderer.sources()[0];
            let tile = Tile::best(&Layer { n, k, epilogue: epilogue.to_vec() }, dtype.bytes());
            let has = |name: &str, value: u32| {
                let line = format!("constexpr int {name} = {value};");
                assert!(source.text.contains(&line), "{line}");
            };
            has("kTileRows", tile.rows);
            has("kTileColumns", tile.columns);
            has("kWarpRows", tile.warp_rows);
            has("kWarpColumns", tile.warp_columns);
            has("kStages", tile.stages);
            let grid = [Count::Fixed(n.div_ceil(tile.columns)), Count::Rows { per: tile.rows }];
            assert_eq!(source.launch.grid[..2], grid);
            assert_eq!(source.launch.block, tile.threads());
            assert_eq!(source.launch.shared, tile.stages * tile.pair_bytes());
            let note = source.note.clone().unwrap();
            assert!(note.contains(&format!("tiles of {tile}, {} stages", tile.stages)), "{note}");
            seen.push((tile.rows, tile.columns));
        }
        seen.dedup();
        assert!(seen.len() >= 3, "{seen:?}");
    }
}
