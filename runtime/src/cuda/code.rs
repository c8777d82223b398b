//! A program on a device: its kernels and weights, loaded once for all sessions.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytec_plan::device::{Arg, DeviceCode, Image, Launch, Map};
use bytec_plan::program::{Operand, Program, Step};

use super::driver::{Driver, DriverError, KernelCode, Pointer};
use super::memory::{Block, LoadedKernel, Queue};
use super::tables::Part;
use crate::batch::PackedBatch;

/// What the sessions of an engine share on the device.
#[derive(Debug)]
pub(crate) struct Code {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) kernels: Vec<LoadedKernel>,
    weights: Vec<Block>,
    /// What the launches need of a batch, each thing once.
    pub(super) parts: Vec<Part>,
    /// The first error of a run. The device's memory may hold anything since, so there are no more runs.
    broken: OnceLock<DriverError>,
}

/// What an argument points at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// A column of a buffer.
    Buffer { buffer: u32, column: u64 },
    /// A weight.
    Weight(Pointer),
    /// The part of this index of the batch's block.
    Part(usize),
}

impl Code {
    /// Loads a program that was checked by [`bytec_plan::check`]. `None` if it has no device code.
    pub(crate) fn load(
        driver: Arc<dyn Driver>,
        program: &Program,
        weights: &[u8],
        modules: &[u8],
    ) -> Result<Code, DriverError> {
        let Some(code) = &program.device else {
            return Err(failed("load the program", "it has no code for a device".to_owned()));
        };
        let kernels = code
            .modules
            .iter()
            .enumerate()
            .map(|(i, module)| {
                let kernel = KernelCode {
                    symbol: &module.symbol,
                    cubin: bytes(modules, module.cubin.as_ref())?,
                    ptx: bytes(modules, module.ptx.as_ref())?,
                    shared: most_shared(code, i),
                };
                LoadedKernel::new(&driver, &kernel)
            })
            .collect::<Result<_, _>>()?;
        let weights = upload(&driver, program, weights)?;
        let mut parts = Vec::new();
        for (step, launch) in code.all_launches() {
            let Some(step) = program.steps.get(step) else { continue };
            for part in launch.args.iter().filter_map(|arg| Part::of(*arg, step, program)) {
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
        }
        Ok(Code { driver, kernels, weights, parts, broken: OnceLock::new() })
    }

    /// The device's driver.
    pub(crate) fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// What an argument of a step points at; `None` if the program names what it has not, which its check refuses.
    pub(super) fn place(&self, arg: Arg, step: &Step, program: &Program) -> Option<Place> {
        if let Some(part) = Part::of(arg, step, program) {
            return self.parts.iter().position(|known| *known == part).map(Place::Part);
        }
        match arg {
            Arg::Operand(operand) | Arg::Map(Map { operand, .. }) => {
                match *step.operands.get(operand as usize)? {
                    Operand::View(view) => {
                        Some(Place::Buffer { buffer: view.buffer, column: view.column })
                    }
                    Operand::Weight(weight) => {
                        self.weights.get(weight as usize)?.at(0, 0).map(Place::Weight)
                    }
                    Operand::Input(_) => None,
                }
            }
            _ => Some(Place::Buffer { buffer: step.output, column: 0 }),
        }
    }

    /// The launches for batches of this one's size class, with their steps.
    pub(super) fn launches<'a>(
        program: &'a Program,
        batch: &'a PackedBatch,
    ) -> impl Iterator<Item = (&'a Step, &'a Launch)> {
        let steps = program.device.iter().flat_map(|code| {
            program.steps.iter().enumerate().map(move |(index, step)| (code, index, step))
        });
        steps.filter_map(|(code, index, step)| {
            let output = program.buffers.get(step.output as usize)?;
            Some((step, code.launch(index, batch.class_rows(output.rows))?))
        })
    }

    /// The error that ended all runs, if there was one.
    pub(super) fn broken(&self) -> Option<&DriverError> {
        self.broken.get()
    }

    /// Ends all runs, of every session.
    pub(super) fn break_down(&self, error: DriverError) -> DriverError {
        self.broken.get_or_init(|| error.clone());
        error
    }
}

/// Copies each weight to memory of its own.
fn upload(
    driver: &Arc<dyn Driver>,
    program: &Program,
    section: &[u8],
) -> Result<Vec<Block>, DriverError> {
    let queue = Queue::new(driver)?;
    let mut blocks = Vec::with_capacity(program.weights.len());
    for weight in &program.weights {
        let block = Block::new(driver, &weight.name, weight.bytes)?;
        let bytes = part(section, weight.offset, weight.bytes)?;
        if let Some(pointer) = block.at(0, weight.bytes)
            && !bytes.is_empty()
        {
            driver.upload(queue.stream, pointer, bytes)?;
        }
        blocks.push(block);
    }
    // Sessions read the weights on streams of their own.
    driver.synchronise(queue.stream)?;
    Ok(blocks)
}

/// The most shared memory that any launch of a module asks for.
fn most_shared(code: &DeviceCode, module: usize) -> u32 {
    let launches = code.all_launches().map(|(_, launch)| launch);
    launches
        .filter(|launch| launch.module as usize == module)
        .map(|launch| launch.shared)
        .max()
        .unwrap_or(0)
}

fn bytes<'a>(modules: &'a [u8], image: Option<&Image>) -> Result<Option<&'a [u8]>, DriverError> {
    image.map(|image| part(modules, image.offset, image.bytes)).transpose()
}

/// A part of a section; inside it, by the plan's check.
fn part(section: &[u8], offset: u64, bytes: u64) -> Result<&[u8], DriverError> {
    let range = || -> Option<Range<usize>> {
        Some(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(bytes)?).ok()?)
    };
    range().and_then(|range| section.get(range)).ok_or_else(|| {
        let said = format!("{bytes} bytes from {offset} of a section of {}", section.len());
        failed("read the plan", said)
    })
}

fn failed(asked: &str, said: String) -> DriverError {
    DriverError::Failed { asked: asked.to_owned(), said }
}
