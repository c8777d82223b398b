//! The file that says what outputs should be. It may leave some out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::bounds::OwnErrors;
use super::{Tensor, Tensors, key};
use crate::batches::Values;
use crate::failure::Failure;
use crate::tensors::{self, Names, Samples};

/// The tensors of a reference, and what it leaves out.
pub(super) struct Reference {
    pub(super) tensors: Tensors,
    pub(super) own_errors: OwnErrors,
    pub(super) left_out: LeftOut,
}

/// What could not be compared.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    /// Outputs that the reference has of no sample.
    pub(super) outputs: Vec<String>,
    /// Samples of which it has no output.
    pub(super) samples: Vec<String>,
    /// Outputs of samples, `<sample>.<output>`, that it lacks though it has others of each.
    pub(super) tensors: Vec<String>,
    /// Samples of the reference that are not among the inputs.
    pub(super) not_in_inputs: Vec<String>,
    /// Names of the reference that the plan neither gives nor takes, such as hidden states.
    pub(super) not_in_plan: Vec<String>,
}

impl Reference {
    /// Reads the results of these samples. A file may hold more: inputs, other samples, values that the plan keeps to
    /// itself.
    pub(super) fn read(
        path: &Path,
        names: &Names<'_>,
        samples: &[String],
    ) -> Result<Self, Failure> {
        let outputs = &names.outputs;
        let bad =
            |problem: String| Failure::bad_input(anyhow::anyhow!("{}: {problem}", path.display()));
        let Samples { keys, items, metadata } = tensors::read(path, |_| false)?;
        let own_errors = OwnErrors::read(&metadata);
        let known: BTreeSet<&str> = samples.iter().map(String::as_str).collect();
        let mut found = Tensors::new();
        let mut not_in_inputs = Vec::new();
        let mut not_outputs = BTreeSet::new();
        for (sample, item) in keys.into_iter().zip(items) {
            let wanted = known.contains(sample.as_str());
            for tensor in item.tensors {
                let key = key(&sample, &tensor.name);
                if !outputs.contains(tensor.name.as_str()) {
                    not_outputs.insert(tensor.name);
                    continue;
                }
                let Values::F32(values) = tensor.values else {
                    return Err(bad(format!("{key}: expected elements of F32, found integers")));
                };
                if wanted {
                    found.insert(key, Tensor { shape: tensor.shape, values });
                }
            }
            if !wanted {
                not_in_inputs.push(sample);
            }
        }
        if found.is_empty() && not_in_inputs.is_empty() {
            let outputs = Vec::from_iter(outputs.iter().copied()).join(", ");
            return Err(bad(format!(
                "expected outputs of the plan, out of {outputs}, found {}",
                few(&Vec::from_iter(not_outputs))
            )));
        }
        if found.is_empty() {
            return Err(bad(format!(
                "expected results of some sample of the inputs ({}), found those of {}",
                few(samples),
                few(&not_in_inputs)
            )));
        }
        let not_in_plan =
            not_outputs.into_iter().filter(|name| !names.inputs.contains(name.as_str())).collect();
        let left_out =
            LeftOut { not_in_inputs, not_in_plan, ..LeftOut::of(&found, outputs, samples) };
        Ok(Self { tensors: found, own_errors, left_out })
    }
}

impl LeftOut {
    fn of(found: &Tensors, outputs: &BTreeSet<&str>, samples: &[String]) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let has = |sample: &str, output: &str| found.contains_key(&key(sample, output));
        for sample in samples {
            for output in outputs.iter().filter(|output| has(sample, output)) {
                *counts.entry(output).or_default() += 1;
            }
        }
        let mut left_out = Self::default();
        let (some, none): (Vec<&str>, Vec<&str>) =
            outputs.iter().partition(|output| counts.contains_key(*output));
        left_out.outputs = none.into_iter().map(str::to_owned).collect();
        for sample in samples {
            let lacks: Vec<&str> =
                some.iter().copied().filter(|output| !has(sample, output)).collect();
            if lacks.len() == some.len() {
                left_out.samples.push(sample.clone());
            } else {
                left_out.tensors.extend(lacks.into_iter().map(|output| key(sample, output)));
            }
        }
        left_out
    }

    /// A line for each sort of thing.
    pub(super) fn lines(&self, reference: &str) -> Vec<String> {
        let not_there = format!("not in {reference}, so not compared:");
        let line = |names: &[String], what: String| {
            (!names.is_empty()).then(|| format!("{what} {}", few(names)))
        };
        [
            line(&self.outputs, format!("{not_there} output")),
            line(&self.samples, format!("{not_there} sample")),
            line(&self.tensors, not_there.clone()),
            line(&self.not_in_inputs, format!("in {reference} but not in the inputs: sample")),
            line(&self.not_in_plan, format!("in {reference} but no output of the plan:")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The first few names.
fn few(names: &[String]) -> String {
    const MOST: usize = 8;
    let mut text = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST {
        text += &format!(" and {} more", names.len() - MOST);
    }
    text
}
