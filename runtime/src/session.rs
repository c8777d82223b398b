//! Sessions: the memory to run batches in.

use std::sync::Arc;

use bytec_plan::program::Program;

use crate::batch::PackedBatch;
use crate::cpu::CpuWork;
use crate::cuda::DeviceWork;
use crate::engine::{Machine, Shared};
use crate::error::RunError;
use crate::observe::{Observer, StepOutput};

/// How to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Fill all memory with NaN before each run, so that a read of what was not written shows in the outputs.
    pub poison: bool,
    /// On a device: capture the launches of a size class once and replay them for every batch of it, which costs the
    /// host less than launching each. The results are the same bits. A run that is observed, or whose size class has
    /// larger grids than devices run, launches one by one all the same. Has no effect on the processor.
    pub graphs: bool,
}

/// Memory for one batch at a time. Sessions of one engine don't know of each other and may run at the same time.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    options: SessionOptions,
    work: Work,
}

/// A session's memory, by the kind of machine.
#[derive(Debug)]
enum Work {
    Cpu(CpuWork),
    Device(Box<DeviceWork>),
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, options: SessionOptions) -> Session {
        let work = match &shared.machine {
            Machine::Cpu(processor) => Work::Cpu(CpuWork::new(&shared.program, processor)),
            Machine::Device(_) => Work::Device(Box::default()),
        };
        Session { shared, options, work }
    }

    /// Runs a batch.
    ///
    /// A sample's outputs have the same bits whatever else is in the batch, in whatever order, on any number of threads.
    /// (Which NaN a NaN is, is not promised.) After the first batch of its size class, a run allocates no memory.
    ///
    /// # Errors
    /// When the batch was made for another program, or does not fit in memory; the session can be used again then. On a
    /// device also when that fails, which ends all runs of the engine: its memory may hold anything.
    pub fn run<'a>(&'a mut self, batch: &'a PackedBatch) -> Result<Outputs<'a>, RunError> {
        self.run_with(batch, None)
    }

    /// Runs a batch and shows each step's result as soon as it is there, in the order of the program's steps.
    ///
    /// For finding the step that goes wrong: a device is waited for, and its memory read, after each step. Steps whose
    /// result has no rows are left out. When the run fails, those before the failure have been shown.
    ///
    /// # Errors
    /// As for [`Session::run`].
    pub fn run_observed<'a>(
        &'a mut self,
        batch: &'a PackedBatch,
        observe: &mut (dyn FnMut(StepOutput<'_>) + Send),
    ) -> Result<Outputs<'a>, RunError> {
        self.run_with(batch, Some(observe))
    }

    fn run_with<'a>(
        &'a mut self,
        batch: &'a PackedBatch,
        observe: Option<Observer<'_>>,
    ) -> Result<Outputs<'a>, RunError> {
        let Session { shared, options, work } = self;
        let program = &*shared.program;
        if !Arc::ptr_eq(&shared.program, batch.program()) && *program != **batch.program() {
            let expected = format!("{} for {}", program.entry, program.target);
            return Err(RunError::OtherProgram { expected });
        }
        match (&mut *work, &shared.machine) {
            (Work::Cpu(cpu), Machine::Cpu(processor)) => {
                cpu.make_room(processor, program, batch)
                    .ok_or(RunError::OutOfMemory { samples: batch.len() })?;
                if options.poison {
                    cpu.poison();
                }
                cpu.run(processor, program, shared.weights(), batch, observe);
            }
            (Work::Device(device), Machine::Device(code)) => {
                device.run(code, program, batch, *options, observe)?;
            }
            (Work::Cpu(_), Machine::Device(_)) | (Work::Device(_), Machine::Cpu(_)) => {
                unreachable!("a session's memory is of its engine's machine")
            }
        }
        check_shapes(program, batch)?;
        Ok(Outputs { program, batch, work })
    }

    /// Bytes of the session's arena as it stands.
    pub fn arena_bytes(&self) -> usize {
        match &self.work {
            Work::Cpu(cpu) => cpu.arena().bytes(),
            Work::Device(device) => device.arena_bytes(),
        }
    }
}

/// Checks that every sample's output has as many elements as its shape says.
fn check_shapes(program: &Program, batch: &PackedBatch) -> Result<(), RunError> {
    for output in &program.outputs {
        let buffer = &program.buffers[output.buffer as usize];
        for sample in 0..batch.len() {
            let rows = batch.offsets(buffer.rows).range(sample).len();
            let expected = rows * buffer.width as usize;
            let found = output.shape.iter().try_fold(1u64, |product, extent| {
                product.checked_mul(extent.eval(batch.dims(sample))?)
            });
            if found != Some(expected as u64) {
                let output = output.name.clone();
                return Err(RunError::OutputShape { output, sample, expected });
            }
        }
    }
    Ok(())
}

/// The outputs of a run, in the session's memory.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    program: &'a Program,
    batch: &'a PackedBatch,
    work: &'a Work,
}

impl<'a> Outputs<'a> {
    /// The outputs' names, in the program's order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.program.outputs.iter().map(|output| output.name.as_str())
    }

    /// An output by name.
    pub fn get(&self, name: &str) -> Option<Output<'a>> {
        let index = self.program.outputs.iter().position(|output| output.name == name)?;
        Some(Output { index, of: *self })
    }
}

/// One output, for all samples.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    index: usize,
    of: Outputs<'a>,
}

impl<'a> Output<'a> {
    /// How many samples.
    pub fn len(&self) -> usize {
        self.of.batch.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A sample's elements in row-major order; `None` past the last sample.
    pub fn sample(&self, sample: usize) -> Option<&'a [f32]> {
        if sample >= self.len() {
            return None;
        }
        let Outputs { program, batch, work } = self.of;
        let buffer = &program.buffers[program.outputs[self.index].buffer as usize];
        let rows = batch.offsets(buffer.rows).range(sample);
        let width = buffer.width as usize;
        let all = match work {
            Work::Cpu(cpu) => cpu.arena().slot(buffer.slot as usize),
            Work::Device(device) => device.output(self.index),
        };
        Some(&all[rows.start * width..rows.end * width])
    }

    /// The shape of a sample's elements; `None` past the last sample.
    pub fn shape(&self, sample: usize) -> Option<Vec<u64>> {
        if sample >= self.len() {
            return None;
        }
        let dims = self.of.batch.dims(sample);
        self.of.program.outputs[self.index].shape.iter().map(|extent| extent.eval(dims)).collect()
    }
}
