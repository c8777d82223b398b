//! A program: the steps of one entry point for one target, as data.

use serde::{Deserialize, Serialize};

use crate::device::DeviceCode;
use crate::extent::{Extent, Rows};
use crate::kernel::Kernel;

/// An element type in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer, of tables that the compiler wrote.
    I32,
    /// Signed 8-bit integer, of linears' weights in [`Layout::Quads`].
    I8,
}

impl DType {
    /// The name, as targets and messages have it.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::I8 => "int8",
        }
    }

    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::Bf16 => 2,
            DType::I64 => 8,
            DType::I8 => 1,
        }
    }
}

/// A symbol that every sample binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolSpec {
    /// Its name, such as `L`.
    pub name: String,
    /// The smallest value.
    pub min: u64,
    /// The largest value.
    pub max: u64,
}

/// A tensor that samples bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents for one sample.
    pub shape: Vec<Extent>,
    /// Packed rows.
    pub rows: Rows,
    /// Elements of a packed row.
    pub width: u64,
    /// The value of every element when a sample leaves the tensor out; `None` if it may not.
    pub default: Option<i64>,
    /// Integers must lie in `0..below`: the rows of the table that they index.
    pub below: Option<u64>,
}

/// A tensor that the program gives out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// Extents for one sample.
    pub shape: Vec<Extent>,
    /// The buffer that holds it, whole rows.
    pub buffer: u32,
}

/// A value in the arena: a packed matrix of the program's dtype.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// The name of the value in the fused graph.
    pub name: String,
    /// How many rows.
    pub rows: Rows,
    /// Elements of a row.
    pub width: u64,
    /// The part of the arena that holds it while it lives.
    pub slot: u32,
}

/// A part of the arena. Its size is the largest of its needs; slots lie one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// For each kind of rows that it holds, the most bytes of a row.
    pub needs: Vec<Need>,
}

/// `bytes_per_row` times the batch's count of `rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Which rows.
    pub rows: Rows,
    /// Bytes of one.
    pub bytes_per_row: u64,
}

/// How a weight's elements lie in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// As in the checkpoint: the last axis is contiguous.
    RowMajor,
    /// For `[n, k]` linears: panels of `width` outputs, `[ceil(n / width)][k][width]`, missing outputs zero.
    Panels {
        /// Outputs of one panel.
        width: u32,
    },
    /// For `[n, k]` linears in bf16: panels of `width` outputs in which two k lie side by side,
    /// `[ceil(n / width)][ceil(k / 2)][width][2]`, missing outputs and a missing last k zero.
    Pairs {
        /// Outputs of one panel.
        width: u32,
    },
    /// For `[n, k]` linears in int8, symmetric, with a scale for each output: panels of `width` outputs,
    /// `[ceil(n / width)]` times `[ceil(k / 4)][width][4]` bytes, four k side by side, then `[width]` scales in f32, then
    /// `[width]` i32, each the sum of its output's bytes. All of a missing output and the bytes of a missing k
    /// are zero. At most [`MOST_INT8_INPUTS`] k.
    Quads {
        /// Outputs of one panel.
        width: u32,
    },
}

/// The most k of a linear in int8: the sum of as many products of an unsigned and a signed byte fits in 32 bits.
pub const MOST_INT8_INPUTS: u64 = 1 << 16;

/// A constant tensor of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSpec {
    /// The name of the value in the fused graph.
    pub name: String,
    /// The checkpoint's tensors that it was made of.
    pub sources: Vec<String>,
    /// How it was made of them, or of nothing; empty when it is one tensor as it stands.
    pub formula: String,
    /// Extents, as in the formula.
    pub shape: Vec<u64>,
    /// Element type.
    pub dtype: DType,
    /// How the elements lie.
    pub layout: Layout,
    /// Where its bytes begin in the weight section; a multiple of 256.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes, in hexadecimal.
    pub hash: String,
}

/// What a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// Columns of a buffer.
    View(View),
    /// The program's weight of this index.
    Weight(u32),
    /// The program's input of this index.
    Input(u32),
}

/// Some columns of a buffer; all its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The buffer.
    pub buffer: u32,
    /// The first column.
    pub column: u64,
    /// How many columns.
    pub width: u64,
}

/// One launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The name of the value in the fused graph.
    pub name: String,
    /// The names of values that it computes on its way and that are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inner: Vec<String>,
    /// What to compute.
    pub kernel: Kernel,
    /// What it reads, in the kernel's order.
    pub operands: Vec<Operand>,
    /// The buffer it writes, whole rows.
    pub output: u32,
    /// Why this kernel was chosen.
    pub reason: String,
}

impl Step {
    /// The buffer of a linear's output that a launch of this step may compute as well; `None` if its kernel names no such
    /// linear.
    pub fn takes_up(&self) -> Option<u32> {
        match (&self.kernel, self.operands.first()) {
            (Kernel::LinearLayerNorm { up: Some(_), .. }, Some(Operand::View(x))) => Some(x.buffer),
            _ => None,
        }
    }
}

/// The steps of one entry point for one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The entry point, such as `forward`.
    pub entry: String,
    /// What it runs on, such as `cpu`.
    pub target: String,
    /// The element type of buffers.
    pub dtype: DType,
    /// Symbols that samples bind.
    pub symbols: Vec<SymbolSpec>,
    /// The distinct extents of ragged rows; the batch holds a prefix sum for each.
    pub extents: Vec<Extent>,
    /// What samples bring.
    pub inputs: Vec<InputSpec>,
    /// What the program gives out.
    pub outputs: Vec<OutputSpec>,
    /// Constant tensors.
    pub weights: Vec<WeightSpec>,
    /// Values in the arena.
    pub buffers: Vec<Buffer>,
    /// Parts of the arena.
    pub slots: Vec<Slot>,
    /// What to compute, in order.
    pub steps: Vec<Step>,
    /// How a GPU does it; `None` for the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceCode>,
}

impl Program {
    /// The type that products round their factors to: that of the buffers, unless the linears' weights are narrower, as
    /// in a program of the CPU in bf16 or int8.
    pub fn arithmetic(&self) -> DType {
        let narrow = self.weights.iter().find_map(|weight| match weight.layout {
            Layout::Pairs { .. } => Some(DType::Bf16),
            Layout::Quads { .. } => Some(DType::I8),
            Layout::RowMajor | Layout::Panels { .. } => None,
        });
        narrow.unwrap_or(self.dtype)
    }
}
