//! Which kernels no GPU has run as they are now: their CUDA texts, by hash, against those of the recorded runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use bytec_compiler::{Target, fuse, render, schedule};
use bytec_ir::Graph;

use crate::kernels;
use crate::pack_file::read_json;
use crate::record::Record;
use crate::subjects::TARGETS;

/// The headings of the README's section, and of the one behind it.
const SECTION: &str = "## Never run as they are now\n";
const NEXT: &str = "## Runs\n";

/// What is known of a case for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    kernel: &'static str,
    target: &'static str,
    /// As [`hash`] gives it.
    hash: String,
}

/// The hash of all CUDA texts that a graph compiles to, in hexadecimal; none for the CPU. Takes no NVRTC.
pub(crate) fn hash(graph: &Graph, target: &str) -> Result<Option<String>> {
    let target: Target = target.parse()?;
    let Target::Cuda { float, .. } = target else { return Ok(None) };
    let (fused, _) = fuse::run(graph, fuse::RULES)?;
    let schedule = schedule::schedule(&fuse::pack::pack(&fused)?, target)?;
    let mut hasher = blake3::Hasher::new();
    for source in render::steps::render(&schedule, float, &[])?.sources {
        hasher.update(&(source.text.len() as u64).to_le_bytes());
        hasher.update(source.text.as_bytes());
    }
    Ok(Some(hasher.finalize().to_string()))
}

/// The texts of all kernels' cases as they are now, by unit.
fn now() -> Result<BTreeMap<String, Text>> {
    let mut texts = BTreeMap::new();
    for case in kernels::all()? {
        for target in TARGETS {
            let hash = hash(&case.graph, target).with_context(|| case.name.clone())?;
            if let Some(hash) = hash {
                let text = Text { kernel: case.kernel, target, hash };
                texts.insert(format!("{} {target}", case.name), text);
            }
        }
    }
    Ok(texts)
}

/// Every run that is recorded in a folder.
fn recorded(docs: &Path) -> Result<Vec<Record>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(docs).with_context(|| docs.display().to_string())? {
        let path = entry?.path();
        files.extend(path.extension().is_some_and(|end| end == "json").then_some(path));
    }
    files.sort();
    files.iter().map(|file| read_json(file)).collect()
}

/// For each kernel the targets with a case that no GPU has run rightly as it is now.
fn never_run(
    now: &BTreeMap<String, Text>,
    records: &[Record],
) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let findings = records
        .iter()
        .filter(|record| record.device == "cuda")
        .flat_map(|record| &record.phases)
        .flat_map(|phase| &phase.findings)
        .filter(|finding| finding.wrong.is_empty() && finding.check.is_some());
    let run: BTreeSet<(&str, &str)> = findings
        .filter_map(|finding| Some((finding.unit.as_str(), finding.text.as_deref()?)))
        .collect();
    let mut never: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (unit, text) in now {
        if !run.contains(&(unit.as_str(), text.hash.as_str())) {
            never.entry(text.kernel).or_default().insert(text.target);
        }
    }
    never
}

/// The section's text.
fn section(now: &BTreeMap<String, Text>, records: &[Record]) -> String {
    let mut text = format!("{SECTION}\n");
    if !records.iter().any(|record| record.device == "cuda") {
        text.push_str("No run is recorded, so no GPU has run any of the kernels.\n\n");
        return text;
    }
    let never = never_run(now, records);
    if never.is_empty() {
        text.push_str(
            "None: a recorded run has found every kernel right with the text that it has now.\n\n",
        );
        return text;
    }
    text.push_str(
        "Kernels with a case that has another CUDA text, or is wrong, in every recorded run.\n\n\
         | kernel | targets |\n|---|---|\n",
    );
    for (kernel, targets) in never {
        let targets: Vec<_> = targets.into_iter().collect();
        _ = writeln!(text, "| {kernel} | {} |", targets.join(", "));
    }
    text.push('\n');
    text
}

/// The README of the folder with its section as it should be.
pub(crate) fn listed(readme: &str, docs: &Path) -> Result<String> {
    let (before, rest) = readme.split_once(SECTION).context("the README has no list of kernels")?;
    let (_, after) = rest.split_once(NEXT).context("the README has no list of runs behind it")?;
    Ok(format!("{before}{}{NEXT}{after}", section(&now()?, &recorded(docs)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Check, Finding};
    use crate::record::{FORMAT, Machine, PhaseRecord};

    fn record(device: &str, findings: Vec<Finding>) -> Record {
        let phase = PhaseRecord {
            name: "kernels".to_owned(),
            seconds: 1.0,
            units: findings.len() as u64,
            findings,
            tools: Vec::new(),
            stopped: None,
        };
        Record {
            format: FORMAT,
            date: "2027-01-31".to_owned(),
            commit: String::new(),
            nvrtc: String::new(),
            device: device.to_owned(),
            machine: Machine::default(),
            phases: vec![phase],
            peer: None,
        }
    }

    fn found(unit: &str, hash: &str, wrong: &[&str]) -> Finding {
        let check = Check {
            outputs: BTreeMap::new(),
            alone_same_bits: true,
            other_batch_same_bits: true,
            replayed_same_bits: true,
            every_bit_defined: false,
        };
        Finding {
            wrong: wrong.iter().map(|why| (*why).to_owned()).collect(),
            check: Some(check),
            text: Some(hash.to_owned()),
            ..Finding::empty(unit)
        }
    }

    #[test]
    fn a_kernel_that_has_changed_since_is_listed() {
        let text = |kernel, target, hash: &str| Text { kernel, target, hash: hash.to_owned() };
        let now = BTreeMap::from([
            ("pool 7 sm_80:f16".to_owned(), text("pool", "sm_80:f16", "a")),
            ("pool 7 sm_90a:f16".to_owned(), text("pool", "sm_90a:f16", "b")),
            ("softmax 1 sm_80:f16".to_owned(), text("softmax", "sm_80:f16", "c")),
        ]);
        let simulated = record("sim", vec![found("pool 7 sm_80:f16", "a", &[])]);
        assert!(section(&now, &[simulated]).contains("no GPU has run any"));
        let all = vec![
            found("pool 7 sm_80:f16", "a", &[]),
            found("pool 7 sm_90a:f16", "older", &[]),
            found("softmax 1 sm_80:f16", "c", &["other bits"]),
        ];
        let page = section(&now, &[record("cuda", all)]);
        assert!(
            page.ends_with("|---|---|\n| pool | sm_90a:f16 |\n| softmax | sm_80:f16 |\n\n"),
            "{page}"
        );
        // Two runs together have seen all.
        let right = ["pool 7 sm_80:f16:a", "pool 7 sm_90a:f16:b", "softmax 1 sm_80:f16:c"];
        let of =
            |word: &str| word.rsplit_once(':').map(|(unit, hash)| found(unit, hash, &[])).unwrap();
        let runs: Vec<_> = right.iter().map(|word| record("cuda", vec![of(word)])).collect();
        assert!(section(&now, &runs).contains("None: "), "{}", section(&now, &runs));
    }

    #[test]
    fn a_text_has_one_hash_for_each_target() {
        let case = &kernels::all().unwrap()[0];
        let of = |target| hash(&case.graph, target).unwrap();
        assert_eq!(of("cpu:f32"), None);
        assert_eq!(of("sm_80:f16"), of("sm_80:f16"));
        assert_ne!(of("sm_80:f16"), of("sm_80:bf16"));
    }

    #[test]
    fn the_readme_is_up_to_date() {
        let docs = bytec_tests::root().join("docs/gpu");
        let readme = std::fs::read_to_string(docs.join("README.md")).unwrap();
        let expected = listed(&readme, &docs).unwrap();
        assert!(
            readme == expected,
            "`cargo run -p bytec-tests --bin gpu -- list` writes docs/gpu/README.md anew"
        );
    }
}
