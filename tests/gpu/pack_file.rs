//! What a pack holds: `pack.json`, and for each case a folder with `case.json`, its samples, what they should give,
//! and one plan for each target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::options::Options;

/// `pack.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pack {
    /// The commit that everything was built from; with `+` if the tree had changes beyond it.
    pub(crate) commit: String,
    /// The NVRTC that compiled the kernels.
    pub(crate) nvrtc: String,
    /// Folders of cases, in the order in which they are run.
    pub(crate) cases: Vec<String>,
}

/// Which phase runs a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One kernel.
    Kernel,
    /// A whole model.
    Model,
}

/// `case.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseFile {
    /// What it is.
    pub(crate) name: String,
    /// Which phase runs it.
    pub(crate) kind: Kind,
    /// How many of the samples are compared. Those after them hold NaN, and only stand beside the others.
    pub(crate) compared: u64,
    /// For each element type and output, how far results may be from what the interpreter gives in f64.
    pub(crate) bounds: BTreeMap<String, BTreeMap<String, f64>>,
    /// By target, such as `sm_80:f16`.
    pub(crate) targets: BTreeMap<String, TargetFile>,
}

/// A target of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetFile {
    /// The plan's file.
    pub(crate) plan: String,
    /// The hash of the CUDA texts that the plan was made of; none for the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// What the simulated GPU gives for the compared samples in one batch; none for the CPU.
    pub(crate) simulated: Option<String>,
    /// Whether the kernels use instructions alone whose every bit the PTX ISA defines, so that a GPU that differs from
    /// the simulated one shows a defect. Tensor cores and approximate functions are not of that kind.
    pub(crate) every_bit_defined: bool,
}

/// The file of samples in a case's folder.
pub(crate) const SAMPLES: &str = "samples.safetensors";
/// The file of what the interpreter gives in f64, rounded to f32.
pub(crate) const EXACT: &str = "exact.safetensors";

impl Pack {
    /// Reads `pack.json` of a pack.
    pub(crate) fn read(pack: &Path) -> Result<Self> {
        read_json(&pack.join("pack.json"))
    }
}

/// A case and its folder.
pub(crate) struct Case {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// What `case.json` says.
    pub(crate) file: CaseFile,
}

impl Case {
    /// The wanted cases of a pack of one kind.
    pub(crate) fn all(pack: &Path, kind: Kind, options: &Options) -> Result<Vec<Self>> {
        let mut cases = Vec::new();
        for name in Pack::read(pack)?.cases {
            let folder = pack.join(name);
            let file: CaseFile = read_json(&folder.join("case.json"))?;
            if file.kind == kind && options.wants(&file.name) {
                cases.push(Self { folder, file });
            }
        }
        Ok(cases)
    }
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

/// Writes a JSON file, whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// Writes a file, whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).with_context(|| new.display().to_string())?;
    std::fs::rename(&new, path).with_context(|| path.display().to_string())
}
