//! Why a model can't be traced.

use thiserror::Error;

/// A model that can't be traced, or a trace that does not hold.
#[derive(Debug, Error)]
pub enum Error {
    /// candle refused to build or run the model.
    #[error("candle can't {doing}: {source}")]
    Candle {
        /// What was being done, such as "run the model at B=2, S=5".
        doing: String,
        /// candle's own error.
        source: candle_core::Error,
    },
    /// The options contradict themselves or the model.
    #[error("{0}")]
    Options(String),
    /// A value that depends on an input was read by the host.
    #[error(
        "{method} at {place} reads a value that depends on input {input}{module}: what the model does next would be \
         fixed to this one sample; compute it with tensor ops instead"
    )]
    HostRead {
        /// candle's method.
        method: &'static str,
        /// File, line and column of the call.
        place: String,
        /// The input.
        input: String,
        /// ` in MODULE`, or nothing if unknown.
        module: String,
    },
    /// A tensor was overwritten.
    #[error(
        "{method} at {place} writes into a tensor: a graph has no state; use the op that makes a new tensor instead"
    )]
    Write {
        /// candle's method.
        method: &'static str,
        /// File, line and column of the call.
        place: String,
    },
    /// Ops that a trace has no word for.
    #[error("the model uses ops that bytec does not have: {}", .0.join("; "))]
    Ops(Vec<String>),
    /// Two runs at different sizes took different ways.
    #[error(
        "what the model computes depends on the sizes: {at} differs between {first} and {second} ({what}); a loop over \
         the batch or over positions can't be traced"
    )]
    Sizes {
        /// The step, and the module it is in.
        at: String,
        /// The sizes of one run.
        first: String,
        /// The sizes of the other.
        second: String,
        /// How they differ.
        what: String,
    },
    /// Two runs at the same sizes differ in more than their inputs.
    #[error(
        "what the model computes depends on values: {at} differs between two runs of the same sizes ({what}); random \
         numbers, state, and control flow that depends on values can't be traced"
    )]
    Values {
        /// The step, and the module it is in.
        at: String,
        /// How they differ.
        what: String,
    },
    /// A number that is no polynomial of the sizes.
    #[error(
        "{what} of {at} is {found} in turn: no polynomial of the sizes with whole coefficients"
    )]
    Fit {
        /// The step, and the module it is in.
        at: String,
        /// Which number.
        what: String,
        /// Its values over the runs, with the sizes.
        found: String,
    },
    /// A constant that changes with the sizes in a way that is not recognised.
    #[error("the constant at {at}, {shape}, changes with the sizes: {why}")]
    Constant {
        /// The step, and the module it is in.
        at: String,
        /// Its extents.
        shape: String,
        /// What was expected, and what was found.
        why: String,
    },
    /// A constant that is needed at the largest sizes, where the model is too large to get to it.
    #[error(
        "the constant at {at} follows the sizes, so it is needed as it is at {sizes}; but before the model makes it there, \
         it multiplies matrices to one of more than {most} elements, which a trace does not: lower the most tokens (--max-tokens)"
    )]
    TooLarge {
        /// The step, and the module it is in.
        at: String,
        /// The largest sizes.
        sizes: String,
        /// The most elements that are computed.
        most: usize,
    },
    /// The trace gives other numbers than the model, at sizes that it was not made from.
    #[error(
        "replayed at {sizes}, output {output} differs from the model's by {difference:e} of its largest number; at most {bound:e} is allowed"
    )]
    Replay {
        /// The sizes.
        sizes: String,
        /// The output's name.
        output: String,
        /// The largest difference.
        difference: f64,
        /// The largest allowed.
        bound: f64,
    },
    /// A row that ends in padding gives other numbers than the row alone.
    #[error(
        "with input {mask} 0 where a row is padded, output {output} of a row of {length} tokens in a batch of {padded} \
         differs from the row alone by {difference:e} of its largest number: the model does not leave padding out, so it can't be packed"
    )]
    Padding {
        /// The mask's name.
        mask: String,
        /// The output's name.
        output: String,
        /// Tokens of the row.
        length: u64,
        /// Rows of the padded batch.
        padded: u64,
        /// The largest difference.
        difference: f64,
    },
    /// Ops that mix the samples of a batch.
    #[error("{0}")]
    Mixed(#[from] bytec_trace::Refusals),
    /// A trace that could not be put together: a defect.
    #[error(transparent)]
    Trace(#[from] bytec_trace::TraceError),
}

impl Error {
    /// candle's error while something was being done.
    pub(crate) fn candle(doing: impl Into<String>) -> impl FnOnce(candle_core::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Candle { doing, source }
    }
}
