//! A driver around a driver, which can wait for each launch and note how long it took.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytec_runtime::cuda::{Arch, Call, Driver, DriverError, Function, KernelCode, Pointer, Stream};

/// The driver.
pub(crate) struct Timed {
    inner: Arc<dyn Driver>,
    on: AtomicBool,
    steps: Mutex<Vec<(String, f64)>>,
}

impl Timed {
    /// Around another; passes everything on until told otherwise.
    pub(crate) fn new(inner: Arc<dyn Driver>) -> Self {
        Self { inner, on: AtomicBool::new(false), steps: Mutex::default() }
    }

    /// From now on waits for each launch, or no longer.
    pub(crate) fn wait_for_each(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// The steps since the last call, with their times in milliseconds.
    pub(crate) fn take(&self) -> Vec<(String, f64)> {
        std::mem::take(&mut self.steps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timed").field(&self.inner).finish()
    }
}

impl Driver for Timed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn arch(&self) -> Arch {
        self.inner.arch()
    }

    fn allocate(&self, name: &str, bytes: u64) -> Result<Pointer, DriverError> {
        self.inner.allocate(name, bytes)
    }

    fn free(&self, pointer: Pointer) {
        self.inner.free(pointer);
    }

    fn load(&self, code: &KernelCode<'_>) -> Result<Function, DriverError> {
        self.inner.load(code)
    }

    fn unload(&self, function: Function) {
        self.inner.unload(function);
    }

    fn open_stream(&self) -> Result<Stream, DriverError> {
        self.inner.open_stream()
    }

    fn close_stream(&self, stream: Stream) {
        self.inner.close_stream(stream);
    }

    fn upload(&self, stream: Stream, to: Pointer, bytes: &[u8]) -> Result<(), DriverError> {
        self.inner.upload(stream, to, bytes)
    }

    fn launch(&self, stream: Stream, call: &Call<'_>) -> Result<(), DriverError> {
        if !self.on.load(Ordering::Relaxed) {
            return self.inner.launch(stream, call);
        }
        self.inner.synchronise(stream)?;
        let begun = Instant::now();
        self.inner.launch(stream, call)?;
        self.inner.synchronise(stream)?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push((call.name.to_owned(), ms));
        Ok(())
    }

    fn download(&self, stream: Stream, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.inner.download(stream, from, bytes)
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        self.inner.synchronise(stream)
    }

    fn birth(&self, name: &str, pointer: Pointer, bytes: u64) {
        self.inner.birth(name, pointer, bytes);
    }

    fn mark_tail(&self, pointer: Pointer, bytes: u64) {
        self.inner.mark_tail(pointer, bytes);
    }
}
