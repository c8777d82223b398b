//! Attention of each sample and head over the sample's own rows.
//!
//! A task has one head of one sample and up to [`BAND`] of its queries, taken 32 at a time: their transpose is the
//! panel, so that a key's scores for all 32 lie side by side. Softmax then needs no sum across a vector, and a query's
//! bits depend on the query and the sample's keys and values alone, each taken in ascending order.

use bytec_plan::program::{Program, Step};

use super::args::{self, Args};
use super::gemm::{self, Left, MOST_ROWS, PANEL};
use super::isa::{Body, Simd};
use super::math;
use super::matrix::Matrix;
use super::threads::{Bands, Block, Cut};
use crate::arena;
use crate::batch::{Offsets, PackedBatch};

/// The most queries of a task.
const BAND: usize = 128;

/// Partial sums of the softmax: key `j` goes to sum `j % SUMS`.
const SUMS: usize = 4;

/// The numbers of scratch that a task needs: a panel of queries, scores of one panel against all keys, and the values as
/// panels if a head is not a whole number of them.
pub(super) fn scratch(
    head_size: usize,
    step: &Step,
    program: &Program,
    batch: &PackedBatch,
) -> Option<usize> {
    let keys = arena::size_class(batch.most_rows(args::rows(program, step, 1)))?;
    let columns = padded(head_size)?;
    let values = if columns == head_size { 0 } else { keys.checked_mul(columns)? };
    keys.checked_mul(PANEL)?.checked_add(head_size.checked_mul(PANEL)?)?.checked_add(values)
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

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, head_size: usize, scale: f32) {
    let operands = args.operands();
    let (q, k, v) = (operands.matrix(0), operands.matrix(1), operands.matrix(2));
    let (queries, keys) = (operands.offsets(0), operands.offsets(1));
    bands(queries, args.batch.len(), args.bounds, args.owners);
    let owners = &*args.owners;
    let cut = Cut { rows: Bands::At(args.bounds), columns: head_size };
    args.threads.blocks(args.scratch, args.out, args.width, cut, |scratch, block| {
        let keys = keys.range(owners[block.band]);
        let head = block.columns.start;
        let (q, k, v) =
            (q.columns(head, head_size), k.columns(head, head_size), v.columns(head, head_size));
        let (k, v) = (k.rows(keys.clone()), v.rows(keys));
        args.isa.run(Head { q, k, v, scale, scratch: scratch.numbers(), block });
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

struct Head<'a, 'b> {
    q: Matrix<'a>,
    k: Matrix<'a>,
    v: Matrix<'a>,
    scale: f32,
    scratch: &'a mut [f32],
    block: &'a mut Block<'b>,
}

impl Body for Head<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Head { q, k, v, scale, scratch, block } = self;
        let (keys, size) = (k.rows, k.width);
        let (panel, rest) = scratch.split_at_mut(size * PANEL);
        let (scores, rest) = rest.split_at_mut(keys * PANEL);
        let columns = size.next_multiple_of(PANEL);
        let whole = columns == size;
        if !whole {
            pack_values(v, &mut rest[..columns * keys]);
        }
        let mut tile = [0.0; MOST_ROWS * PANEL];
        for first in block.rows.clone().step_by(PANEL) {
            let queries = PANEL.min(block.rows.end - first);
            pack_queries(q, first, queries, panel);
            for j in (0..keys).step_by(V::ROWS) {
                let rows = V::ROWS.min(keys - j);
                let left = Left::Rows { data: k.starting_at(j), stride: k.stride };
                gemm::multiply::<V>(
                    left,
                    panel,
                    PANEL,
                    rows,
                    size,
                    &mut scores[j * PANEL..][..rows * PANEL],
                );
            }
            let sums = softmax(scores, scale);
            for column in (0..size).step_by(PANEL) {
                let width = PANEL.min(size - column);
                let (right, stride) = if whole {
                    (if keys == 0 { &[][..] } else { &v.starting_at(0)[column..] }, v.stride)
                } else {
                    (&rest[column * keys..][..keys * PANEL], PANEL)
                };
                let tiles = queries.div_ceil(V::ROWS);
                for t in 0..tiles {
                    let (top, end) = (queries * t / tiles, queries * (t + 1) / tiles);
                    let left = Left::Panel(scores.get(top..).unwrap_or(&[]));
                    gemm::multiply::<V>(left, right, stride, end - top, keys, &mut tile);
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

/// The transpose of up to 32 queries; missing ones are zero.
#[inline(always)]
fn pack_queries(q: Matrix<'_>, first: usize, queries: usize, panel: &mut [f32]) {
    if queries < PANEL {
        panel.fill(0.0);
    }
    for i in 0..queries {
        for (x, out) in q.row(first + i).iter().zip(panel.chunks_exact_mut(PANEL)) {
            out[i] = *x;
        }
    }
}

/// The values as panels of 32 columns, missing columns zero.
#[inline(always)]
fn pack_values(v: Matrix<'_>, panels: &mut [f32]) {
    for (p, panel) in panels.chunks_exact_mut((v.rows * PANEL).max(1)).enumerate() {
        let first = p * PANEL;
        let width = PANEL.min(v.width - first);
        for (j, out) in panel.chunks_exact_mut(PANEL).enumerate() {
            out[..width].copy_from_slice(&v.row(j)[first..first + width]);
            out[width..].fill(0.0);
        }
    }
}

/// Replaces scores `[keys][32]` by `e^(scale * score - largest)` and gives their sums for each of the 32 queries.
#[inline(always)]
fn softmax(scores: &mut [f32], scale: f32) -> [f32; PANEL] {
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
            *x = math::exp(*x - *largest);
            *sum += *x;
        }
    }
    let mut total = [0.0; PANEL];
    for (i, total) in total.iter_mut().enumerate() {
        *total = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
    }
    total
}
