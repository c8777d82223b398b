//! The op table: every op, declared once, with its formula.
//!
//! A row gives the enum variant, its doc, the mnemonic of the text form, the operands and the attributes.
//! What an op *does* is in exhaustive matches elsewhere: [`crate::infer`] and [`crate::eval`].

use std::fmt;

use crate::attention::{Band, Bias, Rotary};
use crate::attrs::{BinaryFn, Expr, PoolKind, Real, ReduceFn, UnaryFn};
use crate::dim::Dim;
use crate::text::{Attr, Cursor, ParseError};

/// How often an operand appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly once.
    One,
    /// At most once; only the last operand may be left out.
    Optional,
    /// Any number of times; only the last operand may repeat.
    Many,
}

/// One operand of a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OperandRow {
    /// Its name in the docs.
    pub name: &'static str,
    /// How often it appears.
    pub arity: Arity,
}

/// One attribute of a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct AttributeRow {
    /// Its name in the text form.
    pub name: &'static str,
    /// Its type in this crate, such as `Vec<Dim>`.
    pub ty: &'static str,
    /// What it says.
    pub doc: &'static str,
    /// The text of what it is when it is left out; `None` if it may not be.
    pub default: fn() -> Option<String>,
}

/// One row of the table, for docs, listings and tests.
#[derive(Clone, Copy, Debug)]
pub struct OpRow {
    /// Which op.
    pub kind: OpKind,
    /// The name in the text form.
    pub mnemonic: &'static str,
    /// The formula and rules, as written in the table.
    pub doc: &'static str,
    /// Operands in order.
    pub operands: &'static [OperandRow],
    /// Attribute names in order.
    pub attributes: &'static [&'static str],
    /// The same attributes with all that the table says of them.
    pub attribute_rows: &'static [AttributeRow],
}

macro_rules! arity {
    () => {
        Arity::One
    };
    (optional) => {
        Arity::Optional
    };
    (many) => {
        Arity::Many
    };
}

/// What an attribute is when the text leaves it out.
macro_rules! default_of {
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}

macro_rules! op_table {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident = $mnemonic:literal ( $($operand:ident $(: $arity:ident)?),* )
            { $($(#[doc = $adoc:literal])* $attr:ident : $ty:ty $(= $default:expr)?),* $(,)? }
    )*) => {
        /// An op with its attributes. Its operands are edges of the graph.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Op {
            $($(#[doc = $doc])* $variant { $($(#[doc = $adoc])* $attr: $ty),* },)*
        }

        /// An op without its attributes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OpKind {
            $($(#[doc = $doc])* $variant,)*
        }

        impl OpKind {
            /// The row of the table.
            pub fn row(self) -> &'static OpRow {
                &TABLE[self as usize]
            }
        }

        /// All rows, in the order of the table.
        pub static TABLE: &[OpRow] = &[
            $(OpRow {
                kind: OpKind::$variant,
                mnemonic: $mnemonic,
                doc: concat!($($doc, "\n"),*),
                operands: &[$(OperandRow { name: stringify!($operand), arity: arity!($($arity)?) }),*],
                attributes: &[$(stringify!($attr)),*],
                attribute_rows: &[$(AttributeRow {
                    name: stringify!($attr),
                    ty: stringify!($ty),
                    doc: concat!($($adoc, "\n"),*),
                    default: || {
                        let default: Option<$ty> = default_of!($($default)?);
                        default.as_ref().map(Attr::print)
                    },
                }),*],
            },)*
        ];

        impl Op {
            /// Which op this is.
            pub fn kind(&self) -> OpKind {
                match self { $(Op::$variant { .. } => OpKind::$variant,)* }
            }

            /// Attribute names and their text, in the order of the table, but for those at their default.
            pub fn attributes(&self) -> Vec<(&'static str, String)> {
                match self {
                    $(Op::$variant { $($attr),* } => {
                        let mut _texts = Vec::new();
                        $(
                            let default: Option<$ty> = default_of!($($default)?);
                            if default.as_ref() != Some($attr) {
                                _texts.push((stringify!($attr), Attr::print($attr)));
                            }
                        )*
                        _texts
                    })*
                }
            }

            /// Reads ` {name = value, ..}` after the mnemonic and operands of an op of this kind.
            pub(crate) fn read(kind: OpKind, cursor: &mut Cursor<'_>) -> Result<Op, ParseError> {
                match kind {
                    $(OpKind::$variant => {
                        $(let mut $attr: Option<$ty> = None;)*
                        cursor.attributes(kind.row(), |_name, _cursor| {
                            match _name {
                                $(stringify!($attr) => Ok(_cursor.set_once(_name, &mut $attr)?),)*
                                _ => Ok(()),
                            }
                        })?;
                        Ok(Op::$variant {
                            $($attr: match $attr.or(default_of!($($default)?)) {
                                Some(value) => value,
                                None => return Err(cursor.missing(kind, stringify!($attr))),
                            }),*
                        })
                    })*
                }
            }
        }
    };
}

op_table! {
    /// The integers `start, start+1, ..` of a sample: `out[i] = start + i`, i64 `[extent]`.
    Iota = "iota"() {
        /// How many.
        extent: Dim,
        /// The first.
        start: i64,
    }
    /// The places of a sample's ids among those that are not `skip`, from `skip + 1` on, and `skip` for those that are:
    /// `out[i] = skip + count of j <= i with ids[j] != skip`, or `skip` where `ids[i] = skip`; ids and out i64 `[rows]`.
    /// RoBERTa's positions, whose `skip` is the padding token.
    Places = "places"(ids) {
        /// The id that has no place.
        skip: usize,
    }
    /// Rows of a table: `out[.., :] = table[ids[..], :]` with table `[rows, width]`, ids i64.
    Gather = "gather"(table, ids) {}
    /// `out[.., n] = f(sum_k x[.., k] * weight[n, k] + bias[n])`, where `f` applies the epilogue in order.
    Linear = "linear"(x, weight, bias: optional) {
        /// Functions applied to the sum, first one first.
        epilogue: Vec<UnaryFn>,
    }
    /// `out[.., m, n] = sum_k a[.., m, k] * b[.., k, n]`, leading axes equal.
    MatMul = "matmul"(a, b) {}
    /// `out = f(x)`, element by element.
    Unary = "unary"(x) {
        /// The function.
        f: UnaryFn,
    }
    /// `out = f(a, b)`, element by element; axes align from the last, and an axis of 1 or a missing one repeats.
    Binary = "binary"(a, b) {
        /// The function.
        f: BinaryFn,
    }
    /// `out[.., i] = exp(x[.., i] - max_j x[.., j]) / sum_j exp(x[.., j] - max)` along the last axis.
    Softmax = "softmax"(x) {}
    /// `out = (x - mean) / sqrt(var + eps) * gamma + beta` along the last axis, biased variance (Ba et al. 2016).
    LayerNorm = "layer_norm"(x, gamma, beta) {
        /// Added to the variance.
        eps: Real,
    }
    /// `out = x / sqrt(mean_i x_i^2 + eps) * gamma` along the last axis (Zhang and Sennrich 2019).
    RmsNorm = "rms_norm"(x, gamma) {
        /// Added to the mean of the squares.
        eps: Real,
    }
    /// `out = x / max(sqrt(sum_i x_i^2), eps)` along the last axis.
    L2Normalize = "l2_normalize"(x) {
        /// The smallest norm divided by.
        eps: Real,
    }
    /// One axis reduced and removed.
    Reduce = "reduce"(x) {
        /// The reduction.
        f: ReduceFn,
        /// The axis.
        axis: usize,
    }
    /// One index of an axis; the axis is removed.
    Select = "select"(x) {
        /// The axis.
        axis: usize,
        /// The index; the axis is never shorter.
        index: usize,
    }
    /// The part `start..end` of an axis.
    Slice = "slice"(x) {
        /// The axis.
        axis: usize,
        /// The first index kept.
        start: usize,
        /// One past the last.
        end: usize,
    }
    /// The operands one after the other along an axis; other axes equal.
    Concat = "concat"(xs: many) {
        /// The axis.
        axis: usize,
    }
    /// The same elements in the same order under another shape.
    Reshape = "reshape"(x) {
        /// The new extents; their product is the same.
        shape: Vec<Dim>,
    }
    /// Axes in another order: axis `i` of the output is axis `perm[i]` of the input.
    Transpose = "transpose"(x) {
        /// A permutation of the axes.
        perm: Vec<usize>,
    }
    /// Multi-head attention over one sample's own rows (Vaswani et al. 2017):
    /// per head `out = softmax(scale * q k^T + bias) v` over the keys that the mask lets a query see;
    /// q `[Q, heads*head_size]`, k and v `[K, heads/group*head_size]`. Head `h` of q is columns `h*head_size ..`, and sees
    /// head `h/group` of k and v.
    /// With a mask other than `all` or with a bias, Q is K. `tables` are what the bias asks for.
    Attention = "attention"(q, k, v, tables: many) {
        /// How many heads.
        heads: usize,
        /// Columns of one head.
        head_size: usize,
        /// How many heads of q share one of k and v (Ainslie et al. 2023); divides `heads`.
        group: usize = 1,
        /// Multiplies the scores.
        scale: Real,
        /// Which keys a query sees.
        mask: Band = Band::ALL,
        /// What is added to the scores.
        bias: Bias = Bias::None,
        /// How q and k are turned by their positions first, as `rotary` does it.
        rotary: Option<Rotary> = None,
    }
    /// The first columns of each head turned by the row's place in its sample: x `[rows, heads*head_size]`.
    Rotary = "rotary"(x) {
        /// How many heads.
        heads: usize,
        /// Columns of one head.
        head_size: usize,
        /// Which columns, and by how much.
        rotary: Rotary,
    }
    /// Neighbouring rows side by side: x `[rows, width]`, out `[rows, size*width]`, row `i` is rows `i-before ..` of x,
    /// `size` of them, zeros where there is none. A convolution over the rows is this and a linear.
    Unfold = "unfold"(x) {
        /// How many rows.
        size: usize,
        /// How many of them before the row itself; less than `size`.
        before: usize,
    }
    /// `layer_norm(x + residual)`.
    AddLayerNorm = "add_layer_norm"(x, residual, gamma, beta) {
        /// Added to the variance.
        eps: Real,
    }
    /// `layer_norm(sum_i table_i[ids_i])`; the operands after beta are pairs `table_0, ids_0, table_1, ids_1, ..`.
    EmbedLayerNorm = "embed_layer_norm"(gamma, beta, tables_and_ids: many) {
        /// Added to the variance.
        eps: Real,
    }
    /// The rows of a sample as one row: x `[rows, width]`, out `[width]`, divided by its L2 norm if `normalize` is set.
    Pool = "pool"(x) {
        /// How.
        kind: PoolKind,
        /// The smallest norm divided by, or `none`.
        normalize: Option<Real>,
    }
    /// A generated chain: `out = expr(x0, x1, ..)` element by element, operands broadcast as in `binary`.
    Pointwise = "pointwise"(xs: many) {
        /// The expression.
        expr: Expr,
    }
}

impl Op {
    /// Attention without mask, bias or rotation.
    pub fn attention(heads: usize, head_size: usize, scale: f64) -> Op {
        let (mask, bias, rotary) = (Band::ALL, Bias::None, None);
        Op::Attention { heads, head_size, group: 1, scale: Real(scale), mask, bias, rotary }
    }

    /// The dimensions among the attributes.
    pub fn dims(&self) -> &[Dim] {
        match self {
            Op::Iota { extent, .. } => std::slice::from_ref(extent),
            Op::Reshape { shape } => shape,
            _ => &[],
        }
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().mnemonic)
    }
}

impl OpRow {
    /// True if an op of this row may have `count` operands.
    pub fn accepts(&self, count: usize) -> bool {
        let fixed = self.operands.iter().filter(|o| o.arity == Arity::One).count();
        match self.operands.last().map(|o| o.arity) {
            Some(Arity::Many) => count >= fixed,
            Some(Arity::Optional) => count == fixed || count == fixed + 1,
            _ => count == fixed,
        }
    }

    /// The operands as written in a listing: `(x, weight, bias?)`.
    pub fn signature(&self) -> String {
        let operands: Vec<_> = self
            .operands
            .iter()
            .map(|o| match o.arity {
                Arity::One => o.name.to_owned(),
                Arity::Optional => format!("{}?", o.name),
                Arity::Many => format!("{}..", o.name),
            })
            .collect();
        format!("({})", operands.join(", "))
    }
}
