//! The CPU device: one file per kernel, and the dispatch to them.

mod args;
mod attention;
mod concat;
mod embed;
mod gemm;
mod int8;
pub mod isa;
mod join;
mod l2_normalize;
mod layer_norm;
pub mod linear;
mod linear_layer_norm;
mod math;
pub mod matrix;
pub mod peak;
mod permute;
mod pointwise;
mod pool;
mod rms_norm;
mod rotary;
mod softmax;
pub mod threads;
mod unfold;
mod work;

use bytec_plan::kernel::Kernel;
use bytec_plan::program::{Layout, Operand, Program, Step};

pub(crate) use self::args::{Args, Scratch};
pub(crate) use self::work::{CpuWork, Processor};
use crate::arena;
use crate::batch::PackedBatch;
use crate::error::EngineError;

pub use self::gemm::PANEL;

/// Checks what `bytec_plan::check` leaves to the device: that linears have the layout which these kernels read.
///
/// # Errors
/// The step and the layout found.
pub(crate) fn accepts(program: &Program) -> Result<(), EngineError> {
    for step in &program.steps {
        if let (
            Kernel::Linear { .. } | Kernel::LinearLayerNorm { .. },
            Some(Operand::Weight(weight)),
        ) = (&step.kernel, step.operands.get(1))
            && let Some(weight) = program.weights.get(*weight as usize)
            && !matches!(
                weight.layout,
                Layout::Panels { width } | Layout::Pairs { width } | Layout::Quads { width } if width == PANEL as u32
            )
        {
            return Err(EngineError::WeightLayout {
                step: step.name.clone(),
                weight: weight.name.clone(),
                expected: PANEL,
                found: weight.layout,
            });
        }
    }
    Ok(())
}

/// The memory that a step needs besides its buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// Numbers of scratch, for each thread.
    pub(crate) numbers: usize,
    /// Bands of rows.
    pub(crate) bands: usize,
}

/// The memory that a step needs besides its buffers, for any batch of this one's size class; `None` if it can't be
/// counted.
pub(crate) fn room(
    step: &Step,
    program: &Program,
    batch: &PackedBatch,
    isa: isa::Isa,
) -> Option<Room> {
    let (numbers, bands) = match &step.kernel {
        Kernel::Attention { head_size, bias, rotary, .. } => {
            let options = attention::Asked { bias, rotary: rotary.is_some(), isa };
            let numbers = attention::scratch(*head_size as usize, options, step, program, batch)?;
            (numbers, attention::bands_at_most(step, program, batch)?)
        }
        Kernel::Pointwise { body, .. } => (pointwise::scratch(body)?, 0),
        Kernel::Linear { k, .. } | Kernel::LinearLayerNorm { k, .. } => {
            let rows = arena::size_class(batch.rows(args::rows(program, step, 0)))?;
            (linear::room(rows, usize::try_from(*k).ok()?)?, 0)
        }
        Kernel::Embed { .. }
        | Kernel::Rotary { .. }
        | Kernel::LayerNorm { .. }
        | Kernel::RmsNorm { .. }
        | Kernel::Unfold { .. }
        | Kernel::Concat { .. }
        | Kernel::Permute { .. }
        | Kernel::Join { .. }
        | Kernel::L2Normalize { .. }
        | Kernel::Softmax { .. }
        | Kernel::Pool { .. } => (0, 0),
    };
    Some(Room { numbers, bands })
}

/// Runs a step.
pub(crate) fn run(kernel: &Kernel, args: Args<'_>) {
    match kernel {
        Kernel::Embed { sources, width: _, eps } => embed::run(args, sources, *eps),
        Kernel::Linear { n, k, bias, epilogue } => {
            linear::run(args, *n as usize, *k as usize, *bias, epilogue);
        }
        Kernel::LinearLayerNorm { n, k, bias, eps, up: _ } => {
            linear_layer_norm::run(args, *n as usize, *k as usize, *bias, *eps);
        }
        Kernel::Attention { heads: _, head_size, group, scale, mask, bias, rotary } => {
            let heads = attention::Heads { size: *head_size as usize, group: *group as usize };
            attention::run(args, heads, *scale, *mask, bias, *rotary);
        }
        Kernel::Rotary { heads: _, head_size, rotary } => {
            rotary::run(args, *head_size as usize, *rotary);
        }
        Kernel::RmsNorm { width: _, eps } => rms_norm::run(args, *eps),
        Kernel::Unfold { width: _, size, before } => {
            unfold::run(args, *size as usize, *before as usize);
        }
        Kernel::Concat { groups, parts } => concat::run(args, *groups as usize, parts),
        Kernel::LayerNorm { width: _, eps, residual } => layer_norm::run(args, *eps, *residual),
        Kernel::L2Normalize { width: _, eps } => l2_normalize::run(args, *eps),
        Kernel::Softmax { width: _ } => softmax::run(args),
        Kernel::Pool { pooling, width: _, normalize } => pool::run(args, *pooling, *normalize),
        Kernel::Permute { from, to, start, shape, strides } => {
            let (from, to, start) = (*from, *to, *start);
            permute::run(args, permute::Order { from, to, start, shape, strides });
        }
        Kernel::Join { width: _, parts } => join::run(args, parts),
        Kernel::Pointwise { width: _, operands, body } => pointwise::run(args, operands, body),
    }
}
