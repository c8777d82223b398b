//! A driver around a driver, which can take the device's time of each launch.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytec_runtime::cuda::{
    Arch, Call, Driver, DriverError, Event, Function, Graph, KernelCode, Pointer, Staging, Stream,
};

/// A driver that passes everything on to another, and takes the device's time of each launch when it is asked to.
pub struct Timed {
    inner: Arc<dyn Driver>,
    on: AtomicBool,
    launches: Mutex<Vec<Launch>>,
}

/// A launch between two events.
struct Launch {
    step: String,
    before: Event,
    after: Event,
}

/// A launch as the device saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchTime {
    /// The step that was launched.
    pub step: String,
    /// When it began, from the beginning of the first launch.
    pub begin: Duration,
    /// How long it took.
    pub time: Duration,
}

/// What the launches of a run took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Each launch, in order.
    pub launches: Vec<LaunchTime>,
    /// From the first launch's beginning to the last one's end.
    pub all: Duration,
}

impl Timed {
    /// Around another; passes everything on until told otherwise.
    pub fn new(inner: Arc<dyn Driver>) -> Self {
        Self { inner, on: AtomicBool::new(false), launches: Mutex::default() }
    }

    /// Runs with an event before and after each launch, and says what the launches took.
    ///
    /// # Errors
    /// What the run returns, or what the driver says of its events.
    pub fn time<E: From<DriverError>>(
        &self,
        run: impl FnOnce() -> Result<(), E>,
    ) -> Result<Times, E> {
        self.lock().clear();
        self.on.store(true, Ordering::Relaxed);
        let ran = run();
        self.on.store(false, Ordering::Relaxed);
        let launches = std::mem::take(&mut *self.lock());
        let times = ran.and_then(|()| Ok(self.elapsed(&launches)?));
        for launch in launches {
            self.inner.close_event(launch.before);
            self.inner.close_event(launch.after);
        }
        times
    }

    fn elapsed(&self, launches: &[Launch]) -> Result<Times, DriverError> {
        let (Some(first), Some(last)) = (launches.first(), launches.last()) else {
            return Ok(Times::default());
        };
        let time = |(nth, launch): (usize, &Launch)| {
            Ok(LaunchTime {
                step: launch.step.clone(),
                // An event is not after itself on every device.
                begin: match nth {
                    0 => Duration::ZERO,
                    _ => self.inner.elapsed(first.before, launch.before)?,
                },
                time: self.inner.elapsed(launch.before, launch.after)?,
            })
        };
        let times = launches.iter().enumerate().map(time).collect::<Result<_, DriverError>>()?;
        Ok(Times { launches: times, all: self.inner.elapsed(first.before, last.after)? })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Launch>> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn multiprocessors(&self) -> u32 {
        self.inner.multiprocessors()
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
        let (before, after) = (self.inner.open_event()?, self.inner.open_event()?);
        self.lock().push(Launch { step: call.name.to_owned(), before, after });
        self.inner.record(stream, before)?;
        // Between two events each launch is timed alone.
        self.inner.launch(stream, &Call { overlaps: false, ..*call })?;
        self.inner.record(stream, after)
    }

    fn download(&self, stream: Stream, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.inner.download(stream, from, bytes)
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        self.inner.synchronise(stream)
    }

    fn staging(&self, bytes: u64) -> Result<Box<dyn Staging>, DriverError> {
        self.inner.staging(bytes)
    }

    fn open_event(&self) -> Result<Event, DriverError> {
        self.inner.open_event()
    }

    fn close_event(&self, event: Event) {
        self.inner.close_event(event);
    }

    fn record(&self, stream: Stream, event: Event) -> Result<(), DriverError> {
        self.inner.record(stream, event)
    }

    fn wait(&self, event: Event) -> Result<(), DriverError> {
        self.inner.wait(event)
    }

    fn elapsed(&self, from: Event, to: Event) -> Result<Duration, DriverError> {
        self.inner.elapsed(from, to)
    }

    fn begin_capture(&self, stream: Stream) -> Result<(), DriverError> {
        self.inner.begin_capture(stream)
    }

    fn end_capture(&self, stream: Stream) -> Result<Graph, DriverError> {
        self.inner.end_capture(stream)
    }

    fn replay(
        &self,
        stream: Stream,
        graph: Graph,
        before: &mut dyn FnMut(),
    ) -> Result<(), DriverError> {
        self.inner.replay(stream, graph, before)
    }

    fn close_graph(&self, graph: Graph) {
        self.inner.close_graph(graph);
    }

    fn birth(&self, name: &str, pointer: Pointer, bytes: u64) {
        self.inner.birth(name, pointer, bytes);
    }

    fn mark_tail(&self, pointer: Pointer, bytes: u64) {
        self.inner.mark_tail(pointer, bytes);
    }
}
