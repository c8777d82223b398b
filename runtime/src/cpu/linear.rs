//! Linear layers: the only way in which the CPU multiplies rows by weights.
//!
//! Rows of x are gathered in a thread's scratch first where that is needed: as pairs of bf16, in int8, or as they are
//! where they lie so that a tile's rows would share a few lines of the first-level cache.

use std::marker::PhantomData;
use std::ops::Range;

use bytec_plan::kernel::UnaryFn;
use bytec_plan::program::DType;

use super::args::{Args, Operands};
use super::gemm::{self, Left, MOST_ROWS, PANEL, Pairs, Quads, Singles, Words};
use super::int8;
use super::isa::tiles::SIDE;
use super::isa::{Body, Isa, Simd};
use super::math;
use super::matrix::Matrix;
use super::threads::{Bands, Block, Cut, Scratchpad, Threads};

/// The numbers of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Columns of the result.
    pub n: usize,
    /// Columns of x.
    pub k: usize,
    /// The weight.
    pub panels: Panels<'a>,
    /// `[n]`
    pub bias: Option<&'a [f32]>,
    /// Functions applied to the result, in order.
    pub epilogue: &'a [UnaryFn],
}

/// A weight `[n, k]`, laid out for the matrix tile. Missing outputs are zero.
#[derive(Clone, Copy, Debug)]
pub enum Panels<'a> {
    /// `[ceil(n / 32)][k][32]`
    F32(&'a [f32]),
    /// `[ceil(n / 32)][ceil(k / 2)][32]` pairs of bf16, the first of a pair in the low half; a missing last k is zero.
    /// x is rounded to bf16 too.
    Bf16(&'a [u32]),
    /// `[ceil(n / 32)]` panels, each of `[ceil(k / 4)][32]` words of four signed bytes, in which missing k are zero, then
    /// `[32]` scales as the bits of an f32, then `[32]` i32, the sum of an output's bytes. x is rounded to bytes too, each
    /// row with a step and a zero of its own.
    Int8(&'a [u32]),
}

impl Panels<'_> {
    /// Steps that a tile takes for k.
    fn depth(self, k: usize) -> usize {
        match self {
            Panels::F32(_) => k,
            Panels::Bf16(_) => k.div_ceil(Pairs::HELD),
            Panels::Int8(_) => k.div_ceil(Quads::HELD),
        }
    }

    /// Words of a panel's column.
    fn height(self, k: usize) -> usize {
        match self {
            Panels::F32(_) | Panels::Bf16(_) => self.depth(k),
            Panels::Int8(_) => self.depth(k) + int8::OF_OUTPUT,
        }
    }
}

/// `out[row, n] = f(sum_k x[row, k] * weight[n, k] + bias[n])`.
///
/// A row's bits depend on that row and the weights alone: not on the other rows or their number, the instruction set
/// or the threads. Only a weight in bf16 asks whether the instruction set has products of bf16. With one in int8 a row gives
/// NaN alone if it holds a NaN or an infinity, or its numbers lie further apart than a number can say; and it counts as
/// zeros if they and zero lie less than 2^-100 apart.
///
/// `out` holds rows of `n` numbers; there is a scratch for each of the threads that may work, of [`room`] numbers, or of
/// none for a weight in f32 at the price of speed.
///
/// # Panics
/// If a slice does not have the size that the others ask for.
pub fn linear<S: AsMut<[f32]> + Scratchpad>(
    isa: Isa,
    threads: &Threads,
    scratch: &mut [S],
    x: Matrix<'_>,
    weights: Weights<'_>,
    out: &mut [f32],
) {
    let panels = weights.n.div_ceil(PANEL);
    assert!(x.width == weights.k, "x has k columns");
    let stored = match weights.panels {
        Panels::F32(numbers) => numbers.len(),
        Panels::Bf16(words) | Panels::Int8(words) => words.len(),
    };
    let depth = weights.panels.depth(weights.k);
    let height = weights.panels.height(weights.k);
    assert!(stored == panels * height * PANEL, "the panels hold n x k weights");
    assert!(weights.bias.is_none_or(|bias| bias.len() == weights.n), "the bias has n numbers");
    let as_they_are = matches!(weights.panels, Panels::F32(_)) && !aliased(x.stride);
    let cut = cut(x.rows, panels, depth, threads.count().min(scratch.len()), as_they_are);
    threads.blocks(scratch, out, weights.n, cut, |scratch, block| {
        let scratch = scratch.as_mut();
        match weights.panels {
            Panels::F32(panels) => {
                let words = PhantomData::<Singles>;
                isa.run(Product { words, x, weights, panels, scratch, block });
            }
            Panels::Bf16(pairs) => {
                let (words, panels) = (PhantomData::<Pairs>, bytemuck::cast_slice(pairs));
                isa.run_dots(Product { words, x, weights, panels, scratch, block });
            }
            Panels::Int8(quads) => {
                let (words, panels) = (PhantomData::<Quads>, bytemuck::cast_slice(quads));
                isa.run_quads(Product { words, x, weights, panels, scratch, block });
            }
        }
    });
}

/// The numbers of scratch that each thread of a linear of at most `rows` rows by `k` asks for; `None` if they can't be
/// counted.
pub fn room(rows: usize, k: usize) -> Option<usize> {
    // A matrix unit reads whole tiles of rows, whatever the missing ones hold.
    let of = |depth, gathered| {
        rows.min(most_rows(depth)).checked_next_multiple_of(SIDE)?.checked_mul(stride(gathered)?)
    };
    let (pairs, quads) = (k.div_ceil(Pairs::HELD), k.div_ceil(Quads::HELD));
    Some(of(k, k)?.max(of(pairs, pairs)?).max(of(quads, gathered::<Quads>(k))?))
}

/// Words of a gathered row.
fn gathered<W: Words>(k: usize) -> usize {
    k.div_ceil(W::HELD) + if W::HELD == Quads::HELD { int8::OF_ROW } else { 0 }
}

/// From one gathered row to the next: whole cache lines, an odd number of them.
fn stride(depth: usize) -> Option<usize> {
    const LINE: usize = 64 / size_of::<f32>();
    (depth.div_ceil(LINE) | 1).checked_mul(LINE)
}

/// The most rows of a block, each of so many words.
fn most_rows(depth: usize) -> usize {
    /// Of a band of x.
    const MOST_BYTES: usize = 384 << 10;
    /// Rows of the tallest tile of vectors.
    const TILE: usize = 12;
    /// Whole tiles, of vectors and of a matrix unit.
    const TILES: usize = 3 * MOST_ROWS;
    const { assert!(TILES.is_multiple_of(TILE), "both divide it") };
    let fit = (MOST_BYTES / (depth.max(1) * size_of::<f32>())).clamp(4 * TILE, 2 * TILES);
    let step = if fit < TILES { TILE } else { TILES };
    fit / step * step
}

/// Bands of rows few enough to stay in the second-level cache beside a panel, and enough blocks to keep all threads
/// busy to the end, none of them too small to be worth handing over. Rows that are gathered are gathered for each band of
/// columns, so there are fewer of those than of rows that are read where they lie.
fn cut(
    rows: usize,
    panels: usize,
    depth: usize,
    threads: usize,
    as_they_are: bool,
) -> Cut<'static> {
    /// Multiplications of a block, of words: a few microseconds of them.
    const LEAST: usize = 1 << 19;
    let step = rows.clamp(1, most_rows(depth));
    let bands = rows.div_ceil(step).max(1);
    let wanted = if threads > 1 {
        let work = rows.saturating_mul(depth).saturating_mul(panels * PANEL);
        let most = if as_they_are { 64 } else { 16 };
        (work / LEAST).min(most * threads)
    } else {
        1
    };
    let column_bands = wanted.div_ceil(bands).clamp(1, panels.max(1));
    let columns = panels.div_ceil(column_bands).max(1) * PANEL;
    Cut { rows: Bands::Every { rows, step }, columns }
}

/// One block of the result.
struct Product<'a, 'b, W> {
    /// What the weight's words hold.
    words: PhantomData<W>,
    x: Matrix<'a>,
    weights: Weights<'a>,
    panels: &'a [f32],
    scratch: &'a mut [f32],
    block: &'a mut Block<'b>,
}

/// Rows that lie a multiple of this many numbers apart share lines of the first-level cache.
const ALIASED: usize = 4096 / size_of::<f32>();

/// Whether rows so far apart share lines.
fn aliased(stride: usize) -> bool {
    stride.is_multiple_of(ALIASED)
}

/// The block's rows as the tile reads them: gathered in scratch, or where they lie.
#[inline(always)]
fn gather<'s, V: Simd, W: Words>(
    x: Matrix<'s>,
    rows: Range<usize>,
    scratch: &'s mut [f32],
) -> (&'s [f32], usize) {
    let as_they_are = W::HELD == Singles::HELD;
    let width = gathered::<W>(x.width);
    let stride = stride(width).expect("x is in memory, and a row of it gathered is hardly longer");
    let fits = rows.len().checked_mul(stride).is_some_and(|n| n <= scratch.len());
    assert!(fits || as_they_are, "the scratch holds the rows of a block");
    if as_they_are && (!fits || !aliased(x.stride) || rows.len() == 1) {
        return (x.starting_at(rows.start), x.stride);
    }
    if stride > 0 {
        for (row, out) in rows.zip(scratch.chunks_exact_mut(stride)) {
            let out = &mut out[..width];
            match W::HELD {
                Singles::HELD => out.copy_from_slice(x.row(row)),
                Pairs::HELD => V::round(x.row(row), bytemuck::cast_slice_mut(out)),
                _ => int8::quantize(x.row(row), out),
            }
        }
    }
    (scratch, stride)
}

/// A tile of the result, where the epilogue finds it in the first-level cache.
#[repr(align(64))]
struct Tile([f32; MOST_ROWS * PANEL]);

impl<W: Words> Body for Product<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Product { words: _, x, weights, panels, scratch, block } = self;
        let Weights { n, k, panels: _, bias, epilogue } = weights;
        let (depth, height) = (weights.panels.depth(k), weights.panels.height(k));
        let mut tile = Tile([0.0; MOST_ROWS * PANEL]);
        let (rows, columns) = (block.rows.clone(), block.columns.clone());
        let (data, stride) = gather::<V, W>(x, rows.clone(), scratch);
        let most_rows = gemm::most_rows::<V, W>();
        let tiles = rows.len().div_ceil(most_rows);
        for first in columns.clone().step_by(PANEL) {
            let panel = &panels[first / PANEL * (height * PANEL)..][..height * PANEL];
            let (panel, ending) = panel.split_at(depth * PANEL);
            let width = PANEL.min(n - first);
            let mut addend = [0.0; PANEL];
            if let Some(bias) = bias {
                addend[..width].copy_from_slice(&bias[first..first + width]);
            }
            for t in 0..tiles {
                // Tiles of nearly equal height: a short last one would leave the fma units waiting for each other. A
                // matrix unit takes as long for a few rows as for many.
                let from = |t| {
                    let even = rows.len() * t / tiles;
                    rows.start
                        + if most_rows > V::ROWS { rows.len().min(t * most_rows) } else { even }
                };
                let (top, end) = (from(t), from(t + 1));
                let tile = &mut tile.0[..(end - top) * PANEL];
                let data = &data[(top - rows.start) * stride..];
                let left = Left::Rows { data, stride };
                gemm::multiply_by::<V, W>(left, panel, PANEL, end - top, depth, tile);
                if W::HELD == Quads::HELD {
                    int8::finish(tile, data, stride, depth, ending);
                }
                if bias.is_some() {
                    gemm::add_to_rows::<V>(tile, &addend);
                }
                for function in epilogue {
                    math::unary(*function, tile);
                }
                let start = first - columns.start;
                for (row, tile) in (top..end).zip(tile.as_chunks::<PANEL>().0) {
                    let out = &mut block.row(row)[start..start + width];
                    // A copy of a known size takes two stores rather than a call.
                    match out.first_chunk_mut() {
                        Some(out) => *out = *tile,
                        None => out.copy_from_slice(&tile[..width]),
                    }
                }
            }
        }
    }
}

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, n: usize, k: usize, bias: bool, epilogue: &[UnaryFn]) {
    let operands = args.operands();
    let weights = weights(&operands, n, k, bias, epilogue);
    linear(args.isa, args.threads, args.scratch, operands.matrix(0), weights, args.out);
}

/// The numbers of a step's linear, whose weight is operand 1 and whose bias, if any, operand 2.
pub(super) fn weights<'a>(
    operands: &Operands<'a>,
    n: usize,
    k: usize,
    bias: bool,
    epilogue: &'a [UnaryFn],
) -> Weights<'a> {
    let bias = bias.then(|| operands.weight(2));
    let panels = match operands.dtype(1) {
        DType::Bf16 => Panels::Bf16(operands.words(1)),
        DType::I8 => Panels::Int8(operands.words(1)),
        _ => Panels::F32(operands.weight(1)),
    };
    Weights { n, k, panels, bias, epilogue }
}
