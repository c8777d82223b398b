//! Fragments that say in plain arithmetic what the op table has an op for, as traces do: normalisations, softmax, named
//! functions, scales, and views that come to nothing.

use super::graph::Maker;
use crate::attrs::{BinaryFn, ReduceFn, UnaryFn};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::ops::Op;

impl Maker {
    /// One of the fragments, from rows to rows.
    pub(super) fn written_out(&mut self, x: NodeId) -> NodeId {
        match self.random.below(7) {
            0 | 1 => self.long_norm(x),
            2 => self.long_softmax(x),
            3 => self.long_l2(x),
            4 => self.long_function(x),
            5 => self.scaled_heads(x),
            _ => self.long_view(x),
        }
    }

    /// A number for each row as a column, by `f` over the row; sometimes the sum by hand.
    fn column(&mut self, f: ReduceFn, x: NodeId) -> NodeId {
        let axis = 1;
        let by_hand = f == ReduceFn::Mean && self.random.chance(40);
        let f = if by_hand { ReduceFn::Sum } else { f };
        let mut rows = self.op("reduced", Op::Reduce { f, axis }, &[x]);
        let late = self.random.chance(50);
        if late {
            rows = self.upright(rows);
        }
        if by_hand {
            let width = self.width() as f64;
            rows = self.with_number(BinaryFn::Div, rows, width);
        }
        if late { rows } else { self.upright(rows) }
    }

    /// `[L]` as `[L, 1]`.
    fn upright(&mut self, rows: NodeId) -> NodeId {
        let shape = vec![self.length.clone(), Dim::fixed(1)];
        self.op("column", Op::Reshape { shape }, &[rows])
    }

    fn with_number(&mut self, f: BinaryFn, x: NodeId, number: f64) -> NodeId {
        let name = self.name("constant");
        let number = self.builder.constant(&name, number);
        match f {
            BinaryFn::Sub | BinaryFn::Div => self.binary(f, x, number),
            _ => self.either(f, x, number),
        }
    }

    /// Rows divided by the root of the mean of their squares, with all, some or none of centring, scale and shift.
    fn long_norm(&mut self, x: NodeId) -> NodeId {
        let centred = match self.random.chance(60) {
            true => {
                let mean = self.column(ReduceFn::Mean, x);
                self.binary(BinaryFn::Sub, x, mean)
            }
            false => x,
        };
        let squares = self.binary(BinaryFn::Mul, centred, centred);
        let variance = self.column(ReduceFn::Mean, squares);
        let safe = self.with_number(BinaryFn::Add, variance, 1e-5);
        let mut y = match self.random.chance(50) {
            true => {
                let root = self.unary(UnaryFn::Sqrt, safe);
                self.binary(BinaryFn::Div, centred, root)
            }
            false => {
                let root = self.unary(UnaryFn::Rsqrt, safe);
                self.either(BinaryFn::Mul, centred, root)
            }
        };
        for (f, stem) in [(BinaryFn::Mul, "gamma"), (BinaryFn::Add, "beta")] {
            if self.random.chance(70) {
                let width = self.width();
                let vector = match self.random.chance(80) {
                    true => self.weight(stem, &[width]),
                    false => self.weight(stem, &[1, width]),
                };
                y = self.either(f, y, vector);
            }
        }
        y
    }

    fn long_softmax(&mut self, x: NodeId) -> NodeId {
        let largest = self.column(ReduceFn::Max, x);
        let below = self.binary(BinaryFn::Sub, x, largest);
        let weights = self.unary(UnaryFn::Exp, below);
        let total = self.column(ReduceFn::Sum, weights);
        self.binary(BinaryFn::Div, weights, total)
    }

    fn long_l2(&mut self, x: NodeId) -> NodeId {
        let squares = self.binary(BinaryFn::Mul, x, x);
        let sum = self.column(ReduceFn::Sum, squares);
        let root = self.unary(UnaryFn::Sqrt, sum);
        let norm = self.with_number(BinaryFn::Max, root, 1e-12);
        self.binary(BinaryFn::Div, x, norm)
    }

    /// A named function of the rows, in arithmetic.
    fn long_function(&mut self, x: NodeId) -> NodeId {
        match self.random.below(5) {
            0 => {
                let half = self.with_number(BinaryFn::Mul, x, 0.5);
                let inner = self.with_number(BinaryFn::Div, x, std::f64::consts::SQRT_2);
                let erf = self.unary(UnaryFn::Erf, inner);
                let share = self.with_number(BinaryFn::Add, erf, 1.0);
                self.either(BinaryFn::Mul, half, share)
            }
            1 => {
                let square = self.binary(BinaryFn::Mul, x, x);
                let cube = self.either(BinaryFn::Mul, square, x);
                let small = self.with_number(BinaryFn::Mul, cube, 0.044715);
                let sum = self.either(BinaryFn::Add, x, small);
                let root = (2.0 / std::f64::consts::PI).sqrt();
                let inner = self.with_number(BinaryFn::Mul, sum, root);
                let tanh = self.unary(UnaryFn::Tanh, inner);
                let share = self.with_number(BinaryFn::Add, tanh, 1.0);
                let half = self.with_number(BinaryFn::Mul, x, 0.5);
                self.either(BinaryFn::Mul, half, share)
            }
            2 => {
                let scaled = self.with_number(BinaryFn::Mul, x, 1.702);
                let gate = self.unary(UnaryFn::Sigmoid, scaled);
                self.either(BinaryFn::Mul, x, gate)
            }
            3 => {
                let gate = self.unary(UnaryFn::Sigmoid, x);
                self.either(BinaryFn::Mul, x, gate)
            }
            _ => self.with_number(BinaryFn::Max, x, 0.0),
        }
    }

    /// An attention op whose query or key is scaled, on heads that were split, moved and put back.
    fn scaled_heads(&mut self, x: NodeId) -> NodeId {
        let (heads, head_size, width) = (self.heads, self.head_size, self.width());
        let [q, k, v] = [(); 3].map(|()| self.linear(x, width, width));
        let (length, columns) = (self.length.clone(), Dim::from(width));
        let shape = vec![length.clone(), Dim::from(heads), Dim::from(head_size)];
        let split = self.op("split", Op::Reshape { shape: shape.clone() }, &[q]);
        let moved = self.op("heads", Op::Transpose { perm: vec![1, 0, 2] }, &[split]);
        let scaled = self.with_number(BinaryFn::Mul, moved, 0.5);
        let back = self.op("back", Op::Transpose { perm: vec![1, 0, 2] }, &[scaled]);
        let q = self.op("merged", Op::Reshape { shape: vec![length, columns] }, &[back]);
        self.op("attended", Op::attention(heads, head_size, 1.0), &[q, k, v])
    }

    /// Axes of 1 that come and go.
    fn long_view(&mut self, x: NodeId) -> NodeId {
        let width = self.width();
        let (length, columns) = (self.length.clone(), Dim::from(width));
        let shape = vec![Dim::fixed(1), length.clone(), columns.clone()];
        let batched = self.op("batched", Op::Reshape { shape }, &[x]);
        let weight = self.weight("weight", &[width, width]);
        let y = self.op("linear", Op::Linear { epilogue: Vec::new() }, &[batched, weight]);
        let y = self.unary(UnaryFn::Tanh, y);
        let moved = self.op("moved", Op::Transpose { perm: vec![1, 0, 2] }, &[y]);
        self.op("plain", Op::Reshape { shape: vec![length, columns] }, &[moved])
    }
}
