//! The interpreter's tensors.

use super::EvalError;
use crate::dim::{Bindings, Dim, DimError};
use crate::types::{DType, TensorType};

/// The most elements of a tensor that the interpreter makes: 8 GiB of f64.
const MAX_ELEMENTS: usize = 1 << 30;

/// A dense tensor, the last axis contiguous.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many elements as the product of the extents.
    pub data: Data,
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Of any float type.
    Float(Vec<f64>),
    /// Of type i64.
    Int(Vec<i64>),
}

impl Tensor {
    /// A tensor of floats.
    ///
    /// # Errors
    /// If the extents do not multiply to the number of elements.
    pub fn floats(shape: &[usize], data: Vec<f64>) -> Result<Self, EvalError> {
        let tensor = Self { shape: shape.to_vec(), data: Data::Float(data) };
        tensor.check().map(|()| tensor)
    }

    /// A tensor of integers.
    ///
    /// # Errors
    /// If the extents do not multiply to the number of elements.
    pub fn ints(shape: &[usize], data: Vec<i64>) -> Result<Self, EvalError> {
        let tensor = Self { shape: shape.to_vec(), data: Data::Int(data) };
        tensor.check().map(|()| tensor)
    }

    /// The elements, if they are floats.
    pub fn as_floats(&self) -> Option<&[f64]> {
        match &self.data {
            Data::Float(data) => Some(data),
            Data::Int(_) => None,
        }
    }

    /// The elements, if they are integers.
    pub fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(data) => Some(data),
            Data::Float(_) => None,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(data) => data.len(),
            Data::Int(data) => data.len(),
        }
    }

    /// True if there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every element `n`.
    pub(super) fn filled(ty: &TensorType, n: i64, bindings: &Bindings) -> Result<Self, EvalError> {
        let shape = sizes(&ty.shape, bindings)?;
        let count = count(&shape)?;
        let data = match ty.dtype {
            DType::I64 => Data::Int(vec![n; count]),
            _ => Data::Float(vec![n as f64; count]),
        };
        Ok(Self { shape, data })
    }

    /// The type of the tensor; floats count as f32.
    pub(super) fn ty(&self) -> TensorType {
        let dtype = if self.as_ints().is_some() { DType::I64 } else { DType::F32 };
        TensorType::new(dtype, self.shape.iter().copied())
    }

    /// Refuses data that do not fill the shape.
    pub(super) fn check(&self) -> Result<(), EvalError> {
        if count(&self.shape)? == self.len() {
            return Ok(());
        }
        Err(EvalError::Size(format!("{} can't hold {} elements", self.describe(), self.len())))
    }

    pub(super) fn describe(&self) -> String {
        describe(self.as_ints().is_some(), &self.shape)
    }
}

/// A type in words.
pub(super) fn describe(integers: bool, shape: &[usize]) -> String {
    format!("{} {shape:?}", if integers { "integers" } else { "floats" })
}

/// The extents for one sample.
pub(super) fn sizes(shape: &[Dim], bindings: &Bindings) -> Result<Vec<usize>, EvalError> {
    shape
        .iter()
        .map(|dim| {
            let size = dim.eval(bindings)?;
            Ok(usize::try_from(size).map_err(|_| DimError::OutOfRange(dim.to_string()))?)
        })
        .collect()
}

/// The number of elements.
pub(super) fn count(shape: &[usize]) -> Result<usize, EvalError> {
    shape
        .iter()
        .try_fold(1usize, |count, &extent| count.checked_mul(extent))
        .filter(|&count| count <= MAX_ELEMENTS)
        .ok_or_else(|| {
            let limit =
                format!("the interpreter holds at most {MAX_ELEMENTS} elements of a tensor");
            EvalError::Size(format!("{limit}, found the extents {shape:?}"))
        })
}
