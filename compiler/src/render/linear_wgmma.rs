//! A linear layer on the tensor cores of `sm_90a`: a ring of tiles that the copy engine fills, products of warpgroups.
//!
//! Both factors come as boxes by tensor maps: the weight lies as for every other kernel, so programs of one plan share
//! its bytes, and a box swizzled by 128 bytes is what products read without bank conflicts. Which of the two kernels
//! a linear gets depends on the step alone, never on a batch, and the module's symbol says it.

use bytec_plan::device::{Arg, Count, Map, Of};
use bytec_plan::kernel::UnaryFn;
use serde::Serialize;

use super::{Float, Launch, Matrix, Params, Site, functions, rows};

/// Rows of a tile: 64 for each of two warpgroups.
const TILE_ROWS: u32 = 128;
/// Columns of x and of the weight that a pair of tiles has: 128 bytes.
const TILE_K: u32 = 64;
/// The smallest layer that is worth a tile of 128 rows.
const LEAST: u32 = 64;
/// Bytes of shared memory that a block can have.
const MOST_SHARED: u32 = 227 << 10;
/// The most pairs of tiles: more hide nothing that these don't.
const MOST_STAGES: u32 = 6;

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
    /// The first of every four sums of a thread.
    sums: Vec<u32>,
    /// The numbers of the operands after the sums.
    left: u32,
    right: u32,
}

/// Parameters for `n` outputs of `k` inputs; `None` where the other kernel has to do it: numbers of four bytes, rows
/// that don't begin at multiples of 16 bytes, and layers too small for a tile.
pub(super) fn params(
    site: &Site<'_>,
    n: u32,
    k: u32,
    bias: bool,
    epilogue: &[UnaryFn],
) -> Option<Linear> {
    let (x, weight, out) = (site.operand(0).ok()?, site.operand(1).ok()?, site.output);
    let per_piece = u64::from(16 / site.dtype.bytes());
    let aligned = |matrix: Matrix| {
        matrix.stride.is_multiple_of(per_piece) && matrix.column.is_multiple_of(per_piece)
    };
    let large = n.min(k) >= LEAST;
    if site.dtype == Float::F32 || !large || !aligned(x) || !aligned(weight) {
        return None;
    }
    let tile_columns = tile_columns(n, k);
    let pair = pair_bytes(tile_columns);
    let stages = ((MOST_SHARED - 1024) / (pair + 16)).min(MOST_STAGES).min(k.div_ceil(TILE_K));
    Some(Linear {
        n,
        k,
        bias,
        epilogue: epilogue.iter().map(|f| functions::unary(*f)).collect(),
        out_stride: rows::stride(site.kernel.name(), n, out).ok()?,
        out_move: rows::access(site.dtype, &[out, Matrix::dense(n)]) * site.dtype.bytes(),
        tile_columns,
        stages: stages.max(2),
        sums: (0..tile_columns / 2).step_by(4).collect(),
        left: tile_columns / 2,
        right: tile_columns / 2 + 1,
    })
}

/// Bytes of a pair of tiles.
fn pair_bytes(tile_columns: u32) -> u32 {
    (TILE_ROWS + tile_columns) * TILE_K * 2
}

/// The columns of a tile that cost least over batches of 4,096 to 65,536 tokens, each weighed by what it would take at
/// the tensor cores' peak. `docs/performance.md` has what comes of it. One number for all of them: tile columns are part
/// of what gives a result its bits.
fn tile_columns(n: u32, k: u32) -> u32 {
    let cost = |columns: u32| -> u64 {
        (12..=16).map(|log2| relative_cost(1 << log2, n, k, columns)).sum()
    };
    let most = n.next_multiple_of(16).min(256);
    let candidates = (LEAST..=most).step_by(16);
    // Of equal ones the widest, which reads x least often.
    candidates.min_by_key(|columns| (cost(*columns), u32::MAX - columns)).unwrap_or(LEAST)
}

/// What a layer takes on an H100, as an estimate in thousandths of its time at the peak.
///
/// Blocks run in waves of one a multiprocessor. A block takes a thousand cycles until its first tiles are there, then
/// for each pair of tiles the longest of its arithmetic (2048 products a cycle), what the products read of shared
/// memory (128 bytes a cycle), and what the copies bring from the cache (40 bytes a cycle); at last eight cycles a
/// column for the result.
fn relative_cost(tokens: u64, n: u32, k: u32, columns: u32) -> u64 {
    const MULTIPROCESSORS: u64 = 132;
    let (n, k, columns) = (u64::from(n), u64::from(k), u64::from(columns));
    let (tile_rows, tile_k) = (u64::from(TILE_ROWS), u64::from(TILE_K));
    let arithmetic = tile_rows * columns * tile_k / 2048;
    let shared = (2 * tile_rows + 2 * columns) * tile_k * 2 / 128;
    let cache = (tile_rows + columns) * tile_k * 2 / 40;
    let step = arithmetic.max(shared).max(cache);
    let block = 1000 + k.div_ceil(tile_k) * step + 8 * columns;
    let waves = (tokens.div_ceil(tile_rows) * n.div_ceil(columns)).div_ceil(MULTIPROCESSORS);
    let products = u128::from(tokens) * u128::from(n) * u128::from(k);
    let peak = (products / u128::from(2048 * MULTIPROCESSORS)).max(1);
    (u128::from(waves * block) * 1000 / peak) as u64
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
        let columns = Count::Fixed(self.n.div_ceil(self.tile_columns));
        Launch {
            grid: [columns, Count::Rows { per: TILE_ROWS }, Count::Fixed(1)],
            block: 3 * 128,
            // The ring begins at a multiple of 1024.
            shared: 1024 + self.stages * (pair_bytes(self.tile_columns) + 16),
        }
    }

    fn args(&self) -> Vec<Arg> {
        let map = |operand, rows| Arg::Map(Map { operand, columns: self.k, rows });
        let mut args = vec![map(0, TILE_ROWS), map(1, self.tile_columns), Arg::Output];
        args.extend(self.bias.then_some(Arg::Operand(2)));
        args.push(Arg::Rows(Of::Output));
        args
    }
}

#[cfg(test)]
mod tests {
    use bytec_plan::kernel::Kernel;

    use super::super::{Float, Matrix, Params, Site};
    use super::{MOST_SHARED, params, tile_columns};

    #[test]
    fn tiles_suit_the_layers_of_models() {
        let columns = [(64, 64), (312, 312), (384, 384), (384, 1536), (768, 768), (768, 3072)]
            .into_iter()
            .chain([
                (1024, 1024),
                (1024, 4096),
                (1152, 384),
                (2304, 768),
                (3072, 768),
                (4096, 1024),
            ])
            .map(|(n, k)| tile_columns(n, k));
        // The largest that a plan can have overflows nothing.
        assert_eq!(tile_columns(1 << 24, 1 << 24), 256);
        let expected = [64, 160, 192, 192, 192, 192, 256, 256, 192, 256, 256, 256];
        assert_eq!(columns.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn takes_what_tensor_maps_take() {
        let kernel = Kernel::Linear { n: 1, k: 1, bias: false, epilogue: Vec::new() };
        let chosen = |dtype, n, k, x| {
            let operands = [x, Matrix::dense(k)];
            let site =
                Site { kernel: &kernel, dtype, operands: &operands, output: Matrix::dense(n) };
            params(&site, n, k, false, &[])
        };
        for (dtype, n, k, x, taken) in [
            (Float::F16, 64, 64, Matrix::dense(64), true),
            (Float::Bf16, 30522, 312, Matrix { column: 8, stride: 320 }, true),
            (Float::F16, 65, 4096, Matrix::dense(4096), true),
            (Float::F32, 64, 64, Matrix::dense(64), false),
            (Float::F16, 63, 64, Matrix::dense(64), false),
            (Float::F16, 64, 68, Matrix::dense(68), false),
            (Float::F16, 64, 64, Matrix { column: 4, stride: 128 }, false),
            (Float::F16, 64, 64, Matrix { column: 0, stride: 68 }, false),
        ] {
            let linear = chosen(dtype, n, k, x);
            assert_eq!(linear.is_some(), taken, "{n} {k}");
            if let Some(linear) = linear {
                assert!(linear.launch().shared <= MOST_SHARED, "{n} {k}");
                assert!(linear.stages >= 2 && linear.tile_columns <= 256);
            }
        }
    }
}
