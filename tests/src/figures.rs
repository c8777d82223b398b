//! Models held against their references on every device: what the page of models counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytec_compiler::front::Loaded;
use bytec_compiler::{FrontOptions, Options, Target, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_ir::sample;
use bytec_models::{Config, Family};
use bytec_runtime::cuda::Arch;
use bytec_runtime::{Engine, EngineOptions};
use bytec_sim::SimDriver;

use crate::batches::{Inputs, Outputs, run, run_alone, same_bits};
use crate::golden::{Case, max_difference};
use crate::{families, interpreter, nvrtc, plans, tensors};

/// Where models are run: a target's name, its element type, and the compute capability that the simulator passes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device, as the page names it.
    pub device: &'static str,
    /// The element type.
    pub dtype: &'static str,
    rounding: Rounding,
    major: Option<u32>,
}

/// Every place, in the order of the page.
pub const PLACES: [Place; 7] = [
    Place { device: "cpu", dtype: "f32", rounding: Rounding::F32, major: None },
    Place { device: "sm_80", dtype: "f32", rounding: Rounding::F32, major: Some(8) },
    Place { device: "sm_80", dtype: "f16", rounding: Rounding::F16, major: Some(8) },
    Place { device: "sm_80", dtype: "bf16", rounding: Rounding::Bf16, major: Some(8) },
    Place { device: "sm_90a", dtype: "f32", rounding: Rounding::F32, major: Some(9) },
    Place { device: "sm_90a", dtype: "f16", rounding: Rounding::F16, major: Some(9) },
    Place { device: "sm_90a", dtype: "bf16", rounding: Rounding::Bf16, major: Some(9) },
];

/// How far a random model may be from the interpreter, in errors of rounding: it may round luckily, or make much of a
/// small difference where a row has little variance.
const SLACK: f64 = 8.0;

/// The largest error of a subject in a place, against its bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The subject's name.
    pub subject: String,
    /// How many samples ran.
    pub samples: usize,
    /// The largest error of the output that comes nearest to its bound.
    pub error: f64,
    /// That output's bound.
    pub bound: f64,
}

/// A model with samples and what they have to give.
pub struct Subject {
    /// A golden case's name, or `random` and a seed.
    pub name: String,
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    loaded: Loaded,
    inputs: Vec<Inputs>,
    expected: Vec<Outputs>,
    /// The reference's own bounds in f32.
    f32_bounds: Option<BTreeMap<String, f64>>,
}

/// The golden cases of a family.
///
/// # Errors
/// A case that can't be read.
pub fn cases(family: &Family) -> Result<Vec<Case>> {
    let mut cases = Case::all()?;
    let mut of_family = Vec::new();
    for case in cases.drain(..) {
        let text = std::fs::read_to_string(case.folder.join("config.json"))?;
        let fields: serde_json::Value = serde_json::from_str(&text)?;
        let fields = fields.as_object().cloned().unwrap_or_default();
        let known = bytec_models::family(&Config::new("config.json", fields));
        if known.is_ok_and(|known| known.name == family.name) {
            of_family.push(case);
        }
    }
    Ok(of_family)
}

impl Subject {
    /// A golden case, with the samples that `chosen` takes by their number and elements.
    ///
    /// # Errors
    /// A case that can't be loaded.
    pub fn golden(case: &Case, chosen: impl Fn(&Case) -> Vec<u64>) -> Result<Self> {
        let loaded = front::load(&case.folder, &FrontOptions::default())?;
        let numbers = chosen(case);
        let outputs = loaded.graph.outputs().iter().map(|output| output.name.clone());
        let bounds = outputs.map(|name| Ok((name.clone(), case.f32_bound(&name)?)));
        let floats = |outputs: &BTreeMap<String, tensors::Tensor>| -> Result<Outputs> {
            let values = outputs.iter().map(|(name, x)| Ok((name.clone(), x.floats()?.to_vec())));
            values.collect()
        };
        Ok(Self {
            name: case.name.clone(),
            folder: case.folder.clone(),
            _temporary: None,
            inputs: numbers.iter().map(|number| case.inputs[number].clone()).collect(),
            expected: numbers.iter().map(|n| floats(&case.outputs[n])).collect::<Result<_>>()?,
            f32_bounds: Some(bounds.collect::<Result<_>>()?),
            loaded,
        })
    }

    /// A random model of the family, with three random samples.
    ///
    /// # Errors
    /// A folder that can't be written.
    pub fn random(family: &Family, seed: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        plans::write_folder(families::checkpoint(family, seed), folder.path())?;
        let loaded = front::load(folder.path(), &FrontOptions::default())?;
        let drawn =
            |seed| sample::inputs(&loaded.graph, &sample::bindings(&loaded.graph, seed), seed);
        let samples: Vec<_> = (seed..seed + 3).map(drawn).collect();
        let expected = samples.iter().map(|sample| outputs(&loaded, sample, Rounding::Exact));
        Ok(Self {
            name: format!("random {seed}"),
            folder: folder.path().to_owned(),
            expected: expected.collect::<Result<_>>()?,
            _temporary: Some(folder),
            inputs: samples.iter().map(interpreter::inputs).collect(),
            f32_bounds: None,
            loaded,
        })
    }

    /// The largest error in a place; `None` where its kernels can't be compiled here.
    ///
    /// # Errors
    /// A model that does not compile or run, or a sample that has other bits alone.
    pub fn measure(&self, place: Place, cache: &Path) -> Result<Option<Figure>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("model.plan");
        let mut options = Options::default();
        if place.major.is_some() {
            let Some(toolchain) = nvrtc::toolchain(cache) else { return Ok(None) };
            let target = format!("{}:{}", place.device, place.dtype);
            let target = target.parse::<Target>().map_err(anyhow::Error::msg)?;
            options = Options { targets: vec![target], toolchain, ..options };
        }
        plans::compile(&self.folder, &options, &path)?;
        let plan = std::fs::read(&path)?;
        let engine = match place.major {
            None => Engine::from_bytes(&plan, EngineOptions::default())?,
            Some(major) => {
                let driver = SimDriver::of_arch(Arch::of_device(major, 0));
                Engine::from_bytes_with_driver(&plan, Arc::new(driver), EngineOptions::default())?
            }
        };
        let mut session = engine.session();
        let found = run(&engine, &mut session, &self.inputs)?;
        let alone = run_alone(&engine, &mut session, &self.inputs)?;
        let same = found.iter().zip(&alone).all(|(a, b)| same_bits(a, b));
        anyhow::ensure!(same, "{}: a sample alone has other bits", self.name);
        let (errors, bounds) = (self.errors(&found), self.bounds(place.rounding)?);
        let part = |(error, bound): (&f64, &f64)| error / bound;
        let worst = errors.iter().map(|(name, error)| (error, &bounds[name]));
        let worst = worst.max_by(|a, b| part(*a).total_cmp(&part(*b)));
        let (error, bound) = worst.with_context(|| format!("{} has no outputs", self.name))?;
        Ok(Some(Figure {
            subject: self.name.clone(),
            samples: self.inputs.len(),
            error: *error,
            bound: *bound,
        }))
    }

    fn errors(&self, found: &[Outputs]) -> BTreeMap<String, f64> {
        let mut errors: BTreeMap<String, f64> = BTreeMap::new();
        for (expected, found) in self.expected.iter().zip(found) {
            for (name, found) in found {
                let worst = errors.entry(name.clone()).or_default();
                *worst = worst.max(max_difference(found, &expected[name]));
            }
        }
        errors
    }

    /// Twice the error of rounding after each op, more for a random model; in f32 that of the reference, if there is one.
    fn bounds(&self, rounding: Rounding) -> Result<BTreeMap<String, f64>> {
        if let (Some(bounds), Rounding::F32) = (&self.f32_bounds, rounding) {
            return Ok(bounds.clone());
        }
        let rounded = self.inputs.iter().map(|inputs| {
            let sample = interpreter::sample(inputs)?;
            outputs(&self.loaded, &sample, rounding)
        });
        let errors = self.errors(&rounded.collect::<Result<Vec<_>>>()?);
        let slack = if self.f32_bounds.is_some() { 2.0 } else { SLACK };
        let scale = |name: &str| {
            let all = self.expected.iter().flat_map(|outputs| &outputs[name]);
            all.fold(1.0f64, |scale, x| scale.max(f64::from(x.abs())))
        };
        let bound = |(name, error): (String, f64)| {
            let bound = slack * error.max(1e-6 * scale(&name));
            (name, bound)
        };
        Ok(errors.into_iter().map(bound).collect())
    }
}

fn outputs(
    loaded: &Loaded,
    sample: &BTreeMap<String, bytec_ir::Tensor>,
    rounding: Rounding,
) -> Result<Outputs> {
    let outputs = eval(&loaded.graph, sample, &loaded.weights, rounding)?;
    let single = |(name, x): (String, bytec_ir::Tensor)| {
        let values = x.as_floats().context("outputs are floats")?;
        Ok((name, values.iter().map(|&x| x as f32).collect()))
    };
    outputs.into_iter().map(single).collect()
}

/// The kernels that the plan of a tiny checkpoint uses, by name.
///
/// # Errors
/// A model that does not compile.
pub fn kernels(folder: &Path) -> Result<Vec<&'static str>> {
    let path = folder.join("model.plan");
    plans::compile(folder, &Options::default(), &path)?;
    let engine = Engine::from_bytes(&std::fs::read(&path)?, EngineOptions::default())?;
    Ok(engine.program().steps.iter().map(|step| step.kernel.name()).collect())
}

/// A golden case's samples in order of size: the extent of the first input.
pub fn by_size(case: &Case) -> Vec<u64> {
    let size = |number: &u64| match case.inputs[number].values().next() {
        Some(tensors::Tensor::I64(values, _)) => values.len(),
        Some(tensors::Tensor::F32(values, _)) => values.len(),
        None => 0,
    };
    let mut numbers: Vec<_> = case.inputs.keys().copied().collect();
    numbers.sort_by_key(size);
    numbers
}
