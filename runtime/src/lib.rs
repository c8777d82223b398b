//! Loads plans and runs packed batches.
//!
//! ```no_run
//! use bytec_runtime::{Elements, Engine, PackedBatch, Sample};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open("plan.bin")?;
//! let mut batch = PackedBatch::new(&engine);
//! batch.push(&Sample::new().with("input_ids", &[3], Elements::I64(&[101, 7592, 102])))?;
//! batch.push(&Sample::new().with("input_ids", &[2], Elements::I64(&[101, 102])))?;
//! let mut session = engine.session();
//! let outputs = session.run(&batch)?;
//! let embedding = outputs.get("embedding").ok_or("the plan has no such output")?;
//! assert_eq!(embedding.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! Plans run on the processor, on an NVIDIA GPU ([`Device::Cuda`]), and on whatever implements [`cuda::Driver`].
//!
//! An [`Engine`] holds what a plan's runs share and can be used from any number of threads; a [`Session`] holds the
//! memory of one run at a time. Samples lie in a [`PackedBatch`] one after the other, with no padding; a sample's outputs
//! have the same bits alone and in any batch.

mod arena;
mod batch;
mod bytes;
pub mod cpu;
pub mod cuda;
mod engine;
mod error;
mod float;
mod observe;
mod sample;
mod session;

pub use batch::PackedBatch;
pub use cpu::isa::Isa;
pub use engine::{Device, Engine, EngineOptions};
pub use error::{BatchError, EngineError, RunError, SampleFault};
pub use observe::{StepOutput, ThreadSpan};
pub use sample::{Elements, Sample};
pub use session::{Output, Outputs, Session, SessionOptions};
