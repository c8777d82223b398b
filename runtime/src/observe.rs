//! A look at what each step of a run gives, for finding the step that goes wrong.

use std::time::Instant;

use bytec_plan::program::{Buffer, Program, Step};

use crate::batch::PackedBatch;

/// What is called with each step's result.
pub(crate) type Observer<'o> = &'o mut (dyn FnMut(StepOutput<'_>) + Send);

/// A time in which a thread of the processor worked on a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadSpan {
    /// The thread's place among those of the engine; the caller's own is the first.
    pub thread: usize,
    /// When it took up its first task.
    pub begun: Instant,
    /// When it found no more.
    pub ended: Instant,
}

/// What a step has just given, for all samples. See [`Session::run_observed`](crate::Session::run_observed).
#[derive(Clone, Copy, Debug)]
pub struct StepOutput<'a> {
    program: &'a Program,
    batch: &'a PackedBatch,
    index: usize,
    values: &'a [f32],
    threads: &'a [ThreadSpan],
}

impl<'a> StepOutput<'a> {
    /// `values` begin with the whole rows of the batch.
    pub(crate) fn new(
        program: &'a Program,
        batch: &'a PackedBatch,
        index: usize,
        values: &'a [f32],
        threads: &'a [ThreadSpan],
    ) -> StepOutput<'a> {
        StepOutput { program, batch, index, values, threads }
    }

    /// The step's place among [`Program::steps`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// The step.
    pub fn step(&self) -> &'a Step {
        &self.program.steps[self.index]
    }

    /// The value that the step gave; its width is the elements of a row.
    pub fn value(&self) -> &'a Buffer {
        &self.program.buffers[self.step().output as usize]
    }

    /// When which thread worked on the step; nothing of steps on a device.
    pub fn threads(&self) -> &'a [ThreadSpan] {
        self.threads
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// A sample's elements `[rows, width]`, as f32 whatever the program's element type; `None` past the last sample.
    pub fn sample(&self, sample: usize) -> Option<&'a [f32]> {
        if sample >= self.len() {
            return None;
        }
        let value = self.value();
        let rows = self.batch.offsets(value.rows).range(sample);
        let width = value.width as usize;
        Some(&self.values[rows.start * width..rows.end * width])
    }
}
