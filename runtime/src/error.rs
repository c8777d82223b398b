//! What can go wrong, one enum for each stage.

use std::path::PathBuf;

use bytec_plan::check::CheckError;
use bytec_plan::program::Layout;
use bytec_plan::reader::ReadError;

use crate::cuda::DriverError;

/// A plan could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The file could not be read.
    #[error("can't read the plan `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not a valid plan.
    #[error("`{path}` is not a plan that this version can run")]
    Read {
        /// The file, or `memory`.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// The program breaks a rule of plans.
    #[error("the program can't run")]
    Check(#[from] CheckError),
    /// No program for this entry point, on any device.
    #[error(
        "expected a program for entry `{entry}`, found {}; open the plan with an entry that it has",
        if .found.is_empty() { "none".to_owned() } else { .found.join(", ") }
    )]
    NoEntry {
        /// The entry point asked for.
        entry: String,
        /// What the plan has, as `entry for target`.
        found: Vec<String>,
    },
    /// No program for this device among those for the entry point.
    #[error(
        "expected a program for entry `{entry}` and target `{target}`, found {}; compile the plan with `--target {target}`",
        if .found.is_empty() { "none".to_owned() } else { .found.join(", ") }
    )]
    NoProgram {
        /// The entry point asked for.
        entry: String,
        /// The target asked for.
        target: String,
        /// What the plan has, as `entry for target`.
        found: Vec<String>,
    },
    /// No program that this GPU can run.
    #[error(
        "expected a program for entry `{entry}` that {device} can run, found {}; compile the plan with `--target sm_80`, and with its PTX for GPUs of a later generation",
        if .found.is_empty() { "none".to_owned() } else { .found.join(", ") }
    )]
    NoDeviceProgram {
        /// The entry point asked for.
        entry: String,
        /// The device's name and architecture.
        device: String,
        /// What the plan has, as `entry for target`.
        found: Vec<String>,
    },
    /// The device can't be used, or did not take the program.
    #[error("can't use the device")]
    Driver(#[from] DriverError),
    /// The name of a device is unknown.
    #[error("expected a device out of: cpu, cuda; found `{found}`")]
    Device {
        /// The name.
        found: String,
    },
    /// A weight lies in a way that the kernels of this device don't read.
    #[error(
        "step `{step}`: expected weight `{weight}` in panels of {expected}, found {found:?}; compile the plan again"
    )]
    WeightLayout {
        /// The step.
        step: String,
        /// The weight.
        weight: String,
        /// Outputs of a panel.
        expected: usize,
        /// The layout in the plan.
        found: Layout,
    },
    /// The threads could not be started.
    #[error("can't start {threads} threads")]
    Threads {
        /// How many.
        threads: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A sample does not fit the program. The batch is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sample {sample}: {fault}")]
pub struct BatchError {
    /// The sample's place in the batch.
    pub sample: usize,
    /// What is wrong with it.
    pub fault: SampleFault,
}

/// What is wrong with a sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleFault {
    /// The program has no such input.
    #[error("expected inputs out of: {expected}; found `{found}`")]
    UnknownInput {
        /// The program's inputs.
        expected: String,
        /// The sample's.
        found: String,
    },
    /// An input is given twice.
    #[error("expected input `{input}` once, found it twice")]
    Twice {
        /// The input.
        input: String,
    },
    /// An input without a default is missing.
    #[error("expected input `{input}`, found none of that name; it has no default")]
    Missing {
        /// The input.
        input: String,
    },
    /// Another element type.
    #[error("input `{input}`: expected elements of {expected}, found {found}")]
    DType {
        /// The input.
        input: String,
        /// The program's type.
        expected: &'static str,
        /// The sample's type.
        found: &'static str,
    },
    /// Another number of axes.
    #[error("input `{input}`: expected {expected} axes {shape}, found {found:?}")]
    Rank {
        /// The input.
        input: String,
        /// Axes of the input.
        expected: usize,
        /// Their sizes, by symbol.
        shape: String,
        /// The sample's shape.
        found: Vec<u64>,
    },
    /// The data has another number of elements than its shape.
    #[error("input `{input}`: expected as many elements as shape {shape:?} has, found {found}")]
    Elements {
        /// The input.
        input: String,
        /// The shape given.
        shape: Vec<u64>,
        /// Elements given.
        found: usize,
    },
    /// An axis has another size.
    #[error("input `{input}`, axis {axis}: expected {expected}, found {found}")]
    Axis {
        /// The input.
        input: String,
        /// The axis.
        axis: usize,
        /// What the program says, such as `L = 7 (from input ids)`.
        expected: String,
        /// The sample's size.
        found: u64,
    },
    /// A symbol's value is outside its range.
    #[error("input `{input}`, axis {axis}: expected {symbol} from {min} to {max}, found {found}")]
    Range {
        /// The input.
        input: String,
        /// The axis.
        axis: usize,
        /// The symbol.
        symbol: String,
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
        /// The sample's value.
        found: u64,
    },
    /// No input of the sample has an axis that gives the symbol's value.
    #[error("expected an input that gives the size {symbol}, found none; give one of: {inputs}")]
    Unbound {
        /// The symbol.
        symbol: String,
        /// Inputs that would.
        inputs: String,
    },
    /// An integer past the table that it indexes.
    #[error(
        "input `{input}`, element {position}: expected an integer from 0 to below {below}, found {found}"
    )]
    Integer {
        /// The input.
        input: String,
        /// The element, counted through the whole tensor.
        position: usize,
        /// The bound.
        below: u64,
        /// The value.
        found: i64,
    },
    /// The elements of an input don't fill its rows: the plan is wrong about one of them.
    #[error(
        "input `{input}`: expected {expected} elements for its rows, found {found}; the plan disagrees with itself"
    )]
    InputRows {
        /// The input.
        input: String,
        /// Elements of its rows.
        expected: usize,
        /// Elements of its shape.
        found: usize,
    },
    /// A size has no value, or does not fit in memory.
    #[error("expected sizes that fit in memory, found {what} too large or without a value")]
    TooLarge {
        /// The size.
        what: String,
    },
}

/// A run failed. The session can be used again, but for [`RunError::Device`] and [`RunError::Broken`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The batch was made for another program.
    #[error(
        "expected a batch for program `{expected}` of this engine, found one for another program; make it with this engine"
    )]
    OtherProgram {
        /// The session's program, as `entry for target`.
        expected: String,
    },
    /// There is no memory for the values.
    #[error(
        "expected to fit {samples} samples into memory, found too little; run fewer samples at once"
    )]
    OutOfMemory {
        /// Samples of the batch.
        samples: usize,
    },
    /// An output's shape does not fit its rows.
    #[error(
        "output `{output}`, sample {sample}: expected a shape of {expected} elements, found another number"
    )]
    OutputShape {
        /// The output.
        output: String,
        /// The sample.
        sample: usize,
        /// Elements of the sample's rows.
        expected: usize,
    },
    /// An integer that a device's 32 bits can't hold.
    #[error("input `{input}`: expected integers of 32 bits, as devices have them, found {found}")]
    Integer {
        /// The input.
        input: String,
        /// The value.
        found: i64,
    },
    /// More rows than a device's tables can count.
    #[error("expected a batch of fewer than 2^31 rows, found {found}; run fewer samples at once")]
    TooManyRows {
        /// Rows of the batch.
        found: usize,
    },
    /// More blocks than a device runs along an axis.
    #[error(
        "step `{step}`: expected at most {most} blocks along {axis}, found {found}; run fewer samples at once"
    )]
    TooManyBlocks {
        /// The step.
        step: String,
        /// `x`, `y` or `z`.
        axis: char,
        /// The most that every device runs.
        most: u32,
        /// Blocks that the batch needs.
        found: u32,
    },
    /// The device failed. This engine can't be used again.
    #[error(
        "the device failed; open the plan again, in a new process if the device fails there too"
    )]
    Device(#[from] DriverError),
    /// The device has failed before.
    #[error(
        "the device failed in an earlier run of this engine; open the plan again, in a new process if the device fails there too"
    )]
    Broken {
        /// How it failed.
        #[source]
        first: DriverError,
    },
}
