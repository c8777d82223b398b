//! NVIDIA's driver library, found when it is first asked for.
//!
//! Nothing links against it: `libcuda` is opened at run time, so that one build runs on machines with and without.

#![expect(unsafe_code, reason = "the library's functions are C")]

mod context;
mod graph;
mod image;
mod launch;
mod pinned;
mod symbols;
mod tensor_map;

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cudarc::driver::result;
use cudarc::driver::sys::{
    self, CUdevice_attribute, CUevent, CUevent_flags, CUfunction, CUfunction_attribute, CUmodule,
    CUresult, CUstream,
};

use self::context::{Context, failed, refused, said};
use self::image::is_whole_elf;
use self::pinned::Pinned;
use super::driver::{
    Arch, Call, Driver, DriverError, Event, Function, Graph, KernelCode, Pointer, Stream, TensorMap,
};
use super::staging::Staging;

/// The library's version from which on it loads the modules of plans: CUDA 13.0, which driver 580 brought.
const OLDEST: i32 = 13_000;

/// An NVIDIA GPU, through the driver library. Uses the device's primary context, as other libraries do.
pub struct Cuda {
    name: String,
    arch: Arch,
    multiprocessors: u32,
    context: Arc<Context>,
    /// The module of each loaded function.
    modules: Mutex<BTreeMap<u64, Module>>,
}

/// A loaded module.
struct Module(CUmodule);

// SAFETY: a module's handle belongs to a context, not to a thread: any that makes the context current may use it.
unsafe impl Send for Module {}

impl Cuda {
    /// Opens the device of a number, from zero, among those that the driver shows.
    ///
    /// # Errors
    /// When there is no driver library, it is too old, it finds no device of this number, or that fails.
    pub fn open(ordinal: u32) -> Result<Cuda, DriverError> {
        // SAFETY: opens a library of the system, whose start-up code is trusted.
        if !unsafe { sys::is_culib_present() } {
            return Err(DriverError::NoLibrary);
        }
        symbols::check(&["cuDriverGetVersion"])?;
        let mut version = 0;
        // SAFETY: writes one int; may be called before everything else.
        said("ask for the driver's version", unsafe { sys::cuDriverGetVersion(&mut version) })?;
        if version < OLDEST {
            let text = |version| format!("{}.{}", version / 1000, version % 1000 / 10);
            return Err(DriverError::TooOld { expected: text(OLDEST), found: text(version) });
        }
        symbols::check(&symbols::NEEDED)?;
        result::init().map_err(|error| failed("start the driver", error.0))?;
        let count = result::device::get_count().map_err(|e| failed("count devices", e.0))?;
        let wanted = i32::try_from(ordinal).ok().filter(|wanted| *wanted < count);
        let Some(wanted) = wanted else {
            return Err(DriverError::NoDevice { ordinal, found: count.unsigned_abs() });
        };
        let open = |error: result::DriverError| failed(&format!("open device {ordinal}"), error.0);
        let device = result::device::get(wanted).map_err(open)?;
        let name = result::device::get_name(device).map_err(open)?;
        let attribute = |attribute| {
            // SAFETY: the device was found above.
            let value = unsafe { result::device::get_attribute(device, attribute) };
            value.map(i32::unsigned_abs).map_err(open)
        };
        let arch = Arch::of_device(
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = attribute(count)?.max(1);
        let context = Arc::new(Context::retain(device).map_err(open)?);
        Ok(Cuda { name, arch, multiprocessors, context, modules: Mutex::default() })
    }

    /// Makes the context this thread's.
    fn enter(&self) -> Result<(), DriverError> {
        self.context.enter()
    }

    /// Loads the machine code, or if there is none or the device does not take it, the PTX.
    fn load_module(&self, code: &KernelCode<'_>) -> Result<CUmodule, DriverError> {
        let asked = || format!("load kernel `{}`", code.symbol);
        let from = |image: *const c_void| {
            let mut module = ptr::null_mut();
            // SAFETY: the image is a whole ELF file or text that ends with a zero, and outlives the call.
            said(&asked(), unsafe { sys::cuModuleLoadData(&mut module, image) }).map(|()| module)
        };
        let cubin = match code.cubin {
            Some(cubin) if is_whole_elf(cubin) => from(cubin.as_ptr().cast()),
            Some(_) => Err(refused(asked(), "its machine code is no whole ELF file")),
            None => Err(refused(asked(), "there is neither machine code nor PTX")),
        };
        match (cubin, code.ptx) {
            (Ok(module), _) => Ok(module),
            (Err(error), None) => Err(error),
            (Err(_), Some(ptx)) => {
                let ptx = CString::new(ptx)
                    .map_err(|_| refused(asked(), "its PTX has a zero byte inside"))?;
                from(ptx.as_ptr().cast())
            }
        }
    }

    /// The module's function, ready for launches.
    fn function(&self, module: CUmodule, code: &KernelCode<'_>) -> Result<CUfunction, DriverError> {
        let asked = format!("find kernel `{}` in its module", code.symbol);
        let symbol = CString::new(code.symbol)
            .map_err(|_| refused(asked.clone(), "the symbol has a zero byte inside"))?;
        let mut function = ptr::null_mut();
        // SAFETY: the module is loaded, the symbol ends with a zero.
        let found = unsafe { sys::cuModuleGetFunction(&mut function, module, symbol.as_ptr()) };
        said(&asked, found)?;
        let shared = i32::try_from(code.shared).unwrap_or(i32::MAX);
        let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function was found above.
        let set = unsafe { sys::cuFuncSetAttribute(function, most, shared) };
        said(&format!("give kernel `{}` {shared} bytes of shared memory", code.symbol), set)?;
        Ok(function)
    }
}

impl Driver for Cuda {
    fn name(&self) -> &str {
        &self.name
    }

    fn arch(&self) -> Arch {
        self.arch
    }

    fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    fn allocate(&self, name: &str, bytes: u64) -> Result<Pointer, DriverError> {
        self.enter()?;
        let mut pointer = 0;
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        // SAFETY: writes one address. `free` gives the memory back.
        match unsafe { sys::cuMemAlloc_v2(&mut pointer, size) } {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                Err(DriverError::OutOfMemory { name: name.to_owned(), bytes })
            }
            answer => said(&format!("allocate {bytes} bytes for {name}"), answer)
                .map(|()| Pointer(pointer)),
        }
    }

    fn free(&self, pointer: Pointer) {
        // What fails here has failed before, and there is nothing left to do about it.
        if self.enter().is_ok() {
            // SAFETY: the memory came from `allocate` and is given back once.
            let _gone = unsafe { sys::cuMemFree_v2(pointer.0) };
        }
    }

    fn load(&self, code: &KernelCode<'_>) -> Result<Function, DriverError> {
        self.enter()?;
        let module = self.load_module(code)?;
        match self.function(module, code) {
            Ok(function) => {
                let function = Function(function as u64);
                let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
                modules.insert(function.0, Module(module));
                Ok(function)
            }
            Err(error) => {
                // SAFETY: the module was loaded above, and nothing has it.
                let _gone = unsafe { sys::cuModuleUnload(module) };
                Err(error)
            }
        }
    }

    fn unload(&self, function: Function) {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Module(module)) = modules.remove(&function.0)
            && self.enter().is_ok()
        {
            // SAFETY: the module was loaded and leaves the map once.
            let _gone = unsafe { sys::cuModuleUnload(module) };
        }
    }

    fn tensor_map(&self, map: &TensorMap) -> Result<[u64; 16], DriverError> {
        self.enter()?;
        tensor_map::encode(map)
    }

    fn open_stream(&self) -> Result<Stream, DriverError> {
        self.enter()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking)
            .map_err(|error| failed("open a stream", error.0))?;
        Ok(Stream(stream as u64))
    }

    fn close_stream(&self, stream: Stream) {
        if self.enter().is_ok() {
            // SAFETY: the stream came from `open_stream` and is closed once.
            let _gone = unsafe { sys::cuStreamDestroy_v2(handle(stream)) };
        }
    }

    fn upload(&self, stream: Stream, to: Pointer, bytes: &[u8]) -> Result<(), DriverError> {
        self.enter()?;
        let from = bytes.as_ptr().cast();
        // SAFETY: reads the slice, which is pageable memory and so copied away before this returns.
        let sent = unsafe { sys::cuMemcpyHtoDAsync_v2(to.0, from, bytes.len(), handle(stream)) };
        said(&format!("upload {} bytes", bytes.len()), sent)
    }

    fn staging(&self, bytes: u64) -> Result<Box<dyn Staging>, DriverError> {
        Ok(Box::new(Pinned::new(&self.context, bytes)?))
    }

    fn launch(&self, stream: Stream, call: &Call<'_>) -> Result<(), DriverError> {
        self.enter()?;
        let [x, y, z] = call.grid;
        let answer = launch::launch(handle(stream), call);
        said(&format!("launch `{}` with {x} x {y} x {z} blocks", call.name), answer)
    }

    fn download(&self, stream: Stream, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.enter()?;
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: writes the slice, which is borrowed until all is written, below.
        let sent = unsafe { sys::cuMemcpyDtoHAsync_v2(to, from.0, bytes.len(), handle(stream)) };
        let waited = self.synchronise(stream);
        said(&format!("download {} bytes", bytes.len()), sent).and(waited)
    }

    fn synchronise(&self, stream: Stream) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: the stream is open.
        said("run the kernels", unsafe { sys::cuStreamSynchronize(handle(stream)) })
    }

    fn open_event(&self) -> Result<Event, DriverError> {
        self.enter()?;
        let event = context::open_event(CUevent_flags::CU_EVENT_DEFAULT)?;
        Ok(Event(event as u64))
    }

    fn close_event(&self, event: Event) {
        if self.enter().is_ok() {
            // SAFETY: the event came from `open_event` and is closed once.
            let _gone = unsafe { sys::cuEventDestroy_v2(point(event)) };
        }
    }

    fn record(&self, stream: Stream, event: Event) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: both are open.
        said("record an event", unsafe { sys::cuEventRecord(point(event), handle(stream)) })
    }

    fn wait(&self, event: Event) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: the event is open.
        said("wait for an event", unsafe { sys::cuEventSynchronize(point(event)) })
    }

    fn elapsed(&self, from: Event, to: Event) -> Result<Duration, DriverError> {
        self.wait(to)?;
        let asked = "tell the time between two events";
        let mut milliseconds = 0.0f32;
        // SAFETY: writes one float; both events are open.
        let answer =
            unsafe { sys::cuEventElapsedTime_v2(&mut milliseconds, point(from), point(to)) };
        said(asked, answer)?;
        Duration::try_from_secs_f64(f64::from(milliseconds) / 1e3)
            .map_err(|_| refused(asked.to_owned(), "the second came before the first"))
    }

    fn begin_capture(&self, stream: Stream) -> Result<(), DriverError> {
        self.enter()?;
        graph::begin(handle(stream))
    }

    fn end_capture(&self, stream: Stream) -> Result<Graph, DriverError> {
        self.enter()?;
        graph::end(handle(stream))
    }

    fn replay(
        &self,
        stream: Stream,
        graph: Graph,
        _before: &mut dyn FnMut(),
    ) -> Result<(), DriverError> {
        self.enter()?;
        graph::replay(graph, handle(stream))
    }

    fn close_graph(&self, graph: Graph) {
        if self.enter().is_ok() {
            graph::close(graph);
        }
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cuda({}, {})", self.name, self.arch)
    }
}

fn handle(stream: Stream) -> CUstream {
    stream.0 as CUstream
}

fn point(event: Event) -> CUevent {
    event.0 as CUevent
}

#[cfg(test)]
mod tests {
    use super::Cuda;
    use crate::cuda::DriverError;

    /// On a machine with a GPU the first one opens; on any other the error says what is missing.
    #[test]
    fn a_machine_without_a_gpu_gets_an_error_that_says_so() {
        match Cuda::open(0) {
            Ok(cuda) => assert!(cuda.arch.major >= 5, "{cuda:?}"),
            Err(
                DriverError::NoLibrary | DriverError::TooOld { .. } | DriverError::NoDevice { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(Cuda::open(u32::MAX).is_err());
    }
}
