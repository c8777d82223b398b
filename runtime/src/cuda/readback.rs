//! Values on their way from a device to the host, where they are f32.

use bytec_plan::program::{DType, Program};

use super::driver::{Driver, DriverError, Pointer, Stream};
use crate::arena::{Line, floats, floats_mut, grow};
use crate::batch::PackedBatch;
use crate::float::{bf16_to_f32, f16_to_f32};
use crate::observe::{Observer, StepOutput};

/// Waits for the stream, downloads `bytes` bytes and widens them into the first of `wide`. Both have room for them.
pub(super) fn download(
    (driver, stream): (&dyn Driver, Stream),
    from: Pointer,
    (dtype, bytes): (DType, usize),
    wide: &mut [f32],
    halves: &mut [Line],
) -> Result<(), DriverError> {
    let widen = match dtype {
        DType::F16 => f16_to_f32,
        DType::Bf16 => bf16_to_f32,
        DType::F32 | DType::I64 | DType::I32 | DType::I8 => {
            let raw: &mut [u8] = bytemuck::cast_slice_mut(wide);
            return driver.download(stream, from, &mut raw[..bytes]);
        }
    };
    let raw: &mut [u8] = bytemuck::cast_slice_mut(floats_mut(halves));
    driver.download(stream, from, &mut raw[..bytes])?;
    let halves: &[u16] = bytemuck::cast_slice(&raw[..bytes]);
    for (wide, half) in wide.iter_mut().zip(halves) {
        *wide = widen(*half);
    }
    Ok(())
}

/// Who looks at each step's result, with room for one.
pub(super) struct Window<'o> {
    observe: Observer<'o>,
    wide: Vec<Line>,
    halves: Vec<Line>,
}

impl<'o> Window<'o> {
    /// Room for the largest result of the batch; `None` if there is no memory for it.
    pub(super) fn new(
        program: &Program,
        batch: &PackedBatch,
        observe: Observer<'o>,
    ) -> Option<Window<'o>> {
        let mut most = 0;
        for buffer in &program.buffers {
            let width = usize::try_from(buffer.width).ok()?;
            most = batch.rows(buffer.rows).checked_mul(width)?.max(most);
        }
        let mut window = Window { observe, wide: Vec::new(), halves: Vec::new() };
        grow(&mut window.wide, most)?;
        if program.dtype != DType::F32 {
            grow(&mut window.halves, most.div_ceil(2))?;
        }
        Some(window)
    }

    /// Waits for the step of this index, whose result of `bytes` bytes lies at `from`, and shows it.
    pub(super) fn show(
        &mut self,
        on: (&dyn Driver, Stream),
        (program, batch, index): (&Program, &PackedBatch, usize),
        (from, bytes): (Pointer, usize),
    ) -> Result<(), DriverError> {
        let wide = floats_mut(&mut self.wide);
        download(on, from, (program.dtype, bytes), wide, &mut self.halves)?;
        (self.observe)(StepOutput::new(program, batch, index, floats(&self.wide), &[]));
        Ok(())
    }
}
