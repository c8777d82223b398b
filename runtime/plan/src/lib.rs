//! The plan file: what the compiler writes and the runtime reads.
//!
//! A plan holds a [`Manifest`](manifest::Manifest), one [`Program`](program::Program) for each entry point and target,
//! the weights that the programs share, and the tokenizer of the source folder. `FORMAT.md` beside this crate describes
//! the bytes.
//!
//! The compiler fills a [`WeightTable`](weights::WeightTable) and calls [`writer::write`]. The runtime maps the file and
//! calls [`PlanIndex::read`](reader::PlanIndex::read), which checks every byte of it, and the structure of every program
//! with [`check::check`], before it gives anything out.

pub mod attention;
pub mod check;
pub mod device;
pub mod extent;
mod hash;
pub mod header;
pub mod json;
pub mod kernel;
pub mod manifest;
pub mod program;
pub mod reader;
pub mod weights;
pub mod writer;
