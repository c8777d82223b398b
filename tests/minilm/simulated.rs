//! MiniLM on simulated GPUs, with all their checks. Two short texts, since a simulated device is slow.
//!
//! In f16 and bf16 by the programs of both architectures: of the golden cases this is the one whose linears are wide
//! enough for Hopper's own kernel.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytec_compiler::{FrontOptions, Options, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_runtime::cuda::Arch;
use bytec_runtime::{Engine, EngineOptions};
use bytec_sim::SimDriver;
use bytec_tests::batches::{Outputs, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::nvrtc::toolchain;
use bytec_tests::{interpreter, plans};

use crate::{MiniLm, expect_same, say};

const OUTPUT: &str = "embedding";

/// An architecture, and the embeddings that its program gives.
type Found = (&'static str, Vec<Vec<f32>>);

pub(crate) fn f16(model: &MiniLm) -> Result<()> {
    let samples = [1, 4];
    for (arch, found) in embeddings(model, "f16", &["sm_80", "sm_90a"], samples)? {
        // Cosines, since that is what embeddings are compared by.
        for (sample, found) in samples.iter().zip(&found) {
            let cosine = cosine(found, expected(model, *sample)?);
            let what = format!("text {sample} for {arch}:f16");
            say(&format!("{what}: 1 - cosine {:.1e}, bound 1e-4", 1.0 - cosine));
            ensure!(cosine > 0.9999, "{what}: the cosine to the reference is {cosine}");
        }
    }
    Ok(())
}

/// Within twice the error of the graph as it was read with rounding after each op.
pub(crate) fn bf16(model: &MiniLm) -> Result<()> {
    let samples = [0, 1];
    let found = embeddings(model, "bf16", &["sm_80", "sm_90a"], samples)?;
    if found.is_empty() {
        return Ok(());
    }
    let loaded = front::load(&model.folder, &FrontOptions::default())?;
    let mut bound: f64 = 0.0;
    for sample in samples {
        let inputs = interpreter::sample(&model.case.inputs[&sample])?;
        let rounded = eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Bf16)?;
        let rounded = rounded[OUTPUT].as_floats().context("embeddings are floats")?;
        let rounded: Vec<f32> = rounded.iter().map(|&x| x as f32).collect();
        bound = bound.max(2.0 * max_difference(&rounded, expected(model, sample)?));
    }
    found
        .iter()
        .try_for_each(|(arch, found)| within(model, &format!("{arch}:bf16"), samples, found, bound))
}

pub(crate) fn f32(model: &MiniLm) -> Result<()> {
    let samples = [0, 1];
    let bound = model.case.f32_bound(OUTPUT)?;
    embeddings(model, "f32", &["sm_80"], samples)?
        .iter()
        .try_for_each(|(arch, found)| within(model, &format!("{arch}:f32"), samples, found, bound))
}

/// The embeddings of two texts in one batch, by the program of each architecture; in f32 and f16 those of each text alone
/// have the same bits. None without NVRTC.
fn embeddings(
    model: &MiniLm,
    dtype: &str,
    archs: &[&'static str],
    samples: [u64; 2],
) -> Result<Vec<Found>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minilm");
    let Some(toolchain) = toolchain(&cache) else { return Ok(Vec::new()) };
    let folder = tempfile::tempdir()?;
    let plan = folder.path().join("gpu.plan");
    let targets = archs.iter().map(|arch| format!("{arch}:{dtype}").parse());
    let targets = targets.collect::<Result<_, _>>()?;
    plans::compile(&model.folder, &Options { targets, toolchain, ..Options::default() }, &plan)?;
    let of_arch = |&arch: &&'static str| {
        let major = if arch == "sm_90a" { 9 } else { 8 };
        let driver = SimDriver::of_arch(Arch::of_device(major, 0));
        let engine = Engine::with_driver(&plan, Arc::new(driver), EngineOptions::default())?;
        ensure!(engine.program().target == arch, "{arch}: its program is there");
        let notes = &engine.manifest().report.notes;
        ensure!(notes.is_empty(), "{arch}: spills or warnings: {notes:?}");

        let begun = Instant::now();
        let inputs = samples.iter().map(|sample| &model.case.inputs[sample]);
        let found = run(&engine, &mut engine.session(), inputs.clone())?;
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!("two texts on a simulated {arch} in {dtype}: {seconds:.1} s"));
        // Kernels in bf16 are those in f16 but for their instructions' type.
        if dtype != "bf16" {
            let alone = run_alone(&engine, &mut engine.session(), inputs)?;
            expect_same(&alone, &found.iter().collect::<Vec<_>>())?;
        }
        let embedding = |mut outputs: Outputs| outputs.remove(OUTPUT).context(OUTPUT);
        Ok((arch, found.into_iter().map(embedding).collect::<Result<_>>()?))
    };
    archs.iter().map(of_arch).collect()
}

fn expected(model: &MiniLm, sample: u64) -> Result<&[f32]> {
    model.case.outputs[&sample][OUTPUT].floats()
}

fn within(
    model: &MiniLm,
    target: &str,
    samples: [u64; 2],
    found: &[Vec<f32>],
    bound: f64,
) -> Result<()> {
    for (sample, found) in samples.into_iter().zip(found) {
        let error = max_difference(found, expected(model, sample)?);
        say(&format!(
            "text {sample} for {target}: max abs difference {error:.2e}, bound {bound:.2e}"
        ));
        ensure!(error <= bound, "text {sample} for {target}: {error:e} is past {bound:e}");
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
