//! What a batch brings to the device: its inputs, and the tables that say where each sample lies.

use std::cmp::Reverse;

use bytec_plan::device::{Arg, Map, Of};
use bytec_plan::extent::Rows;
use bytec_plan::program::{DType, Operand, Program, Step};

use crate::arena::size_class;
use crate::batch::{PackedBatch, Places};
use crate::error::RunError;
use crate::float::{f32_to_bf16, f32_to_f16};

/// One part of the block that is uploaded for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An input's elements, integers as i32, floats as the program's type.
    Input(u32),
    /// How many rows there are.
    Count(Rows),
    /// Where each sample's rows begin, and how many rows there are.
    Offsets(Rows),
    /// Each row's place in its sample.
    Positions(Rows),
    /// The places of an input's ids.
    Places { input: u32, skip: u32 },
    /// Each row's sample.
    Samples(Rows),
    /// For each tile its sample and its first row there.
    Tiles { rows: Rows, per: u32 },
}

impl Part {
    /// The part that an argument of a step points at; `None` for the arena and the weights. The plan's check has
    /// looked at all indices.
    pub(super) fn of(arg: Arg, step: &Step, program: &Program) -> Option<Part> {
        let output = program.buffers[step.output as usize].rows;
        let rows = |of| match of {
            Of::Output => output,
            Of::Operand(operand) => match step.operands[operand as usize] {
                Operand::View(view) => program.buffers[view.buffer as usize].rows,
                Operand::Input(input) => program.inputs[input as usize].rows,
                // Refused by the plan's check.
                Operand::Weight(_) => Rows::PerSample,
            },
        };
        match arg {
            Arg::Output => None,
            Arg::Operand(operand) | Arg::Map(Map { operand, .. }) => {
                match step.operands[operand as usize] {
                    Operand::Input(input) => Some(Part::Input(input)),
                    Operand::View(_) | Operand::Weight(_) => None,
                }
            }
            Arg::Rows(of) => Some(Part::Count(rows(of))),
            Arg::Samples => Some(Part::Count(Rows::PerSample)),
            Arg::Offsets(of) => Some(Part::Offsets(rows(of))),
            Arg::Positions(of) => Some(Part::Positions(rows(of))),
            Arg::Places { operand, skip } => match step.operands[operand as usize] {
                Operand::Input(input) => Some(Part::Places { input, skip }),
                // Refused by the plan's check.
                Operand::View(_) | Operand::Weight(_) => None,
            },
            Arg::SampleOfRow(of) => Some(Part::Samples(rows(of))),
            Arg::Tiles { per } => Some(Part::Tiles { rows: output, per }),
        }
    }

    /// Bytes that hold the part of any batch of this one's size class; `None` if they can't be counted.
    pub(super) fn room(self, program: &Program, batch: &PackedBatch) -> Option<u64> {
        let class = |rows| size_class(batch.rows(rows));
        let (numbers, bytes) = match self {
            Part::Input(input) => {
                let spec = &program.inputs[input as usize];
                let width = usize::try_from(spec.width).ok()?;
                (class(spec.rows)?.checked_mul(width)?, element(spec.dtype, program.dtype))
            }
            Part::Count(_) => (1, 4),
            Part::Offsets(_) => (class(Rows::PerSample)?.checked_add(1)?, 4),
            Part::Places { input, .. } => (class(program.inputs[input as usize].rows)?, 4),
            Part::Positions(rows) | Part::Samples(rows) => (class(rows)?, 4),
            Part::Tiles { rows, per } => {
                (tiles_at_most(class(rows)?, class(Rows::PerSample)?, per)?, 8)
            }
        };
        (numbers as u64).checked_mul(bytes)
    }

    /// Writes the part into its room and says how many bytes of it count. Row numbers must fit in an i32.
    pub(super) fn write(
        self,
        program: &Program,
        batch: &PackedBatch,
        room: &mut [u8],
    ) -> Result<usize, RunError> {
        let spans = |rows| {
            let offsets = batch.offsets(rows);
            (0..batch.len()).map(move |sample| offsets.range(sample))
        };
        let written = match self {
            Part::Input(input) => write_input(input, program, batch, room)?,
            Part::Count(rows) => fill(room, [batch.rows(rows) as i32]),
            Part::Offsets(rows) => {
                let starts = spans(rows).map(|span| span.start as i32);
                fill(room, starts.chain([batch.rows(rows) as i32]))
            }
            Part::Positions(rows) => fill(room, spans(rows).flat_map(|span| 0..span.len() as i32)),
            Part::Places { input, skip } => {
                let ids = batch.integers(input as usize);
                let places = spans(program.inputs[input as usize].rows).flat_map(|span| {
                    let mut places = Places::new(skip);
                    ids[span].iter().map(move |id| places.of(*id) as i32)
                });
                fill(room, places)
            }
            Part::Samples(rows) => {
                let samples = spans(rows).enumerate();
                fill(room, samples.flat_map(|(sample, span)| span.map(move |_| sample as i32)))
            }
            Part::Tiles { rows, per } => {
                let tiles = spans(rows).enumerate().flat_map(|(sample, span)| {
                    (0..span.len())
                        .step_by(per as usize)
                        .map(move |row| [sample as i32, row as i32])
                });
                let written = fill(room, tiles.flatten());
                // Those of the longest samples first, so that what runs last is short.
                let offsets = batch.offsets(rows);
                let tiles: &mut [[i32; 2]] = bytemuck::cast_slice_mut(&mut room[..written]);
                tiles.sort_unstable_by_key(|[sample, row]| {
                    (Reverse(offsets.range(*sample as usize).len()), *sample, *row)
                });
                // Blocks past the last tile find out that they have none.
                let (_, rest) = room.split_at_mut(written);
                fill(rest, std::iter::repeat([-1, 0]).flatten());
                room.len()
            }
        };
        Ok(written)
    }
}

/// Tiles of a batch: for each sample one for every `per` rows, and one for those that are left.
pub(super) fn tiles(rows: Rows, batch: &PackedBatch, per: u32) -> usize {
    let offsets = batch.offsets(rows);
    (0..batch.len()).map(|sample| offsets.range(sample).len().div_ceil(per as usize)).sum()
}

/// No batch of so many rows and samples has more tiles.
pub(super) fn tiles_at_most(rows: usize, samples: usize, per: u32) -> Option<usize> {
    Some((rows / per as usize).checked_add(samples)?.min(rows))
}

/// Bytes of an input's element on the device.
fn element(input: DType, program: DType) -> u64 {
    match input {
        DType::I64 | DType::I32 => 4,
        DType::F32 | DType::F16 | DType::Bf16 | DType::I8 => program.bytes(),
    }
}

fn write_input(
    input: u32,
    program: &Program,
    batch: &PackedBatch,
    room: &mut [u8],
) -> Result<usize, RunError> {
    let at = input as usize;
    let spec = &program.inputs[at];
    if spec.dtype == DType::I64 {
        let integers = batch.integers(at);
        let places: &mut [i32] = bytemuck::cast_slice_mut(room);
        for (place, x) in places.iter_mut().zip(integers) {
            *place = i32::try_from(*x)
                .map_err(|_| RunError::Integer { input: spec.name.clone(), found: *x })?;
        }
        return Ok(integers.len() * 4);
    }
    let floats = batch.floats(at);
    Ok(match program.dtype {
        DType::F16 => fill(room, floats.iter().map(|x| f32_to_f16(*x))),
        DType::Bf16 => fill(room, floats.iter().map(|x| f32_to_bf16(*x))),
        DType::F32 | DType::I64 | DType::I32 | DType::I8 => fill(room, floats.iter().copied()),
    })
}

/// Writes numbers from the room's begin on, as many as there are or fit, and says how many bytes they have.
fn fill<T: bytemuck::Pod>(room: &mut [u8], numbers: impl IntoIterator<Item = T>) -> usize {
    let mut written = 0;
    let places: &mut [T] = bytemuck::cast_slice_mut(room);
    for (place, number) in places.iter_mut().zip(numbers) {
        *place = number;
        written += size_of::<T>();
    }
    written
}
