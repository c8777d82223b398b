//! Traces unmodified candle models.
//!
//! candle runs ops as they come and keeps no graph of a forward. This crate builds candle-nn and candle-transformers as
//! published over a candle-core that can record: the program in `setup` puts it in place. A model is run at a few sizes,
//! and what it did becomes a [`bytec_trace::Trace`], which holds for all sizes.

mod check;
mod draft;
mod error;
mod fit;
mod fold;
mod graph;
mod leaf;
mod lower;
pub mod models;
mod options;
mod program;
mod recording;
mod trace;
mod weights;

pub use error::Error;
pub use graph::{graph, write};
pub use options::{BATCH, Holds, Input, Options, inputs as random_inputs};
pub use trace::{Traced, compare, trace};
pub use weights::{MadeUp, Source, Tensors};

pub use check::value;
