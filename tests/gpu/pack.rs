//! Makes a pack: compiles every case for every target, and works out what it should give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytec_compiler::{FrontOptions, Options, Toolchain, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_plan::reader::PlanIndex;
use bytec_runtime::{Engine, EngineOptions};
use bytec_sim::SimDriver;
use bytec_tests::batches::{Inputs, Outputs, run, same_bits};
use bytec_tests::golden::max_difference;
use bytec_tests::tensors::{self, Tensor};
use bytec_tests::{interpreter, plans};

use crate::pack_file::{CaseFile, EXACT, Kind, SAMPLES, TargetFile, write_json};
use crate::stale;

/// The element types, and how the interpreter rounds to them.
const DTYPES: [(&str, Rounding); 3] =
    [("f32", Rounding::F32), ("f16", Rounding::F16), ("bf16", Rounding::Bf16)];

/// Something to be packed.
pub(crate) struct Subject {
    /// What it is.
    pub(crate) name: String,
    /// Which phase runs it.
    pub(crate) kind: Kind,
    /// The model.
    pub(crate) source: PathBuf,
    /// What the source does not say.
    pub(crate) front: FrontOptions,
    /// A kernel that the plans must use.
    pub(crate) kernel: Option<&'static str>,
    /// Samples to compare.
    pub(crate) samples: Vec<Inputs>,
    /// Samples that hold NaN.
    pub(crate) poison: Vec<Inputs>,
    /// For each output the largest error in f32, where reference data says it; else the interpreter does.
    pub(crate) f32_bounds: BTreeMap<String, f64>,
    /// What to compile for.
    pub(crate) targets: Vec<String>,
}

impl Subject {
    /// The name as a folder.
    pub(crate) fn folder(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        self.name.chars().map(plain).collect()
    }

    /// Writes the case's folder.
    pub(crate) fn stage(&self, folder: &Path, toolchain: &Toolchain) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let samples = self.samples.iter().chain(&self.poison);
        tensors::write(&folder.join(SAMPLES), &numbered(samples.cloned()))?;
        let loaded = front::load(&self.source, &self.front)?;
        let evaluate = |rounding| -> Result<Vec<Outputs>> {
            let one = |inputs: &Inputs| {
                let outputs =
                    eval(&loaded.graph, &interpreter::sample(inputs)?, &loaded.weights, rounding)?;
                let single = |(name, tensor): (String, bytec_ir::Tensor)| {
                    let values = tensor.as_floats().context("outputs are floats")?;
                    Ok((name, values.iter().map(|x| *x as f32).collect()))
                };
                outputs.into_iter().map(single).collect()
            };
            self.samples.iter().map(one).collect()
        };
        let exact = evaluate(Rounding::Exact)?;
        write_outputs(&folder.join(EXACT), &exact)?;
        let mut bounds = BTreeMap::new();
        for (dtype, rounding) in DTYPES {
            if self.targets.iter().any(|target| target.ends_with(&format!(":{dtype}"))) {
                let rounded = evaluate(rounding)?;
                let mut of_outputs = bounds_of(&exact, &rounded, rounding);
                if rounding == Rounding::F32 {
                    let known = |name: &String| self.f32_bounds.get(name);
                    of_outputs.iter_mut().for_each(|(name, bound)| {
                        *bound = known(name).copied().unwrap_or(*bound);
                    });
                }
                bounds.insert(dtype.to_owned(), of_outputs);
            }
        }
        let (mut targets, mut known) = (BTreeMap::new(), BTreeMap::new());
        for target in &self.targets {
            let text = stale::hash(&loaded.graph, target)?;
            let staged = self.target(target, folder, toolchain, (text, &mut known));
            let staged = staged.with_context(|| format!("{} for {target}", self.name))?;
            targets.insert(target.clone(), staged);
        }
        let compared = self.samples.len() as u64;
        let file = CaseFile { name: self.name.clone(), kind: self.kind, compared, bounds, targets };
        write_json(&folder.join("case.json"), &file)
    }

    /// Compiles for a target and runs it. `text` is the hash of its CUDA texts. `known` are the files of results so far: most targets of one element type
    /// give the same bits, and share a file.
    fn target(
        &self,
        target: &str,
        folder: &Path,
        toolchain: &Toolchain,
        (text, known): (Option<String>, &mut BTreeMap<String, Vec<Outputs>>),
    ) -> Result<TargetFile> {
        let plan = format!("{}.plan", target.replace(':', "-"));
        let options = Options {
            targets: vec![target.parse()?],
            toolchain: toolchain.clone(),
            front: self.front.clone(),
            ..Options::default()
        };
        let path = folder.join(&plan);
        plans::compile(&self.source, &options, &path)?;
        let mut bytes = std::fs::read(&path)?;
        if self.kernel.is_some() {
            // A kernel that is for some sizes of batches alone runs with these samples too.
            bytes = plans::changed(&bytes, plans::launch_together)?;
            std::fs::write(&path, &bytes)?;
        }
        let index = PlanIndex::read(&bytes)?;
        let program = index.programs.first().context("a plan has a program")?;
        if let Some(kernel) = self.kernel {
            // Other targets than these have two kernels for it.
            let kernel = match (kernel, target) {
                ("linear_layer_norm", "sm_90a:f16" | "sm_90a:bf16") => kernel,
                ("linear_layer_norm", _) => "layer_norm",
                _ => kernel,
            };
            let used = program.steps.iter().any(|step| step.kernel.name() == kernel);
            ensure!(used, "expected a step of kernel {kernel}, found none");
        }
        let Some(code) = &program.device else {
            return Ok(TargetFile { plan, text: None, simulated: None, every_bit_defined: false });
        };
        let ptx = code.modules.iter().filter_map(|module| {
            let image = module.ptx.as_ref()?;
            let from = index.modules.start + image.offset as usize;
            bytes.get(from..from + image.bytes as usize)
        });
        let every_bit_defined = ptx.clone().count() == code.modules.len()
            && ptx.into_iter().all(|ptx| every_bit_defined(&String::from_utf8_lossy(ptx)));
        let engine = Engine::from_bytes_with_driver(
            &bytes,
            Arc::new(simulated(target)?),
            EngineOptions::default(),
        )?;
        let simulated = run(&engine, &mut engine.session(), &self.samples)?;
        let same =
            |outputs: &Vec<Outputs>| outputs.iter().zip(&simulated).all(|(a, b)| same_bits(a, b));
        let found = known.iter().find(|(_, outputs)| same(outputs)).map(|(file, _)| file.clone());
        let file = match found {
            Some(file) => file,
            None => {
                let file = format!("{}.safetensors", target.replace(':', "-"));
                write_outputs(&folder.join(&file), &simulated)?;
                known.insert(file.clone(), simulated);
                file
            }
        };
        Ok(TargetFile { plan, text, simulated: Some(file), every_bit_defined })
    }
}

/// A simulated GPU that runs a target's code.
pub(crate) fn simulated(target: &str) -> Result<SimDriver> {
    let arch = target.split(':').next().unwrap_or(target);
    Ok(SimDriver::of_arch(arch.parse()?))
}

/// Whether the PTX ISA defines every bit that this code gives.
fn every_bit_defined(ptx: &str) -> bool {
    !["mma", ".approx", "div.full"].iter().any(|loose| ptx.contains(loose))
}

/// The project's bound: twice the error of rounding after each op, and in f32 no less than 2e-6 of the scale.
fn bounds_of(exact: &[Outputs], rounded: &[Outputs], rounding: Rounding) -> BTreeMap<String, f64> {
    let mut bounds: BTreeMap<String, f64> = BTreeMap::new();
    for (exact, rounded) in exact.iter().zip(rounded) {
        for (name, exact) in exact {
            let scale = exact.iter().fold(0.0, |most: f64, x| most.max(f64::from(x.abs())));
            let least = if rounding == Rounding::F32 { 2e-6 * scale } else { 0.0 };
            let bound = (2.0 * max_difference(&rounded[name], exact)).max(least);
            let most = bounds.entry(name.clone()).or_default();
            *most = most.max(bound);
        }
    }
    bounds
}

fn numbered<T>(samples: impl IntoIterator<Item = T>) -> BTreeMap<u64, T> {
    (0..).zip(samples).collect()
}

fn write_outputs(path: &Path, samples: &[Outputs]) -> Result<()> {
    let of_sample = |outputs: &Outputs| -> Inputs {
        let tensor = |values: &Vec<f32>| Tensor::F32(values.clone(), vec![values.len() as u64]);
        outputs.iter().map(|(name, values)| (name.clone(), tensor(values))).collect()
    };
    tensors::write(path, &numbered(samples.iter().map(of_sample)))
}

#[cfg(test)]
mod tests {
    use super::every_bit_defined;

    #[test]
    fn tensor_cores_and_approximate_functions_define_no_bits() {
        assert!(every_bit_defined("fma.rn.f32 %f1, %f2, %f3, %f4;"));
        assert!(every_bit_defined("div.rn.f32 %f1, %f2, %f3;"));
        for loose in ["mma.sync.aligned.m16n8k16", "ex2.approx.ftz.f32", "div.full.f32"] {
            assert!(!every_bit_defined(loose), "{loose}");
        }
    }
}
