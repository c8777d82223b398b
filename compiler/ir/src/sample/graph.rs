//! Random graphs: fragments of transformers as models and traces give them, joined at random.
//!
//! The fragments are what rules look for, with the variations that rules must see through or refuse: operands swapped,
//! a residual that only broadcasts, a value inside a pattern that is also used elsewhere or given out, biases that are
//! missing, heads that share nothing.

use super::Random;
use crate::attrs::{BinaryFn, Real, ReduceFn, UnaryFn};
use crate::builder::Builder;
use crate::dim::Dim;
use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use crate::types::{DType, TensorType};

/// The longest sample.
const MAX_ROWS: u64 = 12;
/// Rows of the word table.
const WORDS: u64 = 9;

/// A valid graph. All seeds together reach every op that a model can be written in.
pub fn graph(seed: u64) -> Graph {
    let mut random = Random::new(seed);
    let heads = 1 + random.below(3);
    // Two columns that happen to be near each other would make a normalisation lose all its digits.
    let head_size = if heads == 1 { 3 + random.below(2) } else { 2 + random.below(3) };
    let mut builder = Builder::new();
    let rows = builder.symbol("L", 1, MAX_ROWS);
    let mut maker = Maker {
        builder,
        random,
        length: rows,
        heads,
        head_size,
        rows: Vec::new(),
        made: Vec::new(),
        count: 0,
    };
    maker.start();
    for _ in 0..2 + maker.random.below(7) {
        maker.fragment();
    }
    maker.outputs();
    maker.builder.finish()
}

pub(super) struct Maker {
    pub(super) builder: Builder,
    pub(super) random: Random,
    /// `L`.
    pub(super) length: Dim,
    pub(super) heads: usize,
    pub(super) head_size: usize,
    /// Values of `[L, width]` to go on from.
    rows: Vec<NodeId>,
    /// Everything that depends on the sample.
    made: Vec<NodeId>,
    /// For names.
    count: usize,
}

impl Maker {
    pub(super) fn width(&self) -> usize {
        self.heads * self.head_size
    }

    /// A name, sometimes one that is taken.
    pub(super) fn name(&mut self, stem: &str) -> String {
        self.count += 1;
        if self.random.chance(20) { stem.to_owned() } else { format!("{stem}.{}", self.count) }
    }

    pub(super) fn op(&mut self, stem: &str, op: Op, operands: &[NodeId]) -> NodeId {
        let name = self.name(stem);
        let id = self.builder.op(&name, op, operands).expect("fragments fit");
        self.made.push(id);
        id
    }

    pub(super) fn unary(&mut self, f: UnaryFn, x: NodeId) -> NodeId {
        self.op(f.name(), Op::Unary { f }, &[x])
    }

    pub(super) fn binary(&mut self, f: BinaryFn, a: NodeId, b: NodeId) -> NodeId {
        self.op(f.name(), Op::Binary { f }, &[a, b])
    }

    /// A binary with its operands in either order.
    pub(super) fn either(&mut self, f: BinaryFn, a: NodeId, b: NodeId) -> NodeId {
        if self.random.chance(50) { self.binary(f, a, b) } else { self.binary(f, b, a) }
    }

    pub(super) fn weight(&mut self, stem: &str, shape: &[usize]) -> NodeId {
        self.count += 1;
        let name = format!("{stem}.{}", self.count);
        self.builder.weight(&name, shape.iter().copied())
    }

    /// A number in 0.25..2.25.
    fn number(&mut self) -> NodeId {
        let value = (self.random.real() + 1.25).abs();
        let name = self.name("number");
        self.builder.constant(&name, value)
    }

    /// A number that constant folding finds.
    fn scalar(&mut self) -> NodeId {
        let mut x = self.number();
        while self.random.chance(40) {
            let other = self.number();
            // Not recorded as made: it does not depend on the sample.
            let made = self.made.len();
            x = match self.random.below(3) {
                0 => self.unary(UnaryFn::Sqrt, x),
                1 => self.binary(BinaryFn::Div, x, other),
                _ => self.binary(BinaryFn::Mul, x, other),
            };
            self.made.truncate(made);
        }
        x
    }

    /// A recent value of `[L, width]`, mostly the last.
    fn row(&mut self) -> NodeId {
        let back = if self.random.chance(60) { 0 } else { self.random.below(self.rows.len()) };
        self.rows[self.rows.len() - 1 - back]
    }

    fn start(&mut self) {
        if self.random.chance(25) {
            let ty = TensorType::new(DType::F32, [self.length.clone(), Dim::from(self.width())]);
            let x = self.builder.input("features", ty, None);
            self.made.push(x);
            self.rows.push(x);
            if self.random.chance(50) {
                return;
            }
        }
        self.embeddings();
    }

    fn embeddings(&mut self) {
        let width = self.width();
        let ids = TensorType::new(DType::I64, [self.length.clone()]);
        let words = self.builder.input("input_ids", ids.clone(), None);
        let mut sum = self.lookup("words", WORDS as usize, words);
        if self.random.chance(60) {
            let types = self.builder.input("token_type_ids", ids, Some(0));
            let rows = self.lookup("types", 2, types);
            sum = self.either(BinaryFn::Add, sum, rows);
        }
        if self.random.chance(70) {
            let start = self.random.below(3);
            let iota = Op::Iota { extent: self.length.clone(), start: start as i64 };
            let (places, of) = match start {
                2 => (Op::Places { skip: 1 }, vec![words]),
                _ => (iota, vec![]),
            };
            let places = self.builder.op("positions", places, &of).expect("they suit each other");
            let rows = self.lookup("places", MAX_ROWS as usize + start, places);
            sum = self.either(BinaryFn::Add, sum, rows);
        }
        self.rows.push(sum);
        if self.random.chance(80) {
            let normal = self.layer_norm(sum, width);
            self.rows.push(normal);
        }
    }

    fn lookup(&mut self, stem: &str, rows: usize, ids: NodeId) -> NodeId {
        let table = self.weight(stem, &[rows, self.width()]);
        self.op(stem, Op::Gather {}, &[table, ids])
    }

    fn layer_norm(&mut self, x: NodeId, width: usize) -> NodeId {
        let (gamma, beta) = (self.weight("gamma", &[width]), self.weight("beta", &[width]));
        let eps = Real(self.random.pick(&[1e-12, 1e-5]));
        self.op("norm", Op::LayerNorm { eps }, &[x, gamma, beta])
    }

    pub(super) fn linear(&mut self, x: NodeId, outputs: usize, inputs: usize) -> NodeId {
        let weight = self.weight("weight", &[outputs, inputs]);
        let op = Op::Linear { epilogue: Vec::new() };
        match self.random.below(10) {
            0 | 1 => self.op("linear", op, &[x, weight]),
            2 | 3 => {
                let bias = self.weight("bias", &[outputs]);
                self.op("linear", op, &[x, weight, bias])
            }
            4 => {
                // As traces give it: a transposed weight and a plain product.
                let made = self.made.len();
                let weight = self.op("turned", Op::Transpose { perm: vec![1, 0] }, &[weight]);
                self.made.truncate(made);
                let product = self.op("product", Op::MatMul {}, &[x, weight]);
                let bias = self.weight("bias", &[outputs]);
                self.either(BinaryFn::Add, product, bias)
            }
            5 => {
                let bias = self.weight("bias", &[outputs]);
                let product = self.op("linear", op, &[x, weight, bias]);
                let scale = self.weight("scale", &[outputs]);
                self.either(BinaryFn::Mul, product, scale)
            }
            _ => {
                let product = self.op("linear", op, &[x, weight]);
                let bias = self.weight("bias", &[outputs]);
                self.either(BinaryFn::Add, product, bias)
            }
        }
    }

    fn fragment(&mut self) {
        let x = self.row();
        let y = match self.random.below(18) {
            0 | 1 => self.feed_forward(x),
            2 | 3 => self.attention(x),
            4 | 5 => self.residual(x),
            6 => self.chain(x),
            7 => self.pooled(x),
            8 => self.moved(x),
            9 => self.twice(x),
            10 | 11 => self.attention_by_distance(x),
            12 => self.root_mean_square(x),
            13 => self.neighbours(x),
            14..17 => self.written_out(x),
            _ => self.scaled(x),
        };
        self.rows.push(y);
    }

    fn feed_forward(&mut self, x: NodeId) -> NodeId {
        let (width, inner) = (self.width(), 1 + self.random.below(9));
        let mut hidden = self.linear(x, inner, width);
        if self.random.chance(85) {
            let f = self.random.pick(&[
                UnaryFn::GeluErf,
                UnaryFn::GeluTanh,
                UnaryFn::Relu,
                UnaryFn::Silu,
                UnaryFn::Tanh,
            ]);
            hidden = self.unary(f, hidden);
        }
        let y = self.linear(hidden, width, inner);
        if self.random.chance(60) { self.residual_of(y, x) } else { y }
    }

    fn attention(&mut self, x: NodeId) -> NodeId {
        let width = self.width();
        let other = if self.random.chance(25) { self.row() } else { x };
        let (q, k, v) = (
            self.linear(x, width, width),
            self.linear(other, width, width),
            self.linear(other, width, width),
        );
        let context = if self.random.chance(60) {
            let scope = self.name("attention");
            let (heads, head_size) = (self.heads, self.head_size);
            let built =
                self.builder.scoped(&scope, |b| b.self_attention(q, k, v, heads, head_size));
            built.expect("fragments fit")
        } else {
            self.plain_attention(q, k, v)
        };
        self.made.push(context);
        let y = self.linear(context, width, width);
        if self.random.chance(70) { self.residual_of(y, x) } else { y }
    }

    /// The same in other words: divided instead of multiplied, before or after the product, keys turned later.
    fn plain_attention(&mut self, q: NodeId, k: NodeId, v: NodeId) -> NodeId {
        let (heads, head_size) = (self.heads, self.head_size);
        let shape = vec![self.length.clone(), Dim::from(heads), Dim::from(head_size)];
        let split = |maker: &mut Self, x| {
            let x = maker.op("split", Op::Reshape { shape: shape.clone() }, &[x]);
            maker.op("heads", Op::Transpose { perm: vec![1, 0, 2] }, &[x])
        };
        let (mut q, k, v) = (split(self, q), split(self, k), split(self, v));
        let k = self.op("turned", Op::Transpose { perm: vec![0, 2, 1] }, &[k]);
        let scale = self.number();
        let early = self.random.chance(30);
        if early {
            q = self.either(BinaryFn::Mul, q, scale);
        }
        let mut scores = self.op("scores", Op::MatMul {}, &[q, k]);
        if !early && self.random.chance(80) {
            scores = self.binary(BinaryFn::Div, scores, scale);
        }
        let weights = self.op("softmax", Op::Softmax {}, &[scores]);
        let context = self.op("context", Op::MatMul {}, &[weights, v]);
        let merged = self.op("merge", Op::Transpose { perm: vec![1, 0, 2] }, &[context]);
        let shape = vec![self.length.clone(), Dim::from(heads * head_size)];
        self.op("merged", Op::Reshape { shape }, &[merged])
    }

    fn residual(&mut self, x: NodeId) -> NodeId {
        let y = self.row();
        self.residual_of(x, y)
    }

    fn residual_of(&mut self, x: NodeId, y: NodeId) -> NodeId {
        let width = self.width();
        let y = match self.random.below(10) {
            0 => self.weight("offset", &[width]),
            1 => self.number(),
            _ => y,
        };
        let sum = self.either(BinaryFn::Add, x, y);
        if self.random.chance(80) { self.layer_norm(sum, width) } else { sum }
    }

    fn chain(&mut self, x: NodeId) -> NodeId {
        let mut x = x;
        for _ in 0..1 + self.random.below(5) {
            x = match self.random.below(9) {
                0 => self.unary(UnaryFn::Neg, x),
                1 => self.unary(UnaryFn::Sigmoid, x),
                2 => self.unary(UnaryFn::Erf, x),
                3 => {
                    // Exponentials stay small, so that no graph overflows.
                    let small = self.unary(UnaryFn::Tanh, x);
                    self.unary(UnaryFn::Exp, small)
                }
                4 => {
                    let positive = self.unary(UnaryFn::Abs, x);
                    let half = self.builder.constant("half", 0.5);
                    let away = self.either(BinaryFn::Add, positive, half);
                    let f = self.random.pick(&[UnaryFn::Sqrt, UnaryFn::Rsqrt]);
                    self.unary(f, away)
                }
                5 => {
                    let other = self.row();
                    let f = self.random.pick(&[BinaryFn::Max, BinaryFn::Min, BinaryFn::Sub]);
                    self.binary(f, x, other)
                }
                6 => {
                    let other = self.weight("vector", &[self.heads * self.head_size]);
                    self.either(BinaryFn::Mul, x, other)
                }
                7 => {
                    let scale = self.scalar();
                    self.either(BinaryFn::Mul, x, scale)
                }
                _ => self.unary(UnaryFn::Relu, x),
            };
        }
        x
    }

    /// One row of the sample, which comes back as something for all of them.
    fn pooled(&mut self, x: NodeId) -> NodeId {
        let mut row = match self.random.below(4) {
            0 => self.op("first", Op::Select { axis: 0, index: 0 }, &[x]),
            1 => self.op("largest", Op::Reduce { f: ReduceFn::Max, axis: 0 }, &[x]),
            2 => self.op("sum", Op::Reduce { f: ReduceFn::Sum, axis: 0 }, &[x]),
            _ => self.op("mean", Op::Reduce { f: ReduceFn::Mean, axis: 0 }, &[x]),
        };
        if self.random.chance(50) {
            row = self.op("normal", Op::L2Normalize { eps: Real(1e-12) }, &[row]);
        }
        if self.random.chance(40) {
            let width = self.width();
            row = self.linear_of_row(row, width);
        }
        self.binary(BinaryFn::Sub, x, row)
    }

    /// A head on one row: linear and tanh.
    fn linear_of_row(&mut self, row: NodeId, width: usize) -> NodeId {
        let (weight, bias) =
            (self.weight("weight", &[width, width]), self.weight("bias", &[width]));
        let product = self.op("linear", Op::Linear { epilogue: Vec::new() }, &[row, weight]);
        let sum = self.binary(BinaryFn::Add, product, bias);
        self.unary(UnaryFn::Tanh, sum)
    }

    /// Columns taken apart and put together, and reshapes that change nothing.
    fn moved(&mut self, x: NodeId) -> NodeId {
        let width = self.width();
        match self.random.below(4) {
            0 => {
                let cut = 1 + self.random.below(width - 1);
                let left = self.op("left", Op::Slice { axis: 1, start: 0, end: cut }, &[x]);
                let right = self.op("right", Op::Slice { axis: 1, start: cut, end: width }, &[x]);
                let order = if self.random.chance(50) { [left, right] } else { [right, left] };
                self.op("joined", Op::Concat { axis: 1 }, &order)
            }
            1 if self.random.chance(50) => {
                let turned = self.op("turned", Op::Transpose { perm: vec![1, 0] }, &[x]);
                self.op("back", Op::Transpose { perm: vec![1, 0] }, &[turned])
            }
            // Two results of one layer, told apart as torch's attention tells keys and values.
            1 => {
                let both = self.linear(x, 2 * width, width);
                let shape = vec![self.length.clone(), Dim::fixed(2), Dim::from(width)];
                let split = self.op("split", Op::Reshape { shape }, &[both]);
                let parts = self.op("parts", Op::Transpose { perm: vec![1, 0, 2] }, &[split]);
                let [a, b] =
                    [0, 1].map(|index| self.op("part", Op::Select { axis: 0, index }, &[parts]));
                self.binary(BinaryFn::Mul, a, b)
            }
            2 => {
                let shape = vec![self.length.clone(), Dim::from(width)];
                self.op("same", Op::Reshape { shape }, &[x])
            }
            _ => {
                let sums = self.op("sums", Op::Reduce { f: ReduceFn::Mean, axis: 1 }, &[x]);
                let shape = vec![self.length.clone(), Dim::fixed(1)];
                let column = self.op("column", Op::Reshape { shape }, &[sums]);
                self.either(BinaryFn::Add, x, column)
            }
        }
    }

    /// One thing computed twice.
    fn twice(&mut self, x: NodeId) -> NodeId {
        let f = self.random.pick(&[UnaryFn::Tanh, UnaryFn::Silu, UnaryFn::GeluErf]);
        let (a, b) = (self.unary(f, x), self.unary(f, x));
        let twin = self.op("softmax", Op::Softmax {}, &[b]);
        self.binary(BinaryFn::Mul, a, twin)
    }

    /// Arithmetic on weights and numbers alone, then on the sample.
    fn scaled(&mut self, x: NodeId) -> NodeId {
        let (a, b) =
            (self.weight("vector", &[self.width()]), self.weight("vector", &[self.width()]));
        let made = self.made.len();
        let scale = self.scalar();
        let sum = self.binary(BinaryFn::Add, a, b);
        let vector = self.either(BinaryFn::Mul, sum, scale);
        self.made.truncate(made);
        self.either(BinaryFn::Add, x, vector)
    }

    /// The last value, and others from anywhere, some of them twice.
    fn outputs(&mut self) {
        let last = self.rows[self.rows.len() - 1];
        self.builder.output("last", last);
        if self.random.chance(40) {
            let row = self.pooled_output(last);
            self.builder.output("embedding", row);
        }
        for i in 0..self.random.below(4) {
            let value = self.random.pick(&self.made.clone());
            self.builder.output(&format!("inner.{i}"), value);
        }
    }

    fn pooled_output(&mut self, x: NodeId) -> NodeId {
        let row = match self.random.below(3) {
            0 => self.op("first", Op::Select { axis: 0, index: 0 }, &[x]),
            1 => self.op("largest", Op::Reduce { f: ReduceFn::Max, axis: 0 }, &[x]),
            _ => self.op("mean", Op::Reduce { f: ReduceFn::Mean, axis: 0 }, &[x]),
        };
        if self.random.chance(70) {
            return self.op("embedding", Op::L2Normalize { eps: Real(1e-12) }, &[row]);
        }
        row
    }
}
