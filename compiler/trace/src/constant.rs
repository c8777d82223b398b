//! Tensors whose elements a trace holds itself.

use crate::program::Kind;

/// The elements of a constant, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floating-point numbers; an f32 is widened without loss.
    Float(Vec<f64>),
    /// Integers; a truth value is 0 or 1.
    Int(Vec<i64>),
}

impl Values {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Values::Float(values) => values.len(),
            Values::Int(values) => values.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor that is part of the program: a lifted constant, a buffer that no checkpoint holds, a scalar operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// What its elements are; [`Kind::Float`] holds [`Values::Float`], the others [`Values::Int`].
    pub kind: Kind,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<u64>,
    /// As many elements as the extents say.
    pub values: Values,
}

impl Constant {
    /// A float without axes.
    pub fn float(value: f64) -> Self {
        Self { kind: Kind::Float, shape: Vec::new(), values: Values::Float(vec![value]) }
    }

    /// An integer without axes.
    pub fn int(value: i64) -> Self {
        Self { kind: Kind::Int, shape: Vec::new(), values: Values::Int(vec![value]) }
    }
}
