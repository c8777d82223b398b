//! Traced programs: what a tensor library did in one forward pass of a padded batch.
//!
//! Both front ends that watch another library (torch.export archives, candle models) write a [`Trace`]: a list of plain
//! tensor ops in the semantics of PyTorch, over tensors whose extents are dimensions of the symbols of the batch. A trace
//! still has a batch axis, masks made of comparisons, tables of positions and heads moved about by permutations.
//!
//! - [`eval`] runs a trace in f64: a front end holds it against the library.
//! - [`batch`] proves that no op mixes samples, and makes the program of one sample.
//! - [`lift`](lift()) makes [`bytec_ir::Graph`] of a trace. What stands in the way is named, all of it at once, by the
//!   library's op, the module and the reason ([`Refusals`]).
//!
//! ```
//! use bytec_ir::{Dim, Symbol, SymbolRange};
//! use bytec_trace::{Kind, LiftOptions, Op, Source, Trace, Type, UnaryOp, lift};
//!
//! let range = |name, max| SymbolRange { symbol: Symbol::new(name), min: 1, max };
//! let mut trace = Trace::new(vec![range("B", 64), range("S", 512)], Some(Symbol::new("B")));
//! let ty = Type::new(Kind::Float, [Dim::symbol("B"), Dim::symbol("S"), Dim::fixed(8)]);
//! let x = trace.push(Op::Input { name: "x".into() }, vec![], ty.clone(), Source::default())?;
//! let y = trace.push(Op::Unary(UnaryOp::GeluErf), vec![x], ty, Source::default())?;
//! trace.outputs.push(("y".into(), y));
//! let lifted = lift(&trace, &LiftOptions::default())?;
//! assert!(lifted.graph.to_string().contains("f32[S, 8] = unary(%x) {f = gelu_erf}"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod batch;
pub mod check;
pub mod constant;
mod dims;
pub mod eval;
pub mod lift;
pub mod op;
pub mod origin;
pub mod program;
pub mod refusal;
#[cfg(test)]
mod sketch;

pub use batch::erase_batch;
pub use constant::{Constant, Values};
pub use lift::{LiftError, LiftOptions, Lifted, lift};
pub use op::{BinaryOp, Op, ReduceOp, UnaryOp};
pub use program::{Kind, Node, Source, Trace, TraceError, Type, ValueId};
pub use refusal::{Refusal, Refusals};
