//! The record of a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::findings::Finding;

/// The version of the record's JSON.
pub(crate) const FORMAT: u32 = 1;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The version of this form.
    pub(crate) format: u32,
    /// The day, as `2027-01-31`.
    pub(crate) date: String,
    /// What was built.
    pub(crate) commit: String,
    /// The NVRTC that compiled the pack's kernels.
    pub(crate) nvrtc: String,
    /// `cuda` or `sim`.
    pub(crate) device: String,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// The phases, in order.
    pub(crate) phases: Vec<PhaseRecord>,
    /// What `peer.py` measured beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<Value>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The GPU's name, or that of what stood in for it.
    pub(crate) gpu: String,
    /// Its architecture.
    pub(crate) arch: String,
    /// What `nvidia-smi` says: driver, memory, highest clock, power limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<(String, String)>,
    /// The processor.
    pub(crate) cpu: String,
    /// Its threads.
    pub(crate) threads: u64,
}

/// A phase of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseRecord {
    /// Its name.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) seconds: f64,
    /// How many units it has.
    pub(crate) units: u64,
    /// What came of them.
    pub(crate) findings: Vec<Finding>,
    /// Tools that looked on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<Tool>,
    /// Why it ended before all units were done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<String>,
}

/// What a tool of compute-sanitizer said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: String,
    /// Whether it found nothing wrong.
    pub(crate) clean: bool,
    /// Whether it ran at all.
    pub(crate) ran: bool,
    /// The last lines that it printed, or why it did not run.
    pub(crate) said: String,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl PhaseRecord {
    /// How many units are wrong, were left out, and were not reached.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let count = |of: &dyn Fn(&Finding) -> bool| {
            self.findings.iter().filter(|finding| of(finding)).count() as u64
        };
        let wrong = count(&|finding| !finding.wrong.is_empty());
        let wrong = wrong + self.tools.iter().filter(|tool| tool.ran && !tool.clean).count() as u64;
        let left = count(&|finding| finding.left_out.is_some());
        let left = left + self.tools.iter().filter(|tool| !tool.ran).count() as u64;
        let reached = (self.findings.len() + self.tools.len()) as u64;
        [wrong, left, self.units.saturating_sub(reached)]
    }
}

impl Record {
    /// Whether everything that was run is right, and everything was reached.
    pub(crate) fn passed(&self) -> bool {
        self.phases.iter().all(|phase| {
            let [wrong, _, missed] = phase.counts();
            wrong == 0 && missed == 0 && phase.stopped.is_none()
        })
    }

    /// The name of the record's files: the day and the GPU.
    pub(crate) fn name(&self) -> String {
        let gpu = self.machine.gpu.to_lowercase().replace("nvidia", "");
        let words = gpu.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        std::iter::once(self.date.as_str()).chain(words).collect::<Vec<_>>().join("-")
    }
}
