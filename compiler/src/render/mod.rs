//! Steps -> CUDA text: each kernel's template with its typed parameters, and how to launch it.
//!
//! A kernel has one file here: a `Params` struct whose fields are exactly the template's variables, the launch, and the
//! list of arguments. [`Renderer`] puts them together, names the symbol, and keeps for each line of the text where in
//! the templates it came from. Equal steps share one source.

mod attention;
mod attention_options;
mod attention_wgmma;
mod concat;
mod embed;
mod feed_forward;
mod functions;
mod join;
mod l2_normalize;
mod layer_norm;
mod linear;
mod linear_layer_norm;
mod linear_wgmma;
mod literal;
mod permute;
mod pointwise;
mod pool;
mod rms_norm;
mod rotary;
mod rows;
mod softmax;
mod source;
pub mod steps;
mod template;
mod together;
mod tuned;
mod unfold;

use bytec_plan::device::Arg;
use bytec_plan::kernel::Kernel;
use serde::Serialize;
use thiserror::Error;

use crate::cost::attention::Lengths;
use crate::nvrtc::Arch;
use crate::tuned::Table;
use attention_options::Options;

pub(crate) use linear_layer_norm::unaligned;
pub use literal::{CFloat, Float};
pub use source::{Launch, Place, Source};
pub(crate) use together::Together;

/// One launch to render: a kernel, the element type, and how its operands lie.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// What to compute.
    pub kernel: &'a Kernel,
    /// The element type of buffers and weights.
    pub dtype: Float,
    /// How each operand lies, in the kernel's order. Ids and weights of one row are there too, so that the indices are
    /// those of the step; they are taken to be dense.
    pub operands: &'a [Matrix],
    /// How the output lies.
    pub output: Matrix,
}

impl Site<'_> {
    /// How operand `n` lies.
    fn operand(&self, n: usize) -> Result<Matrix, RenderError> {
        self.operands.get(n).copied().ok_or(RenderError::Operands {
            kernel: self.kernel.name(),
            expected: n + 1,
            found: self.operands.len(),
        })
    }
}

/// How the rows of a value lie in its buffer, which begins at a multiple of 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Elements before the first of a row: the view's first column.
    pub column: u64,
    /// Elements from one row to the next.
    pub stride: u64,
}

impl Matrix {
    /// Rows of `width` elements, one right after the other.
    pub fn dense(width: u32) -> Self {
        Self { column: 0, stride: width.into() }
    }
}

/// A step that can't be rendered.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The step has too few operands.
    #[error("kernel {kernel} needs at least {expected} operands, found {found}")]
    Operands {
        /// The kernel's name.
        kernel: &'static str,
        /// How many, at least.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A size lies outside what the kernel can be compiled for.
    #[error("kernel {kernel}: {what} is {found}, the template takes {min} to {max}")]
    Size {
        /// The kernel's name.
        kernel: &'static str,
        /// Which size.
        what: &'static str,
        /// The smallest possible.
        min: u64,
        /// The largest possible.
        max: u64,
        /// What the step says.
        found: u64,
    },
    /// A parameter has no spelling in CUDA.
    #[error("kernel {kernel}: {what} is {found}, expected {expected}")]
    Parameter {
        /// The kernel's name.
        kernel: &'static str,
        /// Which parameter.
        what: String,
        /// What it may be.
        expected: &'static str,
        /// What the step says.
        found: String,
    },
    /// The kernel is not for this architecture, type or size.
    #[error("kernel {kernel} can't be made: {reason}")]
    Unsuited {
        /// The kernel's name.
        kernel: &'static str,
        /// Why.
        reason: String,
    },
    /// A template is wrong: a defect of the compiler, or of an edited template.
    #[error("template {template}: {reason}")]
    Template {
        /// Its name.
        template: String,
        /// What Tera says, with line and caret.
        reason: String,
    },
}

/// What a kernel's file gives: the template's variables, as fields, and how the text is launched.
///
/// Beside the fields a template gets `symbol` and `element`, the storage type's name.
trait Params: Serialize {
    /// The template's name.
    const TEMPLATE: &'static str;
    /// What the symbol begins with, such as `layer_norm_384`; the element type follows.
    fn stem(&self) -> String;
    /// Grid and block.
    fn launch(&self) -> Launch;
    /// What each argument of the kernel is, in order.
    fn args(&self) -> Vec<Arg>;
    /// What was chosen and why, where there was a choice.
    fn note(&self) -> Option<String> {
        None
    }
}

/// Renders steps, and holds the distinct sources that came of them.
pub struct Renderer {
    templates: template::Templates,
    sources: Vec<Source>,
    /// Whether kernels may use what only `sm_90a` has.
    hopper: bool,
    /// What was measured, for [`render_by_rows`](Self::render_by_rows).
    tables: Vec<Table>,
    said: tuned::Said,
}

impl Renderer {
    /// Reads the templates that the compiler was built with, for kernels that every architecture takes.
    ///
    /// # Errors
    /// A template that does not parse.
    pub fn new() -> Result<Self, RenderError> {
        let (templates, said) = (template::Templates::new()?, tuned::Said::default());
        Ok(Self { templates, sources: Vec::new(), hopper: false, tables: Vec::new(), said })
    }

    /// As [`new`](Self::new), for the kernels that suit an architecture best.
    ///
    /// # Errors
    /// A template that does not parse.
    pub fn for_arch(arch: Arch) -> Result<Self, RenderError> {
        Ok(Self { hopper: arch == Arch::SM_90A, ..Self::new()? })
    }

    /// Renders a step; the result is the index of its source in [`sources`](Self::sources).
    ///
    /// # Errors
    /// Too few operands, or a size or parameter that the template does not take.
    pub fn render(&mut self, site: &Site<'_>) -> Result<usize, RenderError> {
        self.render_for(site, Lengths::default())
    }

    /// As [`render`](Self::render), where it is known how many rows samples have of the output and of the second operand.
    ///
    /// # Errors
    /// Too few operands, or a size or parameter that the template does not take.
    pub fn render_for(&mut self, site: &Site<'_>, lengths: Lengths) -> Result<usize, RenderError> {
        match site.kernel {
            Kernel::Embed { sources, width, eps } => {
                self.add(site, &embed::params(site, *width, sources, *eps)?)
            }
            Kernel::LayerNorm { width, eps, residual } => {
                self.add(site, &layer_norm::params(site, *width, *eps, *residual)?)
            }
            Kernel::L2Normalize { width, eps } => {
                self.add(site, &l2_normalize::params(site, *width, *eps)?)
            }
            Kernel::Softmax { width } => self.add(site, &softmax::params(site, *width)?),
            Kernel::Pool { pooling, width, normalize } => {
                self.add(site, &pool::params(site, *width, *pooling, *normalize)?)
            }
            Kernel::Pointwise { width, operands, body } => {
                self.add(site, &pointwise::params(site, *width, operands, body)?)
            }
            Kernel::Linear { n, k, bias, epilogue } => {
                let mut params = linear::params(site, *n, *k, *bias, epilogue)?;
                if self.hopper {
                    match linear_wgmma::params(site, *n, *k, *bias, epilogue)? {
                        Ok(params) => return self.add(site, &params),
                        Err(unsuited) => {
                            params.note = format!("not on wgmma: {unsuited}; {}", params.note);
                        }
                    }
                }
                self.add(site, &params)
            }
            Kernel::LinearLayerNorm { n, k, bias, eps, up: _ } => {
                let hopper = self.hopper;
                self.add(site, &linear_layer_norm::params(site, *n, *k, *bias, *eps, hopper)?)
            }
            Kernel::Attention { heads, head_size, group, scale, mask, bias, rotary } => {
                let (kernel, heads) = (site.kernel.name(), [*heads, *head_size]);
                let options = Options::new(kernel, site.dtype, heads, *mask, bias, *rotary)?;
                let mut params = attention::params(site, heads, *group, *scale, options)?;
                if self.hopper {
                    match attention_wgmma::params(site, &params, lengths) {
                        Ok(params) => return self.add(site, &params),
                        Err(unsuited) => params.note = Some(format!("not on wgmma: {unsuited}")),
                    }
                }
                match site.dtype {
                    Float::F16 | Float::Bf16 => self.add(site, &attention::Mma(params)),
                    Float::F32 => self.add(site, &attention::Fma(params)),
                }
            }
            Kernel::Rotary { heads, head_size, rotary } => {
                self.add(site, &rotary::params(site, *heads, *head_size, *rotary)?)
            }
            Kernel::RmsNorm { width, eps } => {
                self.add(site, &rms_norm::params(site, *width, *eps)?)
            }
            Kernel::Concat { groups, parts } => {
                self.add(site, &concat::params(site, *groups, parts)?)
            }
            Kernel::Unfold { width, size, before } => {
                self.add(site, &unfold::params(site, *width, *size, *before)?)
            }
            Kernel::Permute { from, to, start, shape, strides } => {
                let axes = shape.iter().zip(strides);
                let axes: Vec<_> =
                    axes.map(|(&extent, &stride)| permute::Axis { extent, stride }).collect();
                self.add(site, &permute::params(site, *from, *to, *start, &axes)?)
            }
            Kernel::Join { width, parts } => self.add(site, &join::params(site, *width, parts)?),
        }
    }

    /// The distinct sources, in the order in which they were first asked for.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The distinct sources, as [`sources`](Self::sources) gives them.
    pub fn into_sources(self) -> Vec<Source> {
        self.sources
    }

    /// Fills in the template. A symbol that another text has already gets a number.
    fn add<P: Params>(&mut self, site: &Site<'_>, params: &P) -> Result<usize, RenderError> {
        let stem = literal::identifier(&format!("{}_{}", params.stem(), site.dtype.name()));
        for nth in 1usize.. {
            let symbol = if nth == 1 { stem.clone() } else { format!("{stem}_{nth}") };
            let taken = self.sources.iter().position(|source| source.symbol == symbol);
            let (text, places) =
                self.templates.render(P::TEMPLATE, params, &symbol, site.dtype.element())?;
            match taken {
                Some(index) if self.sources[index].text == text => return Ok(index),
                Some(_) => {}
                None => {
                    self.sources.push(Source {
                        symbol,
                        text,
                        template: P::TEMPLATE,
                        places,
                        launch: params.launch(),
                        args: params.args(),
                        note: params.note(),
                    });
                    return Ok(self.sources.len() - 1);
                }
            }
        }
        unreachable!("there are fewer sources than numbers")
    }
}

#[cfg(test)]
mod tests;
