//! A schedule's steps as launches of rendered sources.

use bytec_plan::device::Launch;
use bytec_plan::program::Operand;

use super::{Float, Matrix, RenderError, Renderer, Site, Source};
use crate::schedule::Schedule;
use crate::target::Target;

/// The code of a program before it is compiled.
pub struct Rendered {
    /// The distinct kernels.
    pub sources: Vec<Source>,
    /// One launch for each step; a launch's module is the index of its source.
    pub launches: Vec<Launch>,
}

/// Renders every step of a schedule.
///
/// # Errors
/// A step whose kernel has no template, or a size that its template does not take.
pub fn render(schedule: &Schedule, float: Float) -> Result<Rendered, RenderError> {
    let mut renderer = match schedule.target {
        Target::Cuda { arch, .. } => Renderer::for_arch(arch)?,
        Target::Cpu => Renderer::new()?,
    };
    let mut launches = Vec::with_capacity(schedule.steps.len());
    for step in &schedule.steps {
        let operands: Vec<_> =
            step.operands.iter().map(|operand| matrix(schedule, operand)).collect();
        let output = schedule.buffers[step.output as usize].width;
        let site = Site {
            kernel: &step.kernel,
            dtype: float,
            operands: &operands,
            output: Matrix { column: 0, stride: output },
        };
        let module = renderer.render(&site)?;
        let source = &renderer.sources()[module];
        launches.push(Launch {
            module: module as u32,
            grid: source.launch.grid,
            block: source.launch.block,
            shared: source.launch.shared,
            args: source.args.clone(),
        });
    }
    Ok(Rendered { sources: renderer.into_sources(), launches })
}

/// How an operand's rows lie. Weights and inputs are dense.
fn matrix(schedule: &Schedule, operand: &Operand) -> Matrix {
    match operand {
        Operand::View(view) => {
            Matrix { column: view.column, stride: schedule.buffers[view.buffer as usize].width }
        }
        Operand::Input(input) => {
            Matrix { column: 0, stride: schedule.inputs[*input as usize].width }
        }
        Operand::Weight(weight) => {
            let shape = &schedule.weights[*weight as usize].shape;
            Matrix { column: 0, stride: shape.last().copied().unwrap_or(1) }
        }
    }
}
