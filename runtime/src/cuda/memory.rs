//! What is owned on a device, given back when dropped.

use std::sync::Arc;

use super::driver::{Driver, DriverError, Function, Graph, KernelCode, Pointer, Stream};

/// Device memory.
#[derive(Debug)]
pub(super) struct Block {
    driver: Arc<dyn Driver>,
    pointer: Pointer,
    bytes: u64,
}

impl Block {
    /// Memory of at least one byte.
    pub(super) fn new(
        driver: &Arc<dyn Driver>,
        name: &str,
        bytes: u64,
    ) -> Result<Block, DriverError> {
        let bytes = bytes.max(1);
        let pointer = driver.allocate(name, bytes)?;
        Ok(Block { driver: Arc::clone(driver), pointer, bytes })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The address of `bytes` bytes from `offset` on; `None` if the block has not that many.
    pub(super) fn at(&self, offset: u64, bytes: u64) -> Option<Pointer> {
        let end = offset.checked_add(bytes)?;
        let address = self.pointer.0.checked_add(offset)?;
        (end <= self.bytes).then_some(Pointer(address))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.driver.free(self.pointer);
    }
}

/// A loaded kernel.
#[derive(Debug)]
pub(super) struct LoadedKernel {
    driver: Arc<dyn Driver>,
    pub(super) function: Function,
}

impl LoadedKernel {
    pub(super) fn new(
        driver: &Arc<dyn Driver>,
        code: &KernelCode<'_>,
    ) -> Result<LoadedKernel, DriverError> {
        let function = driver.load(code)?;
        Ok(LoadedKernel { driver: Arc::clone(driver), function })
    }
}

impl Drop for LoadedKernel {
    fn drop(&mut self) {
        self.driver.unload(self.function);
    }
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Queue {
    driver: Arc<dyn Driver>,
    pub(super) stream: Stream,
}

impl Queue {
    pub(super) fn new(driver: &Arc<dyn Driver>) -> Result<Queue, DriverError> {
        let stream = driver.open_stream()?;
        Ok(Queue { driver: Arc::clone(driver), stream })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.driver.close_stream(self.stream);
    }
}

/// Launches that were captured.
#[derive(Debug)]
pub(super) struct LoadedGraph {
    driver: Arc<dyn Driver>,
    pub(super) graph: Graph,
}

impl LoadedGraph {
    /// The graph of what `launch` launches on the stream. The stream takes all work again afterwards, whatever fails.
    pub(super) fn capture(
        driver: &Arc<dyn Driver>,
        stream: Stream,
        launch: impl FnOnce() -> Result<(), DriverError>,
    ) -> Result<LoadedGraph, DriverError> {
        driver.begin_capture(stream)?;
        let launched = launch();
        let ended = driver.end_capture(stream);
        let graph = ended.map(|graph| LoadedGraph { driver: Arc::clone(driver), graph });
        // What went wrong first says most.
        launched.and(graph)
    }
}

impl Drop for LoadedGraph {
    fn drop(&mut self) {
        self.driver.close_graph(self.graph);
    }
}
