//! Attention with all its options, the scores of one query at a time.

use super::Rounding;
use super::op::{dot, softmax};
use crate::attention::{Band, Bias, Rotary};

/// How the columns of a row are shared out.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    pub(super) size: usize,
}

impl Heads {
    fn width(self) -> usize {
        self.count * self.size
    }

    /// Every head of every row turned by the row's number.
    pub(super) fn turned(self, x: &[f64], rotary: &Rotary) -> Vec<f64> {
        let mut out = x.to_vec();
        for (row, x) in out.chunks_mut(self.width()).enumerate() {
            for head in x.chunks_mut(self.size) {
                for pair in 0..rotary.dims / 2 {
                    let (sin, cos) = (row as f64 * rotary.frequency(pair)).sin_cos();
                    let [a, b] = rotary.columns(pair);
                    (head[a], head[b]) =
                        (head[a] * cos - head[b] * sin, head[b] * cos + head[a] * sin);
                }
            }
        }
        out
    }
}

/// Attention by its attributes. The rounding is that of the ops that it stands for: rotation, each product, scale, each
/// sum and softmax.
pub(super) struct Attention<'a> {
    pub(super) heads: Heads,
    /// Heads of q for each of k and v.
    pub(super) group: usize,
    pub(super) scale: f64,
    pub(super) mask: Band,
    pub(super) bias: &'a Bias,
    pub(super) rotary: Option<Rotary>,
    pub(super) rounding: Rounding,
}

impl Attention<'_> {
    /// The result for q, k, v and the tables.
    pub(super) fn run(&self, xs: &[&[f64]]) -> Vec<f64> {
        let width = self.heads.width();
        let shared = Heads { count: self.heads.count / self.group, ..self.heads };
        let turned = |x: &[f64], heads: Heads| match &self.rotary {
            Some(rotary) => {
                let turned = heads.turned(x, rotary);
                turned.into_iter().map(|x| self.rounding.round(x)).collect()
            }
            None => x.to_vec(),
        };
        let (q, k, v) = (turned(xs[0], self.heads), turned(xs[1], shared), xs[2]);
        let keys_width = shared.width();
        let mut out = vec![0.0; q.len()];
        for (i, q) in q.chunks(width).enumerate() {
            for head in 0..self.heads.count {
                let first = head * self.heads.size;
                let columns = first..first + self.heads.size;
                let own = head / self.group * self.heads.size;
                let count = k.len() / keys_width;
                let seen: Vec<_> = (0..count).filter(|&j| self.mask.sees(i, j)).collect();
                let scores = seen.iter().map(|&j| {
                    let k = &k[j * keys_width + own..][..self.heads.size];
                    self.score(head, [i, j], &q[columns.clone()], k, &xs[3..])
                });
                let mut weights: Vec<_> = scores.collect();
                softmax(&mut weights);
                for (weight, j) in weights.into_iter().zip(seen) {
                    let weight = self.rounding.round(weight);
                    let v = &v[j * keys_width + own..][..self.heads.size];
                    for (out, v) in out[i * width + first..].iter_mut().zip(v) {
                        *out += weight * v;
                    }
                }
            }
        }
        out
    }

    fn score(
        &self,
        head: usize,
        [i, j]: [usize; 2],
        q: &[f64],
        k: &[f64],
        tables: &[&[f64]],
    ) -> f64 {
        let round = |x: f64| self.rounding.round(x);
        let distance = i as i64 - j as i64;
        let mut score = round(dot(q, k));
        if let Bias::Disentangled { buckets, c2p, p2c } = self.bias {
            let first = buckets.index(distance) * self.heads.width() + head * self.heads.size;
            let sides = [(*c2p, q), (*p2c, k)].into_iter().filter(|side| side.0);
            for ((_, side), table) in sides.zip(tables) {
                score = round(score + round(dot(side, &table[first..][..self.heads.size])));
            }
        }
        let scaled = round(self.scale * score);
        match self.bias {
            Bias::None | Bias::Disentangled { .. } => scaled,
            Bias::Alibi(slopes) => {
                round(scaled + round(-slopes[head].0 * distance.unsigned_abs() as f64))
            }
            Bias::Relative(buckets) => {
                round(scaled + tables[0][buckets.index(distance) * self.heads.count + head])
            }
        }
    }
}
