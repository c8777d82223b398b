//! Device code: the modules that a GPU program's steps launch, and how.
//!
//! A launch is data. Its blocks are counted from the batch, its pointers are named by what they point at, and nothing
//! of it is computed on the device's host at run time but sums and divisions of the batch's sizes.

use serde::{Deserialize, Serialize};

use crate::program::{Operand, Program, Step};

/// The code of a GPU program: one launch for each of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCode {
    /// The architecture that the modules are compiled for, such as `sm_80`, or `compute_80` for PTX alone.
    pub arch: String,
    /// Compiled kernels.
    pub modules: Vec<ModuleSpec>,
    /// One launch for each step, in order.
    pub launches: Vec<Launch>,
    /// Other launches of some steps, for batches of many rows, ordered by step and then by rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_rows: Vec<FromRows>,
}

/// Another launch of a step from so many rows on. It gives every row the same bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromRows {
    /// The step of this index.
    pub step: u32,
    /// The fewest rows of the step's output, at least one, until the step's next entry. They are those of the batch's
    /// size class, so that all batches of a class are launched alike.
    pub rows: u64,
    /// How it is launched then. Where it is one that has no blocks, the step that reads its output does its work too.
    pub launch: Launch,
}

impl DeviceCode {
    /// How a step is launched whose output's size class has so many rows; `None` if there is no such step.
    pub fn launch(&self, step: usize, rows: u64) -> Option<&Launch> {
        let at =
            self.by_rows.partition_point(|other| (other.step as usize, other.rows) <= (step, rows));
        match at.checked_sub(1).map(|last| &self.by_rows[last]) {
            Some(other) if other.step as usize == step => Some(&other.launch),
            _ => self.launches.get(step),
        }
    }

    /// Every launch with its step's index, whatever the rows.
    pub fn all_launches(&self) -> impl Iterator<Item = (usize, &Launch)> {
        let others = self.by_rows.iter().map(|other| (other.step as usize, &other.launch));
        self.launches.iter().enumerate().chain(others)
    }
}

/// A compiled kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleSpec {
    /// The kernel's symbol.
    pub symbol: String,
    /// Machine code for the architecture; `None` for PTX alone.
    pub cubin: Option<Image>,
    /// The PTX it was made of, for later architectures and for the interpreter; `None` in a stripped plan.
    pub ptx: Option<Image>,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of static shared memory of a block.
    pub static_shared: u32,
}

/// A part of the section of modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Where its bytes begin in the section; a multiple of 256.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes, in hexadecimal.
    pub hash: String,
}

/// How a step is launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The module.
    pub module: u32,
    /// Blocks along x, y and z.
    pub grid: [Count; 3],
    /// Threads of a block, along x.
    pub block: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared: u32,
    /// Whether the kernel itself waits for the launches before it (`griddepcontrol.wait`), in every thread and before it
    /// reads or writes what steps write: then it may begin while they still run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlaps: bool,
    /// The kernel's arguments, in order; all but tensor maps are pointers. Maps come first, so that each lies at
    /// a multiple of 128 bytes among them.
    pub args: Vec<Arg>,
}

/// How many blocks there are along an axis. A grid may be larger: blocks past the batch's end do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// The same for every batch.
    Fixed(u32),
    /// One for every `per` rows of the output, and one for those that are left.
    Rows {
        /// Rows of one block.
        per: u32,
    },
    /// One a sample.
    Samples,
    /// For each sample one for every `per` rows of its output, and one for those that are left.
    Tiles {
        /// Rows of one block.
        per: u32,
    },
    /// `across` for every `per` rows of the output, and as many for those that are left, but no more than the device
    /// has multiprocessors for, one for each block of the whole grid: blocks that stay and do one after the other. How
    /// many there are changes no result.
    Resident {
        /// Rows of what a block does at a time.
        per: u32,
        /// How many of them have the same rows.
        across: u32,
    },
}

/// One argument of a kernel: a pointer into the arena, the weights, the inputs, or the batch's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arg {
    /// The first element of the output.
    Output,
    /// The first element of the step's operand of this index: a view's first column, a weight, or an input. Integer
    /// inputs lie as i32, floats as the program's type.
    Operand(u32),
    /// `const int*`: how many rows the value has, as one number.
    Rows(Of),
    /// `const int*`: how many samples the batch has, as one number.
    Samples,
    /// `const int*`: the row at which each sample begins, and at last the count of rows; samples + 1 numbers.
    Offsets(Of),
    /// `const int*`: for each row its place in its own sample, from zero.
    Positions(Of),
    /// `const int*`: for each row the place of its id, as an embedding kernel's
    /// [`IdSource::Place`](crate::kernel::IdSource::Place) counts them.
    Places {
        /// The operand with the ids, an integer input.
        operand: u32,
        /// The id that has no place.
        skip: u32,
    },
    /// `const int*`: for each row the index of its sample.
    SampleOfRow(Of),
    /// `const int2*`: for each block of [`Count::Tiles`] with the same `per`, its sample and the first of its rows,
    /// counted in the sample; the longest samples come first. Blocks past the last tile have -1 as their sample.
    Tiles {
        /// Rows of one tile.
        per: u32,
    },
    /// A tensor map of an operand, for copies of boxes that are as wide as their swizzle's span, with zeros for what
    /// lies outside.
    Map(Map),
}

/// What a kernel copies boxes of: a view of a buffer, an input or a weight, as a matrix of rows, or as such a matrix for
/// each head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// The step's operand of this index.
    pub operand: u32,
    /// Elements of a row, or of a head's part of it, from the operand's first column on.
    pub columns: u32,
    /// How many heads there are, one right after the other in a row; the map's second axis, of which a box has one.
    /// `None` for a map of two axes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<u32>,
    /// Rows of a box.
    pub rows: u32,
    /// Bytes of a row of a box, by which it is swizzled.
    pub span: Span,
}

/// How wide a box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    /// 32 bytes.
    #[serde(rename = "32")]
    Bytes32,
    /// 64 bytes.
    #[serde(rename = "64")]
    Bytes64,
    /// 128 bytes.
    #[serde(rename = "128")]
    Bytes128,
}

impl Span {
    /// The widest that divides rows of so many bytes; `None` if they are no multiple of 32.
    pub fn dividing(bytes: u32) -> Option<Self> {
        let all = [Self::Bytes128, Self::Bytes64, Self::Bytes32];
        all.into_iter().find(|span| bytes.is_multiple_of(span.bytes()))
    }

    /// Its bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::Bytes32 => 32,
            Self::Bytes64 => 64,
            Self::Bytes128 => 128,
        }
    }
}

impl Launch {
    /// Whether there is anything to launch.
    pub fn has_blocks(&self) -> bool {
        !self.grid.contains(&Count::Fixed(0))
    }
}

impl Arg {
    /// How many 8-byte words the argument takes.
    pub fn words(self) -> usize {
        if matches!(self, Arg::Map(_)) { 16 } else { 1 }
    }
}

impl Map {
    /// Elements of a row of the matrix, over all heads.
    pub fn width(self) -> u64 {
        u64::from(self.columns) * u64::from(self.heads.unwrap_or(1))
    }

    /// The bytes from one row to the next of what a step's map is about, and where its first column begins in a row;
    /// `None` if the program has no such operand, or sizes overflow.
    pub fn stride_and_start(self, step: &Step, program: &Program) -> Option<(u64, u64)> {
        let (stride, column) = match *step.operands.get(self.operand as usize)? {
            Operand::View(view) => (program.buffers.get(view.buffer as usize)?.width, view.column),
            Operand::Input(input) => (program.inputs.get(input as usize)?.width, 0),
            Operand::Weight(weight) => (*program.weights.get(weight as usize)?.shape.last()?, 0),
        };
        let bytes = program.dtype.bytes();
        Some((stride.checked_mul(bytes)?, column.checked_mul(bytes)?))
    }
}

/// Whose rows a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The output's.
    Output,
    /// Those of the step's operand of this index.
    Operand(u32),
}
