//! A driver without a GPU: host memory, a record of every call, and kernels that copy rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytec_runtime::cuda::{
    self, Arch, Call, Driver, DriverError, Function, Graph, KernelCode, Pointer, Stream,
};

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Allocate { name: String, pointer: u64, bytes: u64 },
    Free,
    Upload { to: u64, bytes: usize },
    Launch(Launched),
    Synchronise,
    Download { from: u64, bytes: usize },
    BeginCapture,
    EndCapture,
    Replay,
    Record,
    Birth { name: String, pointer: u64, bytes: u64 },
    Tail { pointer: u64, bytes: u64 },
}

/// A launch, with what each of its arguments pointed at: all bytes up to the end of their allocation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launched {
    pub(crate) name: String,
    pub(crate) symbol: String,
    pub(crate) grid: [u32; 3],
    pub(crate) block: u32,
    pub(crate) shared: u32,
    pub(crate) overlaps: bool,
    pub(crate) args: Vec<u64>,
    pub(crate) memory: Vec<Vec<u8>>,
}

impl Launched {
    /// The first numbers that an argument points at.
    pub(crate) fn numbers(&self, arg: usize, count: usize) -> Vec<i32> {
        let number = |x: &[u8]| i32::from_le_bytes([x[0], x[1], x[2], x[3]]);
        self.memory[arg].chunks_exact(4).take(count).map(number).collect()
    }
}

/// A captured launch.
#[derive(Clone, Debug)]
struct Captured {
    function: Function,
    name: String,
    grid: [u32; 3],
    block: u32,
    shared: u32,
    overlaps: bool,
    args: Vec<u64>,
}

/// What the driver says that its device has.
pub(crate) const MULTIPROCESSORS: u32 = 7;

/// The driver. Every address that it is given must lie, with all its bytes, in memory that it has given out.
#[derive(Debug)]
pub(crate) struct Recorder {
    arch: Arch,
    /// Records nothing, so that it allocates nothing either.
    pub(crate) quiet: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    memory: BTreeMap<u64, Vec<u8>>,
    end: u64,
    functions: BTreeMap<u64, String>,
    /// Streams and events that are open.
    streams: u64,
    events: Vec<Event>,
    /// The launches of the capture that goes on, if one does.
    capturing: Option<Vec<Captured>>,
    graphs: BTreeMap<u64, Arc<[Captured]>>,
    /// Points recorded so far, and for each event the count when it was recorded last.
    points: u64,
    recorded: BTreeMap<u64, u64>,
    /// Launches until one fails.
    launches_left: Option<usize>,
    /// Allocations until one finds no memory.
    allocations_left: Option<usize>,
    /// Whether captures end with a failure.
    captures_fail: bool,
}

impl State {
    fn slice(&mut self, pointer: u64, bytes: usize) -> &mut [u8] {
        let (start, block) =
            self.memory.range_mut(..=pointer).next_back().expect("memory is there");
        let from = (pointer - start) as usize;
        assert!(from + bytes <= block.len(), "{bytes} bytes from {from} of {}", block.len());
        &mut block[from..from + bytes]
    }

    /// All bytes from an address to the end of its allocation.
    fn rest(&self, pointer: u64) -> Vec<u8> {
        let (start, block) = self.memory.range(..=pointer).next_back().expect("memory is there");
        block[(pointer - start) as usize..].to_vec()
    }
}

impl Recorder {
    pub(crate) fn new(arch: &str, quiet: bool) -> Recorder {
        let state = State { end: 1 << 20, ..State::default() };
        Recorder {
            arch: arch.parse().expect("a test's architecture"),
            quiet,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panicked")
    }

    fn note(&self, state: &mut State, event: impl FnOnce(&State) -> Event) {
        if !self.quiet {
            let event = event(state);
            state.events.push(event);
        }
    }

    /// What happened since it was asked last.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    /// Lets so many launches through; the next one fails.
    pub(crate) fn fail_after(&self, launches: usize) {
        self.lock().launches_left = Some(launches);
    }

    /// Lets so many allocations through; the next one finds no memory.
    pub(crate) fn full_after(&self, allocations: usize) {
        self.lock().allocations_left = Some(allocations);
    }

    /// Lets every capture fail at its end.
    pub(crate) fn fail_captures(&self) {
        self.lock().captures_fail = true;
    }

    /// What has not been given back: allocations, functions; streams, events and graphs.
    pub(crate) fn held(&self) -> (usize, usize, u64) {
        let state = self.lock();
        let open = state.streams + state.graphs.len() as u64;
        (state.memory.len(), state.functions.len(), open)
    }
}

/// Counts down to the call that fails.
fn fails(left: &mut Option<usize>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl Driver for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn arch(&self) -> Arch {
        self.arch
    }

    fn multiprocessors(&self) -> u32 {
        MULTIPROCESSORS
    }

    fn allocate(&self, name: &str, bytes: u64) -> Result<Pointer, DriverError> {
        assert!(bytes > 0, "{name}");
        let mut state = self.lock();
        if fails(&mut state.allocations_left) {
            return Err(DriverError::OutOfMemory { name: name.to_owned(), bytes });
        }
        let pointer = state.end;
        state.end = (pointer + bytes + 4096).next_multiple_of(256);
        state.memory.insert(pointer, vec![0; bytes as usize]);
        self.note(&mut state, |_| Event::Allocate { name: name.to_owned(), pointer, bytes });
        Ok(Pointer(pointer))
    }

    fn free(&self, pointer: Pointer) {
        let mut state = self.lock();
        state.memory.remove(&pointer.0).expect("freed once");
        self.note(&mut state, |_| Event::Free);
    }

    fn load(&self, code: &KernelCode<'_>) -> Result<Function, DriverError> {
        let mut state = self.lock();
        assert_eq!(code.cubin, Some(&b"machine code"[..]));
        assert_eq!(code.ptx, Some(&b"text"[..]));
        let function = state.functions.len() as u64 + 1;
        state.functions.insert(function, code.symbol.to_owned());
        Ok(Function(function))
    }

    fn unload(&self, function: Function) {
        self.lock().functions.remove(&function.0).expect("unloaded once");
    }

    fn open_stream(&self) -> Result<Stream, DriverError> {
        self.lock().streams += 1;
        Ok(Stream(7))
    }

    fn close_stream(&self, stream: Stream) {
        assert_eq!(stream, Stream(7));
        self.lock().streams -= 1;
    }

    fn upload(&self, stream: Stream, to: Pointer, bytes: &[u8]) -> Result<(), DriverError> {
        assert_eq!(stream, Stream(7));
        let mut state = self.lock();
        state.slice(to.0, bytes.len()).copy_from_slice(bytes);
        self.note(&mut state, |_| Event::Upload { to: to.0, bytes: bytes.len() });
        Ok(())
    }

    /// A kernel `copy_N` copies rows of N bytes from its second argument to its first; its third says how many.
    fn launch(&self, stream: Stream, call: &Call<'_>) -> Result<(), DriverError> {
        assert_eq!(stream, Stream(7));
        let mut state = self.lock();
        if let Some(captured) = &mut state.capturing {
            let &Call { function, name, grid, block, shared, overlaps, args } = call;
            let (name, args) = (name.to_owned(), args.to_vec());
            captured.push(Captured { function, name, grid, block, shared, overlaps, args });
            return Ok(());
        }
        if fails(&mut state.launches_left) {
            let (asked, said) = (format!("launch `{}`", call.name), "it burns".to_owned());
            return Err(DriverError::Failed { asked, said });
        }
        for arg in call.args {
            state.slice(*arg, 0);
        }
        let bytes = state.functions[&call.function.0].strip_prefix("copy_");
        if let Some(bytes) = bytes.map(|bytes| bytes.parse::<usize>().expect("a number")) {
            let &[to, from, rows, ..] = call.args else { panic!("three arguments") };
            let rows = i32::from_le_bytes(state.slice(rows, 4).try_into().expect("4 bytes"));
            for row in 0..rows as usize {
                for byte in row * bytes..(row + 1) * bytes {
                    let value = state.slice(from + byte as u64, 1)[0];
                    state.slice(to + byte as u64, 1)[0] = value;
                }
            }
        }
        self.note(&mut state, |state| {
            let symbol = state.functions[&call.function.0].clone();
            let memory = call.args.iter().map(|arg| state.rest(*arg)).collect();
            let &Call { name, grid, block, shared, overlaps, args, .. } = call;
            let (name, args) = (name.to_owned(), args.to_vec());
            let launched = Launched { name, symbol, grid, block, shared, overlaps, args, memory };
            Event::Launch(launched)
        });
        Ok(())
    }

    fn download(&self, stream: Stream, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError> {
        assert_eq!(stream, Stream(7));
        let mut state = self.lock();
        bytes.copy_from_slice(state.slice(from.0, bytes.len()));
        self.note(&mut state, |_| Event::Download { from: from.0, bytes: bytes.len() });
        Ok(())
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        assert_eq!(stream, Stream(7));
        self.note(&mut self.lock(), |_| Event::Synchronise);
        Ok(())
    }

    fn open_event(&self) -> Result<cuda::Event, DriverError> {
        let mut state = self.lock();
        state.streams += 1;
        state.points += 1;
        Ok(cuda::Event(state.points))
    }

    fn close_event(&self, event: cuda::Event) {
        let mut state = self.lock();
        state.streams -= 1;
        state.recorded.remove(&event.0);
    }

    fn record(&self, stream: Stream, event: cuda::Event) -> Result<(), DriverError> {
        assert_eq!(stream, Stream(7));
        let mut state = self.lock();
        state.points += 1;
        let now = state.points;
        state.recorded.insert(event.0, now);
        self.note(&mut state, |_| Event::Record);
        Ok(())
    }

    fn wait(&self, event: cuda::Event) -> Result<(), DriverError> {
        assert!(self.lock().recorded.contains_key(&event.0));
        Ok(())
    }

    /// A second for every point in between.
    fn elapsed(&self, from: cuda::Event, to: cuda::Event) -> Result<Duration, DriverError> {
        let state = self.lock();
        Ok(Duration::from_secs(state.recorded[&to.0] - state.recorded[&from.0]))
    }

    fn begin_capture(&self, stream: Stream) -> Result<(), DriverError> {
        assert_eq!(stream, Stream(7));
        let mut state = self.lock();
        assert!(state.capturing.replace(Vec::new()).is_none(), "captured once at a time");
        self.note(&mut state, |_| Event::BeginCapture);
        Ok(())
    }

    fn end_capture(&self, stream: Stream) -> Result<Graph, DriverError> {
        assert_eq!(stream, Stream(7));
        let mut state = self.lock();
        let captured = state.capturing.take().expect("a capture began");
        if state.captures_fail {
            let (asked, said) = ("capture a stream".to_owned(), "it burns".to_owned());
            return Err(DriverError::Failed { asked, said });
        }
        state.points += 1;
        let graph = state.points;
        state.graphs.insert(graph, captured.into());
        self.note(&mut state, |_| Event::EndCapture);
        Ok(Graph(graph))
    }

    fn replay(
        &self,
        stream: Stream,
        graph: Graph,
        before: &mut dyn FnMut(),
    ) -> Result<(), DriverError> {
        let launches = Arc::clone(&self.lock().graphs[&graph.0]);
        self.note(&mut self.lock(), |_| Event::Replay);
        for launched in &*launches {
            before();
            let &Captured { function, ref name, grid, block, shared, overlaps, ref args } =
                launched;
            self.launch(stream, &Call { function, name, grid, block, shared, overlaps, args })?;
        }
        Ok(())
    }

    fn close_graph(&self, graph: Graph) {
        self.lock().graphs.remove(&graph.0).expect("closed once");
    }

    fn birth(&self, name: &str, pointer: Pointer, bytes: u64) {
        let mut state = self.lock();
        state.slice(pointer.0, bytes as usize);
        let pointer = pointer.0;
        self.note(&mut state, |_| Event::Birth { name: name.to_owned(), pointer, bytes });
    }

    fn mark_tail(&self, pointer: Pointer, bytes: u64) {
        assert!(bytes > 0);
        let mut state = self.lock();
        state.slice(pointer.0, bytes as usize);
        self.note(&mut state, |_| Event::Tail { pointer: pointer.0, bytes });
    }
}
