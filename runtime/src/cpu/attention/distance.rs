//! What attention adds to its scores by the distance of query and key.

use bytec_plan::attention::Bias;

use super::super::args::Operands;
use super::super::gemm::{self, Left, PANEL};
use super::super::isa::Simd;
use super::super::isa::tiles::SIDE;
use super::super::matrix::Matrix;
use super::pack::put_rows;
use super::take;
use super::window::Window;

/// Where a panel of scores lies in its sample: scores `[keys][32]`, queries side by side.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The row of the first query.
    pub(super) query: usize,
    /// How many queries; the panel's others are of no account.
    pub(super) queries: usize,
    /// The row of the first key.
    pub(super) key: usize,
}

impl Place {
    /// The distance of the panel's first query from its key `j`.
    #[inline(always)]
    fn distance(self, j: usize) -> i64 {
        self.query as i64 - (self.key + j) as i64
    }
}

/// The bias of one head.
#[derive(Clone, Copy)]
pub(super) enum Distance<'a> {
    None,
    /// `-slope * |distance|`
    Alibi(f32),
    /// One number for each distance `-reach..=reach`.
    Relative(&'a [f32]),
    Disentangled(Terms<'a>),
}

/// Rows of tables by distance.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// The row of each distance `-reach..=reach`.
    index: &'a [i32],
    rows: usize,
    keys: Option<Matrix<'a>>,
    queries: Option<Matrix<'a>>,
}

/// The numbers of scratch of a disentangled bias with tables of so many rows, whose panel has `panel` numbers: the
/// products of one term at a time, and the keys of one panel.
pub(super) fn scratch(rows: usize, panel: usize) -> Option<usize> {
    rows.checked_mul(PANEL)?.checked_add(panel)
}

impl<'a> Distance<'a> {
    pub(super) fn new(
        bias: &Bias,
        operands: &Operands<'a>,
        head: usize,
        head_size: usize,
    ) -> Distance<'a> {
        match bias {
            Bias::None => Distance::None,
            Bias::Alibi { slopes } => Distance::Alibi(slopes[head]),
            Bias::Relative { .. } => {
                let table = operands.table(3);
                Distance::Relative(table.row(head))
            }
            Bias::Disentangled { reach: _, c2p, p2c } => {
                let table = |there: bool, operand| {
                    there.then(|| operands.table(operand).columns(head * head_size, head_size))
                };
                let keys = table(*c2p, 4);
                let queries = table(*p2c, 4 + usize::from(*c2p));
                let rows = keys.or(queries).map_or(0, |table| table.rows);
                Distance::Disentangled(Terms { index: operands.integers(3), rows, keys, queries })
            }
        }
    }

    /// Adds the products with the tables, before the scale. `panel` holds the queries, `k` the scores' keys.
    #[inline(always)]
    pub(super) fn terms<V: Simd>(
        &self,
        scores: &mut [f32],
        place: Place,
        panel: &[f32],
        k: Matrix<'_>,
        scratch: &mut [f32],
    ) {
        let Distance::Disentangled(terms) = self else { return };
        let mut rest = scratch;
        let products = take(&mut rest, terms.rows * PANEL);
        let columns = take(&mut rest, panel.len());
        if let Some(keys) = terms.keys {
            terms.content_to_position::<V>(keys, scores, place, panel, products);
        }
        if let Some(queries) = terms.queries {
            terms.position_to_content::<V>(queries, scores, place, k, columns, products);
        }
    }

    /// Scales the scores, adds what comes after the scale and takes away what the mask hides; gives the scale that is
    /// left to be done.
    #[inline(always)]
    pub(super) fn finish(
        &self,
        scores: &mut [f32],
        place: Place,
        scale: f32,
        window: Window,
    ) -> f32 {
        let added = matches!(self, Distance::Alibi(_) | Distance::Relative(_));
        if !added && window.is_all() {
            return scale;
        }
        let queries = place.query..place.query + place.queries;
        for (j, row) in scores.chunks_exact_mut(PANEL).enumerate() {
            let first = place.distance(j);
            match self {
                Distance::None | Distance::Disentangled(_) => {
                    row.iter_mut().for_each(|x| *x *= scale);
                }
                Distance::Alibi(slope) => {
                    for (i, x) in row.iter_mut().enumerate() {
                        let distance = (first + i as i64).unsigned_abs() as f32;
                        *x = x.mul_add(scale, -(slope * distance));
                    }
                }
                Distance::Relative(table) => {
                    let reach = (table.len() / 2) as i64;
                    // All inside of the table: 32 numbers side by side.
                    if first >= -reach && first + PANEL as i64 - 1 <= reach {
                        let table = &table[(first + reach) as usize..][..PANEL];
                        for (x, bias) in row.iter_mut().zip(table) {
                            *x = x.mul_add(scale, *bias);
                        }
                    } else {
                        for (i, x) in row.iter_mut().enumerate() {
                            let distance = (first + i as i64).clamp(-reach, reach);
                            *x = x.mul_add(scale, table[(distance + reach) as usize]);
                        }
                    }
                }
            }
            let key = place.key + j;
            if !window.open(&queries, key) {
                for (i, x) in row.iter_mut().enumerate() {
                    if !window.sees(place.query + i, key) {
                        *x = f32::NEG_INFINITY;
                    }
                }
            }
        }
        1.0
    }
}

impl Terms<'_> {
    /// The row of a distance.
    #[inline(always)]
    fn row(&self, distance: i64) -> usize {
        let reach = (self.index.len() / 2) as i64;
        let at = (distance.clamp(-reach, reach) + reach) as usize;
        // A plan's check does not read the index.
        (self.index[at] as u32 as usize).min(self.rows - 1)
    }

    /// The first row and the count of rows that the distances `low..=high` name.
    #[inline(always)]
    fn span(&self, low: i64, high: i64) -> (usize, usize) {
        let reach = (self.index.len() / 2) as i64;
        let (mut least, mut most) = (usize::MAX, 0);
        for distance in low.clamp(-reach, reach)..=high.clamp(-reach, reach) {
            let row = self.row(distance);
            (least, most) = (least.min(row), most.max(row));
        }
        (least, most - least + 1)
    }

    /// `products[r][c] = table[first + r] . panel[c]`
    #[inline(always)]
    fn products<V: Simd>(
        table: Matrix<'_>,
        (first, count): (usize, usize),
        panel: &[f32],
        products: &mut [f32],
    ) {
        for r in (0..count).step_by(V::ROWS) {
            let rows = V::ROWS.min(count - r);
            let left = Left::Rows { data: table.starting_at(first + r), stride: table.stride };
            let out = &mut products[r * PANEL..][..rows * PANEL];
            gemm::multiply::<V>(left, panel, PANEL, rows, table.width, out);
        }
    }

    /// Adds `q_i . keys[row(i - j)]`: one product of the panel with the rows that any of its distances names.
    #[inline(always)]
    fn content_to_position<V: Simd>(
        &self,
        keys: Matrix<'_>,
        scores: &mut [f32],
        place: Place,
        panel: &[f32],
        products: &mut [f32],
    ) {
        let count = scores.len() / PANEL;
        if count == 0 {
            return;
        }
        let span = self.span(place.distance(count - 1), place.distance(0) + PANEL as i64 - 1);
        Self::products::<V>(keys, span, panel, products);
        for (j, scores) in scores.chunks_exact_mut(PANEL).enumerate() {
            let first = place.distance(j);
            for (i, x) in scores.iter_mut().enumerate() {
                *x += products[(self.row(first + i as i64) - span.0) * PANEL + i];
            }
        }
    }

    /// Adds `k_j . queries[row(i - j)]`: for 32 keys at a time, the product of the rows that their distances name.
    #[inline(always)]
    fn position_to_content<V: Simd>(
        &self,
        queries: Matrix<'_>,
        scores: &mut [f32],
        place: Place,
        k: Matrix<'_>,
        columns: &mut [f32],
        products: &mut [f32],
    ) {
        for first in (0..k.rows).step_by(PANEL) {
            let count = PANEL.min(k.rows - first);
            for top in (0..PANEL).step_by(SIDE) {
                let start = count.min(top);
                put_rows::<V, false>(
                    k.rows(first + start..first + count.min(top + SIDE)),
                    top,
                    columns,
                );
            }
            let span = self
                .span(place.distance(first + count - 1), place.distance(first) + PANEL as i64 - 1);
            Self::products::<V>(queries, span, columns, products);
            let scores = scores[first * PANEL..].chunks_exact_mut(PANEL);
            for (j, scores) in scores.take(count).enumerate() {
                let distance = place.distance(first + j);
                for (i, x) in scores.iter_mut().enumerate() {
                    *x += products[(self.row(distance + i as i64) - span.0) * PANEL + j];
                }
            }
        }
    }
}
