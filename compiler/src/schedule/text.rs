//! The schedule for people to read, and for the stage goldens.

use std::fmt::Write;

use bytec_ir::Graph;
use bytec_plan::extent::Rows;
use bytec_plan::program::Operand;

use super::Schedule;
use super::memory::arena_expression;

/// One line for each symbol, input, weight and step; steps with their kernel, operands, place and reason.
pub(super) fn render(schedule: &Schedule, graph: &Graph) -> String {
    let symbols: Vec<_> = schedule.symbols.iter().map(|s| s.name.as_str()).collect();
    let extents: Vec<_> = schedule.extents.iter().map(|e| e.display(&symbols)).collect();
    let rows = |rows: Rows| match rows {
        Rows::PerSample => "samples".to_owned(),
        Rows::Ragged(extent) => format!("sum({})", extents[extent as usize]),
    };
    let mut text = String::new();
    let mut line = |content: std::fmt::Arguments<'_>| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{content}");
    };
    line(format_args!("target {}", schedule.target));
    for symbol in &schedule.symbols {
        line(format_args!("symbol {} in {}..{}", symbol.name, symbol.min, symbol.max));
    }
    for input in &schedule.inputs {
        let below = input.below.map_or(String::new(), |below| format!(" below {below}"));
        line(format_args!("input {}: {} x {}{below}", input.name, rows(input.rows), input.width));
    }
    for (i, weight) in schedule.weights.iter().enumerate() {
        let name = weight.name(graph);
        let dtype = weight.dtype(schedule.target.dtype()).name();
        line(format_args!("weight {i}: {name} {dtype}{:?} {:?}", weight.shape, weight.layout));
    }
    line(format_args!("arena {}", arena_expression(&schedule.slots, &extents)));
    for step in &schedule.steps {
        let out = &schedule.buffers[step.output as usize];
        let operands: Vec<_> = step
            .operands
            .iter()
            .map(|operand| match operand {
                Operand::Weight(weight) => format!("weight {weight}"),
                Operand::Input(input) => schedule.inputs[*input as usize].name.clone(),
                Operand::View(view) => {
                    let buffer = &schedule.buffers[view.buffer as usize];
                    if view.width == buffer.width {
                        format!("%{}", buffer.name)
                    } else {
                        format!("%{}[{}..{}]", buffer.name, view.column, view.column + view.width)
                    }
                }
            })
            .collect();
        line(format_args!(
            "%{} = {} ({})\n    {} x {} in slot {}; {:?}\n    {}",
            step.name,
            step.kernel.name(),
            operands.join(", "),
            rows(out.rows),
            out.width,
            out.slot,
            step.kernel,
            step.reason
        ));
    }
    for output in &schedule.outputs {
        let buffer = &schedule.buffers[output.buffer as usize];
        line(format_args!("output {} = %{}", output.name, buffer.name));
    }
    text
}
