//! The graph that bytec compiles. This page is its specification.
//!
//! # A graph is the forward pass of one sample
//!
//! A [`Graph`] computes the outputs of **one unpadded sample** from the tensors that the sample brings and from a
//! checkpoint's weights. There is no batch axis, no padding and no padding mask: the compiler makes the batch. An op that
//! would mix samples can't be written, because a second sample can't be named.
//!
//! - A **value** is a dense tensor: an element type and extents, outermost first ([`TensorType`]). Each value is defined
//!   by one [`Node`], has a name, and never changes. Names come from the source, and rules hand them on, so that a
//!   report about a fused graph speaks of the model.
//! - A **definition** ([`Def`]) is an input of the sample, a weight of the checkpoint, a number, or an [`Op`] on other
//!   values. The [op table](ops) gives each op's formula, operands and attributes; it is the only list of ops.
//! - An extent is a [`Dim`]: a whole number, or an expression over the sample's **symbols** such as `L` tokens, `H*W`
//!   pixels or `ceil(L, 2)`. Each symbol has limits, both included, and is an axis of some input, so that the shapes of a
//!   sample's inputs say what every symbol is worth.
//! - **Floats** are written `f32` in a source graph, whatever the checkpoint stores; the target decides what they become.
//!   A [`Real`] in an attribute or a constant is an f64.
//! - **Integers** are ids. They come from inputs and `iota`, are moved but never computed, and end in a lookup.
//! - Pointwise ops broadcast: axes align from the last; an axis of 1, or a missing one, repeats. No other op does.
//! - NaN goes through: the result of a function, maximum or minimum of a NaN is NaN.
//! - **Outputs** are values given out under names of their own; one value may have several.
//!
//! # Text
//!
//! The text form prints and parses back; [`text`] describes it.
//!
//! ```
//! use bytec_ir::Graph;
//!
//! let text = "\
//! bytec 1
//! symbol L in 1..=512
//! input %input_ids: i64[L]
//! weight @words: f32[120, 48]
//! const %scale = 0.25
//! %embedded: f32[L, 48] = gather(@words, %input_ids)
//! %scaled: f32[L, 48] = binary(%embedded, %scale) {f = mul}
//! output last_hidden_state = %scaled
//! ";
//! let graph: Graph = text.parse()?;
//! assert_eq!(graph.to_string(), text);
//! # Ok::<(), bytec_ir::ParseError>(())
//! ```
//!
//! # Making, changing, checking, running
//!
//! - [`Builder`] makes a graph the way a model's forward reads; [`parse`] reads one.
//! - A [`Patch`] is the only way to change one.
//! - [`infer`](infer::infer) gives an op's result type, and refuses operands that do not fit.
//! - [`verify`](verify::verify) checks the numbered invariants; [its page](verify) lists them. Only a graph that passes
//!   is compiled.
//! - [`eval`](eval::eval) runs a graph on one sample in f64, and defines what every other way of running it must give.
//! - [`sample`] makes random graphs, inputs and weights for tests.
//!
//! Nothing here panics on what comes from outside: texts, shapes, numbers and tensors that do not fit are errors.

pub mod attention;
pub mod attrs;
pub mod buckets;
pub mod builder;
pub mod dim;
pub mod eval;
pub mod graph;
pub mod ids;
pub mod infer;
pub mod ops;
pub mod patch;
pub mod sample;
pub mod text;
pub mod types;
pub mod verify;

pub use attention::{Band, Bias, Pairs, Rotary};
pub use attrs::{BinaryFn, Expr, PoolKind, Real, ReduceFn, UnaryFn};
pub use buckets::Buckets;
pub use builder::{BuildError, Builder, Built};
pub use dim::{Atom, Bindings, Dim, DimError, Symbol};
pub use eval::{Data, EvalError, Rounding, Tensor, WeightSource};
pub use graph::{Def, Graph, Node, NodeId, Output};
pub use infer::InferError;
pub use ops::{Op, OpKind, OpRow};
pub use patch::{Change, Patch};
pub use text::{ParseError, parse};
pub use types::{DType, Shape, SymbolRange, TensorType};
pub use verify::{Invariant, VerifyError, Violation};
