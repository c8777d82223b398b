//! Runs on a device: one session's memory there, and the host's side of it.
//!
//! A run is one upload, the launches in order, and a download of each output. The host knows all sizes beforehand, so
//! nothing comes back in between, unless the run is observed.

use bytec_plan::extent::Rows;
use bytec_plan::program::{DType, Program};

use super::addresses::{Addresses, Blocks};
use super::code::Code;
use super::driver::{Driver, DriverError, Stream};
use super::launches::{Launches, bytes_of, check_blocks, fits_a_graph};
use super::layout::Layout;
use super::memory::{Block, LoadedGraph, Queue};
use super::readback::{Window, download};
use super::staging::Staging;
use crate::arena::{Line, floats, floats_mut, grow, size_class};
use crate::batch::PackedBatch;
use crate::error::RunError;
use crate::observe::Observer;
use crate::session::SessionOptions;

/// Graphs that a session keeps. Batches of more size classes in turn are captured again.
const GRAPHS: usize = 64;

/// A session's memory on a device and beside it.
#[derive(Debug, Default)]
pub(crate) struct DeviceWork {
    /// For the last batch's size class, as are the addresses.
    layout: Layout,
    addresses: Addresses,
    device: Option<OnDevice>,
    /// The batch's block as the host puts it together.
    staging: Option<Box<dyn Staging>>,
    /// For each part of the batch, the bytes of it that count.
    used: Vec<u64>,
    /// Each output's elements.
    outputs: Vec<Vec<Line>>,
    /// An output of half floats, before it is widened.
    halves: Vec<Line>,
}

/// What a session owns on the device.
///
/// Each slot of the arena is a block of its own, so that a driver that checks bounds can tell them apart. Blocks stay
/// where they are for all batches of a size class; one is missing only where there was no memory for it.
#[derive(Debug)]
struct OnDevice {
    slots: Vec<Option<Block>>,
    batch: Option<Block>,
    /// For each of the last size classes its graph, while the blocks stay where they are.
    graphs: Vec<(Vec<usize>, LoadedGraph)>,
    queue: Queue,
}

impl DeviceWork {
    /// Runs a batch, which has been made for the program.
    pub(crate) fn run(
        &mut self,
        code: &Code,
        program: &Program,
        batch: &PackedBatch,
        options: SessionOptions,
        observe: Option<Observer<'_>>,
    ) -> Result<(), RunError> {
        if let Some(first) = code.broken() {
            return Err(RunError::Broken { first: first.clone() });
        }
        if batch.is_empty() {
            return Ok(());
        }
        check_rows(program, batch)?;
        check_blocks(code, program, batch)?;
        if !self.layout.fits(program, batch) {
            self.make_room(code, program, batch)?;
        }
        self.pack(code, program, batch)?;
        let full = RunError::OutOfMemory { samples: batch.len() };
        let window = match observe {
            Some(observe) => Some(Window::new(program, batch, observe).ok_or(full)?),
            None => None,
        };
        self.work(code, program, batch, options, window)
            .map_err(|error| code.break_down(error).into())
    }

    /// Bytes of the arena.
    pub(crate) fn arena_bytes(&self) -> usize {
        let slots = self.device.iter().flat_map(|device| device.slots.iter().flatten());
        slots.map(|slot| slot.bytes() as usize).sum()
    }

    /// An output's elements, of all samples.
    pub(crate) fn output(&self, output: usize) -> &[f32] {
        self.outputs.get(output).map_or(&[], |lines| floats(lines))
    }

    /// Takes memory for the batch's size class, on both sides, and works out all addresses.
    fn make_room(
        &mut self,
        code: &Code,
        program: &Program,
        batch: &PackedBatch,
    ) -> Result<(), RunError> {
        let full = RunError::OutOfMemory { samples: batch.len() };
        self.layout.renew(program, &code.parts, batch).ok_or(full.clone())?;
        self.make_host_room(program, batch).ok_or(full.clone())?;
        let grown = self
            .make_staging(&*code.driver)
            .and_then(|()| OnDevice::grow(&mut self.device, code, &self.layout));
        match grown {
            Ok(()) => {}
            Err(DriverError::OutOfMemory { .. }) => return Err(full),
            Err(error) => return Err(code.break_down(error).into()),
        }
        let blocks = self.device.as_ref().and_then(|device| {
            Some(Blocks { slots: &device.slots, batch: device.batch.as_ref()? })
        });
        let blocks = blocks.ok_or(full.clone())?;
        match self.addresses.renew(code, program, &self.layout, &blocks, batch) {
            Ok(()) => {}
            Err(None) => return Err(full),
            Err(Some(error)) => return Err(code.break_down(error).into()),
        }
        self.layout.settle(program, batch);
        Ok(())
    }

    fn make_host_room(&mut self, program: &Program, batch: &PackedBatch) -> Option<()> {
        self.used.clear();
        self.used.try_reserve(self.layout.parts.len()).ok()?;
        self.outputs.resize_with(program.outputs.len(), Vec::new);
        for (output, lines) in program.outputs.iter().zip(&mut self.outputs) {
            let buffer = program.buffers.get(output.buffer as usize)?;
            let rows = size_class(batch.rows(buffer.rows))?;
            let numbers = rows.checked_mul(usize::try_from(buffer.width).ok()?)?;
            grow(lines, numbers)?;
            if program.dtype != DType::F32 {
                grow(&mut self.halves, numbers.div_ceil(2))?;
            }
        }
        Some(())
    }

    /// Sees to host memory for the batch's block. What is too small goes first.
    fn make_staging(&mut self, driver: &dyn Driver) -> Result<(), DriverError> {
        self.staging.take_if(|staging| (staging.len() as u64) < self.layout.batch);
        if self.staging.is_none() {
            self.staging = Some(driver.staging(self.layout.batch)?);
        }
        Ok(())
    }

    /// Puts the batch's inputs and tables together.
    fn pack(
        &mut self,
        code: &Code,
        program: &Program,
        batch: &PackedBatch,
    ) -> Result<(), RunError> {
        let staging = match &mut self.staging {
            Some(staging) => staging.bytes_mut().map_err(|error| code.break_down(error))?,
            // There is memory by now.
            None => return Ok(()),
        };
        self.used.clear();
        for (part, place) in code.parts.iter().zip(&self.layout.parts) {
            let room = &mut staging[place.start as usize..place.end as usize];
            self.used.push(part.write(program, batch, room)? as u64);
        }
        Ok(())
    }

    /// Everything that the device does.
    fn work(
        &mut self,
        code: &Code,
        program: &Program,
        batch: &PackedBatch,
        options: SessionOptions,
        window: Option<Window<'_>>,
    ) -> Result<(), DriverError> {
        // There is memory by now.
        let (Some(device), Some(staging)) = (&mut self.device, &mut self.staging) else {
            return Ok(());
        };
        let OnDevice { slots, batch: Some(block), graphs, queue } = device else {
            return Ok(());
        };
        let (driver, stream) = (&*code.driver, queue.stream);
        if options.poison {
            slots.iter().flatten().try_for_each(|slot| fill_with_nan(driver, stream, slot))?;
        }
        if let Some(to) = block.at(0, self.layout.batch)
            && self.layout.batch > 0
        {
            staging.upload(driver, stream, to, self.layout.batch as usize)?;
        }
        for (room, used) in self.addresses.parts.iter().zip(&self.used) {
            if let Some(tail) = room.tail(*used) {
                driver.mark_tail(tail.pointer, tail.bytes);
            }
        }
        let launches = Launches { code, program, batch, addresses: &self.addresses, stream };
        if options.graphs && window.is_none() && fits_a_graph(code, program, batch) {
            launches.replay(graph(graphs, self.layout.classes(), launches)?)?;
        } else {
            launches.one_by_one(window)?;
        }
        driver.synchronise(stream)?;
        self.fetch(code, program, batch)
    }

    /// Downloads the outputs and widens them.
    fn fetch(
        &mut self,
        code: &Code,
        program: &Program,
        batch: &PackedBatch,
    ) -> Result<(), DriverError> {
        let Some(OnDevice { queue, .. }) = &self.device else {
            return Ok(());
        };
        let (driver, stream) = (&*code.driver, queue.stream);
        let places = self.addresses.outputs.iter().zip(&mut self.outputs);
        for (output, (from, lines)) in program.outputs.iter().zip(places) {
            let buffer = &program.buffers[output.buffer as usize];
            let bytes = bytes_of(buffer, program, batch);
            if bytes == 0 {
                continue;
            }
            let (on, what) = ((driver, stream), (program.dtype, bytes));
            download(on, *from, what, floats_mut(lines), &mut self.halves)?;
        }
        Ok(())
    }
}

impl OnDevice {
    /// Sees to blocks of at least the layout's sizes. What is too small goes before anything larger comes.
    fn grow(
        device: &mut Option<OnDevice>,
        code: &Code,
        layout: &Layout,
    ) -> Result<(), DriverError> {
        let driver = &code.driver;
        let OnDevice { slots, batch, graphs, .. } = match device {
            Some(device) => device,
            None => {
                let queue = Queue::new(driver)?;
                let (slots, graphs) = (Vec::new(), Vec::new());
                device.insert(OnDevice { slots, batch: None, graphs, queue })
            }
        };
        let small =
            |block: &Option<Block>, bytes| block.as_ref().is_none_or(|block| block.bytes() < bytes);
        let slots_move = slots.iter().zip(&layout.slots).any(|(slot, bytes)| small(slot, *bytes));
        if slots_move || small(batch, layout.batch) {
            // They hold addresses of what goes.
            graphs.clear();
        }
        slots.resize_with(layout.slots.len(), || None);
        for (slot, bytes) in slots.iter_mut().zip(&layout.slots) {
            slot.take_if(|slot| slot.bytes() < *bytes);
        }
        batch.take_if(|batch| batch.bytes() < layout.batch);
        if batch.is_none() {
            *batch = Some(Block::new(driver, "the batch's inputs and tables", layout.batch)?);
        }
        for (i, (slot, bytes)) in slots.iter_mut().zip(&layout.slots).enumerate() {
            if slot.is_none() {
                *slot = Some(Block::new(driver, &format!("slot {i}"), *bytes)?);
            }
        }
        Ok(())
    }
}

/// Checks that row numbers fit in an i32, as the tables on the device have them, for the whole size class.
fn check_rows(program: &Program, batch: &PackedBatch) -> Result<(), RunError> {
    let ragged = (0..program.extents.len() as u32).map(Rows::Ragged);
    for rows in ragged.chain([Rows::PerSample]) {
        let found = batch.rows(rows);
        if size_class(found).is_none_or(|class| i32::try_from(class).is_err()) {
            return Err(RunError::TooManyRows { found });
        }
    }
    Ok(())
}

/// The graph of a size class; captured now, from these launches, if there is none yet.
fn graph<'g>(
    graphs: &'g mut Vec<(Vec<usize>, LoadedGraph)>,
    classes: &[usize],
    launches: Launches<'_>,
) -> Result<&'g LoadedGraph, DriverError> {
    let known = graphs.iter().position(|(of, _)| of == classes);
    let at = match known {
        Some(at) => at,
        None => {
            if graphs.len() == GRAPHS {
                graphs.remove(0);
            }
            graphs.push((classes.to_vec(), launches.capture()?));
            graphs.len() - 1
        }
    };
    Ok(&graphs[at].1)
}

/// Fills a block with ones, which are NaN in every float type.
fn fill_with_nan(driver: &dyn Driver, stream: Stream, block: &Block) -> Result<(), DriverError> {
    let ones = vec![0xff; 1 << 20];
    let mut offset = 0;
    while offset < block.bytes() {
        let bytes = (block.bytes() - offset).min(ones.len() as u64);
        if let Some(to) = block.at(offset, bytes) {
            driver.upload(stream, to, &ones[..bytes as usize])?;
        }
        offset += bytes;
    }
    Ok(())
}
