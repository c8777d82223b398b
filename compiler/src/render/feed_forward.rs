//! A linear and the linear with its LayerNorm behind it in one launch, on the tensor cores of `sm_90a`: a
//! `linear_layer_norm` that also does the linear before it.

use bytec_plan::device::{Arg, Count, Map, Of, Span};
use bytec_plan::kernel::{UnaryFn, Up};
use serde::Serialize;

use super::linear_layer_norm::unaligned;
use super::{CFloat, Float, Launch, Matrix, Params, RenderError, Site, functions, rows};
use crate::cost::feed_forward::{Layers, Tile};
use crate::cost::linear::TILE_ROWS;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct FeedForward {
    n: u32,
    hidden: u32,
    k: u32,
    up_bias: bool,
    bias: bool,
    epilogue: Vec<&'static str>,
    eps: CFloat,
    hidden_stride: u32,
    hidden_move: u32,
    out_stride: u32,
    out_move: u32,
    up_columns: u32,
    columns: u32,
    stages: u32,
    /// Blocks of a cluster.
    blocks: u32,
    /// The first of every four sums of a thread, and the numbers of the operands after them, of the first linear.
    up_sums: Vec<u32>,
    up_left: u32,
    up_right: u32,
    /// The same of the second.
    sums: Vec<u32>,
    left: u32,
    right: u32,
    #[serde(skip)]
    tile: Tile,
    #[serde(skip)]
    note: String,
}

/// What a `linear_layer_norm` says of the second linear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Second {
    pub(super) n: u32,
    pub(super) k: u32,
    pub(super) bias: bool,
    pub(super) eps: f32,
}

/// Parameters for the second linear's step, whose last operands are the first one's.
pub(super) fn params(site: &Site<'_>, second: Second, up: &Up) -> Result<FeedForward, RenderError> {
    let kernel = site.kernel.name();
    let unsuited = |reason: String| RenderError::Unsuited { kernel, reason };
    if site.dtype == Float::F32 {
        return Err(unsuited("two linears in one launch are for f16 and bf16".to_owned()));
    }
    let Second { n, k: hidden, bias, eps } = second;
    let Up { k, bias: up_bias, ref epilogue } = *up;
    let layers = Layers { n, hidden, k, epilogue: epilogue.clone() };
    let tile = Tile::best(&layers).map_err(|why| unsuited(why.to_string()))?;
    let residual = 2 + usize::from(bias);
    let mapped = [0, 1, residual, residual + 3, residual + 4];
    for nth in mapped {
        if unaligned(site.operand(nth)?) {
            return Err(unsuited("its rows don't begin at multiples of 16 bytes".to_owned()));
        }
    }
    let (out, between) = (site.output, site.operand(0)?);
    let moved = |matrix, width| {
        rows::access(site.dtype, &[matrix, Matrix::dense(width)]) * site.dtype.bytes()
    };
    let (up_columns, columns) = (tile.up_columns, tile.columns);
    Ok(FeedForward {
        n,
        hidden,
        k,
        up_bias,
        bias,
        epilogue: epilogue.iter().map(|f: &UnaryFn| functions::unary(*f)).collect(),
        eps: CFloat(eps),
        hidden_stride: rows::stride(kernel, hidden, between)?,
        hidden_move: moved(between, hidden),
        out_stride: rows::stride(kernel, n, out)?,
        out_move: moved(out, n),
        up_columns,
        columns,
        stages: tile.stages,
        blocks: tile.blocks,
        up_sums: (0..up_columns / 2).step_by(4).collect(),
        up_left: up_columns / 2,
        up_right: up_columns / 2 + 1,
        sums: (0..columns / 2).step_by(4).collect(),
        left: columns / 2,
        right: columns / 2 + 1,
        tile,
        note: note(tile, &layers),
    })
}

/// What the report says of it.
fn note(tile: Tile, layers: &Layers) -> String {
    let of = |tokens| {
        let together = tile.estimate(layers, tokens);
        let apart = layers.apart(tokens).unwrap_or(u64::MAX);
        format!("{together} cycles, {apart} in two launches, at {tokens} rows")
    };
    let estimates = [512, 4096, 32768].map(of);
    format!("wgmma, tiles of {tile}, {} stages; estimated {}", tile.stages, estimates.join("; "))
}

impl Params for FeedForward {
    const TEMPLATE: &'static str = "kernels/feed_forward.cu.tera";

    fn stem(&self) -> String {
        let mut stem = format!("feed_forward_{}x{}x{}", self.n, self.hidden, self.k);
        for (there, name) in [(self.up_bias, "_bias"), (self.bias, "_then_bias")] {
            if there {
                stem.push_str(name);
            }
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
                Count::Fixed(self.blocks),
                Count::Resident { per: TILE_ROWS, across: 1 },
                Count::Fixed(1),
            ],
            block: 3 * 128,
            shared: self.tile.shared_bytes(),
        }
    }

    fn args(&self) -> Vec<Arg> {
        let (heads, span) = (None, Span::Bytes128);
        let map = |operand, columns, rows| Arg::Map(Map { operand, columns, heads, rows, span });
        let shared_out = TILE_ROWS / self.blocks;
        let residual = 2 + u32::from(self.bias);
        let x = residual + 3;
        let mut args = vec![
            map(x, self.k, shared_out),
            map(x + 1, self.k, self.up_columns),
            map(0, self.hidden, shared_out),
            map(1, self.hidden, self.columns),
            map(residual, self.n, TILE_ROWS),
            Arg::Operand(0),
            Arg::Output,
        ];
        args.extend(self.up_bias.then_some(Arg::Operand(x + 2)));
        args.extend(self.bias.then_some(Arg::Operand(2)));
        args.extend([
            Arg::Operand(residual + 1),
            Arg::Operand(residual + 2),
            Arg::Rows(Of::Output),
        ]);
        args
    }

    fn note(&self) -> Option<String> {
        Some(self.note.clone())
    }
}
