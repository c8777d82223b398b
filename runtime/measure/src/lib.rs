//! Measures plans: how much each step computes and moves, how long it takes, and what the machine could do at best.
//!
//! ```no_run
//! use bytec_measure::{Meter, work};
//! use bytec_runtime::{Elements, Engine, PackedBatch, Sample, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open("plan.bin")?;
//! let mut batch = PackedBatch::new(&engine);
//! batch.push(&Sample::new().with("input_ids", &[2], Elements::I64(&[101, 102])))?;
//! let mut meter = Meter::new(&engine, SessionOptions::default(), None);
//! let taken = meter.steps(&batch)?;
//! let done = work::steps(engine.program(), &batch);
//! for step in &taken.steps {
//!     let gflop_per_s = done[step.index].products / step.time.as_secs_f64() / 1e9;
//!     println!("{}: {gflop_per_s:.1} GFLOP/s", engine.program().steps[step.index].name);
//! }
//! # Ok(())
//! # }
//! ```

pub mod ceilings;
pub mod machine;
mod meter;
pub mod spread;
mod timed;
pub mod work;

pub use meter::{Meter, MeterError, RunTime, StepTime, ThreadTime};
pub use timed::{LaunchTime, Timed, Times};
