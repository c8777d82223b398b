//! Sessions: the memory to run batches in.

use std::sync::Arc;

use bytec_plan::program::{OutputSpec, Program};

use crate::arena::Arena;
use crate::batch::PackedBatch;
use crate::cpu::{self, Args, Scratch};
use crate::engine::Shared;
use crate::error::RunError;

/// How to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Fill all memory with NaN before each run, so that a read of what was not written shows in the outputs.
    pub poison: bool,
}

/// Memory for one batch at a time. Sessions of one engine don't know of each other and may run at the same time.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    options: SessionOptions,
    arena: Arena,
    /// One for each thread.
    scratch: Vec<Scratch>,
    bounds: Vec<usize>,
    owners: Vec<usize>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, options: SessionOptions) -> Session {
        let arena = Arena::new(&shared.program);
        let mut scratch = Vec::new();
        scratch.resize_with(shared.threads.count(), Scratch::default);
        Session { shared, options, arena, scratch, bounds: Vec::new(), owners: Vec::new() }
    }

    /// Runs a batch.
    ///
    /// A sample's outputs have the same bits whatever else is in the batch, in whatever order, on any number of threads.
    /// (Which NaN a NaN is, is not promised.) After the first batch of its size class, a run allocates no memory.
    ///
    /// # Errors
    /// When the batch was made for another program, or does not fit in memory. The session can be used again.
    pub fn run<'a>(&'a mut self, batch: &'a PackedBatch) -> Result<Outputs<'a>, RunError> {
        let program = &self.shared.program;
        if !Arc::ptr_eq(program, batch.program()) && program != batch.program() {
            let expected = format!("{} for {}", program.entry, program.target);
            return Err(RunError::OtherProgram { expected });
        }
        self.make_room(batch).ok_or(RunError::OutOfMemory { samples: batch.len() })?;
        if self.options.poison {
            self.arena.poison();
            for scratch in &mut self.scratch {
                scratch.numbers().fill(f32::NAN);
            }
        }
        let Session { shared, arena, scratch, bounds, owners, .. } = &mut *self;
        shared.threads.enter(|| run_steps(shared, batch, arena, scratch, bounds, owners));
        check_shapes(&self.shared.program, batch)?;
        Ok(Outputs { program: &self.shared.program, batch, arena: &self.arena })
    }

    /// Bytes of the session's arena as it stands.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Grows the memory to the batch's size class.
    fn make_room(&mut self, batch: &PackedBatch) -> Option<()> {
        let program = &self.shared.program;
        self.arena.lay_out(program, batch)?;
        let (mut numbers, mut bands) = (0, 0);
        for step in &program.steps {
            let room = cpu::room(step, program, batch)?;
            (numbers, bands) = (room.numbers.max(numbers), room.bands.max(bands));
        }
        for list in [&mut self.bounds, &mut self.owners] {
            list.clear();
            list.try_reserve(bands.checked_add(1)?).ok()?;
        }
        self.scratch.iter_mut().try_for_each(|scratch| scratch.reserve(numbers))
    }
}

fn run_steps(
    shared: &Shared,
    batch: &PackedBatch,
    arena: &mut Arena,
    scratch: &mut [Scratch],
    bounds: &mut Vec<usize>,
    owners: &mut Vec<usize>,
) {
    let program = &*shared.program;
    for step in &program.steps {
        let buffer = &program.buffers[step.output as usize];
        let (rows, width) = (batch.rows(buffer.rows), buffer.width as usize);
        if rows == 0 {
            continue;
        }
        let (out, others) = arena.split(buffer.slot as usize);
        let args = Args {
            program,
            step,
            batch,
            weights: shared.weights(),
            others,
            out: &mut out[..rows * width],
            out_rows: buffer.rows,
            rows,
            width,
            isa: shared.isa,
            threads: &shared.threads,
            scratch,
            bounds,
            owners,
        };
        cpu::run(&step.kernel, args);
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
    arena: &'a Arena,
}

impl<'a> Outputs<'a> {
    /// The outputs' names, in the program's order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.program.outputs.iter().map(|output| output.name.as_str())
    }

    /// An output by name.
    pub fn get(&self, name: &str) -> Option<Output<'a>> {
        let spec = self.program.outputs.iter().find(|output| output.name == name)?;
        Some(Output { spec, of: *self })
    }
}

/// One output, for all samples.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    spec: &'a OutputSpec,
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
        let buffer = &self.of.program.buffers[self.spec.buffer as usize];
        let rows = self.of.batch.offsets(buffer.rows).range(sample);
        let width = buffer.width as usize;
        Some(&self.of.arena.slot(buffer.slot as usize)[rows.start * width..rows.end * width])
    }

    /// The shape of a sample's elements; `None` past the last sample.
    pub fn shape(&self, sample: usize) -> Option<Vec<u64>> {
        if sample >= self.len() {
            return None;
        }
        let dims = self.of.batch.dims(sample);
        self.spec.shape.iter().map(|extent| extent.eval(dims)).collect()
    }
}
