//! The third stage: from a packed graph to steps.
//!
//! [`order`] fixes the order, [`select`] gives every op its kernel and says why, `norm_epilogue` makes one step of two
//! where a kernel does what both do, `feed_forward` names to steps the linears that a launch of theirs may do as well,
//! `int8` chooses the linears of a program in int8 that are, [`memory`] lays the values out in the arena. What comes out
//! is a program without its weights' bytes: [`crate::emit`] adds those.

mod feed_forward;
pub(crate) mod functions;
mod int8;
pub mod memory;
mod norm_epilogue;
pub mod order;
pub mod select;
mod shapes;
#[cfg(test)]
mod tests;
mod text;
mod weight;

use bytec_ir::Graph;
use bytec_plan::device::DeviceCode;
use bytec_plan::extent::Extent;
use bytec_plan::program::{
    Buffer, InputSpec, Operand, OutputSpec, Program, Slot, Step, SymbolSpec,
};
use thiserror::Error;

pub use self::weight::{Content, WeightUse};
use crate::fuse::pack::Packed;
use crate::render::Matrix;
use crate::target::Target;

/// A graph that can't be scheduled.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// Ops that no kernel of the target computes, all of them.
    #[error("no kernel of target {target} computes:\n{}", .ops.join("\n"))]
    NoKernel {
        /// The target.
        target: Target,
        /// Each op with its value's name, its type, and what is missing.
        ops: Vec<String>,
    },
    /// A program in int8 of which nothing would be.
    #[error(
        "expected a linear for target {target} to multiply in int8, found {}; compile for cpu or cpu:bf16",
        match .kept.as_slice() {
            [] => "none in the model".to_owned(),
            kept => format!("only those that stay f32: {}", kept.join(", ")),
        }
    )]
    NothingInInt8 {
        /// The target.
        target: Target,
        /// The model's linears, each with the reason why it stays f32.
        kept: Vec<String>,
    },
}

/// A program whose weights are still values of the graph.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What it is for.
    pub target: Target,
    /// Symbols that samples bind.
    pub symbols: Vec<SymbolSpec>,
    /// Distinct extents of ragged rows.
    pub extents: Vec<Extent>,
    /// What samples bring.
    pub inputs: Vec<InputSpec>,
    /// What the program gives out.
    pub outputs: Vec<OutputSpec>,
    /// The weights, in order of first use.
    pub weights: Vec<WeightUse>,
    /// Values in the arena.
    pub buffers: Vec<Buffer>,
    /// Parts of the arena.
    pub slots: Vec<Slot>,
    /// The launches.
    pub steps: Vec<Step>,
}

/// Orders, selects and lays out.
///
/// # Errors
/// Ops that no kernel computes, all at once; for int8 a model of which nothing would be.
pub fn schedule(packed: &Packed, target: Target) -> Result<Schedule, ScheduleError> {
    let order = order::order(&packed.graph);
    let mut schedule = select::select(packed, &order, target)?;
    norm_epilogue::fuse(&mut schedule);
    feed_forward::name_ups(&mut schedule);
    int8::choose(&mut schedule)?;
    memory::assign(&mut schedule);
    Ok(schedule)
}

impl Schedule {
    /// The program, once its weights and, for a GPU, its code are known.
    pub fn into_program(
        self,
        entry: &str,
        weights: Vec<bytec_plan::program::WeightSpec>,
        device: Option<DeviceCode>,
    ) -> Program {
        Program {
            entry: entry.to_owned(),
            target: self.target.device(),
            dtype: self.target.dtype(),
            symbols: self.symbols,
            extents: self.extents,
            inputs: self.inputs,
            outputs: self.outputs,
            weights,
            buffers: self.buffers,
            slots: self.slots,
            steps: self.steps,
            device,
        }
    }

    /// How an operand's rows lie. Weights and inputs are dense.
    pub(crate) fn matrix(&self, operand: &Operand) -> Matrix {
        match operand {
            Operand::View(view) => {
                Matrix { column: view.column, stride: self.buffers[view.buffer as usize].width }
            }
            Operand::Input(input) => {
                Matrix { column: 0, stride: self.inputs[*input as usize].width }
            }
            Operand::Weight(weight) => {
                let shape = &self.weights[*weight as usize].shape;
                Matrix { column: 0, stride: shape.last().copied().unwrap_or(1) }
            }
        }
    }

    /// The schedule for people to read, one line a step.
    pub fn to_text(&self, graph: &Graph) -> String {
        text::render(self, graph)
    }
}
