//! The launches of a run: one after the other, or as a graph.
//!
//! A graph is captured once for each size class and replayed for every batch of it. All that it holds is the same for
//! the whole class: addresses are, kernels read the batch's counts on the device, and its grids cover the class. A
//! block past the batch's end does nothing, so the bits are those of exact grids. The other way, exact grids set anew
//! in every node of the graph, would cost a call of the driver for each launch of each run, which is what graphs are
//! there to save; a class has at most an eighth more rows than its batch, so few blocks come for nothing.
//!
//! A step whose launch has no blocks is done by the launch of the step that reads its result. It keeps its place among
//! the others: its slot is announced, and nothing is launched.
//!
//! Launches that overlap are a chain: a kernel may begin when all blocks of the one before have begun, and waits for its
//! end before it touches what steps write. Every kernel of a chain waits, so the end of one is the end of all before
//! it, and a slot of the arena may be written again at once. The batch's tables and inputs need no wait: the first
//! launch of a run begins when the upload has ended, and each other one after it. Weights are never written. In a graph
//! the chain becomes edges of the same kind, as the stream is captured with it.

use bytec_plan::device::{Count, Launch};
use bytec_plan::extent::Rows;
use bytec_plan::program::{Buffer, Program, Step};

use super::addresses::{Addresses, Span};
use super::code::Code;
use super::driver::{Call, Driver, DriverError, Stream};
use super::memory::LoadedGraph;
use super::readback::Window;
use super::tables::{tiles, tiles_at_most};
use crate::arena::size_class;
use crate::batch::PackedBatch;
use crate::error::RunError;

/// What a run launches, and where.
#[derive(Clone, Copy)]
pub(super) struct Launches<'a> {
    pub(super) code: &'a Code,
    pub(super) program: &'a Program,
    pub(super) batch: &'a PackedBatch,
    pub(super) addresses: &'a Addresses,
    pub(super) stream: Stream,
}

/// One of them.
struct Ready<'a> {
    /// The step's place in the program.
    index: usize,
    step: &'a Step,
    launch: &'a Launch,
    output: &'a Buffer,
    /// The slot that it writes.
    birth: Span,
    args: &'a [u64],
}

impl<'a> Launches<'a> {
    /// Each launch in order, but those of steps without rows or tiles. They are the same for all batches of a size class.
    fn ready(self) -> impl Iterator<Item = Ready<'a>> {
        let Launches { program, batch, addresses, .. } = self;
        let driver = &*self.code.driver;
        let mut all = &addresses.args[..];
        let steps = Code::launches(program, batch).zip(&addresses.births).enumerate();
        steps.filter_map(move |(index, ((step, launch), birth))| {
            let args;
            (args, all) = all.split_at(launch.args.iter().map(|arg| arg.words()).sum());
            let output = &program.buffers[step.output as usize];
            let room = room(launch, driver);
            let blocks = |count| blocks(count, output.rows, batch, room);
            let nothing =
                launch.has_blocks() && launch.grid.iter().any(|count| blocks(*count) == 0);
            let ready = Ready { index, step, launch, output, birth: *birth, args };
            (!nothing && batch.rows(output.rows) > 0).then_some(ready)
        })
    }

    /// Says what memory the next launch writes, and how much of it will hold nothing.
    fn announce(self, ready: &Ready<'_>) {
        let driver = &*self.code.driver;
        let Ready { output, birth, .. } = ready;
        driver.birth(&output.name, birth.pointer, birth.bytes);
        if let Some(tail) = birth.tail(bytes_of(output, self.program, self.batch) as u64) {
            driver.mark_tail(tail.pointer, tail.bytes);
        }
    }

    /// `first` says that nothing may run any more when it begins: the run's upload, and whatever came before.
    fn launch(self, ready: &Ready<'_>, grid: [u32; 3], first: bool) -> Result<(), DriverError> {
        if !ready.launch.has_blocks() {
            return Ok(());
        }
        let Ready { step, launch, args, .. } = *ready;
        let function = self.code.kernels[launch.module as usize].function;
        let Launch { block, shared, .. } = *launch;
        let overlaps = launch.overlaps && !first;
        let call = Call { function, name: &step.name, grid, block, shared, overlaps, args };
        self.code.driver.launch(self.stream, &call)
    }

    /// One launch after the other, with exact grids. `window` shows what each gives.
    pub(super) fn one_by_one(self, mut window: Option<Window<'_>>) -> Result<(), DriverError> {
        let Launches { code, program, batch, stream, .. } = self;
        let driver: &dyn Driver = &*code.driver;
        let mut nothing_ran = true;
        // What a later launch computes; it is shown when that has run.
        let mut later: Vec<Ready<'_>> = Vec::new();
        for ready in self.ready() {
            self.announce(&ready);
            let rows = ready.output.rows;
            let room = room(ready.launch, driver);
            let blocks = |count| blocks(count, rows, batch, room);
            // Behind a download there is nothing to overlap with.
            let first = nothing_ran || window.is_some();
            self.launch(&ready, ready.launch.grid.map(blocks), first)?;
            nothing_ran &= !ready.launch.has_blocks();
            let Some(window) = &mut window else { continue };
            if !ready.launch.has_blocks() {
                later.push(ready);
                continue;
            }
            let taken = ready.step.takes_up();
            let up = later.extract_if(.., |before| Some(before.step.output) == taken);
            for shown in up.chain([ready]) {
                let from = (shown.birth.pointer, bytes_of(shown.output, program, batch));
                window.show((driver, stream), (program, batch, shown.index), from)?;
            }
        }
        Ok(())
    }

    /// The graph for all batches of this one's size class.
    pub(super) fn capture(self) -> Result<LoadedGraph, DriverError> {
        LoadedGraph::capture(&self.code.driver, self.stream, || {
            let mut first = true;
            self.ready().try_for_each(|ready| {
                let rows = ready.output.rows;
                let room = room(ready.launch, &*self.code.driver);
                let most = |count| most_blocks(count, rows, self.batch, room).unwrap_or(u32::MAX);
                self.launch(&ready, ready.launch.grid.map(most), first)?;
                first &= !ready.launch.has_blocks();
                Ok(())
            })
        })
    }

    /// All launches at once, by a graph that was captured for a batch of this one's size class.
    pub(super) fn replay(self, graph: &LoadedGraph) -> Result<(), DriverError> {
        let mut next = self.ready();
        self.code.driver.replay(self.stream, graph.graph, &mut || {
            for ready in next.by_ref() {
                self.announce(&ready);
                if ready.launch.has_blocks() {
                    break;
                }
            }
        })
    }
}

/// The most blocks that every device runs along each axis.
const MOST: [(char, u32); 3] = [('x', i32::MAX.unsigned_abs()), ('y', 65_535), ('z', 65_535)];

/// Checks that no launch has more blocks along an axis than devices run.
pub(super) fn check_blocks(
    code: &Code,
    program: &Program,
    batch: &PackedBatch,
) -> Result<(), RunError> {
    for (step, launch) in Code::launches(program, batch) {
        let room = room(launch, &*code.driver);
        let rows = program.buffers[step.output as usize].rows;
        for (count, (axis, most)) in launch.grid.into_iter().zip(MOST) {
            let found = blocks(count, rows, batch, room);
            if found > most {
                return Err(RunError::TooManyBlocks { step: step.name.clone(), axis, most, found });
            }
        }
    }
    Ok(())
}

/// Whether devices run grids that cover the batch's size class, as a graph has them.
pub(super) fn fits_a_graph(code: &Code, program: &Program, batch: &PackedBatch) -> bool {
    Code::launches(program, batch).all(|(step, launch)| {
        let room = room(launch, &*code.driver);
        let rows = program.buffers[step.output as usize].rows;
        let mut counts = launch.grid.into_iter().zip(MOST);
        counts.all(|(count, (_, most))| {
            most_blocks(count, rows, batch, room).is_some_and(|blocks| blocks <= most)
        })
    })
}

/// How many blocks a count stands for. At most as many as there are rows, which fit in an i32, unless it is fixed.
fn blocks(count: Count, rows: Rows, batch: &PackedBatch, room: u32) -> u32 {
    match count {
        Count::Fixed(blocks) => blocks,
        Count::Rows { per } => batch.rows(rows).div_ceil(per as usize) as u32,
        Count::Samples => batch.len() as u32,
        Count::Tiles { per } => tiles(rows, batch, per) as u32,
        Count::Resident { per, across } => resident(batch.rows(rows), per, across, room),
    }
}

/// The most blocks that a count stands for in any batch of this one's size class; `None` if 32 bits don't hold them.
fn most_blocks(count: Count, rows: Rows, batch: &PackedBatch, room: u32) -> Option<u32> {
    let class = |rows| size_class(batch.rows(rows));
    let blocks = match count {
        Count::Fixed(blocks) => return Some(blocks),
        Count::Rows { per } => class(rows)?.div_ceil(per as usize),
        Count::Samples => class(Rows::PerSample)?,
        Count::Tiles { per } => tiles_at_most(class(rows)?, class(Rows::PerSample)?, per)?,
        Count::Resident { per, across } => {
            return Some(resident(class(rows)?, per, across, room));
        }
    };
    u32::try_from(blocks).ok()
}

/// Multiprocessors of a group that clusters of any size can use.
const GROUP: u32 = 16;

/// How many blocks can stay along an axis: one a multiprocessor, of all that the launch has along the others.
///
/// Those along the others are a cluster, which lies within a group of 16 or 18 multiprocessors: pairs use all of them,
/// larger ones at least 16. A cluster too many would begin when the others have ended.
fn room(launch: &Launch, driver: &dyn Driver) -> u32 {
    let beside = launch.grid.iter().map(|count| match count {
        Count::Fixed(blocks) => *blocks,
        _ => 1,
    });
    let beside = beside.fold(1, u32::saturating_mul).max(1);
    let all = driver.multiprocessors();
    let used = if beside > 2 && all > GROUP { all / GROUP * GROUP } else { all };
    (used / beside).max(1)
}

/// How many blocks stay to do `across` tiles for every `per` rows.
fn resident(rows: usize, per: u32, across: u32, room: u32) -> u32 {
    let tiles = rows.div_ceil(per as usize).saturating_mul(across as usize);
    u32::try_from(tiles).unwrap_or(u32::MAX).min(room)
}

/// Bytes of a buffer for this batch; no more than its slot has, which fit in memory.
pub(super) fn bytes_of(buffer: &Buffer, program: &Program, batch: &PackedBatch) -> usize {
    batch.rows(buffer.rows) * (buffer.width * program.dtype.bytes()) as usize
}
