//! A linear with the residual and the LayerNorm behind it, on the tensor cores of `sm_90a`. The schedule asks for it only
//! where [`unaligned`] and the cost model have nothing against it.

use bytec_plan::device::{Arg, Count, Map, Of, Span};
use serde::Serialize;

use super::{CFloat, Float, Launch, Matrix, Params, RenderError, Site, rows};
use crate::cost::linear::{PIECES, TILE_ROWS};
use crate::cost::linear_layer_norm::Tile;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct LinearLayerNorm {
    n: u32,
    k: u32,
    bias: bool,
    eps: CFloat,
    out_stride: u32,
    out_move: u32,
    tile_columns: u32,
    stages: u32,
    /// Blocks of a cluster.
    blocks: u32,
    /// The first of every four sums of a thread.
    sums: Vec<u32>,
    /// The numbers of the operands after the sums.
    left: u32,
    right: u32,
    #[serde(skip)]
    tile: Tile,
    #[serde(skip)]
    note: String,
}

/// Whether rows that lie so can't be copied by tensor maps, which take multiples of 16 bytes. Elements are of two bytes.
pub(crate) fn unaligned(matrix: Matrix) -> bool {
    !matrix.stride.is_multiple_of(8) || !matrix.column.is_multiple_of(8)
}

/// Parameters for `n` outputs of `k` inputs.
pub(super) fn params(
    site: &Site<'_>,
    n: u32,
    k: u32,
    bias: bool,
    eps: f32,
    hopper: bool,
) -> Result<LinearLayerNorm, RenderError> {
    let unsuited = |reason: String| RenderError::Unsuited { kernel: site.kernel.name(), reason };
    if !hopper || site.dtype == Float::F32 {
        return Err(unsuited("it is for sm_90a alone, in f16 and bf16".to_owned()));
    }
    let tile = Tile::best(n, k).map_err(|why| unsuited(why.to_string()))?;
    let residual = site.operand(2 + usize::from(bias))?;
    if [site.operand(0)?, site.operand(1)?, residual, Matrix::dense(n)].into_iter().any(unaligned) {
        return Err(unsuited("its rows don't begin at multiples of 16 bytes".to_owned()));
    }
    let out = site.output;
    let columns = tile.columns;
    let estimates: Vec<_> = [512, 4096, 32768]
        .map(|tokens| (tokens, tile.estimate(n, k, tokens)))
        .into_iter()
        .map(|(tokens, e)| {
            let (waves, percent) = (e.waves, (e.share + 5) / 10);
            format!("{percent} % of the peak in {waves} waves at {tokens} rows")
        })
        .collect();
    Ok(LinearLayerNorm {
        n,
        k,
        bias,
        eps: CFloat(eps),
        out_stride: rows::stride(site.kernel.name(), n, out)?,
        out_move: rows::access(site.dtype, &[out, Matrix::dense(n)]) * site.dtype.bytes(),
        tile_columns: columns,
        stages: tile.stages,
        blocks: tile.blocks,
        sums: (0..columns / 2).step_by(4).collect(),
        left: columns / 2,
        right: columns / 2 + 1,
        tile,
        note: format!(
            "wgmma, tiles of {tile}, {} stages; estimated {}",
            tile.stages,
            estimates.join(", ")
        ),
    })
}

impl Params for LinearLayerNorm {
    const TEMPLATE: &'static str = "kernels/linear_layer_norm.cu.tera";

    fn stem(&self) -> String {
        let bias = if self.bias { "_bias" } else { "" };
        format!("linear_layer_norm_{}x{}{bias}", self.n, self.k)
    }

    fn launch(&self) -> Launch {
        Launch {
            grid: [
                Count::Fixed(self.blocks),
                Count::Resident { per: TILE_ROWS, across: 1 },
                Count::Fixed(1),
            ],
            block: 3 * 128,
            // The ring begins at a multiple of 1024.
            shared: 1024
                + self.stages * (self.tile.pair_bytes() + 16)
                + PIECES
                + self.tile.exchange_bytes(),
        }
    }

    fn args(&self) -> Vec<Arg> {
        let (heads, span) = (None, Span::Bytes128);
        let map = |operand, columns, rows| Arg::Map(Map { operand, columns, heads, rows, span });
        let bias = u32::from(self.bias);
        let mut args = vec![
            map(0, self.k, TILE_ROWS / self.blocks),
            map(1, self.k, self.tile_columns),
            map(2 + bias, self.n, TILE_ROWS),
            Arg::Output,
        ];
        args.extend(self.bias.then_some(Arg::Operand(2)));
        args.extend([Arg::Operand(3 + bias), Arg::Operand(4 + bias), Arg::Rows(Of::Output)]);
        args
    }

    fn note(&self) -> Option<String> {
        Some(self.note.clone())
    }
}
