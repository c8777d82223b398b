//! The graphs that each kernel is tested with, in plain ops: the compiler fuses them as it does a model's, and the
//! interpreter rounds after each of them.

use bytec_ir::attrs::{BinaryFn, Real, ReduceFn, UnaryFn};
use bytec_ir::builder::{BuildError, Builder, Built};
use bytec_ir::types::{DType, TensorType};
use bytec_ir::{Dim, Graph, NodeId, Op};

/// Rows of samples, around the sides of tiles and of a warp's rows.
const LENGTHS: &[u64] = &[5, 1, 33, 16, 17, 65, 129, 2];
/// Fewer of them, where a row is wide.
const SHORT: &[u64] = &[5, 1, 33, 17, 2];
/// From how many columns on it is.
const WIDE: u64 = 300;
/// Longer ones for attention, whose tiles go over keys too.
const ATTENTION: &[u64] = &[1, 7, 8, 17, 63, 64, 65, 129];
/// Rows that the position table has.
const POSITIONS: u64 = 256;

/// A graph for one kernel, and the lengths of the samples in its batch.
pub(crate) struct KernelCase {
    /// The kernel and its shape.
    pub(crate) name: String,
    /// The kernel, by its name in the plan.
    pub(crate) kernel: &'static str,
    /// The graph.
    pub(crate) graph: Graph,
    /// `L` of each sample.
    pub(crate) lengths: &'static [u64],
}

/// Every case, in the order of the plan's kernels.
pub(crate) fn all() -> Result<Vec<KernelCase>, BuildError> {
    let mut cases = Cases::default();
    cases.embed(40, false)?;
    cases.embed(200, true)?;
    for (n, k) in [(1, 1), (5, 9), (20, 12), (48, 112), (300, 100), (72, 776)] {
        cases.linear(n, k, Some(UnaryFn::GeluErf))?;
    }
    cases.linear(776, 72, None)?;
    cases.linear(130, 40, Some(UnaryFn::Tanh))?;
    for (k, column, width) in [(48, 48, 144), (12, 12, 36), (5, 3, 9)] {
        cases.linear_of_columns(k, column, width)?;
    }
    for (n, k) in [(64, 72), (128, 512), (312, 312), (384, 1536), (768, 768), (1024, 256)] {
        cases.linear_layer_norm(n, k)?;
    }
    for (n, hidden) in [(64, 256), (312, 512), (768, 768)] {
        cases.feed_forward(n, hidden)?;
    }
    for (heads, head_size) in [(2, 5), (3, 8), (2, 24), (2, 40), (4, 64), (1, 128), (1, 256)] {
        cases.attention(heads, head_size)?;
    }
    for width in [1, 7, 200, 384, 1025] {
        cases.layer_norm(width, width % 2 == 0)?;
    }
    cases.rows("l2_normalize", 40, Op::L2Normalize { eps: Real(1e-12) })?;
    cases.rows("l2_normalize", 769, Op::L2Normalize { eps: Real(1e-12) })?;
    for width in [1, 33, 1000] {
        cases.rows("softmax", width, Op::Softmax {})?;
    }
    for (f, width) in [(ReduceFn::Mean, 40), (ReduceFn::Sum, 7), (ReduceFn::Max, 600)] {
        cases.pool(Op::Reduce { f, axis: 0 }, f.name(), width, false)?;
    }
    cases.pool(Op::Select { axis: 0, index: 0 }, "cls", 72, false)?;
    cases.pool(Op::Reduce { f: ReduceFn::Mean, axis: 0 }, "mean", 384, true)?;
    cases.concat([40, 16, 24])?;
    cases.concat([7, 300, 1])?;
    for f in UnaryFn::ALL {
        cases.function(*f)?;
    }
    cases.chain(7)?;
    cases.chain(384)?;
    Ok(cases.0)
}

#[derive(Default)]
struct Cases(Vec<KernelCase>);

/// The lengths of samples whose widest rows have so many columns.
fn lengths(width: u64) -> &'static [u64] {
    if width < WIDE { LENGTHS } else { SHORT }
}

/// A graph of one symbol, under construction.
struct Making {
    builder: Builder,
    rows: Dim,
}

impl Making {
    fn new() -> Self {
        let mut builder = Builder::new();
        let rows = builder.symbol("L", 1, POSITIONS);
        Self { builder, rows }
    }

    /// An input of `[L, width]`.
    fn input(&mut self, name: &str, width: u64) -> NodeId {
        let ty = TensorType::new(DType::F32, [self.rows.clone(), Dim::fixed(width)]);
        self.builder.input(name, ty, None)
    }

    fn ids(&mut self) -> NodeId {
        let ty = TensorType::new(DType::I64, [self.rows.clone()]);
        self.builder.input("ids", ty, None)
    }

    /// Some columns of a buffer: of an input's negative, which no type rounds, since inputs are read whole.
    fn columns(&mut self, x: NodeId, start: u64, width: u64) -> Built {
        let (start, end) = (start as usize, (start + width) as usize);
        self.builder.op(&format!("columns.{start}"), Op::Slice { axis: 1, start, end }, &[x])
    }

    fn norm(&mut self, x: NodeId, width: u64) -> Built {
        let gamma = self.builder.weight("gamma", [width]);
        let beta = self.builder.weight("beta", [width]);
        self.builder.layer_norm("norm", x, gamma, beta, 1e-5)
    }

    fn linear(&mut self, x: NodeId, n: u64, k: u64) -> Built {
        let weight = self.builder.weight("weight", [n, k]);
        let bias = self.builder.weight("bias", [n]);
        self.builder.linear("linear", x, weight, Some(bias))
    }
}

impl Cases {
    fn push(
        &mut self,
        kernel: &'static str,
        shape: &str,
        lengths: &'static [u64],
        mut making: Making,
        y: NodeId,
    ) {
        making.builder.output("y", y);
        let name = format!("{kernel} {shape}");
        self.0.push(KernelCase { name, kernel, graph: making.builder.finish(), lengths });
    }

    /// A table by id and one by position, summed.
    fn embed(&mut self, width: u64, norm: bool) -> Result<(), BuildError> {
        let mut making = Making::new();
        let ids = making.ids();
        let b = &mut making.builder;
        let (words, places) =
            (b.weight("words", [50, width]), b.weight("places", [POSITIONS + 2, width]));
        let iota = Op::Iota { extent: making.rows.clone(), start: 2 };
        let positions = b.op("positions", iota, &[])?;
        let words = b.op("word", Op::Gather {}, &[words, ids])?;
        let places = b.op("place", Op::Gather {}, &[places, positions])?;
        let sum = b.binary("sum", BinaryFn::Add, words, places)?;
        let y = if norm { making.norm(sum, width)? } else { sum };
        let shape = format!("{width}{}", if norm { " and LayerNorm" } else { "" });
        self.push("embed", &shape, LENGTHS, making, y);
        Ok(())
    }

    fn linear(&mut self, n: u64, k: u64, epilogue: Option<UnaryFn>) -> Result<(), BuildError> {
        let mut making = Making::new();
        let x = making.input("x", k);
        let mut y = making.linear(x, n, k)?;
        let mut shape = format!("{k} to {n}");
        if let Some(f) = epilogue {
            y = making.builder.unary("f", f, y)?;
            shape += &format!(", {f}");
        }
        self.push("linear", &shape, lengths(n.max(k)), making, y);
        Ok(())
    }

    fn linear_of_columns(&mut self, k: u64, column: u64, width: u64) -> Result<(), BuildError> {
        let mut making = Making::new();
        let x = making.input("x", width);
        let x = making.builder.unary("negative", UnaryFn::Neg, x)?;
        let x = making.columns(x, column, k)?;
        let y = making.linear(x, 48, k)?;
        let shape = format!("{k} to 48, columns {column} on of {width}");
        self.push("linear", &shape, LENGTHS, making, y);
        Ok(())
    }

    fn attention(&mut self, heads: u64, head_size: u64) -> Result<(), BuildError> {
        let width = heads * head_size;
        let mut making = Making::new();
        let x = making.input("x", 3 * width);
        let x = making.builder.unary("negative", UnaryFn::Neg, x)?;
        let q = making.columns(x, 0, width)?;
        let k = making.columns(x, width, width)?;
        let v = making.columns(x, 2 * width, width)?;
        let y = making.builder.self_attention(q, k, v, heads as usize, head_size as usize)?;
        self.push("attention", &format!("{heads} heads of {head_size}"), ATTENTION, making, y);
        Ok(())
    }

    fn layer_norm(&mut self, width: u64, residual: bool) -> Result<(), BuildError> {
        let mut making = Making::new();
        let mut x = making.input("x", width);
        let mut shape = width.to_string();
        if residual {
            let other = making.input("residual", width);
            x = making.builder.binary("sum", BinaryFn::Add, x, other)?;
            shape += " and residual";
        }
        let y = making.norm(x, width)?;
        self.push("layer_norm", &shape, lengths(width), making, y);
        Ok(())
    }

    /// A linear and the LayerNorm of its sum with a residual, which are two kernels where one has not both.
    fn linear_layer_norm(&mut self, n: u64, k: u64) -> Result<(), BuildError> {
        let mut making = Making::new();
        let (x, residual) = (making.input("x", k), making.input("residual", n));
        let y = making.linear(x, n, k)?;
        let y = making.builder.binary("sum", BinaryFn::Add, y, residual)?;
        let y = making.norm(y, n)?;
        self.push("linear_layer_norm", &format!("{k} to {n}"), lengths(n), making, y);
        Ok(())
    }

    /// Two linears and the LayerNorm behind them, which are one launch where one has them all.
    fn feed_forward(&mut self, n: u64, hidden: u64) -> Result<(), BuildError> {
        let mut making = Making::new();
        let x = making.input("x", n);
        let before = making.builder.unary("before", UnaryFn::Tanh, x)?;
        let weight = making.builder.weight("up", [hidden, n]);
        let bias = making.builder.weight("up_bias", [hidden]);
        let up = making.builder.linear("hidden", before, weight, Some(bias))?;
        let up = making.builder.unary("gelu", UnaryFn::GeluErf, up)?;
        let y = making.linear(up, n, hidden)?;
        let y = making.builder.binary("sum", BinaryFn::Add, y, before)?;
        let y = making.norm(y, n)?;
        let name = format!("{n} by way of {hidden}");
        self.push("linear_layer_norm", &name, lengths(n), making, y);
        Ok(())
    }

    fn rows(&mut self, kernel: &'static str, width: u64, op: Op) -> Result<(), BuildError> {
        let mut making = Making::new();
        let x = making.input("x", width);
        let y = making.builder.op("y", op, &[x])?;
        self.push(kernel, &width.to_string(), lengths(width), making, y);
        Ok(())
    }

    fn pool(&mut self, op: Op, how: &str, width: u64, normalize: bool) -> Result<(), BuildError> {
        let mut making = Making::new();
        let x = making.input("x", width);
        let mut y = making.builder.op("pooled", op, &[x])?;
        let mut shape = format!("{how} of {width}");
        if normalize {
            y = making.builder.op("normalized", Op::L2Normalize { eps: Real(1e-12) }, &[y])?;
            shape += ", normalised";
        }
        self.push("pool", &shape, lengths(width), making, y);
        Ok(())
    }

    /// Columns of a buffer, an input and a buffer side by side.
    fn concat(&mut self, [a, b, c]: [u64; 3]) -> Result<(), BuildError> {
        let mut making = Making::new();
        let (x, other) = (making.input("x", a + c), making.input("other", b));
        let x = making.builder.unary("negative", UnaryFn::Neg, x)?;
        let (first, last) = (making.columns(x, 0, a)?, making.columns(x, a, c)?);
        let y = making.builder.op("y", Op::Concat { axis: 1 }, &[last, other, first])?;
        self.push("concat", &format!("{c}, {b} and {a}"), lengths(a + b + c), making, y);
        Ok(())
    }

    /// One function, of numbers that it is defined for.
    fn function(&mut self, f: UnaryFn) -> Result<(), BuildError> {
        let mut making = Making::new();
        let mut x = making.input("x", 40);
        if matches!(f, UnaryFn::Sqrt | UnaryFn::Rsqrt) {
            x = making.builder.unary("positive", UnaryFn::Exp, x)?;
        }
        let y = making.builder.unary("y", f, x)?;
        self.push("pointwise", f.name(), LENGTHS, making, y);
        Ok(())
    }

    /// Operands met in full, by row and by scalar.
    fn chain(&mut self, width: u64) -> Result<(), BuildError> {
        let mut making = Making::new();
        let (x, other) = (making.input("x", width), making.input("other", width));
        let b = &mut making.builder;
        let (row, scalar) = (b.weight("row", [width]), b.weight("scalar", [1u64]));
        let sum = b.binary("sum", BinaryFn::Add, x, row)?;
        let product = b.binary("product", BinaryFn::Mul, sum, scalar)?;
        let difference = b.binary("difference", BinaryFn::Sub, product, other)?;
        let half = b.constant("half", 0.5);
        let largest = b.binary("largest", BinaryFn::Max, difference, half)?;
        let y = b.unary("y", UnaryFn::Sigmoid, largest)?;
        self.push("pointwise", &format!("chain of {width}"), lengths(width), making, y);
        Ok(())
    }
}
