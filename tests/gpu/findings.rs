//! What a phase finds, unit by unit, kept in a journal that survives the process.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What came of one unit of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The unit.
    pub(crate) unit: String,
    /// What is wrong; nothing, if it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) wrong: Vec<String>,
    /// Why it was not done at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<String>,
    /// What was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<Check>,
    /// The hash of the CUDA texts that were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// What was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timing: Option<Timing>,
}

/// Results of one plan on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// Of the outputs by name.
    pub(crate) outputs: BTreeMap<String, OutputCheck>,
    /// Whether each sample alone gives the bits of the batch.
    pub(crate) alone_same_bits: bool,
    /// Whether they give the same bits in another order too, beside samples of NaN if the case has such.
    pub(crate) other_batch_same_bits: bool,
    /// Whether a graph of the launches gives them, when it is captured and when it is replayed.
    pub(crate) replayed_same_bits: bool,
    /// Whether the PTX ISA defines every bit.
    pub(crate) every_bit_defined: bool,
}

/// Results of one output, over all samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutputCheck {
    /// The largest difference to what is expected; none if a value is NaN where the other is not.
    pub(crate) error: Option<f64>,
    /// The largest that is allowed.
    pub(crate) bound: f64,
    /// Against the simulated GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) simulated: Option<Differences>,
}

/// How two devices' results differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Differences {
    /// How many elements there are.
    pub(crate) elements: u64,
    /// How many have other bits.
    pub(crate) differ: u64,
    /// The most representable numbers that lie between two elements, in the program's type.
    pub(crate) most_ulps: u64,
}

/// A timed batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// The model's shape.
    pub(crate) shape: String,
    /// The element type.
    pub(crate) dtype: String,
    /// Samples of the batch.
    pub(crate) texts: u64,
    /// Their lengths' sum.
    pub(crate) tokens: u64,
    /// How many runs were timed.
    pub(crate) runs: u64,
    /// Of a whole run, with upload and download, by the host's clock.
    pub(crate) median_ms: f64,
    /// The fastest.
    pub(crate) fastest_ms: f64,
    /// The slowest.
    pub(crate) slowest_ms: f64,
    /// The median of runs that replay a graph of the launches, by the host's clock.
    pub(crate) replayed_ms: f64,
    /// The median, by the device's clock, from the first kernel's beginning to the last one's end.
    pub(crate) device_ms: f64,
    /// Operations of linears and attention in a run, in units of 10^9.
    pub(crate) gflop: f64,
    /// For each kernel the sum over its steps, by the device's clock.
    pub(crate) kernels: BTreeMap<String, KernelTime>,
}

/// The steps of one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KernelTime {
    /// How many steps.
    pub(crate) steps: u64,
    /// The median over runs of their sum.
    pub(crate) ms: f64,
    /// Their operations, in units of 10^9; none for kernels that are bound by memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gflop: Option<f64>,
}

impl Finding {
    /// Of a unit that was not done.
    pub(crate) fn left_out(unit: &str, why: String) -> Self {
        Self { left_out: Some(why), ..Self::empty(unit) }
    }

    /// Of a unit that failed.
    pub(crate) fn failed(unit: &str, why: String) -> Self {
        Self { wrong: vec![why], ..Self::empty(unit) }
    }

    pub(crate) fn empty(unit: &str) -> Self {
        let unit = unit.to_owned();
        Self { unit, wrong: Vec::new(), left_out: None, check: None, text: None, timing: None }
    }
}

/// A line of a journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begun(String),
    Done(Box<Finding>),
}

/// A journal, to be written.
pub(crate) struct Journal(File);

impl Journal {
    /// Goes on with a journal, or begins one.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| path.display().to_string())?))
    }

    /// Says that a unit begins.
    pub(crate) fn begin(&mut self, unit: &str) -> Result<()> {
        self.line(&Line::Begun(unit.to_owned()))
    }

    /// Says what came of it.
    pub(crate) fn done(&mut self, finding: Finding) -> Result<()> {
        self.line(&Line::Done(Box::new(finding)))
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        Ok(self.0.write_all(&text)?)
    }
}

/// The findings of a journal; and the unit that has begun last, if nothing came of it.
pub(crate) fn read(path: &Path) -> Result<(Vec<Finding>, Option<String>)> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let (mut findings, mut open) = (Vec::new(), None);
    for line in text.lines() {
        // A process that was stopped while it wrote leaves half a line, which says nothing.
        match serde_json::from_str(line) {
            Ok(Line::Begun(unit)) => open = Some(unit),
            Ok(Line::Done(finding)) => {
                open = None;
                findings.push(*finding);
            }
            Err(_) => {}
        }
    }
    Ok((findings, open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_knows_what_was_left_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert_eq!(read(&path).unwrap(), (Vec::new(), None));
        let mut journal = Journal::open(&path).unwrap();
        journal.begin("one").unwrap();
        journal.done(Finding::failed("one", "why".to_owned())).unwrap();
        journal.begin("two").unwrap();
        journal.0.write_all(b"{\"done\":{\"unit\":\"tw").unwrap();
        let (findings, open) = read(&path).unwrap();
        assert_eq!(findings, [Finding::failed("one", "why".to_owned())]);
        assert_eq!(open.as_deref(), Some("two"));
    }
}
