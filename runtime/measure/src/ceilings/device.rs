//! A device's ceilings.

use std::time::Duration;

use bytec_runtime::cuda::{
    Call, Driver, DriverError, Event, Function, KernelCode, Pointer, Stream,
};

/// Threads of a block of the copy.
const THREADS: u32 = 256;
/// Bytes that a block copies.
const BLOCK: u64 = 16_384;

/// The copy's kernel.
const COPY: &str = include_str!("copy.ptx");

/// Bytes a second, read and written, of a copy of `bytes` bytes in the device's memory, rounded up to 16 KiB: the best
/// of `tries`, by the device's clock.
///
/// # Errors
/// What the driver says, as when there is too little memory, or if the copy is not one.
pub fn device_copy(driver: &dyn Driver, bytes: u64, tries: u32) -> Result<f64, DriverError> {
    let blocks = bytes.div_ceil(BLOCK).clamp(1, i32::MAX as u64);
    let bytes = blocks * BLOCK;
    let mut held = Held::new(driver);
    let result = held.copy(bytes, blocks as u32, tries.max(1));
    held.give_back();
    result.map(|time| 2.0 * bytes as f64 / time.as_secs_f64().max(1e-9))
}

/// What the driver has given.
struct Held<'d> {
    driver: &'d dyn Driver,
    stream: Option<Stream>,
    function: Option<Function>,
    memory: Vec<Pointer>,
    events: Vec<Event>,
}

impl<'d> Held<'d> {
    fn new(driver: &'d dyn Driver) -> Self {
        Self { driver, stream: None, function: None, memory: Vec::new(), events: Vec::new() }
    }

    /// The shortest time of a copy.
    fn copy(&mut self, bytes: u64, blocks: u32, tries: u32) -> Result<Duration, DriverError> {
        let driver = self.driver;
        let stream = *self.stream.insert(driver.open_stream()?);
        let code =
            KernelCode { symbol: "bytec_copy", cubin: None, ptx: Some(COPY.as_bytes()), shared: 0 };
        let function = *self.function.insert(driver.load(&code)?);
        let [to, from] = [self.allocate(bytes)?, self.allocate(bytes)?];
        let [before, after] = [self.event()?, self.event()?];
        let pattern: Vec<u8> = (0..BLOCK).map(|i| (i * 7 % 251) as u8).collect();
        for block in 0..u64::from(blocks) {
            driver.upload(stream, Pointer(from.0 + block * BLOCK), &pattern)?;
        }
        let args = [to.0, from.0];
        let (name, grid, block, shared) = ("copy", [blocks, 1, 1], THREADS, 0);
        let overlaps = false;
        let call = Call { function, name, grid, block, shared, overlaps, args: &args };
        let mut best = Duration::MAX;
        // The first one also brings the code in.
        for nth in 0..=tries {
            driver.record(stream, before)?;
            driver.launch(stream, &call)?;
            driver.record(stream, after)?;
            let time = driver.elapsed(before, after)?;
            if nth > 0 {
                best = best.min(time);
            }
        }
        let mut last = vec![0; BLOCK as usize];
        driver.download(stream, Pointer(to.0 + bytes - BLOCK), &mut last)?;
        if last == pattern {
            Ok(best)
        } else {
            Err(DriverError::Failed {
                asked: "copy memory".to_owned(),
                said: "the copy has other bytes".to_owned(),
            })
        }
    }

    fn allocate(&mut self, bytes: u64) -> Result<Pointer, DriverError> {
        let pointer = self.driver.allocate("a copy to measure", bytes)?;
        self.memory.push(pointer);
        Ok(pointer)
    }

    fn event(&mut self) -> Result<Event, DriverError> {
        let event = self.driver.open_event()?;
        self.events.push(event);
        Ok(event)
    }

    fn give_back(self) {
        let Held { driver, stream, function, memory, events } = self;
        events.into_iter().for_each(|event| driver.close_event(event));
        memory.into_iter().for_each(|pointer| driver.free(pointer));
        if let Some(function) = function {
            driver.unload(function);
        }
        if let Some(stream) = stream {
            driver.close_stream(stream);
        }
    }
}
