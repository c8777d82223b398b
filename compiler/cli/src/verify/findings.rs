//! How `bytec verify` shows what it found.

use std::io::{Write, stdout};

use serde::Serialize;

use super::compare::{Errors, Place};
use super::reference::LeftOut;
use super::steps::Steps;
use crate::Outcome;
use crate::failure::Failure;
use crate::table::Table;

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Findings<'a> {
    /// What outputs were held against: the reference's file, or the first device.
    pub(super) against: &'a str,
    /// What errors are allowed, in words.
    pub(super) bound: &'static str,
    pub(super) samples: usize,
    pub(super) passed: bool,
    /// What the reference lacks; none without a reference.
    pub(super) left_out: Option<&'a LeftOut>,
    pub(super) results: Vec<Finding<'a>>,
    /// None without `--steps`.
    pub(super) steps: Option<Steps<'a>>,
}

/// What one device made of one output.
#[derive(Serialize)]
pub(super) struct Finding<'a> {
    pub(super) output: &'a str,
    pub(super) device: &'a str,
    pub(super) program: &'a str,
    /// How many samples were held against something.
    pub(super) compared: usize,
    /// The first element that alone and batched differ in; none if they are the same bits.
    pub(super) alone_differs_at: Option<Place<'a>>,
    /// None for what others are held against, and for what a reference lacks.
    pub(super) errors: Option<Errors<'a>>,
    /// The largest error allowed, relative to the scale.
    pub(super) tolerance: f64,
    pub(super) passed: bool,
}

pub(super) fn show(findings: &Findings<'_>, json: bool) -> Outcome {
    let mut out = stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, findings).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    print(&mut out, findings)
}

fn print(out: &mut impl Write, findings: &Findings<'_>) -> Outcome {
    let Findings { against, samples, results, .. } = findings;
    writeln!(out, "{samples} samples, packed and alone, against {against}")?;
    for line in findings.left_out.iter().flat_map(|left_out| left_out.lines(against)) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", findings.bound)?;
    let table = Table::new(
        ["device", "program", "alone", "max abs", "relative", "allowed", "worst element"],
        results.iter().map(row).collect(),
    );
    let mut output = None;
    for (i, finding) in results.iter().enumerate() {
        if output.replace(finding.output) != Some(finding.output) {
            writeln!(out, "{}", finding.output)?;
            table.title(out)?;
        }
        table.row(out, i)?;
    }
    if let Some(steps) = &findings.steps {
        steps.print(out)?;
    }
    Ok(())
}

fn row(finding: &Finding<'_>) -> [String; 7] {
    let [abs, relative, allowed] = numbers(finding.errors.as_ref(), finding.tolerance);
    let worst = finding.errors.as_ref().map_or(String::new(), |errors| {
        errors.worst.map_or_else(
            || "none".to_owned(),
            |worst| {
                let Place { sample, index, .. } = worst.place;
                let (found, expected) = (worst.found, worst.expected);
                format!("sample {sample} [{index}]: found {found}, expected {expected}")
            },
        )
    });
    let [device, program] = [finding.device, finding.program].map(str::to_owned);
    let alone = alone(finding.alone_differs_at.as_ref());
    [device, program, alone, abs, relative, allowed, worst]
}

/// What is said of a sample alone and packed.
pub(super) fn alone(differs_at: Option<&Place<'_>>) -> String {
    if differs_at.is_none() { "same bits" } else { "differs" }.to_owned()
}

/// The largest difference, the same in units of the scale, and how large that may be.
pub(super) fn numbers(errors: Option<&Errors<'_>>, tolerance: f64) -> [String; 3] {
    errors.map_or(["-", "-", "-"].map(str::to_owned), |errors| {
        [
            format!("{:.2e}", errors.max_abs),
            format!("{:.2e}", errors.max_relative),
            format!("{tolerance:.1e}"),
        ]
    })
}

/// What is wrong first, how much else is, and which step is the first wrong one.
pub(super) fn mismatch(findings: &Findings<'_>) -> Option<String> {
    let step = findings.steps.as_ref().and_then(Steps::mismatch);
    match (output_mismatch(findings), step) {
        (Some(output), Some(step)) => Some(format!("{output}; first wrong step: {step}")),
        (output, step) => output.or(step),
    }
}

fn output_mismatch(findings: &Findings<'_>) -> Option<String> {
    let mut wrong = findings.results.iter().filter(|finding| !finding.passed);
    let Finding { output, device, alone_differs_at, errors, tolerance, .. } = wrong.next()?;
    let more = match wrong.count() {
        0 => String::new(),
        more => format!("; {more} more of {} results are wrong", findings.results.len()),
    };
    if let Some(Place { sample, index, .. }) = alone_differs_at {
        return Some(format!(
            "output `{output}` on {device}: expected the same bits alone and batched, found others in sample {sample} \
             from element {index}{more}"
        ));
    }
    let errors = errors.as_ref()?;
    let worst = errors.worst?;
    let Place { sample, index, .. } = worst.place;
    Some(format!(
        "output `{output}` on {device}: expected {} at sample {sample}, element {index}, found {}; that is off by {:.2e} \
         of the output's scale, and {tolerance:.1e} is allowed{more}",
        worst.expected, worst.found, errors.max_relative
    ))
}
