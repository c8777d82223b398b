//! Element types, shapes, and the type of a value.

use std::fmt;
use std::str::FromStr;

use crate::dim::{Dim, Symbol};

/// The type of one element.
///
/// A source graph is written in `f32`, whatever the checkpoint stores: the target chooses what floats become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// Signed 64-bit integer: token ids, positions, indices.
    I64,
}

impl DType {
    /// All of them.
    pub const ALL: [DType; 4] = [DType::F32, DType::F16, DType::Bf16, DType::I64];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::I64 => "i64",
        }
    }

    /// True for the floating-point types.
    pub fn is_float(self) -> bool {
        self != DType::I64
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.name() == text)
            .ok_or_else(|| format!("unknown dtype {text:?}, expected f32, f16, bf16 or i64"))
    }
}

/// The most axes of a value.
pub const MAX_RANK: usize = 8;

/// The extents of a value, outermost first. Empty for a scalar.
pub type Shape = Vec<Dim>;

/// Element type and shape of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Shape,
}

impl TensorType {
    /// A value of `dtype` with these extents.
    pub fn new(dtype: DType, shape: impl IntoIterator<Item = impl Into<Dim>>) -> Self {
        Self { dtype, shape: shape.into_iter().map(Into::into).collect() }
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The product of the extents, or `None` past the limits of [`Dim::checked_mul`].
    pub fn checked_elements(&self) -> Option<Dim> {
        self.shape.iter().try_fold(Dim::fixed(1), |product, dim| product.checked_mul(dim))
    }

    /// The product of the extents. In a graph that has been verified it is exact.
    pub fn elements(&self) -> Dim {
        self.shape.iter().cloned().fold(Dim::fixed(1), |product, dim| product * dim)
    }
}

/// Prints `f32[L, 384]`.
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, dim) in self.shape.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// The sizes that a symbol may take, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolRange {
    /// The symbol.
    pub symbol: Symbol,
    /// The smallest size.
    pub min: u64,
    /// The largest size: a property of the model, such as its position table.
    pub max: u64,
}
