//! `bytec run`: texts or tensors through a plan, in packed batches.

use std::io::{IsTerminal, stdout};
use std::sync::Arc;

use bytec_runtime::cuda::Driver;
use bytec_runtime::{
    BatchError, Device, Elements, Engine, EngineError, EngineOptions, Outputs, PackedBatch,
    RunError, Sample,
};

use bytec_sim::SimDriver;

use crate::args::{self, RunArgs};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::{Outcome, profile, tensors, texts};

/// The elements of a tensor.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    I64(Vec<i64>),
    I32(Vec<i32>),
    F32(Vec<f32>),
}

/// A named tensor.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) values: Values,
}

/// A sample on its way through the plan.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// What messages call it, such as `text 3`.
    pub(crate) label: String,
    pub(crate) tensors: Vec<Tensor>,
}

impl Item {
    /// What the sample counts against `--max-batch-tokens`: its longest first axis.
    fn tokens(&self) -> u64 {
        let first = |tensor: &Tensor| tensor.shape.first().copied().unwrap_or(1);
        self.tensors.iter().map(first).max().unwrap_or(1)
    }

    fn sample(&self) -> Sample<'_> {
        self.tensors.iter().fold(Sample::new(), |sample, tensor| {
            let elements = match &tensor.values {
                Values::I64(values) => Elements::I64(values),
                Values::I32(values) => Elements::I32(values),
                Values::F32(values) => Elements::F32(values),
            };
            sample.with(&tensor.name, &tensor.shape, elements)
        })
    }
}

pub(crate) fn run(args: &RunArgs) -> Outcome {
    let options = EngineOptions {
        device: if args.device == args::Device::Cuda { Device::Cuda } else { Device::Cpu },
        threads: args.threads.map(usize::from),
        ..EngineOptions::default()
    };
    let args::Device::Sim(arch) = args.device else {
        if args.profile {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "--profile counts on --device sim only"
            )));
        }
        return on_engine(args, &Engine::open_with(&args.plan, options)?);
    };
    let sim = Arc::new(SimDriver::new(bytec_sim::Device::sm_80(), arch));
    on_engine(
        args,
        &Engine::with_driver(&args.plan, Arc::clone(&sim) as Arc<dyn Driver>, options)?,
    )?;
    if args.profile {
        profile::print(&sim.take_profiles())?;
    }
    Ok(())
}

fn on_engine(args: &RunArgs, engine: &Engine) -> Outcome {
    match &args.inputs {
        Some(inputs) => tensors::run(args, engine, inputs),
        None => texts::run(args, engine),
    }
}

/// Runs the samples in batches, in order, and hands each batch's outputs to `take` with the place of its first sample.
pub(crate) fn in_batches(
    args: &RunArgs,
    engine: &Engine,
    items: &[Item],
    mut take: impl FnMut(usize, Outputs<'_>) -> Outcome,
) -> Outcome {
    let batches = batches(args, items)?;
    // A bar among the lines that a terminal shows would be noise.
    let bar_total = if stdout().is_terminal() && args.inputs.is_none() { 0 } else { batches.len() };
    let mut bar = (bar_total > 1).then(|| Bar::new(bar_total as u64, true));
    let mut session = engine.session();
    let mut batch = PackedBatch::new(engine);
    for range in batches {
        let first = range.start;
        batch.clear();
        for item in &items[range] {
            batch.push(&item.sample()).map_err(|BatchError { fault, .. }| {
                Failure::bad_input(anyhow::anyhow!("{}: {fault}", item.label))
            })?;
        }
        take(first, session.run(&batch)?)?;
        if let Some(bar) = &mut bar {
            bar.advance(&format!("{} of {} samples", first + batch.len(), items.len()));
        }
    }
    if let Some(bar) = bar {
        bar.finish();
    }
    Ok(())
}

/// Cuts the samples into batches of at most `--max-batch-tokens`, or one each with `--alone`.
fn batches(args: &RunArgs, items: &[Item]) -> Result<Vec<std::ops::Range<usize>>, Failure> {
    let mut batches: Vec<std::ops::Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (i, item) in items.iter().enumerate() {
        let own = item.tokens();
        if own > args.max_batch_tokens {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "{} has {own} tokens, and --max-batch-tokens allows {} a batch",
                item.label,
                args.max_batch_tokens
            )));
        }
        match batches.last_mut() {
            Some(batch) if !args.alone && own <= args.max_batch_tokens - tokens => {
                batch.end = i + 1;
                tokens += own;
            }
            _ => {
                batches.push(i..i + 1);
                tokens = own;
            }
        }
    }
    Ok(batches)
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NoProgram { .. } | EngineError::Threads { .. } => Self::machine(error),
            _ => Self::bad_input(error),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::OutOfMemory { .. } => Self::machine(error),
            _ => Self::internal(error),
        }
    }
}
