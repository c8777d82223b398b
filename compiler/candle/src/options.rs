//! What a trace needs to know of a model that candle's code does not say.

use bytec_ir::dim::{Bindings, Dim, Symbol};
use bytec_ir::types::SymbolRange;
use candle_core::{DType, Device, Tensor};

use crate::error::Error;

/// The symbol of the batch axis, the first axis of every input.
pub const BATCH: &str = "B";

/// What an input holds, for the values that the model is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Numbers around 0.
    Floats,
    /// Whole numbers from 0 up to `below`, without it.
    Ids {
        /// One past the largest.
        below: u32,
        /// The one that stands for padding, which no sample holds; a model that asks which ids it is gets a no.
        never: Option<u32>,
    },
    /// 1 for a token and 0 for padding at the end of a row. A sample of bytec has no padding, so a graph has no such
    /// input; that the model leaves out what is 0 is checked with a padded batch.
    Mask,
    /// The opposite, which some models take: 0 for a token and 1 for padding.
    Padding,
    /// Zeros always. A graph has no such input.
    Zeros,
}

/// One tensor that the model is given.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name that a caller of the compiled model gives it by.
    pub name: String,
    /// The dtype that the model takes it in.
    pub dtype: DType,
    /// Its extents, of which the first is the batch.
    pub shape: Vec<Dim>,
    /// What is in it.
    pub holds: Holds,
    /// What every element is where a sample leaves the input out; `None` if it must bring it.
    pub default: Option<i64>,
}

impl Input {
    /// Token ids below `below`, u32 `[B, S]`.
    pub fn ids(name: &str, below: u32) -> Self {
        Self::over_tokens(name, DType::U32, Holds::Ids { below, never: None })
    }

    /// Ids of which none is `padding`, as in an unpadded sample.
    pub fn without(self, padding: u32) -> Self {
        let holds = match self.holds {
            Holds::Ids { below, .. } => Holds::Ids { below, never: Some(padding) },
            other => other,
        };
        Self { holds, ..self }
    }

    /// A sample may leave it out, and every element is this then.
    pub fn or(self, default: i64) -> Self {
        Self { default: Some(default), ..self }
    }

    /// A padding mask, u32 `[B, S]`.
    pub fn mask(name: &str) -> Self {
        Self::over_tokens(name, DType::U32, Holds::Mask)
    }

    /// A padding mask that is 1 where there is padding, u32 `[B, S]`.
    pub fn padding(name: &str) -> Self {
        Self::over_tokens(name, DType::U32, Holds::Padding)
    }

    /// Zeros, u32 `[B, S]`.
    pub fn zeros(name: &str) -> Self {
        Self::over_tokens(name, DType::U32, Holds::Zeros)
    }

    /// f32 numbers with a batch axis before `shape`.
    pub fn floats(name: &str, shape: impl IntoIterator<Item = Dim>) -> Self {
        let shape = std::iter::once(Dim::symbol(BATCH)).chain(shape).collect();
        Self {
            name: name.to_owned(),
            dtype: DType::F32,
            shape,
            holds: Holds::Floats,
            default: None,
        }
    }

    fn over_tokens(name: &str, dtype: DType, holds: Holds) -> Self {
        let shape = vec![Dim::symbol(BATCH), Dim::symbol("S")];
        Self { name: name.to_owned(), dtype, shape, holds, default: None }
    }
}

/// How to trace a model.
#[derive(Clone, Debug)]
pub struct Options {
    /// The symbols of a sample and their limits, without the batch: `S` for tokens.
    pub symbols: Vec<SymbolRange>,
    /// What the model is given, in the order in which its forward takes it.
    pub inputs: Vec<Input>,
    /// Names for what it returns, in order.
    pub outputs: Vec<String>,
}

impl Options {
    /// A model of tokens, at most `longest` of them: its inputs and the name of its one output.
    pub fn tokens(longest: u64, inputs: Vec<Input>, output: &str) -> Self {
        let symbol = SymbolRange { symbol: Symbol::new("S"), min: 1, max: longest };
        Self { symbols: vec![symbol], inputs, outputs: vec![output.to_owned()] }
    }

    /// A model whose samples all have the same size.
    pub fn fixed(inputs: Vec<Input>, output: &str) -> Self {
        Self { symbols: Vec::new(), inputs, outputs: vec![output.to_owned()] }
    }

    /// A batch of this many samples, each of these sizes, in the order of [`Options::symbols`].
    pub fn sizes(&self, batch: u64, sizes: &[u64]) -> Bindings {
        let own = self.symbols.iter().zip(sizes).map(|(range, &size)| (range.symbol.clone(), size));
        own.chain([(Symbol::new(BATCH), batch)]).collect()
    }

    /// # Errors
    /// If a name is used twice, an input's first axis is not the batch, or there is nothing to trace.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |text: String| Err(Error::Options(text));
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return fail("a model needs at least one input and one output".to_owned());
        }
        for (i, input) in self.inputs.iter().enumerate() {
            if self.inputs.iter().take(i).any(|other| other.name == input.name) {
                return fail(format!("two inputs are called {}", input.name));
            }
            if input.shape.first() != Some(&Dim::symbol(BATCH)) {
                return fail(format!(
                    "the first axis of input {} must be {BATCH}, the batch",
                    input.name
                ));
            }
        }
        for range in &self.symbols {
            if range.symbol == Symbol::new(BATCH) {
                return fail(format!("{BATCH} is the batch; its limits are not given"));
            }
            if range.min > range.max || range.max == 0 {
                let (min, max) = (range.min, range.max);
                return fail(format!("symbol {} has the limits {min} to {max}", range.symbol));
            }
        }
        Ok(())
    }

    /// The input that tells tokens from padding.
    pub(crate) fn mask(&self) -> Option<&Input> {
        self.inputs.iter().find(|input| matches!(input.holds, Holds::Mask | Holds::Padding))
    }
}

/// Numbers that look random and are the same on every machine (a linear congruential generator, Knuth's constants).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66)
    }

    /// In `0..below`.
    fn whole(&mut self, below: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(below.max(1))).unwrap_or(0)
    }

    /// In `-1..1`.
    pub(crate) fn float(&mut self) -> f32 {
        self.whole(1 << 24) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// One value of every input at these sizes, the same for the same seed.
///
/// # Errors
/// If an extent can't be worked out from the sizes.
pub fn inputs(options: &Options, at: &Bindings, seed: u64) -> Result<Vec<Tensor>, Error> {
    let mut numbers = Numbers::new(seed);
    options.inputs.iter().map(|input| value(input, at, &mut numbers)).collect()
}

/// The extents of an input at these sizes.
pub(crate) fn extents(shape: &[Dim], at: &Bindings) -> Result<Vec<usize>, Error> {
    let extent = |dim: &Dim| {
        let size = dim.eval(at).map_err(|error| Error::Options(error.to_string()))?;
        usize::try_from(size).map_err(|_| Error::Options(format!("{dim} is {size}")))
    };
    shape.iter().map(extent).collect()
}

fn value(input: &Input, at: &Bindings, numbers: &mut Numbers) -> Result<Tensor, Error> {
    let shape = extents(&input.shape, at)?;
    let elements: usize = shape.iter().product();
    let made = match input.holds {
        Holds::Floats => {
            Tensor::from_vec((0..elements).map(|_| numbers.float()).collect(), shape, &Device::Cpu)
        }
        Holds::Ids { below, never } => {
            let other = |id: u32| if Some(id) == never { (id + 1) % below.max(1) } else { id };
            let ids = (0..elements).map(|_| other(numbers.whole(below))).collect();
            Tensor::from_vec(ids, shape, &Device::Cpu)
        }
        Holds::Mask => Tensor::ones(shape, DType::U32, &Device::Cpu),
        Holds::Padding | Holds::Zeros => Tensor::zeros(shape, DType::U32, &Device::Cpu),
    };
    let doing = || Error::candle(format!("make input {}", input.name));
    made.and_then(|tensor| tensor.to_dtype(input.dtype)).map_err(doing())
}
