//! Fragments of models that tell rows by their place: masks, biases by distance, rotations, neighbours.

use super::graph::Maker;
use crate::attention::{Band, Bias, Pairs, Rotary};
use crate::attrs::{BinaryFn, Real, UnaryFn};
use crate::buckets::Buckets;
use crate::graph::NodeId;
use crate::ops::Op;

impl Maker {
    /// Attention as an op of its own, with a mask, a bias and rotations, or some of them.
    pub(super) fn attention_by_distance(&mut self, x: NodeId) -> NodeId {
        let (heads, head_size, width) = (self.heads, self.head_size, self.width());
        // Heads of k and v that heads of q share, sometimes.
        let group = if heads.is_multiple_of(2) && self.random.chance(30) { 2 } else { 1 };
        let shared = width / group;
        let [mut q, mut k, v] = [width, shared, shared].map(|out| self.linear(x, out, width));
        let mut rotary = self.rotation();
        if self.random.chance(50)
            && let Some(rotary) = rotary.take()
        {
            q = self.op("turned", Op::Rotary { heads, head_size, rotary }, &[q]);
            let other = if self.random.chance(20) { self.rotation() } else { Some(rotary) };
            if let Some(rotary) = other {
                let heads = heads / group;
                k = self.op("turned", Op::Rotary { heads, head_size, rotary }, &[k]);
            }
        }
        let limits = [None, Some(0), Some(1), Some(3), Some(40)];
        let mask = match self.random.below(4) {
            0 => Band::CAUSAL,
            1 => Band { before: self.random.pick(&limits), after: self.random.pick(&limits) },
            _ => Band::ALL,
        };
        let bias = self.bias();
        let columns = if matches!(bias, Bias::Relative(_)) { heads } else { width };
        let rows = match &bias {
            Bias::Relative(buckets) | Bias::Disentangled { buckets, .. } => buckets.rows(),
            Bias::None | Bias::Alibi(_) => 0,
        };
        let mut operands = vec![q, k, v];
        for _ in 0..bias.tables() {
            operands.push(self.weight("distances", &[rows, columns]));
        }
        let scale = Real(self.random.pick(&[1.0, 0.5]));
        let op = Op::Attention { heads, head_size, group, scale, mask, bias, rotary };
        self.op("attended", op, &operands)
    }

    fn rotation(&mut self) -> Option<Rotary> {
        let pairs = self.random.pick(&[Pairs::Half, Pairs::Interleaved]);
        let dims = self.random.pick(&[2, self.head_size / 2 * 2]);
        let base = Real(self.random.pick(&[10.0, 10000.0]));
        self.random.chance(60).then_some(Rotary { pairs, dims, base })
    }

    fn bias(&mut self) -> Bias {
        let buckets = match self.random.below(4) {
            0 => Buckets::Clip { span: 1 + self.random.below(9) as u32 },
            1 => Buckets::Log { buckets: 2 + self.random.below(6) as u32, max_position: 9 },
            2 => Buckets::T5 { buckets: 6, max_distance: 8, bidirectional: false },
            _ => Buckets::T5 { buckets: 8, max_distance: 9, bidirectional: true },
        };
        match self.random.below(4) {
            0 => Bias::None,
            1 => Bias::Alibi((0..self.heads).map(|head| Real(0.5 / (head + 1) as f64)).collect()),
            2 => Bias::Relative(buckets),
            _ => {
                let [c2p, p2c] = self.random.pick(&[[true, true], [true, false], [false, true]]);
                Bias::Disentangled { buckets, c2p, p2c }
            }
        }
    }

    /// A norm of a row, or of each of its heads.
    pub(super) fn root_mean_square(&mut self, x: NodeId) -> NodeId {
        if self.random.chance(40) {
            let (heads, head_size) = (self.heads, self.head_size);
            let gamma = self.weight("gamma", &[head_size]);
            let shape = vec![self.length.clone(), heads.into(), head_size.into()];
            let split = self.op("split", Op::Reshape { shape }, &[x]);
            let y = self.op("norm", Op::RmsNorm { eps: Real(1e-6) }, &[split, gamma]);
            let shape = vec![self.length.clone(), self.width().into()];
            return self.op("merged", Op::Reshape { shape }, &[y]);
        }
        let gamma = self.weight("gamma", &[self.width()]);
        self.op("norm", Op::RmsNorm { eps: Real(1e-6) }, &[x, gamma])
    }

    /// A convolution over the rows, or a gated pair of linears, mostly cut from one.
    pub(super) fn neighbours(&mut self, x: NodeId) -> NodeId {
        let width = self.width();
        if self.random.chance(50) {
            let size = 1 + self.random.below(3);
            let before = self.random.below(size);
            let wide = self.op("unfolded", Op::Unfold { size, before }, &[x]);
            return self.linear(wide, width, size * width);
        }
        let [gate, up] = if self.random.chance(60) {
            let both = self.linear(x, 2 * width, width);
            [0, width].map(|start| {
                self.op("part", Op::Slice { axis: 1, start, end: start + width }, &[both])
            })
        } else {
            [(); 2].map(|()| self.linear(x, width, width))
        };
        let f = self.random.pick(&[UnaryFn::Silu, UnaryFn::QuickGelu, UnaryFn::Mish]);
        let gate = self.unary(f, gate);
        self.either(BinaryFn::Mul, gate, up)
    }
}
