//! What can be wrong with a model's description.

use std::fmt;

use bytec_ir::builder::BuildError;
use thiserror::Error;

/// A field of a JSON file that is missing or doesn't hold what it should.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{file}: `{field}` must be {expected}, found {found}; {help}")]
pub struct FieldError {
    /// The file, or the option, that the value came from.
    pub file: String,
    /// The field.
    pub field: String,
    /// What it may hold.
    pub expected: String,
    /// What it holds; `nothing` when it is missing.
    pub found: String,
    /// What to do.
    pub help: String,
}

/// A tensor that the model needs and the file doesn't have as needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorProblem {
    /// The tensor, by the name looked for first.
    pub name: String,
    /// Other names that were tried.
    pub also: Vec<String>,
    /// The shape it needs.
    pub expected: Vec<u64>,
    /// What the file holds under that name.
    pub found: Option<crate::TensorInfo>,
    /// What to do, where there is something.
    pub help: Option<String>,
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor `{}` must be a float tensor {:?}, ", self.name, self.expected)?;
        match &self.found {
            Some(found) => write!(f, "found {} {:?}", found.dtype, found.shape)?,
            None => f.write_str("found nothing")?,
        }
        if !self.also.is_empty() {
            write!(f, " (nor under {})", self.also.join(", "))?;
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// All tensors of one file that don't fit.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub struct TensorProblems {
    /// The file.
    pub file: String,
    /// Each problem, in the order of the forward pass.
    pub problems: Vec<TensorProblem>,
}

/// At most this many problems are spelt out; a wrong width makes one for nearly every tensor.
const SPELT_OUT: usize = 8;

impl fmt::Display for TensorProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "tensor doesn't" } else { "tensors don't" };
        write!(f, "{}: {count} {noun} fit the model", self.file)?;
        for problem in self.problems.iter().take(SPELT_OUT) {
            write!(f, "\n  {problem}")?;
        }
        if count > SPELT_OUT {
            write!(f, "\n  and {} more", count - SPELT_OUT)?;
        }
        Ok(())
    }
}

/// Why a model can't be built.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ModelError {
    /// A field of the config.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Tensors that are missing or have another shape or element type.
    #[error(transparent)]
    Tensors(#[from] TensorProblems),
    /// No family goes by this `model_type`.
    #[error(
        "{file}: model_type {found:?} is not known, expected one of {known}; if the model is one of these under \
         another name, pass --set model_type=NAME"
    )]
    UnknownModelType {
        /// The config.
        file: String,
        /// The value.
        found: String,
        /// All known values.
        known: String,
    },
    /// The family doesn't build this architecture.
    #[error(
        "{file}: architecture {found:?} is not known, expected one of {known}; pass --architecture NAME"
    )]
    UnknownArchitecture {
        /// The config, or the option.
        file: String,
        /// The value.
        found: String,
        /// All architectures of the family.
        known: String,
    },
    /// Pooling was asked for together with an architecture that has a head of its own.
    #[error(
        "--architecture {architecture} and a sentence embedding ({pooling} pooling) exclude each other; pass \
         --pooling none, or leave --architecture out"
    )]
    PoolingWithHead {
        /// The architecture.
        architecture: String,
        /// The pooling.
        pooling: String,
    },
    /// Both prefixed and plain names are there.
    #[error(
        "{file}: `{first}` and `{second}` are both there, expected one model in one file; keep one of them"
    )]
    TwoModels {
        /// The file.
        file: String,
        /// A tensor of the one model.
        first: String,
        /// The same tensor of the other.
        second: String,
    },
    /// The base model's tensors carry a prefix that isn't this family's.
    #[error(
        "{file}: found `{found}`, expected `{expected}` with the prefix `{prefix}.` or none; rename the tensors if this is \
         such a model"
    )]
    Prefix {
        /// The file.
        file: String,
        /// A tensor with another prefix.
        found: String,
        /// Its name without a prefix.
        expected: String,
        /// The family's prefix.
        prefix: String,
    },
    /// The number of class names and the classifier's rows differ.
    #[error(
        "{file}: `{field}` gives {found} classes, but tensor `{tensor}` has {rows} rows; correct `{field}`"
    )]
    LabelCount {
        /// The config.
        file: String,
        /// The field that was read.
        field: String,
        /// How many classes it gives.
        found: u64,
        /// The classifier's weight.
        tensor: String,
        /// Its rows.
        rows: u64,
    },
    /// The forward pass didn't fit together: a mistake in the family's code, or sizes that contradict each other.
    #[error(transparent)]
    Build(#[from] BuildError),
}
