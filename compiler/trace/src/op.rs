//! The ops of a trace, closed: a front end brings whatever its library offers down to these.
//!
//! They have the semantics of PyTorch's ops of the same name. Axes are counted from 0; a front end resolves negative ones,
//! fills in defaults, and makes scalar operands constants of their own. Every op has one result; an op with several
//! (chunk, split, unbind) becomes several slices or selections.

use bytec_ir::dim::Dim;

use crate::constant::Constant;
use crate::program::Kind;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the function of its name")]
pub enum UnaryOp {
    Neg,
    Abs,
    Sign,
    Ceil,
    Floor,
    Round,
    Square,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Exp,
    Log,
    Sin,
    Cos,
    Tanh,
    Erf,
    Sigmoid,
    Relu,
    Silu,
    /// GELU with the error function.
    GeluErf,
    /// GELU with its tanh approximation.
    GeluTanh,
    /// Of a truth value.
    Not,
}

/// A function of two numbers; operands broadcast as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the function of its name")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    /// True division: of integers, too.
    Div,
    /// Division rounded towards minus infinity.
    FloorDiv,
    /// The remainder with the divisor's sign.
    Remainder,
    Pow,
    Min,
    Max,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Of truth values.
    And,
    /// Of truth values.
    Or,
}

/// A reduction over axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the function of its name")]
pub enum ReduceOp {
    Sum,
    Mean,
    Max,
    Min,
    /// The index of the first largest element, over one axis.
    ArgMax,
    Any,
    All,
}

/// One op.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// An element of the caller's batch, by name. No operands.
    Input {
        /// The name that a caller gives.
        name: String,
    },
    /// A tensor of the checkpoint, by name. No operands.
    Weight {
        /// Its name in the checkpoint.
        name: String,
    },
    /// A tensor that the trace holds. No operands.
    Constant(Constant),
    /// `start, start + step, ..`, below `end`: as many as the result's extent says. No operands.
    Arange {
        /// The first.
        start: i64,
        /// From one to the next.
        step: i64,
    },
    /// Every element is the operand, which has no axes; the result's type gives the extents.
    Full,
    /// `f(x)`.
    Unary(UnaryOp),
    /// `f(a, b)`.
    Binary(BinaryOp),
    /// `condition ? a : b`; operands condition, a, b, broadcast.
    Where,
    /// The elements as another kind. Floats become integers by truncation (what does not fit becomes `i64::MIN`), numbers
    /// become truth values by `!= 0`. Between float types it is the identity: a trace has one float type.
    Cast,
    /// The same elements in the same order under the result's shape: view, reshape, flatten, squeeze, unsqueeze.
    Reshape,
    /// Axis `i` of the result is axis `perm[i]` of the operand: permute, transpose.
    Permute {
        /// A permutation of the axes.
        perm: Vec<usize>,
    },
    /// Axes of 1 and missing leading axes repeated to the result's shape.
    Expand,
    /// The operand put side by side with itself along every axis, as often as the result's shape says.
    Repeat,
    /// Every `step`-th index of an axis from `start`; as many as the result's extent says.
    Slice {
        /// The axis.
        axis: usize,
        /// The first index; it may depend on the sizes.
        start: Dim,
        /// From one to the next; at least 1.
        step: u64,
    },
    /// One index of an axis, which is removed.
    Select {
        /// The axis.
        axis: usize,
        /// The index: `Dim` of the operand's extent minus something for one that is counted from the end.
        index: Dim,
    },
    /// Operands one after the other along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// The axis with its indices in opposite order.
    Flip {
        /// The axis.
        axis: usize,
    },
    /// `out[.., i, ..] = x[.., index[.., i, ..], ..]` along an axis (torch.gather); operands x, index.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// `out = x[index_0, index_1, ..]` (advanced indexing of the first axes, indices broadcast against each other);
    /// operands x, index_0, index_1, ... An embedding is this with one index.
    Index,
    /// `out[.., j, ..] = x[.., index[j], ..]` along an axis (torch.index_select); operands x, index.
    IndexSelect {
        /// The axis.
        axis: usize,
    },
    /// A reduction.
    Reduce {
        /// The function.
        f: ReduceOp,
        /// The axes, ascending.
        axes: Vec<usize>,
        /// Whether they stay, with extent 1.
        keep: bool,
    },
    /// Running sums along an axis.
    CumSum {
        /// The axis.
        axis: usize,
    },
    /// Along the last axis, how many up to an element are not `skip`, counted from `skip + 1` on; `skip` where it is `skip`.
    /// The lifting puts it where a program says so in several ops.
    Places {
        /// What is not counted: the padding token.
        skip: i64,
    },
    /// Differences of neighbours along an axis, one fewer than the operand has.
    Diff {
        /// The axis.
        axis: usize,
    },
    /// torch.matmul: leading axes broadcast.
    MatMul,
    /// `x weight^T + bias`; operands x, weight `[out, in]`, and a bias if there are three.
    Linear,
    /// A convolution over the last `stride.len()` axes; operands x `[batch, in, ..]`, weight `[out, in / groups, ..]`, and
    /// a bias if there are three.
    Conv {
        /// One an axis.
        stride: Vec<u64>,
        /// One an axis, on both ends.
        padding: Vec<u64>,
        /// One an axis.
        dilation: Vec<u64>,
        /// How many parts the channels fall into.
        groups: u64,
    },
    /// Softmax along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Layer normalisation over the last `axes` axes; operands x, gamma if there are two,
    /// and beta if there are three.
    LayerNorm {
        /// How many of the last axes.
        axes: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// `x / sqrt(mean(x^2) + eps) * gamma` over the last axis; operands x, gamma.
    RmsNorm {
        /// Added to the mean of the squares.
        eps: f64,
    },
    /// `softmax(scale q k^T + mask) v` on `[.., rows, head size]`; operands q, k, v, and a mask if there are four: truth
    /// values (true: seen) or numbers that are added.
    Attention {
        /// Multiplies the scores.
        scale: f64,
        /// Whether a query sees only keys up to its own row, on top of the mask.
        causal: bool,
    },
    /// Rotary positions on `[.., rows, head size]`; operands x, cos and sin `[rows, head size / 2]`.
    Rope {
        /// True: columns `2c` and `2c + 1` are a pair; false: columns `c` and `c + half`.
        interleaved: bool,
    },
}

impl Op {
    /// The fewest and the most operands it has.
    pub fn arity(&self) -> (usize, usize) {
        match self {
            Op::Input { .. } | Op::Weight { .. } | Op::Constant(_) | Op::Arange { .. } => (0, 0),
            Op::Full
            | Op::Unary(_)
            | Op::Cast
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Expand
            | Op::Repeat
            | Op::Slice { .. }
            | Op::Select { .. }
            | Op::Flip { .. }
            | Op::Reduce { .. }
            | Op::CumSum { .. }
            | Op::Places { .. }
            | Op::Diff { .. }
            | Op::Softmax { .. } => (1, 1),
            Op::Binary(_) | Op::Gather { .. } | Op::IndexSelect { .. } | Op::MatMul => (2, 2),
            Op::RmsNorm { .. } => (2, 2),
            Op::Where | Op::Rope { .. } => (3, 3),
            Op::Linear | Op::Conv { .. } => (2, 3),
            Op::LayerNorm { .. } => (1, 3),
            Op::Attention { .. } => (3, 4),
            Op::Concat { .. } => (1, usize::MAX),
            Op::Index => (2, usize::MAX),
        }
    }

    /// What an error calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Weight { .. } => "weight",
            Op::Constant(_) => "constant",
            Op::Arange { .. } => "arange",
            Op::Full => "full",
            Op::Unary(_) => "unary",
            Op::Binary(_) => "binary",
            Op::Where => "where",
            Op::Cast => "cast",
            Op::Reshape => "reshape",
            Op::Permute { .. } => "permute",
            Op::Expand => "expand",
            Op::Repeat => "repeat",
            Op::Slice { .. } => "slice",
            Op::Select { .. } => "select",
            Op::Concat { .. } => "concat",
            Op::Flip { .. } => "flip",
            Op::Gather { .. } => "gather",
            Op::Index => "index",
            Op::IndexSelect { .. } => "index_select",
            Op::Reduce { .. } => "reduce",
            Op::CumSum { .. } => "cumsum",
            Op::Places { .. } => "places",
            Op::Diff { .. } => "diff",
            Op::MatMul => "matmul",
            Op::Linear => "linear",
            Op::Conv { .. } => "conv",
            Op::Softmax { .. } => "softmax",
            Op::LayerNorm { .. } => "layer_norm",
            Op::RmsNorm { .. } => "rms_norm",
            Op::Attention { .. } => "attention",
            Op::Rope { .. } => "rope",
        }
    }
}

/// The kind of a value in listings.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::Bool => "bool",
        })
    }
}
