//! How `--steps` shows what it found.

use std::io::{self, Write};

use super::compare::Errors;
use super::findings::{alone, numbers};
use super::steps::{OfDevice, StepFinding, StepName, Steps};
use crate::table::Table;

impl Steps<'_> {
    /// A table for each device, and a line for each step that has no counterpart.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for (place, of) in self.devices.iter().enumerate() {
            let OfDevice { device, program, steps, not_matched } = of;
            write!(out, "steps on {device}, {program}")?;
            if place > 0 {
                write!(out, ", against {}", self.against)?;
            }
            writeln!(out)?;
            let table = Table::new(
                [
                    "",
                    "step",
                    "kernel",
                    "value",
                    "alone",
                    "max abs",
                    "relative",
                    "allowed",
                    "worst element",
                ],
                steps.iter().map(row).collect(),
            );
            table.title(out)?;
            (0..steps.len()).try_for_each(|row| table.row(out, row))?;
            for StepName { device, index, kernel, value } in not_matched {
                writeln!(
                    out,
                    "  not matched: step {index} of {device}, {kernel} giving `{value}`"
                )?;
            }
        }
        Ok(())
    }

    /// The first step that is wrong, in words.
    pub(super) fn mismatch(&self) -> Option<String> {
        let StepName { device, index, kernel, value } = self.first_wrong.as_ref()?;
        let of = self.devices.iter().flat_map(|of| &of.steps).find(|step| !step.passed)?;
        let StepFinding { alone_differs_at, errors, tolerance, .. } = of;
        let step = format!("step {index} on {device}, {kernel} giving `{value}`");
        if let Some(at) = alone_differs_at {
            return Some(format!(
                "{step}: expected the same bits alone and packed, found others in sample {} from row {}, column {}",
                at.sample, at.row, at.column
            ));
        }
        let Errors { max_relative, worst, .. } = errors.as_ref()?;
        let worst = worst.as_ref()?;
        let at = worst.place;
        Some(format!(
            "{step}: expected {} as on {} at sample {}, row {}, column {}, found {}; that is off by {max_relative:.2e} \
             of the value's scale, and {tolerance:.1e} is allowed",
            worst.expected, self.against, at.sample, at.row, at.column, worst.found
        ))
    }
}

fn row(step: &StepFinding<'_>) -> [String; 9] {
    let [abs, relative, allowed] = numbers(step.errors.as_ref(), step.tolerance);
    let worst = step.errors.as_ref().map_or(String::new(), |errors| {
        errors.worst.map_or_else(
            || "none".to_owned(),
            |worst| {
                let (at, found, expected) = (worst.place, worst.found, worst.expected);
                let at = format!("sample {} [{}, {}]", at.sample, at.row, at.column);
                format!("{at}: found {found}, expected {expected}")
            },
        )
    });
    [
        if step.passed { "" } else { "wrong" }.to_owned(),
        step.index.to_string(),
        step.kernel.to_owned(),
        step.value.to_owned(),
        alone(step.alone_differs_at.as_ref()),
        abs,
        relative,
        allowed,
        worst,
    ]
}
