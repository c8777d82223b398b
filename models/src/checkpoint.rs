//! What a checkpoint holds: names, element types and shapes, but no data.

use std::collections::BTreeMap;

/// The element type and shape of a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The element type by its name in the file format, such as `F32` or `BF16`.
    pub dtype: String,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
}

impl TensorInfo {
    /// True for the element types that a weight may have: each converts to f32 without loss.
    pub fn is_weight(&self) -> bool {
        matches!(self.dtype.as_str(), "F32" | "F16" | "BF16")
    }
}

/// The tensors of a checkpoint by name.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    file: String,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Checkpoint {
    /// The tensors of `file`, which is named in every error.
    pub fn new(file: impl Into<String>, tensors: BTreeMap<String, TensorInfo>) -> Self {
        Self { file: file.into(), tensors }
    }

    /// The file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// A tensor's element type and shape.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// True if there is such a tensor.
    pub fn holds(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The extent of a tensor's first axis.
    pub fn rows(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|info| info.shape.first().copied())
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}
