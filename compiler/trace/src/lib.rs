//! Traced programs: what a tensor library did in one forward pass of a padded batch.
//!
//! Both front ends that watch another library (torch.export archives, candle models) write a [`Trace`]: a list of plain
//! tensor ops in the semantics of PyTorch, over tensors whose extents are dimensions of the symbols of the batch. A trace
//! still has a batch axis, masks made of comparisons, tables of positions and heads moved about by permutations.

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
mod wellformed;

pub use batch::erase_batch;
pub use constant::{Constant, Values};
pub use lift::{LiftError, LiftOptions, Lifted, lift};
pub use op::{BinaryOp, Op, ReduceOp, UnaryOp};
pub use program::{Kind, Node, Source, Trace, TraceError, Type, ValueId};
pub use refusal::{Refusal, Refusals};
