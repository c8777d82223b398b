//! What the runtime asks of a GPU, and of whatever stands in for one.
//!
//! A driver knows memory, modules and launches; it knows no kernel and no plan. Calls that name a stream happen in the
//! order in which they were made on that stream; calls on two streams may happen in any order.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytec_plan::device::Span;

use super::staging::{Plain, Staging};

/// A device that runs compiled kernels. Shared by all engines and sessions that use it.
pub trait Driver: fmt::Debug + Send + Sync {
    /// The device's name, for people.
    fn name(&self) -> &str;

    /// The device's architecture.
    fn arch(&self) -> Arch;

    /// The device's multiprocessors, at least one: so many blocks stay where a launch's do one tile after the other.
    fn multiprocessors(&self) -> u32;

    /// Device memory of `bytes` bytes, more than zero; begins at a multiple of 256. What it holds is undefined. The
    /// name is for messages.
    ///
    /// # Errors
    /// [`DriverError::OutOfMemory`] when there is not enough, which breaks nothing; or what the driver says.
    fn allocate(&self, name: &str, bytes: u64) -> Result<Pointer, DriverError>;

    /// Gives back what [`Driver::allocate`] gave. Work that uses it has ended or has failed.
    fn free(&self, pointer: Pointer);

    /// Loads a kernel.
    ///
    /// # Errors
    /// When neither image can be loaded, or has the symbol.
    fn load(&self, code: &KernelCode<'_>) -> Result<Function, DriverError>;

    /// Gives back what [`Driver::load`] gave.
    fn unload(&self, function: Function);

    /// What stands for a matrix among a kernel's parameters, so that it can copy boxes of it.
    ///
    /// # Errors
    /// What the driver says; by default that it has no tensor maps.
    fn tensor_map(&self, map: &TensorMap) -> Result<[u64; 16], DriverError> {
        let asked = format!("describe a matrix of {} rows", map.rows);
        Err(DriverError::Failed { asked, said: "this driver has no tensor maps".to_owned() })
    }

    /// A stream: a queue of work.
    ///
    /// # Errors
    /// What the driver says. A driver that does everything at once has one stream only and never fails.
    fn open_stream(&self) -> Result<Stream, DriverError> {
        Ok(Stream(0))
    }

    /// Gives back what [`Driver::open_stream`] gave.
    fn close_stream(&self, _stream: Stream) {}

    /// Copies bytes to the device. They may be changed as soon as this returns. What [`Driver::mark_tail`] said of this
    /// memory no longer holds.
    ///
    /// # Errors
    /// What the driver says, maybe of earlier work.
    fn upload(&self, stream: Stream, to: Pointer, bytes: &[u8]) -> Result<(), DriverError>;

    /// Host memory of `bytes` bytes, all zero, to upload from again and again. By default ordinary memory.
    ///
    /// # Errors
    /// [`DriverError::OutOfMemory`] when there is not enough, which breaks nothing; or what the driver says.
    fn staging(&self, bytes: u64) -> Result<Box<dyn Staging>, DriverError> {
        Ok(Box::new(Plain::new(bytes)?))
    }

    /// Starts a kernel; on a stream that is being captured, adds it to the graph instead.
    ///
    /// # Errors
    /// What the driver says, maybe of earlier work.
    fn launch(&self, stream: Stream, call: &Call<'_>) -> Result<(), DriverError>;

    /// Waits for all work of the stream and copies bytes from the device.
    ///
    /// # Errors
    /// What the driver says, maybe of earlier work.
    fn download(&self, stream: Stream, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError>;

    /// Waits for all work of the stream.
    ///
    /// # Errors
    /// What went wrong in that work.
    fn synchronise(&self, stream: Stream) -> Result<(), DriverError>;

    /// An event, which marks no point of any stream yet.
    ///
    /// # Errors
    /// What the driver says.
    fn open_event(&self) -> Result<Event, DriverError>;

    /// Gives back what [`Driver::open_event`] gave.
    fn close_event(&self, event: Event);

    /// Lets the event mark the point after all work that the stream has been given so far. What it marked before is
    /// forgotten.
    ///
    /// # Errors
    /// What the driver says, maybe of earlier work.
    fn record(&self, stream: Stream, event: Event) -> Result<(), DriverError>;

    /// Waits until the stream's work has come to the point that the event marks; does not wait if it marks none.
    ///
    /// # Errors
    /// What went wrong in that work.
    fn wait(&self, event: Event) -> Result<(), DriverError>;

    /// The time from one event's point to another's, as the device saw it. Waits for the later one.
    ///
    /// # Errors
    /// When an event marks no point, when they are in the wrong order, or what went wrong in the work before them.
    fn elapsed(&self, from: Event, to: Event) -> Result<Duration, DriverError>;

    /// Begins to capture a stream: launches on it are not done from now on but kept for a graph. Until
    /// [`Driver::end_capture`] the stream takes launches only, all from this thread.
    ///
    /// # Errors
    /// What the driver says, as when the stream is being captured already.
    fn begin_capture(&self, stream: Stream) -> Result<(), DriverError>;

    /// Ends the capture, and makes a graph of the launches since it began: the same kernels, grids and arguments in
    /// the same order, however often it is replayed. The stream takes all work again, whether this fails or not.
    ///
    /// # Errors
    /// What the driver says, as when no capture had begun or a launch in between was refused.
    fn end_capture(&self, stream: Stream) -> Result<Graph, DriverError>;

    /// Does all launches of a graph. `before` is called before each of them by drivers that have a use for
    /// [`Driver::birth`] and [`Driver::mark_tail`], and not at all by others.
    ///
    /// # Errors
    /// What the driver says, maybe of earlier work.
    fn replay(
        &self,
        stream: Stream,
        graph: Graph,
        before: &mut dyn FnMut(),
    ) -> Result<(), DriverError>;

    /// Gives back what [`Driver::end_capture`] gave. Its replays have ended or have failed.
    fn close_graph(&self, graph: Graph);

    /// Says that a new value is about to be written to this memory, and that nothing in it may be read before. What
    /// [`Driver::mark_tail`] said of it no longer holds. A GPU has no use for this; an interpreter can check it.
    fn birth(&self, _name: &str, _pointer: Pointer, _bytes: u64) {}

    /// Says that this memory lies past the end of a value's rows: it may be read, but no result may depend on it. A
    /// GPU has no use for this; an interpreter can check it.
    fn mark_tail(&self, _pointer: Pointer, _bytes: u64) {}
}

/// A place in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(pub u64);

/// A loaded kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function(pub u64);

/// A queue of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub u64);

/// A point in a stream's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event(pub u64);

/// Launches that are done together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Graph(pub u64);

/// A kernel to load, in every form that the plan has.
#[derive(Clone, Copy, Debug)]
pub struct KernelCode<'a> {
    /// The kernel's symbol in either image.
    pub symbol: &'a str,
    /// Machine code for the program's architecture.
    pub cubin: Option<&'a [u8]>,
    /// The PTX that it was made of.
    pub ptx: Option<&'a [u8]>,
    /// The most bytes of dynamic shared memory that a launch of it asks for.
    pub shared: u32,
}

/// A matrix of f16 or bf16 in device memory, or one for each head, and the box of it that one copy moves: swizzled in
/// shared memory by as many bytes as it is wide, zero where it lies outside of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// The first element; a multiple of 16.
    pub address: Pointer,
    /// Whether elements are bf16.
    pub bf16: bool,
    /// Elements of a row, or of a head's part of it, which is then a multiple of 16 bytes.
    pub columns: u64,
    /// How many heads lie one after the other in a row, for a map of three axes: columns, heads and rows.
    pub heads: Option<u64>,
    /// Rows.
    pub rows: u64,
    /// Bytes from one row to the next; a multiple of 16.
    pub stride: u64,
    /// Rows of a box.
    pub box_rows: u32,
    /// Bytes of a row of a box.
    pub span: Span,
}

impl TensorMap {
    /// Its axes, innermost first: extents, bytes from one place to the next of each but the first, and sides of a box.
    /// The first two or all three of them count.
    pub fn axes(&self) -> Axes {
        let columns = self.span.bytes() / 2;
        match self.heads {
            None => Axes {
                rank: 2,
                extents: [self.columns, self.rows, 1],
                strides: [self.stride, 0],
                sides: [columns, self.box_rows, 1],
            },
            Some(heads) => Axes {
                rank: 3,
                extents: [self.columns, heads, self.rows],
                strides: [self.columns.saturating_mul(2), self.stride],
                sides: [columns, 1, self.box_rows],
            },
        }
    }
}

/// The axes of a tensor map, innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes {
    /// How many there are.
    pub rank: usize,
    /// Places of each.
    pub extents: [u64; 3],
    /// Bytes from one place to the next, of each axis but the first.
    pub strides: [u64; 2],
    /// Places of each that a box has.
    pub sides: [u32; 3],
}

/// A launch.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The kernel.
    pub function: Function,
    /// The step, for messages.
    pub name: &'a str,
    /// Blocks along x, y and z, none of them zero.
    pub grid: [u32; 3],
    /// Threads of a block, along x.
    pub block: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared: u32,
    /// Whether it may begin while launches before it on the stream still run: the kernel waits for them itself, before
    /// it reads or writes what they do. Of a stream's other work before it, it begins after the end.
    pub overlaps: bool,
    /// The kernel's parameters, in order: addresses in device memory, and before them the words of tensor maps.
    pub args: &'a [u64],
}

/// A GPU architecture, such as `sm_80`; as a target also `sm_90a`, whose code runs on `sm_90` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arch {
    /// The generation: 8 for Ampere and Ada, 9 for Hopper.
    pub major: u32,
    /// The member of the generation, from 0 to 9.
    pub minor: u32,
    /// Whether code uses what only this architecture has. Devices leave it out.
    pub only: bool,
}

impl Arch {
    /// A device's architecture.
    pub fn of_device(major: u32, minor: u32) -> Arch {
        Arch { major, minor, only: false }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}{}", self.major, self.minor, if self.only { "a" } else { "" })
    }
}

impl FromStr for Arch {
    type Err = DriverError;

    fn from_str(name: &str) -> Result<Arch, DriverError> {
        let parse = || {
            let digits = name.strip_prefix("sm_")?;
            let (digits, only) =
                digits.strip_suffix('a').map_or((digits, false), |digits| (digits, true));
            let plain =
                (2..=4).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
            let number: u32 = plain.then(|| digits.parse().ok()).flatten()?;
            Some(Arch { major: number / 10, minor: number % 10, only })
        };
        parse().ok_or_else(|| DriverError::Arch { found: name.to_owned() })
    }
}

/// A device could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The device's memory does not suffice. Nothing is broken.
    #[error("expected {bytes} bytes of device memory for {name}, found too little free")]
    OutOfMemory {
        /// What the memory is for.
        name: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// Anything else that the driver refused, or found wrong with work that it had been given.
    #[error("can't {asked}: {said}")]
    Failed {
        /// What was asked.
        asked: String,
        /// What the driver said.
        said: String,
    },
    /// The driver's library is not installed.
    #[error(
        "expected the CUDA driver library `libcuda.so.1`, found none; install the NVIDIA driver"
    )]
    NoLibrary,
    /// The driver's library is too old for the modules of plans.
    #[error(
        "expected a CUDA driver for CUDA {expected} or later, found one for {found}; update the NVIDIA driver"
    )]
    TooOld {
        /// The oldest that will do.
        expected: String,
        /// What is installed.
        found: String,
    },
    /// The driver's library lacks functions that this runtime calls: it is none of NVIDIA's, or a broken one.
    #[error(
        "expected a CUDA driver library with the function `{symbol}`, found one without; install the NVIDIA driver \
         again, and look for another `libcuda` on the loader's path"
    )]
    NoSymbol {
        /// The first function that is missing.
        symbol: &'static str,
    },
    /// No device of this number.
    #[error("expected a CUDA device of number {ordinal}, found {found} devices")]
    NoDevice {
        /// The number, from zero.
        ordinal: u32,
        /// How many there are.
        found: u32,
    },
    /// This build of the runtime has no CUDA.
    #[error("expected a build with CUDA, found one without; build with the feature `cuda`")]
    NotBuilt,
    /// The name of an architecture is unknown.
    #[error("expected an architecture such as `sm_80`, found `{found}`")]
    Arch {
        /// The name.
        found: String,
    },
}
