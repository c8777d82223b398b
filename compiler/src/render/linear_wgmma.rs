//! A linear layer on the tensor cores of `sm_90a`: a ring of tiles that the copy engine fills, products of warpgroups.
//!
//! Both factors come as boxes by tensor maps: the weight lies as for every other kernel, so programs of one plan share
//! its bytes, and a box swizzled by 128 bytes is what products read without bank conflicts. Which of the two kernels
//! a linear gets depends on the step alone, never on a batch; the module's symbol says it, and the report why.

use bytec_plan::device::{Arg, Count, Map, Of, Span};
use bytec_plan::kernel::UnaryFn;
use serde::Serialize;
use thiserror::Error;

use super::{Float, Launch, Matrix, Params, RenderError, Site, functions, rows};
use crate::cost::linear::{LEAST, Layer, TILE_ROWS, Tile, Turns};
use crate::tuned::Chosen;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Linear {
    n: u32,
    k: u32,
    bias: bool,
    epilogue: Vec<&'static str>,
    out_stride: u32,
    out_move: u32,
    tile_columns: u32,
    stages: u32,
    /// Warpgroups that share a tile.
    share: u32,
    /// Times 64 rows of it that each has.
    parts: u32,
    /// Blocks of a cluster.
    blocks: u32,
    band: u32,
    /// Whether the copy engine stores the result.
    staged: bool,
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

/// Why a linear is left to the kernel for every GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Unsuited {
    /// Warpgroups multiply numbers of two bytes.
    #[error("numbers of four bytes")]
    Dtype,
    /// Most of a tile would be empty.
    #[error("{n} x {k}, of which one is less than {LEAST}")]
    Small { n: u32, k: u32 },
    /// Tensor maps take multiples of 16 bytes.
    #[error("rows that don't begin at multiples of 16 bytes")]
    Unaligned,
}

/// Parameters for `n` outputs of `k` inputs, or why the other kernel has to do it.
pub(super) fn params(
    site: &Site<'_>,
    n: u32,
    k: u32,
    bias: bool,
    epilogue: &[UnaryFn],
) -> Result<Result<Linear, Unsuited>, RenderError> {
    let (x, weight, out) = (site.operand(0)?, site.operand(1)?, site.output);
    let per_piece = u64::from(16 / site.dtype.bytes());
    let aligned = |matrix: Matrix| {
        matrix.stride.is_multiple_of(per_piece) && matrix.column.is_multiple_of(per_piece)
    };
    if site.dtype == Float::F32 {
        return Ok(Err(Unsuited::Dtype));
    }
    if n.min(k) < LEAST {
        return Ok(Err(Unsuited::Small { n, k }));
    }
    if !aligned(x) || !aligned(weight) {
        return Ok(Err(Unsuited::Unaligned));
    }
    let layer = Layer { n, k, epilogue: epilogue.to_vec() };
    let out_move = rows::access(site.dtype, &[out, Matrix::dense(n)]) * site.dtype.bytes();
    let tile = storable(Tile::best(&layer), out_move);
    let columns = tile.columns;
    let (share, parts) = shared_out(tile);
    Ok(Ok(Linear {
        n,
        k,
        bias,
        epilogue: epilogue.iter().map(|f| functions::unary(*f)).collect(),
        out_stride: rows::stride(site.kernel.name(), n, out)?,
        out_move,
        tile_columns: columns,
        stages: tile.stages,
        share,
        parts,
        blocks: tile.blocks,
        band: tile.band,
        staged: tile.staged,
        sums: (0..columns / 2).step_by(4).collect(),
        left: columns / 2,
        right: columns / 2 + 1,
        tile,
        note: note(tile, &layer),
    }))
}

/// Warpgroups that share a tile, and times 64 rows of it that each has.
fn shared_out(tile: Tile) -> (u32, u32) {
    match tile.turns {
        Turns::Together => (2, 1),
        Turns::Apart => (1, 2),
    }
}

/// A tile whose rows leave by the threads where they don't begin and end at multiples of 16 bytes.
fn storable(tile: Tile, out_move: u32) -> Tile {
    Tile { staged: tile.staged && out_move == 16, ..tile }
}

impl Linear {
    /// With another of the tiles that give the same bits, as it was chosen.
    pub(super) fn with(mut self, chosen: &Chosen) -> Self {
        let Some(measured) = &chosen.measured else { return self };
        let tile = storable(chosen.tile, self.out_move);
        (self.share, self.parts) = shared_out(tile);
        (self.blocks, self.stages, self.band) = (tile.blocks, tile.stages, tile.band);
        self.staged = tile.staged;
        let band = tile.band;
        self.note =
            format!("wgmma, tiles of {tile}, {} stages, bands of {band}; {measured}", tile.stages);
        Self { tile, ..self }
    }
}

/// What the report says of the choice.
fn note(tile: Tile, layer: &Layer) -> String {
    let estimates: Vec<_> = [512, 4096, 32768]
        .map(|tokens| (tokens, tile.estimate(layer, tokens)))
        .into_iter()
        .map(|(tokens, e)| {
            let (waves, percent) = (e.waves, (e.share + 5) / 10);
            format!("{percent} % of the peak in {waves} waves at {tokens} rows")
        })
        .collect();
    format!("wgmma, tiles of {tile}, {} stages; estimated {}", tile.stages, estimates.join(", "))
}

impl Params for Linear {
    const TEMPLATE: &'static str = "kernels/linear_wgmma.cu.tera";

    fn stem(&self) -> String {
        let mut stem = format!("linear_wgmma_{}x{}", self.n, self.k);
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
        let across = self.n.div_ceil(self.tile_columns);
        let per = TILE_ROWS * self.blocks;
        Launch {
            grid: [Count::Fixed(self.blocks), Count::Resident { per, across }, Count::Fixed(1)],
            block: 3 * 128,
            shared: self.tile.shared_bytes(),
        }
    }

    fn args(&self) -> Vec<Arg> {
        let (heads, span) = (None, Span::Bytes128);
        let map = |operand, rows| Arg::Map(Map { operand, columns: self.k, heads, rows, span });
        let weight = map(1, self.tile_columns / self.blocks);
        let mut args = vec![map(0, TILE_ROWS), weight, Arg::Output];
        args.extend(self.bias.then_some(Arg::Operand(2)));
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

    use super::super::{Float, Matrix, Params, Site};
    use super::{Layer, Tile, Unsuited, params};

    #[test]
    fn takes_what_tensor_maps_take() {
        let kernel = Kernel::Linear { n: 1, k: 1, bias: false, epilogue: Vec::new() };
        let chosen = |dtype, n, k, x| {
            let operands = [x, Matrix::dense(k)];
            let site =
                Site { kernel: &kernel, dtype, operands: &operands, output: Matrix::dense(n) };
            params(&site, n, k, false, &[]).unwrap()
        };
        for (dtype, n, k, x, expected) in [
            (Float::F16, 64, 64, Matrix::dense(64), None),
            (Float::Bf16, 30522, 312, Matrix { column: 8, stride: 320 }, None),
            (Float::F16, 65, 4096, Matrix::dense(4096), None),
            (Float::F32, 64, 64, Matrix::dense(64), Some(Unsuited::Dtype)),
            (Float::F16, 63, 64, Matrix::dense(64), Some(Unsuited::Small { n: 63, k: 64 })),
            (Float::F16, 64, 68, Matrix::dense(68), Some(Unsuited::Unaligned)),
            (Float::F16, 64, 64, Matrix { column: 4, stride: 128 }, Some(Unsuited::Unaligned)),
            (Float::F16, 64, 64, Matrix { column: 0, stride: 68 }, Some(Unsuited::Unaligned)),
        ] {
            assert_eq!(chosen(dtype, n, k, x).err(), expected, "{n} {k}");
        }
    }

    /// The kernel and its launch have the tile that the cost model chooses.
    #[test]
    fn the_cost_model_decides() {
        let mut seen = Vec::new();
        for (n, k, epilogue) in [
            (768, 768, &[][..]),
            (3072, 768, &[UnaryFn::GeluErf]),
            (30522, 768, &[]),
            (1024, 4096, &[]),
        ] {
            let kernel = Kernel::Linear { n, k, bias: true, epilogue: epilogue.to_vec() };
            let operands = [Matrix::dense(k), Matrix::dense(k), Matrix::dense(n)];
            let (dtype, output) = (Float::F16, Matrix::dense(n));
            let site = Site { kernel: &kernel, dtype, operands: &operands, output };
            let mut renderer =
                super::super::Renderer::for_arch(crate::nvrtc::Arch::SM_90A).unwrap();
            renderer.render(&site).unwrap();
            let source = &renderer.sources()[0];
            let tile = Tile::best(&Layer { n, k, epilogue: epilogue.to_vec() });
            let has = |name: &str, value: u32| {
                let line = format!("constexpr int {name} = {value};");
                assert!(source.text.contains(&line), "{line}");
            };
            has("kTileColumns", tile.columns);
            has("kStages", tile.stages);
            has("kBand", tile.band);
            has("kBlocks", tile.blocks);
            let across = n.div_ceil(tile.columns);
            let per = 128 * tile.blocks;
            assert_eq!(
                source.launch.grid[..2],
                [Count::Fixed(tile.blocks), Count::Resident { per, across }]
            );
            let note = source.note.clone().unwrap();
            assert!(note.contains(&format!("tiles of {tile}, {} stages", tile.stages)), "{note}");
            seen.push((tile.columns, tile.turns));
        }
        seen.dedup();
        assert!(seen.len() >= 3, "{seen:?}");
    }

    #[test]
    fn blocks_fit() {
        let kernel = Kernel::Linear { n: 1, k: 1, bias: false, epilogue: Vec::new() };
        for (n, k) in [(64, 64), (312, 1200), (768, 3072), (4096, 1024), (30522, 1024)] {
            let operands = [Matrix::dense(k), Matrix::dense(k)];
            let (dtype, output) = (Float::Bf16, Matrix::dense(n));
            let site = Site { kernel: &kernel, dtype, operands: &operands, output };
            let linear = params(&site, n, k, false, &[UnaryFn::Tanh]).unwrap().unwrap();
            assert!(linear.launch().shared <= crate::cost::linear::MOST_SHARED, "{n} {k}");
        }
    }
}
