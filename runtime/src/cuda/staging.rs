//! Host memory that a batch is put together in before it is uploaded.

use std::fmt;

use super::driver::{Driver, DriverError, Pointer, Stream};
use crate::arena::{Line, floats, floats_mut, grow};

/// Host memory to upload from, aligned for numbers of every type.
///
/// Drivers give memory that their device reads by itself, so that an upload neither copies it first nor waits.
pub trait Staging: fmt::Debug + Send + Sync {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, to be changed. Waits for an upload that still reads them.
    ///
    /// # Errors
    /// What went wrong in that upload, or in work before it.
    fn bytes_mut(&mut self) -> Result<&mut [u8], DriverError>;

    /// Copies the first `bytes` bytes to the device, as [`Driver::upload`] does; all if there are fewer. `driver` is
    /// the one that gave this memory.
    ///
    /// # Errors
    /// What the driver says, maybe of earlier work.
    fn upload(
        &mut self,
        driver: &dyn Driver,
        stream: Stream,
        to: Pointer,
        bytes: usize,
    ) -> Result<(), DriverError>;
}

/// Ordinary memory.
#[derive(Debug)]
pub(super) struct Plain {
    lines: Vec<Line>,
    bytes: usize,
}

impl Plain {
    pub(super) fn new(bytes: u64) -> Result<Plain, DriverError> {
        let full = || DriverError::OutOfMemory { name: NAME.to_owned(), bytes };
        let size = usize::try_from(bytes).map_err(|_| full())?;
        let mut lines = Vec::new();
        grow(&mut lines, size.div_ceil(size_of::<f32>())).ok_or_else(full)?;
        Ok(Plain { lines, bytes: size })
    }
}

/// What the memory is for, in messages.
pub(super) const NAME: &str = "the host's copy of the batch";

impl Staging for Plain {
    fn len(&self) -> usize {
        self.bytes
    }

    fn bytes_mut(&mut self) -> Result<&mut [u8], DriverError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(floats_mut(&mut self.lines));
        Ok(&mut bytes[..self.bytes])
    }

    fn upload(
        &mut self,
        driver: &dyn Driver,
        stream: Stream,
        to: Pointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        let all: &[u8] = bytemuck::cast_slice(floats(&self.lines));
        driver.upload(stream, to, &all[..bytes.min(self.bytes)])
    }
}
