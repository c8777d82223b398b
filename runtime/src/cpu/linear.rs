//! Linear layers: the only way in which the CPU multiplies rows by weights.

use bytec_plan::kernel::UnaryFn;

use super::args::Args;
use super::gemm::{self, Left, MOST_ROWS, PANEL};
use super::isa::{Body, Isa, Simd};
use super::math;
use super::matrix::Matrix;
use super::threads::{Bands, Block, Cut, Threads};

/// The numbers of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Columns of the result.
    pub n: usize,
    /// Columns of x.
    pub k: usize,
    /// `[ceil(n / 32)][k][32]`, missing outputs zero.
    pub panels: &'a [f32],
    /// `[n]`
    pub bias: Option<&'a [f32]>,
    /// Functions applied to the result, in order.
    pub epilogue: &'a [UnaryFn],
}

/// `out[row, n] = f(sum_k x[row, k] * weight[n, k] + bias[n])`.
///
/// A row's bits depend on that row and the weights alone: not on the other rows or their number, the instruction set
/// or the threads. `out` holds rows of `n` numbers; `scratch` says how many of the threads may work.
///
/// # Panics
/// If a slice does not have the size that the others ask for.
pub fn linear<S: Send>(
    isa: Isa,
    threads: &Threads,
    scratch: &mut [S],
    x: Matrix<'_>,
    weights: Weights<'_>,
    out: &mut [f32],
) {
    let panels = weights.n.div_ceil(PANEL);
    assert!(x.width == weights.k, "x has k columns");
    assert!(weights.panels.len() == panels * weights.k * PANEL, "the panels hold n x k weights");
    assert!(weights.bias.is_none_or(|bias| bias.len() == weights.n), "the bias has n numbers");
    let cut = cut(x.rows, panels, weights.k, threads.count().min(scratch.len()));
    threads.blocks(scratch, out, weights.n, cut, |_, block| {
        isa.run(Product { x, weights, block });
    });
}

/// Bands of rows few enough to stay in the second-level cache beside a panel, and enough blocks to keep all threads
/// busy to the end, none of them too small to be worth handing over.
fn cut(rows: usize, panels: usize, k: usize, threads: usize) -> Cut<'static> {
    /// Of a band of x.
    const MOST_BYTES: usize = 384 << 10;
    /// Multiplications of a block, a few microseconds of them.
    const LEAST: usize = 1 << 19;
    let fit = (MOST_BYTES / (k.max(1) * size_of::<f32>())).clamp(4 * MOST_ROWS, 16 * MOST_ROWS);
    let step = if rows < fit { rows } else { fit / MOST_ROWS * MOST_ROWS }.max(1);
    let bands = rows.div_ceil(step).max(1);
    let wanted = if threads > 1 {
        let work = rows.saturating_mul(k).saturating_mul(panels * PANEL);
        (work / LEAST).min(16 * threads)
    } else {
        1
    };
    let column_bands = wanted.div_ceil(bands).clamp(1, panels.max(1));
    let columns = panels.div_ceil(column_bands).max(1) * PANEL;
    Cut { rows: Bands::Every { rows, step }, columns }
}

/// One block of the result.
struct Product<'a, 'b> {
    x: Matrix<'a>,
    weights: Weights<'a>,
    block: &'a mut Block<'b>,
}

/// A tile of the result, where the epilogue finds it in the first-level cache.
#[repr(align(64))]
struct Tile([f32; MOST_ROWS * PANEL]);

impl Body for Product<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Product { x, weights, block } = self;
        let Weights { n, k, panels, bias, epilogue } = weights;
        let mut tile = Tile([0.0; MOST_ROWS * PANEL]);
        let (rows, columns) = (block.rows.clone(), block.columns.clone());
        // Tiles of nearly equal height: a short last one would leave the fma units waiting for each other.
        let tiles = rows.len().div_ceil(V::ROWS);
        for first in columns.clone().step_by(PANEL) {
            let panel = &panels[first / PANEL * (k * PANEL)..][..k * PANEL];
            let width = PANEL.min(n - first);
            let mut addend = [0.0; PANEL];
            if let Some(bias) = bias {
                addend[..width].copy_from_slice(&bias[first..first + width]);
            }
            for t in 0..tiles {
                let top = rows.start + rows.len() * t / tiles;
                let end = rows.start + rows.len() * (t + 1) / tiles;
                let tile = &mut tile.0[..(end - top) * PANEL];
                let left = Left::Rows { data: x.starting_at(top), stride: x.stride };
                gemm::multiply::<V>(left, panel, PANEL, end - top, k, tile);
                if bias.is_some() {
                    for row in tile.chunks_exact_mut(PANEL) {
                        for (x, b) in row.iter_mut().zip(&addend) {
                            *x += *b;
                        }
                    }
                }
                for function in epilogue {
                    math::unary(*function, tile);
                }
                let start = first - columns.start;
                for (row, tile) in (top..end).zip(tile.chunks_exact(PANEL)) {
                    block.row(row)[start..start + width].copy_from_slice(&tile[..width]);
                }
            }
        }
    }
}

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, n: usize, k: usize, bias: bool, epilogue: &[UnaryFn]) {
    let operands = args.operands();
    let bias = bias.then(|| operands.weight(2));
    let weights = Weights { n, k, panels: operands.weight(1), bias, epilogue };
    linear(args.isa, args.threads, args.scratch, operands.matrix(0), weights, args.out);
}
