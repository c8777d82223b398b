//! Attention of each sample and head over the sample's own rows.
//!
//! A task has one head of one sample and up to [`BAND`] of its queries, taken 32 at a time: their transpose is the
//! panel, so that a key's scores for all 32 lie side by side. Softmax then needs no sum across a vector, and a query's
//! bits depend on the query and the sample's keys and values alone, each taken in ascending order.
//!
//! In a program whose products are of bf16, on a processor with the instruction for them, queries, keys, values and what
//! the softmax gives are rounded to bf16 before they are multiplied, and the keys of the second product go by two.
//!
//! A mask narrows the keys of a panel to those that one of its queries sees. What depends on the distance is added to a
//! panel's scores before the softmax; nothing is ever as large as queries times keys.

mod distance;
mod pack;
mod window;

use bytec_plan::attention::{Band, Bias, Rotary};
use bytec_plan::program::{DType, Program, Step};

use self::distance::{Distance, Place};
use self::pack::{pack_values, pair_rows, put_rows};
use self::window::Window;
use super::args::{self, Args};
use super::gemm::{self, Left, MOST_ROWS, PANEL, Pairs};
use super::isa::tiles::SIDE;
use super::isa::{self, Body, Isa, Simd};
use super::math;
use super::matrix::Matrix;
use super::rotary::Turns;
use super::threads::{Bands, Block, Cut};
use crate::arena;
use crate::batch::{Offsets, PackedBatch};

/// The most queries of a task.
const BAND: usize = 128;

/// Partial sums of the softmax: key `j` goes to sum `j % SUMS`.
const SUMS: usize = 4;

/// What of the options needs memory.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) bias: &'a Bias,
    pub(super) rotary: bool,
    pub(super) isa: Isa,
}

/// Whether products are of bf16: those with tables by distance are not.
fn dots(program: &Program, bias: &Bias, isa: Isa) -> bool {
    let plain = !matches!(bias, Bias::Disentangled { .. });
    plain && isa.has_bf16() && program.arithmetic() == DType::Bf16
}

/// The numbers of scratch that a task needs: a panel of queries, scores of one panel against all keys, the values as
/// panels if a head is not a whole number of them, and what the options ask for; of bf16 keys and values as pairs.
pub(super) fn scratch(
    head_size: usize,
    options: Asked<'_>,
    step: &Step,
    program: &Program,
    batch: &PackedBatch,
) -> Option<usize> {
    let keys = arena::size_class(batch.most_rows(args::rows(program, step, 1)))?;
    let columns = padded(head_size)?;
    let panel = head_size.checked_mul(PANEL)?;
    let values = if dots(program, options.bias, options.isa) {
        let pairs = head_size.div_ceil(2);
        keys.div_ceil(2).checked_mul(columns)?.checked_add(keys.checked_mul(pairs)?)?
    } else if columns == head_size {
        0
    } else {
        keys.checked_mul(columns)?
    };
    // Keys and some queries, turned.
    let turned = if options.rotary { keys.checked_add(SIDE)?.checked_mul(head_size)? } else { 0 };
    let terms = match options.bias {
        Bias::Disentangled { .. } => {
            let (rows, _) = args::table_size(program, step, 4);
            distance::scratch(rows, panel)?
        }
        Bias::None | Bias::Alibi { .. } | Bias::Relative { .. } => 0,
    };
    let parts = [panel, values, turned, terms];
    parts.iter().try_fold(keys.checked_mul(PANEL)?, |sum, part| sum.checked_add(*part))
}

/// The most bands that a step's queries are cut into, for any batch of this one's size class.
pub(super) fn bands_at_most(step: &Step, program: &Program, batch: &PackedBatch) -> Option<usize> {
    let rows = arena::size_class(batch.rows(args::rows(program, step, 0)))?;
    (rows / BAND).checked_add(arena::size_class(batch.len())?)
}

/// A head's columns, filled up to whole panels.
fn padded(head_size: usize) -> Option<usize> {
    head_size.checked_next_multiple_of(PANEL)
}

/// How a row is shared out.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    /// Columns of a head.
    pub(super) size: usize,
    /// How many heads of queries share one of keys and values.
    pub(super) group: usize,
}

/// Runs a step of this kernel.
pub(super) fn run(
    args: Args<'_>,
    heads: Heads,
    scale: f32,
    mask: Band,
    bias: &Bias,
    rotary: Option<Rotary>,
) {
    let Heads { size: head_size, group } = heads;
    let operands = args.operands();
    let (q, k, v) = (operands.matrix(0), operands.matrix(1), operands.matrix(2));
    let (queries, keys) = (operands.offsets(0), operands.offsets(1));
    let window = Window::new(mask);
    let turns = rotary.map(|rotary| Turns::new(rotary, &operands, 3 + bias.operands()));
    bands(queries, args.batch.len(), args.bounds, args.owners);
    let owners = &*args.owners;
    let dots = dots(args.program, bias, args.isa);
    let cut = Cut { rows: Bands::At(args.bounds), columns: head_size };
    args.threads.blocks(args.scratch, args.out, args.width, cut, |scratch, block| {
        let (sample, column) = (owners[block.band], block.columns.start);
        let (start, keys) = (queries.range(sample).start, keys.range(sample));
        // Nothing outside of the window is read, so a long sample costs what its band holds.
        let seen = window.keys(block.rows.start - start..block.rows.end - start, keys.len());
        let rows = keys.start + seen.start..keys.start + seen.end;
        let head = column / head_size;
        let shared = head / group * head_size;
        let head = Head::<false> {
            q: q.columns(column, head_size),
            k: k.columns(shared, head_size).rows(rows.clone()),
            v: v.columns(shared, head_size).rows(rows),
            start,
            first_key: seen.start,
            scale,
            window,
            bias: Distance::new(bias, &operands, head, head_size),
            turns,
            scratch: scratch.numbers(),
            block,
        };
        if dots {
            args.isa.run_dots(head.of_pairs());
        } else {
            args.isa.run(head);
        }
    });
}

/// Cuts every sample's queries into bands of up to [`BAND`] rows.
fn bands(queries: Offsets<'_>, samples: usize, bounds: &mut Vec<usize>, owners: &mut Vec<usize>) {
    bounds.clear();
    owners.clear();
    bounds.push(0);
    for sample in 0..samples {
        let rows = queries.range(sample);
        let mut row = rows.start;
        while row < rows.end {
            row = rows.end.min(row + BAND);
            bounds.push(row);
            owners.push(sample);
        }
    }
}

/// A task; its products of bf16 if `DOT`.
struct Head<'a, 'b, const DOT: bool> {
    q: Matrix<'a>,
    /// The keys and values that any of the block's queries sees.
    k: Matrix<'a>,
    v: Matrix<'a>,
    /// The packed row of the sample's first query.
    start: usize,
    /// The row in its sample of the first key.
    first_key: usize,
    scale: f32,
    window: Window,
    bias: Distance<'a>,
    turns: Option<Turns<'a>>,
    scratch: &'a mut [f32],
    block: &'a mut Block<'b>,
}

/// The first numbers of what is left of the scratch.
#[inline(always)]
fn take<'s>(rest: &mut &'s mut [f32], numbers: usize) -> &'s mut [f32] {
    let (taken, left) = std::mem::take(rest).split_at_mut(numbers);
    *rest = left;
    taken
}

impl<'a, 'b> Head<'a, 'b, false> {
    /// The same with products of bf16.
    fn of_pairs(self) -> Head<'a, 'b, true> {
        let Head { q, k, v, start, first_key, scale, window, bias, turns, scratch, block } = self;
        Head { q, k, v, start, first_key, scale, window, bias, turns, scratch, block }
    }
}

impl<const DOT: bool> Body for Head<'_, '_, DOT> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Head { q, k, v, start, first_key, scale, window, bias, turns, scratch, block } = self;
        let (all, size) = (k.rows, k.width);
        // Rows lie far apart, so that a processor does not foresee the next.
        for row in block.rows.clone() {
            isa::prefetch(q.row(row));
        }
        for row in 0..all {
            isa::prefetch(k.row(row));
        }
        for row in 0..all {
            isa::prefetch(v.row(row));
        }
        // Numbers of a row, or pairs of them, and rows of the values, or pairs of them.
        let (depth, steps) = if DOT { (size.div_ceil(2), all.div_ceil(2)) } else { (size, all) };
        let mut rest = scratch;
        let panel = take(&mut rest, depth * PANEL);
        let all_scores = take(&mut rest, all * PANEL);
        let columns = size.next_multiple_of(PANEL);
        let packed = DOT || columns != size;
        let values = take(&mut rest, if packed { columns * steps } else { 0 });
        if packed {
            pack_values::<V, DOT>(v, values);
        }
        let turned = take(&mut rest, if turns.is_some() { (all + SIDE) * size } else { 0 });
        let (turned_queries, turned_keys) = turned.split_at_mut(turned.len().min(SIDE * size));
        let k = match turns {
            Some(turns) => {
                for (j, out) in turned_keys.chunks_exact_mut(size).enumerate() {
                    turns.turn(k.row(j), first_key + j, out);
                }
                Matrix::new(turned_keys, all, size, 0, size)
            }
            None => k,
        };
        let key_pairs = take(&mut rest, if DOT { all * depth } else { 0 });
        let keys_left = if DOT {
            for (j, out) in key_pairs.chunks_exact_mut(depth).enumerate() {
                V::round(k.row(j), bytemuck::cast_slice_mut(out));
            }
            Matrix::new(key_pairs, all, depth, 0, depth)
        } else {
            k
        };
        let mut tile = [0.0; MOST_ROWS * PANEL];
        for first in block.rows.clone().step_by(PANEL) {
            let queries = PANEL.min(block.rows.end - first);
            let query = first - start;
            for top in (0..PANEL).step_by(SIDE) {
                let count = queries.saturating_sub(top).min(SIDE);
                let rows = q.rows(first + queries.min(top)..first + queries.min(top) + count);
                let rows = match turns {
                    Some(turns) => {
                        for (i, out) in
                            turned_queries.chunks_exact_mut(size).enumerate().take(count)
                        {
                            turns.turn(rows.row(i), query + top + i, out);
                        }
                        Matrix::new(turned_queries, count, size, 0, size)
                    }
                    None => rows,
                };
                put_rows::<V, DOT>(rows, top, panel);
            }
            let seen = window.keys(query..query + queries, first_key + all);
            let (low, keys) = (seen.start - first_key, seen.len());
            let scores = &mut all_scores[..keys * PANEL];
            let most_rows = if DOT { gemm::most_rows::<V, Pairs>() } else { V::ROWS };
            for j in (0..keys).step_by(most_rows) {
                let rows = most_rows.min(keys - j);
                let left =
                    Left::Rows { data: keys_left.starting_at(low + j), stride: keys_left.stride };
                let scores = &mut scores[j * PANEL..][..rows * PANEL];
                multiply::<V, DOT>(left, panel, PANEL, rows, depth, scores);
            }
            let place = Place { query, queries, key: seen.start };
            if !DOT {
                bias.terms::<V>(scores, place, panel, k.rows(low..low + keys), rest);
            }
            let scale = bias.finish(scores, place, scale, window);
            let sums = softmax(scores, scale);
            // The first of the values' rows, or pairs of rows, and how many.
            let (low, steps_seen) =
                if DOT { (low / 2, pair_rows::<V>(scores, low % 2 == 1)) } else { (low, keys) };
            for column in (0..size).step_by(PANEL) {
                let width = PANEL.min(size - column);
                let (right, stride) = if packed {
                    (&values[column * steps + low * PANEL..][..steps_seen * PANEL], PANEL)
                } else {
                    (if keys == 0 { &[][..] } else { &v.starting_at(low)[column..] }, v.stride)
                };
                let tiles = queries.div_ceil(most_rows);
                for t in 0..tiles {
                    let (top, end) = (queries * t / tiles, queries * (t + 1) / tiles);
                    let left = Left::Panel(scores.get(top..).unwrap_or(&[]));
                    let rows = end - top;
                    multiply::<V, DOT>(left, right, stride, rows, steps_seen, &mut tile);
                    for (query, tile) in (top..end).zip(tile.chunks_exact(PANEL)) {
                        let out = &mut block.row(first + query)[column..column + width];
                        for (out, x) in out.iter_mut().zip(tile) {
                            *out = *x / sums[query];
                        }
                    }
                }
            }
        }
    }
}

/// A product of numbers, or of pairs of bf16 if `DOT`.
#[inline(always)]
fn multiply<V: Simd, const DOT: bool>(
    left: Left<'_>,
    right: &[f32],
    right_stride: usize,
    rows: usize,
    k: usize,
    out: &mut [f32],
) {
    if DOT {
        gemm::multiply_by::<V, Pairs>(left, right, right_stride, rows, k, out);
    } else {
        gemm::multiply::<V>(left, right, right_stride, rows, k, out);
    }
}

/// Replaces scores `[keys][32]` by `e^(scale * score - largest)`, as powers of two, and gives their sums for each of the 32
/// queries.
#[inline(always)]
fn softmax(scores: &mut [f32], scale: f32) -> [f32; PANEL] {
    let scale = scale * std::f32::consts::LOG2_E;
    // A NaN is passed over here but not below: it makes its query NaN, as it should.
    let mut largest = [f32::NEG_INFINITY; PANEL];
    for row in scores.chunks_exact_mut(PANEL) {
        for (x, largest) in row.iter_mut().zip(&mut largest) {
            *x *= scale;
            *largest = if *x > *largest { *x } else { *largest };
        }
    }
    let mut sums = [[0.0f32; PANEL]; SUMS];
    for (j, row) in scores.chunks_exact_mut(PANEL).enumerate() {
        let sums = &mut sums[j % SUMS];
        for ((x, largest), sum) in row.iter_mut().zip(&largest).zip(sums) {
            *x = math::power(*x - *largest);
            *sum += *x;
        }
    }
    let mut total = [0.0; PANEL];
    for (i, total) in total.iter_mut().enumerate() {
        *total = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
    }
    total
}
