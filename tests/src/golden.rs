//! Reference results under `golden_data/<system>/<case>`, and the bound that f32 results are held to.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::tensors::{self, Samples};

/// A reference case.
#[derive(Clone, Debug)]
pub struct Case {
    /// `system/case`.
    pub name: String,
    /// Where it is; also a model folder, if the case holds weights.
    pub folder: PathBuf,
    /// The inputs.
    pub inputs: Samples,
    /// The results of the reference in f64, rounded to f32.
    pub outputs: Samples,
    meta: Value,
}

impl Case {
    /// Loads `golden_data/<name>`.
    ///
    /// # Errors
    /// A file that is missing or not of its sort.
    pub fn load(name: &str) -> Result<Self> {
        let folder = crate::root().join("tests/golden_data").join(name);
        let meta = std::fs::read_to_string(folder.join("meta.json")).context(name.to_owned())?;
        Ok(Self {
            name: name.to_owned(),
            inputs: tensors::read(&folder.join("inputs.safetensors"))?,
            outputs: tensors::read(&folder.join("outputs.safetensors"))?,
            meta: serde_json::from_str(&meta)?,
            folder,
        })
    }

    /// Every case of the folder that holds weights, by name.
    ///
    /// # Errors
    /// A case that can't be loaded.
    pub fn all() -> Result<Vec<Self>> {
        let root = crate::root().join("tests/golden_data");
        let mut names = Vec::new();
        for system in std::fs::read_dir(&root)? {
            let system = system?.path();
            for case in std::fs::read_dir(&system)? {
                let case = case?.path();
                if case.join("model.safetensors").is_file() {
                    names.push(case.strip_prefix(&root)?.display().to_string());
                }
            }
        }
        names.sort();
        names.iter().map(|name| Self::load(name)).collect()
    }

    /// The largest error allowed to an f32 result: twice the reference's own f32 error, and no less than 2e-6 of the
    /// output's scale.
    ///
    /// # Errors
    /// An output that the reference does not name.
    pub fn f32_bound(&self, output: &str) -> Result<f64> {
        let errors = &self.meta["f32_vs_f64"][output];
        let own = errors["max_abs"].as_f64().with_context(|| format!("{}: {output}", self.name))?;
        let scale = errors["scale"].as_f64().with_context(|| format!("{}: {output}", self.name))?;
        Ok((2.0 * own).max(2e-6 * scale))
    }
}

/// The largest difference of two results of the same shape; infinite if one is NaN where the other is not.
pub fn max_difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "results of the same shape");
    let difference = |(&a, &b): (&f32, &f32)| match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) => (f64::from(a) - f64::from(b)).abs(),
        _ => f64::INFINITY,
    };
    found.iter().zip(expected).map(difference).fold(0.0, f64::max)
}
