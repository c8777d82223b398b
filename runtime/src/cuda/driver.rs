//! What the runtime asks of a GPU, and of whatever stands in for one.
//!
//! A driver knows memory, modules and launches; it knows no kernel and no plan. Calls that name a stream happen in the
//! order in which they were made on that stream; calls on two streams may happen in any order.

use std::fmt;
use std::str::FromStr;

/// A device that runs compiled kernels. Shared by all engines and sessions that use it.
pub trait Driver: fmt::Debug + Send + Sync {
    /// The device's name, for people.
    fn name(&self) -> &str;

    /// The device's architecture.
    fn arch(&self) -> Arch;

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

    /// Starts a kernel.
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
    /// The kernel's parameters, in order: addresses in device memory.
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
