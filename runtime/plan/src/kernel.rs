//! The kernels: one closed enum, the same for every device.
//!
//! A kernel works on packed rows. An operand is a matrix of rows: `rows` of a ragged value are all samples' rows, one
//! sample after the other; a per-sample value has one row a sample. All floats are of the program's dtype unless said.

use serde::{Deserialize, Serialize};

use crate::attention::{Band, Bias, Rotary};

/// A function of one number. The formulas are those of the IR's functions of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnaryFn {
    /// `-x`
    Neg,
    /// `|x|`
    Abs,
    /// `e^x`
    Exp,
    /// `sqrt(x)`
    Sqrt,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// The Gauss error function.
    Erf,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `max(x, 0)`, NaN for NaN.
    Relu,
    /// `x * sigmoid(x)`
    Silu,
    /// `x/2 * (1 + erf(x / sqrt 2))`
    GeluErf,
    /// `x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))`
    GeluTanh,
    /// `x * sigmoid(1.702 x)`
    QuickGelu,
    /// `max(x, 0)^2`
    ReluSquared,
    /// `min(max(x, 0), 6)`, NaN for NaN.
    Relu6,
    /// `x` where it is not negative, `0.01 x` elsewhere.
    LeakyRelu,
    /// `x * tanh(ln(1 + e^x))`
    Mish,
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryFn {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The larger; NaN if either is.
    Max,
    /// The smaller; NaN if either is.
    Min,
}

/// How the rows of a sample become one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// The mean of all rows.
    Mean,
    /// The sum of all rows.
    Sum,
    /// The first row.
    Cls,
    /// The elementwise maximum; NaN if any is.
    Max,
    /// The sum of all rows, divided by the square root of their number.
    MeanSqrtLen,
    /// `sum_i i x_i / sum_i i`, the rows counted from 1.
    WeightedMean,
    /// The last row.
    Last,
}

/// Where the ids of one embedding table come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdSource {
    /// The next operand: an integer input with one id a row.
    Input,
    /// The places of the next operand's ids, an integer input with one id a row: `skip` where the id is `skip`, and
    /// elsewhere `skip` plus the number of the sample's other ids so far, itself included.
    Place {
        /// The id that has no place.
        skip: u32,
    },
    /// The row's place in its own sample, counted from `start`.
    Position {
        /// The id of a sample's first row.
        start: u32,
    },
}

impl IdSource {
    /// Whether an operand of ids follows the table.
    pub fn has_ids(self) -> bool {
        matches!(self, IdSource::Input | IdSource::Place { .. })
    }
}

/// How an operand of a pointwise kernel meets the output's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broadcast {
    /// The same rows and width as the output.
    Full,
    /// A weight of the output's width, the same for every row.
    Row,
    /// A weight of one element.
    Scalar,
    /// One row of the output's width for each sample, repeated over the sample's rows.
    Sample,
    /// A weight of rows of the output's width, one for each place in a sample.
    Place,
}

/// What gives some of the rows of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// The sample's rows of a packed operand.
    Rows,
    /// A weight of this many rows, the same in every sample.
    Shared {
        /// How many rows.
        rows: u32,
    },
}

/// One operand of a concatenation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Its columns in one group.
    pub columns: u32,
    /// Whether it is a weight, the same for every row.
    pub weight: bool,
}

/// One instruction of a pointwise kernel; it defines the value of its own index.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instr {
    /// The element of operand `n`.
    Operand(u32),
    /// A constant, as the bits of an f32.
    Const(u32),
    /// A function of an earlier value.
    Unary(UnaryFn, u32),
    /// A function of two earlier values.
    Binary(BinaryFn, u32, u32),
}

/// A linear that computes an operand of the step which names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    /// Columns of its x.
    pub k: u32,
    /// Whether there is a bias.
    pub bias: bool,
    /// Functions applied in order.
    pub epilogue: Vec<UnaryFn>,
}

/// The most axes of [`Kernel::Permute`].
pub const MAX_AXES: usize = 6;

/// What a step computes. Each variant says its operands, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Kernel {
    /// `out[row] = sum_i table_i[id_i[row]]`, then LayerNorm if `eps` is set.
    ///
    /// Operands: for each source its table (weight, row-major `[rows, width]`) and the ids if it goes by any;
    /// then, with `eps`, gamma and beta (weights `[width]`).
    Embed {
        /// The tables' id sources, in the order of the sum.
        sources: Vec<IdSource>,
        /// Columns.
        width: u32,
        /// Added to the variance.
        eps: Option<f32>,
    },
    /// `out[row, n] = f(sum_k x[row, k] * weight[n, k] + bias[n])`, k ascending in one f32 accumulator by fma, then the
    /// bias, then the epilogue's functions in order.
    ///
    /// On a processor the weight may be bf16 in pairs of k. Then x is rounded to bf16 first, and the f32 accumulator takes
    /// two k at a time: by AVX512_BF16's instruction where the machine has it, by two fma elsewhere.
    ///
    /// Or it may be int8 in quads of k, `weight[n, k] = scale[n] * b[n, k]`. Then each row of x is rounded to
    /// `step[row] * (a[row, k] - zero[row])` with bytes a and zero of `0..=255`: the step is the distance from the least of
    /// the row's numbers and zero to the largest over 254. The sum is
    /// `f32(sum_k (a[row, k] - zero[row]) * b[n, k]) * step[row] * scale[n]`: an exact integer, then three roundings, none
    /// fused. A row that is not finite, or reaches further than f32 can say, gives NaN; one that reaches less than 2^-100
    /// counts as zeros.
    ///
    /// Operands: x; the weight `[n, k]` in the layout that its entry names; the bias (weight `[n]`) if `bias`.
    Linear {
        /// Columns of the output.
        n: u32,
        /// Columns of x.
        k: u32,
        /// Whether there is a bias.
        bias: bool,
        /// Functions applied in order.
        epilogue: Vec<UnaryFn>,
    },
    /// `out[row] = LayerNorm(sum_k x[row, k] * weight[n, k] + bias[n] + residual[row, n])`: a linear as
    /// [`Linear`](Self::Linear) computes it, and the LayerNorm of its sum with the residual. On a GPU the linear's result
    /// is not rounded to the program's type in between, and a row's statistics are put together from those of as many
    /// parts as the launch's grid has blocks along x: which numbers come out differs so from the two kernels apart, and
    /// a program has one or the other for all batches.
    ///
    /// Operands: x; the weight `[n, k]` in the layout that its entry names; the bias (weight `[n]`) if `bias`; the
    /// residual; gamma and beta (weights `[n]`); with `up` the operands of the linear that computes x, which is all of
    /// that step's output.
    LinearLayerNorm {
        /// Columns of the output.
        n: u32,
        /// Columns of x.
        k: u32,
        /// Whether there is a bias.
        bias: bool,
        /// Added to the variance.
        eps: f32,
        /// The linear that computes x in a step before, where a device may compute both in this step's launch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up: Option<Up>,
    },
    /// Per sample and head `softmax(scale * q k^T + bias) v` over the sample's own rows, as far as the mask lets a query
    /// see.
    ///
    /// Operands: q, a view of `heads * head_size` columns; k and v, each one of `heads / group * head_size`; what the bias
    /// names; what the rotation names.
    /// q's rows may count otherwise than k's and v's if there is neither mask nor bias.
    Attention {
        /// How many heads; head `h` is columns `h * head_size ..`.
        heads: u32,
        /// Columns of a head.
        head_size: u32,
        /// How many heads of q share one of k and v; head `h` sees theirs of number `h / group`.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        group: u32,
        /// Multiplies the scores.
        scale: f32,
        /// Which keys a query sees.
        #[serde(default, skip_serializing_if = "Band::is_all")]
        mask: Band,
        /// What is added to the scores.
        #[serde(default, skip_serializing_if = "Bias::is_none")]
        bias: Bias,
        /// How q and k are turned first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rotary: Option<Rotary>,
    },
    /// The heads of x turned by position. Operands: x; what the rotation names.
    Rotary {
        /// How many heads.
        heads: u32,
        /// Columns of a head.
        head_size: u32,
        /// The rotation.
        rotary: Rotary,
    },
    /// LayerNorm of each row, of `x + residual` if `residual`.
    ///
    /// Operands: x; the residual if `residual`; gamma and beta (weights `[width]`).
    LayerNorm {
        /// Columns.
        width: u32,
        /// Added to the variance.
        eps: f32,
        /// Whether a second operand is added first.
        residual: bool,
    },
    /// `x / sqrt(mean x_i^2 + eps) * gamma` of each row. Operands: x; gamma (weight `[width]`).
    RmsNorm {
        /// Columns.
        width: u32,
        /// Added to the mean of the squares.
        eps: f32,
    },
    /// `x / max(sqrt(sum x_i^2), eps)` of each row. Operand: x.
    L2Normalize {
        /// Columns.
        width: u32,
        /// The smallest norm divided by.
        eps: f32,
    },
    /// Softmax of each row. Operand: x.
    Softmax {
        /// Columns.
        width: u32,
    },
    /// A sample's rows as one row, then divided by its L2 norm if `normalize` is set. Operand: x, ragged.
    /// The output has one row a sample.
    Pool {
        /// How.
        pooling: PoolKind,
        /// Columns.
        width: u32,
        /// The smallest norm divided by.
        normalize: Option<f32>,
    },
    /// Neighbouring rows of a sample side by side: row `i` of the output is rows `i - before ..` of x, `size` of them, with
    /// zeros where the sample has no row. Operand: x.
    Unfold {
        /// Columns of x.
        width: u32,
        /// How many rows.
        size: u32,
        /// How many of them before the row itself; less than `size`.
        before: u32,
    },
    /// Columns of several operands side by side: a row of the output is `groups` times the next columns of each operand, in
    /// order.
    ///
    /// Operands: as many as `parts`, each with `groups * columns` columns: a weight of that many elements, or the output's
    /// rows.
    Concat {
        /// How often the operands take turns; once where whole rows are put side by side.
        groups: u32,
        /// What each operand gives.
        parts: Vec<Part>,
    },
    /// A block of x in another order: element `i` of the output's block, `i_0, i_1, ..` along `shape`, is element
    /// `start + sum_a i_a * strides[a]` of the block of x. Axes change places so, and parts of axes are taken.
    ///
    /// A block is one row of x and of the output, or, where every sample has as many rows, all of a sample's; its
    /// elements are counted row by row. Operand: x.
    Permute {
        /// Rows and columns of a block of x.
        from: [u32; 2],
        /// Rows and columns of a block of the output.
        to: [u32; 2],
        /// The element of x that is the first of the output.
        start: u32,
        /// Extents of the output's block, the last one fastest; at most [`MAX_AXES`].
        shape: Vec<u32>,
        /// For each axis, how many elements of x apart its elements are.
        strides: Vec<u32>,
    },
    /// The rows of several operands, one operand after the other in each sample. Operands: one for each part, in order.
    Join {
        /// Columns.
        width: u32,
        /// What each operand is.
        parts: Vec<Joined>,
    },
    /// A generated elementwise chain; the last instruction is the result.
    ///
    /// Operands: as many as `operands`, met with the rows as each says.
    Pointwise {
        /// Columns of the output.
        width: u32,
        /// How each operand meets the rows.
        operands: Vec<Broadcast>,
        /// The chain.
        body: Vec<Instr>,
    },
}

impl Kernel {
    /// Attention without mask, bias or rotation.
    pub fn attention(heads: u32, head_size: u32, scale: f32) -> Kernel {
        let (mask, bias, rotary) = (Band::default(), Bias::None, None);
        Kernel::Attention { heads, head_size, group: 1, scale, mask, bias, rotary }
    }
}

fn one() -> u32 {
    1
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

macro_rules! kernel_table {
    ($($variant:ident = $name:literal: $summary:literal,)*) => {
        /// Name and summary of every kernel, in the order of the enum.
        pub const KERNELS: &[(&str, &str)] = &[$(($name, $summary)),*];

        impl Kernel {
            /// The kernel's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Kernel::$variant { .. } => $name,)*
                }
            }
        }
    };
}

kernel_table! {
    Embed = "embed": "sum of table rows by id or position, with LayerNorm if asked",
    Linear = "linear": "x times a constant matrix, bias, list of functions",
    LinearLayerNorm = "linear_layer_norm": "LayerNorm of a linear and a residual, in one pass",
    Attention = "attention": "softmax(scale * q k^T + bias) v for each sample and head, masked by distance if asked",
    Rotary = "rotary": "heads turned by position",
    LayerNorm = "layer_norm": "LayerNorm of each row, after adding a residual if asked",
    RmsNorm = "rms_norm": "each row divided by its root mean square, times gamma",
    L2Normalize = "l2_normalize": "each row divided by its L2 norm",
    Softmax = "softmax": "softmax of each row",
    Pool = "pool": "mean, sum, first, last or maximum of a sample's rows, L2-normalised if asked",
    Unfold = "unfold": "neighbouring rows of a sample side by side",
    Concat = "concat": "columns of several values side by side",
    Permute = "permute": "the elements of a row, or of a sample of fixed size, in another order",
    Join = "join": "rows of several operands, one operand after the other in each sample",
    Pointwise = "pointwise": "a generated chain of elementwise functions",
}
