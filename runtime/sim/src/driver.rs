//! The simulated device as a driver of the runtime: plans run on it exactly as on a GPU.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytec_runtime::cuda::{
    self, Arch, Axes, Call, Driver, DriverError, Event, Function, Graph, KernelCode, Pointer, Span,
    Stream,
};

use crate::chain::Chain;
use crate::device::{Arg, Buffer, Device, MemoryError};
use crate::fault::{Fault, Place};
use crate::module::Module;
use crate::profile::Profile;
use crate::streams::Streams;
use crate::tensor_map::{Swizzle, TensorMap};

/// What a device has for blocks that stay: few, so that they do several tiles of a batch that is soon run.
const MULTIPROCESSORS: u32 = 4;

/// A [`Device`] that runs the PTX of plans. Everything is done at once, in the order of the calls; only launches on a
/// stream that is being captured wait for the graph's replay. The time between two events is that of the interpreter
/// and says nothing of a GPU's.
///
/// Rows past a value's end are NaN and marked, so that a result that depends on them is a fault.
#[derive(Debug)]
pub struct SimDriver {
    name: String,
    arch: Arch,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    device: Device,
    kernels: BTreeMap<u64, Loaded>,
    next_kernel: u64,
    /// For each allocation, by its address, its name and the value that lies in it.
    values: BTreeMap<u64, Value>,
    profiles: Vec<StepProfile>,
    streams: Streams,
    /// For each stream, the launches that may still run when the next begins.
    chains: BTreeMap<Stream, Chain>,
}

#[derive(Clone, Debug)]
struct Loaded {
    module: Arc<Module>,
    symbol: String,
}

#[derive(Debug)]
struct Value {
    allocation: String,
    name: String,
}

/// The counts of one step, over all runs since they were last taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepProfile {
    /// The step's name.
    pub step: String,
    /// The kernel that it launches.
    pub kernel: String,
    /// How many times it was launched.
    pub launches: u64,
    /// What those launches did, added.
    pub profile: Profile,
}

impl SimDriver {
    /// A driver for a device of the Ampere family with all checks.
    pub fn sm_80() -> Self {
        Self::new(Device::sm_80(), Arch::of_device(8, 0))
    }

    /// A driver for a device of an architecture, with what shared memory its family has and all checks.
    pub fn of_arch(arch: Arch) -> Self {
        let device = if arch.major >= 9 { Device::sm_90() } else { Device::sm_80() };
        Self::new(device, Arch { only: false, ..arch })
    }

    /// A driver for a device with settings of the caller's, which passes for one of `arch`.
    pub fn new(device: Device, arch: Arch) -> Self {
        let state = State {
            device,
            kernels: BTreeMap::new(),
            next_kernel: 1,
            values: BTreeMap::new(),
            profiles: Vec::new(),
            streams: Streams::default(),
            chains: BTreeMap::new(),
        };
        Self { name: "PTX interpreter".to_owned(), arch, state: Mutex::new(state) }
    }

    /// The counts of each step in the order of their first launches; they begin at zero again.
    pub fn take_profiles(&self) -> Vec<StepProfile> {
        std::mem::take(&mut self.lock().profiles)
    }

    fn streams<T>(
        &self,
        asked: &str,
        act: impl FnOnce(&mut Streams) -> Result<T, &'static str>,
    ) -> Result<T, DriverError> {
        act(&mut self.lock().streams).map_err(|error| failed(asked.to_owned(), error))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &str {
        &self.name
    }

    fn arch(&self) -> Arch {
        self.arch
    }

    fn multiprocessors(&self) -> u32 {
        MULTIPROCESSORS
    }

    fn allocate(&self, name: &str, bytes: u64) -> Result<Pointer, DriverError> {
        match self.lock().device.alloc(name, bytes) {
            Ok(buffer) => Ok(Pointer(buffer.address())),
            Err(MemoryError::TooLarge { .. }) => {
                Err(DriverError::OutOfMemory { name: name.to_owned(), bytes })
            }
            Err(error) => Err(failed(format!("allocate {name}"), error)),
        }
    }

    fn free(&self, pointer: Pointer) {
        let mut state = self.lock();
        state.values.remove(&pointer.0);
        // A pointer that was freed before is no one's loss.
        let _gone = state.device.free(Buffer::at(pointer.0).0);
    }

    fn load(&self, code: &KernelCode<'_>) -> Result<Function, DriverError> {
        let asked = || format!("load kernel `{}`", code.symbol);
        let ptx = code.ptx.ok_or_else(|| {
            failed(
                asked(),
                "the plan has no PTX for the interpreter; compile it without `--strip-ptx`",
            )
        })?;
        let text = std::str::from_utf8(ptx).map_err(|error| failed(asked(), error))?;
        let module = Module::parse(text).map_err(|error| failed(asked(), error))?;
        if module.kernel(code.symbol).is_none() {
            return Err(failed(asked(), "its PTX has no kernel of this name"));
        }
        let mut state = self.lock();
        let number = state.next_kernel;
        state.next_kernel += 1;
        let loaded = Loaded { module: Arc::new(module), symbol: code.symbol.to_owned() };
        state.kernels.insert(number, loaded);
        Ok(Function(number))
    }

    fn unload(&self, function: Function) {
        self.lock().kernels.remove(&function.0);
    }

    fn tensor_map(&self, map: &cuda::TensorMap) -> Result<[u64; 16], DriverError> {
        let Axes { rank, extents, strides, sides } = map.axes();
        let own = TensorMap {
            address: map.address.0,
            element: 2,
            extents: extents[..rank].to_vec(),
            strides: strides[..rank - 1].to_vec(),
            boxes: sides[..rank].to_vec(),
            swizzle: match map.span {
                Span::Bytes32 => Swizzle::Bytes32,
                Span::Bytes64 => Swizzle::Bytes64,
                Span::Bytes128 => Swizzle::Bytes128,
            },
        };
        own.encode().map_err(|error| failed("describe a matrix".to_owned(), error))
    }

    fn open_stream(&self) -> Result<Stream, DriverError> {
        Ok(self.lock().streams.open_stream())
    }

    fn close_stream(&self, stream: Stream) {
        let mut state = self.lock();
        state.streams.close_stream(stream);
        state.chains.remove(&stream);
    }

    fn upload(&self, stream: Stream, to: Pointer, bytes: &[u8]) -> Result<(), DriverError> {
        let asked = || format!("upload {} bytes", bytes.len());
        let (buffer, offset) = Buffer::at(to.0);
        let end = offset.saturating_add(bytes.len() as u64);
        let State { device, streams, .. } = &mut *self.lock();
        streams.check(stream).map_err(|error| failed(asked(), error))?;
        device
            .upload(buffer, offset, bytes)
            .and_then(|()| device.unmark_range(buffer, offset..end))
            .map_err(|error| failed(asked(), error))
    }

    fn launch(&self, stream: Stream, call: &Call<'_>) -> Result<(), DriverError> {
        let asked = || format!("run step `{}`", call.name);
        let state = &mut *self.lock();
        if state.streams.capture(stream, call).map_err(|error| failed(asked(), error))? {
            return Ok(());
        }
        let loaded = state.kernels.get(&call.function.0).cloned();
        let Some(Loaded { module, symbol }) = loaded else {
            return Err(failed(asked(), "its kernel is not loaded"));
        };
        let Some(kernel) = module.kernel(&symbol) else {
            return Err(failed(asked(), "its kernel is not in its module"));
        };
        let mut words = call.args;
        let mut args = Vec::with_capacity(kernel.params().len());
        for param in kernel.params() {
            let count = (param.bytes as usize / 8).clamp(1, words.len().max(1));
            let own = words.get(..count).unwrap_or(&[]);
            words = words.get(count..).unwrap_or(&[]);
            args.push(match own {
                [] => break,
                [address] => Arg::U64(*address),
                map => Arg::Bytes(map.iter().flat_map(|word| word.to_le_bytes()).collect()),
            });
        }
        // Words that no parameter takes are arguments too many.
        args.extend(words.iter().map(|word| Arg::U64(*word)));
        let shape = (call.grid, [call.block, 1, 1]);
        let chain = state.chains.entry(stream).or_default();
        if !call.overlaps {
            chain.cut();
        }
        let profile = state
            .device
            .launch_behind(chain, kernel, shape, call.shared, &args)
            .map_err(|fault| failed(asked(), state.explain(&fault)))?;
        state.count(call.name, symbol, &profile);
        Ok(())
    }

    fn download(&self, stream: Stream, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError> {
        let asked = || format!("download {} bytes", bytes.len());
        let (buffer, offset) = Buffer::at(from.0);
        let end = offset.saturating_add(bytes.len() as u64);
        let State { device, streams, .. } = &*self.lock();
        streams.check(stream).map_err(|error| failed(asked(), error))?;
        let found = device.download(buffer, offset..end);
        let found = found.map_err(|error| failed(asked(), error))?;
        bytes.copy_from_slice(&found);
        Ok(())
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        self.streams("wait for a stream", |streams| streams.check(stream))
    }

    fn open_event(&self) -> Result<Event, DriverError> {
        Ok(self.lock().streams.open_event())
    }

    fn close_event(&self, event: Event) {
        self.lock().streams.close_event(event);
    }

    fn record(&self, stream: Stream, event: Event) -> Result<(), DriverError> {
        self.streams("record an event", |streams| streams.record(stream, event))
    }

    fn wait(&self, event: Event) -> Result<(), DriverError> {
        self.streams("wait for an event", |streams| streams.wait(event))
    }

    fn elapsed(&self, from: Event, to: Event) -> Result<Duration, DriverError> {
        self.streams("tell the time between two events", |streams| streams.elapsed(from, to))
    }

    fn begin_capture(&self, stream: Stream) -> Result<(), DriverError> {
        self.streams("capture a stream", |streams| streams.begin_capture(stream))
    }

    fn end_capture(&self, stream: Stream) -> Result<Graph, DriverError> {
        self.streams("capture a stream", |streams| streams.end_capture(stream))
    }

    fn replay(
        &self,
        stream: Stream,
        graph: Graph,
        before: &mut dyn FnMut(),
    ) -> Result<(), DriverError> {
        let launches = self.streams("replay a graph", |streams| {
            streams.check(stream)?;
            streams.graph(graph)
        })?;
        for launched in &*launches {
            // It calls this driver, which must not be locked then.
            before();
            self.launch(stream, &launched.call())?;
        }
        Ok(())
    }

    fn close_graph(&self, graph: Graph) {
        self.lock().streams.close_graph(graph);
    }

    fn birth(&self, name: &str, pointer: Pointer, bytes: u64) {
        let (buffer, offset) = Buffer::at(pointer.0);
        let range = offset..offset.saturating_add(bytes);
        let state = &mut *self.lock();
        // The runtime asks for ranges inside of what it allocated.
        let _done = state.device.birth(buffer, range.clone());
        let _done = state.device.unmark_range(buffer, range);
        if let Ok(allocation) = state.device.name(buffer) {
            let value = Value { allocation: allocation.to_owned(), name: name.to_owned() };
            state.values.insert(buffer.address(), value);
        }
    }

    fn mark_tail(&self, pointer: Pointer, bytes: u64) {
        let (buffer, offset) = Buffer::at(pointer.0);
        let device = &mut self.lock().device;
        // Ones are NaN in every float type, and -1 as integers.
        let _done = device.upload(buffer, offset, &vec![0xff; bytes as usize]);
        let _done = device.mark(buffer, offset..offset.saturating_add(bytes));
    }
}

impl State {
    /// The fault, with the value that lies where it happened.
    fn explain(&self, fault: &Fault) -> String {
        if let Some(Place::Global { name, .. }) = &fault.address
            && let Some(value) = self.values.values().find(|value| value.allocation == *name)
        {
            return format!("{fault}; {name} holds `{}`", value.name);
        }
        fault.to_string()
    }

    fn count(&mut self, step: &str, kernel: String, profile: &Profile) {
        let known = self.profiles.iter_mut().find(|p| p.step == step && p.kernel == kernel);
        if let Some(known) = known {
            known.launches += 1;
            known.profile.add(profile);
        } else {
            let (step, profile) = (step.to_owned(), profile.clone());
            self.profiles.push(StepProfile { step, kernel, launches: 1, profile });
        }
    }
}

fn failed(asked: String, said: impl ToString) -> DriverError {
    DriverError::Failed { asked, said: said.to_string() }
}
