//! Runs on the processor: one session's memory, and the loop over a program's steps.

use bytec_plan::program::Program;

use super::threads::{Scratchpad, Threads};
use super::{Args, Scratch, isa::Isa, room, run};
use crate::arena::Arena;
use crate::batch::PackedBatch;
use crate::bytes::WeightBytes;
use crate::observe::{Observer, StepOutput};

/// What the runs of an engine share on the processor.
#[derive(Debug)]
pub(crate) struct Processor {
    pub(crate) threads: Threads,
    pub(crate) isa: Isa,
}

/// A session's memory.
#[derive(Debug)]
pub(crate) struct CpuWork {
    arena: Arena,
    /// One for each thread.
    scratch: Vec<Scratch>,
    bounds: Vec<usize>,
    owners: Vec<usize>,
}

impl CpuWork {
    pub(crate) fn new(program: &Program, processor: &Processor) -> CpuWork {
        let mut scratch = Vec::new();
        scratch.resize_with(processor.threads.count(), Scratch::default);
        CpuWork { arena: Arena::new(program), scratch, bounds: Vec::new(), owners: Vec::new() }
    }

    /// Grows the memory to the batch's size class; `None` if there is no memory for it.
    pub(crate) fn make_room(
        &mut self,
        processor: &Processor,
        program: &Program,
        batch: &PackedBatch,
    ) -> Option<()> {
        self.arena.lay_out(program, batch)?;
        let (mut numbers, mut bands) = (0, 0);
        for step in &program.steps {
            let room = room(step, program, batch, processor.isa)?;
            (numbers, bands) = (room.numbers.max(numbers), room.bands.max(bands));
        }
        for list in [&mut self.bounds, &mut self.owners] {
            list.clear();
            list.try_reserve(bands.checked_add(1)?).ok()?;
        }
        self.scratch.iter_mut().try_for_each(|scratch| scratch.reserve(numbers))
    }

    /// Fills all memory with NaN.
    pub(crate) fn poison(&mut self) {
        self.arena.poison();
        for scratch in &mut self.scratch {
            scratch.numbers().fill(f32::NAN);
        }
    }

    /// Runs all steps. There is room for the batch.
    pub(crate) fn run(
        &mut self,
        processor: &Processor,
        program: &Program,
        weights: WeightBytes<'_>,
        batch: &PackedBatch,
        mut observe: Option<Observer<'_>>,
    ) {
        let Processor { threads, isa } = processor;
        for scratch in &mut self.scratch {
            scratch.observe(observe.is_some());
        }
        let mut spans = Vec::new();
        threads.enter(|| {
            for (index, step) in program.steps.iter().enumerate() {
                let buffer = &program.buffers[step.output as usize];
                let (rows, width) = (batch.rows(buffer.rows), buffer.width as usize);
                if rows == 0 {
                    continue;
                }
                let (out, others) = self.arena.split(buffer.slot as usize);
                let args = Args {
                    program,
                    step,
                    batch,
                    weights,
                    others,
                    out: &mut out[..rows * width],
                    out_rows: buffer.rows,
                    rows,
                    width,
                    isa: *isa,
                    threads,
                    scratch: &mut self.scratch,
                    bounds: &mut self.bounds,
                    owners: &mut self.owners,
                };
                run(&step.kernel, args);
                if let Some(observe) = &mut observe {
                    let values = self.arena.slot(buffer.slot as usize);
                    spans.clear();
                    spans.extend(
                        self.scratch
                            .iter_mut()
                            .filter_map(Scratchpad::spans)
                            .flat_map(std::mem::take),
                    );
                    observe(StepOutput::new(program, batch, index, values, &spans));
                }
            }
        });
    }

    /// The session's buffers.
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }
}
