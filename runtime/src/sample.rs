//! A sample: named, typed tensors.

/// The elements of a tensor, in row-major order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elements<'a> {
    /// 64-bit integers.
    I64(&'a [i64]),
    /// 32-bit integers, widened for programs that take 64 bits.
    I32(&'a [i32]),
    /// Floats.
    F32(&'a [f32]),
}

impl Elements<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Elements::I64(data) => data.len(),
            Elements::I32(data) => data.len(),
            Elements::F32(data) => data.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of their type.
    pub fn dtype(&self) -> &'static str {
        match self {
            Elements::I64(_) => "i64",
            Elements::I32(_) => "i32",
            Elements::F32(_) => "f32",
        }
    }
}

/// A named tensor of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [u64],
    pub(crate) elements: Elements<'a>,
}

/// One sample's inputs. Tensors are borrowed; [`PackedBatch::push`](crate::PackedBatch::push) copies them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample<'a> {
    pub(crate) tensors: Vec<Tensor<'a>>,
}

impl<'a> Sample<'a> {
    /// A sample without tensors.
    pub fn new() -> Self {
        Sample::default()
    }

    /// Adds a tensor. Shape and elements are checked when the sample joins a batch.
    #[must_use]
    pub fn with(mut self, name: &'a str, shape: &'a [u64], elements: Elements<'a>) -> Self {
        self.tensors.push(Tensor { name, shape, elements });
        self
    }
}
