//! How `bytec verify` shows what it found.

use std::io::{Write, stdout};

use serde::Serialize;

use crate::Outcome;
use crate::compare::{Errors, Place};
use crate::failure::Failure;

/// What `--json` prints.
#[derive(Serialize)]
pub(crate) struct Findings<'a> {
    /// What values were held against: the reference's file, or the first device.
    pub(crate) against: &'a str,
    pub(crate) samples: usize,
    pub(crate) passed: bool,
    pub(crate) results: Vec<Finding<'a>>,
}

/// What one device made of one output.
#[derive(Serialize)]
pub(crate) struct Finding<'a> {
    pub(crate) output: &'a str,
    pub(crate) device: &'a str,
    pub(crate) program: &'a str,
    /// The first element that alone and batched differ in; none if they are the same bits.
    pub(crate) alone_differs_at: Option<Place<'a>>,
    /// None for what others are held against.
    pub(crate) errors: Option<Errors<'a>>,
    /// The largest error allowed, relative to the scale.
    pub(crate) tolerance: f64,
    pub(crate) passed: bool,
}

pub(crate) fn show(findings: &Findings<'_>, json: bool) -> Outcome {
    let mut out = stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, findings).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    print(&mut out, findings)
}

fn print(out: &mut impl Write, findings: &Findings<'_>) -> Outcome {
    let title = ["device", "program", "alone", "max abs", "relative", "allowed", "worst element"];
    let mut output = None;
    let width = |column: usize, rows: &[[String; 7]]| {
        rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(title[column].len())
    };
    let rows: Vec<_> = findings.results.iter().map(row).collect();
    let widths: Vec<_> = (0..title.len() - 1).map(|column| width(column, &rows)).collect();
    let line = |cells: &[String]| -> String {
        let mut line = String::from(" ");
        for (cell, width) in cells.iter().zip(&widths) {
            line += &format!(" {cell:width$} ");
        }
        line + " " + &cells[title.len() - 1]
    };
    writeln!(out, "{} samples, packed and alone, against {}", findings.samples, findings.against)?;
    for (finding, row) in findings.results.iter().zip(&rows) {
        if output.replace(finding.output) != Some(finding.output) {
            let title = title.map(str::to_owned);
            writeln!(out, "{}\n{}", finding.output, line(&title))?;
        }
        writeln!(out, "{}", line(row).trim_end())?;
    }
    Ok(())
}

fn row(finding: &Finding<'_>) -> [String; 7] {
    let alone = if finding.alone_differs_at.is_none() { "same bits" } else { "differs" };
    let [abs, relative, allowed, worst] = match &finding.errors {
        None => ["-", "-", "-", ""].map(str::to_owned),
        Some(errors) => [
            format!("{:.2e}", errors.max_abs),
            format!("{:.2e}", errors.max_relative),
            format!("{:.0e}", finding.tolerance),
            errors.worst.map_or_else(
                || "none".to_owned(),
                |worst| {
                    let Place { sample, index } = worst.place;
                    let (found, expected) = (worst.found, worst.expected);
                    format!("sample {sample} [{index}]: found {found}, expected {expected}")
                },
            ),
        ],
    };
    let [device, program] = [finding.device, finding.program].map(str::to_owned);
    [device, program, alone.to_owned(), abs, relative, allowed, worst]
}

/// What is wrong first, and how much else is.
pub(crate) fn mismatch(findings: &Findings<'_>) -> Option<String> {
    let mut wrong = findings.results.iter().filter(|finding| !finding.passed);
    let Finding { output, device, alone_differs_at, errors, tolerance, .. } = wrong.next()?;
    let more = match wrong.count() {
        0 => String::new(),
        more => format!("; {more} more of {} results are wrong", findings.results.len()),
    };
    if let Some(Place { sample, index }) = alone_differs_at {
        return Some(format!(
            "output `{output}` on {device}: expected the same bits alone and batched, found others in sample {sample} \
             from element {index}{more}"
        ));
    }
    let errors = errors.as_ref()?;
    let worst = errors.worst?;
    let Place { sample, index } = worst.place;
    Some(format!(
        "output `{output}` on {device}: expected {} at sample {sample}, element {index}, found {}; that is off by {:.2e} \
         of the output's scale, and {tolerance:e} is allowed{more}",
        worst.expected, worst.found, errors.max_relative
    ))
}
