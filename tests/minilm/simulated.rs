//! MiniLM on a simulated GPU, with all its checks. Two short texts, since a simulated device is slow.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytec_compiler::{FrontOptions, Options, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_runtime::{Engine, EngineOptions};
use bytec_sim::SimDriver;
use bytec_tests::batches::{Outputs, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::nvrtc::toolchain;
use bytec_tests::{interpreter, plans};

use crate::{MiniLm, expect_same, say};

const OUTPUT: &str = "embedding";

pub(crate) fn f16(model: &MiniLm) -> Result<()> {
    let samples = [1, 4];
    let Some(found) = embeddings(model, "f16", samples)? else { return Ok(()) };
    // Cosines, since that is what embeddings are compared by.
    for (sample, found) in samples.iter().zip(&found) {
        let cosine = cosine(found, expected(model, *sample)?);
        say(&format!("text {sample} in f16: 1 - cosine {:.1e}, bound 1e-4", 1.0 - cosine));
        ensure!(cosine > 0.9999, "text {sample}: the cosine to the reference is {cosine}");
    }
    Ok(())
}

/// Within twice the error of the graph as it was read with rounding after each op.
pub(crate) fn bf16(model: &MiniLm) -> Result<()> {
    let samples = [0, 1];
    let Some(found) = embeddings(model, "bf16", samples)? else { return Ok(()) };
    let loaded = front::load(&model.folder, &FrontOptions::default())?;
    let mut bound: f64 = 0.0;
    for sample in samples {
        let inputs = interpreter::sample(&model.case.inputs[&sample])?;
        let rounded = eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Bf16)?;
        let rounded = rounded[OUTPUT].as_floats().context("embeddings are floats")?;
        let rounded: Vec<f32> = rounded.iter().map(|&x| x as f32).collect();
        bound = bound.max(2.0 * max_difference(&rounded, expected(model, sample)?));
    }
    within(model, "bf16", samples, &found, bound)
}

pub(crate) fn f32(model: &MiniLm) -> Result<()> {
    let samples = [0, 1];
    let Some(found) = embeddings(model, "f32", samples)? else { return Ok(()) };
    within(model, "f32", samples, &found, model.case.f32_bound(OUTPUT)?)
}

/// The embeddings of two texts in one batch, which are those of each alone; `None` without NVRTC.
fn embeddings(model: &MiniLm, dtype: &str, samples: [u64; 2]) -> Result<Option<Vec<Vec<f32>>>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minilm");
    let Some(toolchain) = toolchain(&cache) else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let plan = folder.path().join("gpu.plan");
    let targets = vec![format!("sm_80:{dtype}").parse()?];
    plans::compile(&model.folder, &Options { targets, toolchain, ..Options::default() }, &plan)?;
    let engine =
        Engine::with_driver(&plan, Arc::new(SimDriver::sm_80()), EngineOptions::default())?;
    let notes = &engine.manifest().report.notes;
    ensure!(notes.is_empty(), "spills or warnings: {notes:?}");

    let begun = Instant::now();
    let inputs = samples.iter().map(|sample| &model.case.inputs[sample]);
    let found = run(&engine, &mut engine.session(), inputs.clone())?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("two texts on a simulated GPU in {dtype}: {seconds:.1} s"));
    let alone = run_alone(&engine, &mut engine.session(), inputs)?;
    expect_same(&alone, &found.iter().collect::<Vec<_>>())?;
    let embedding = |mut outputs: Outputs| outputs.remove(OUTPUT).context(OUTPUT);
    found.into_iter().map(embedding).collect::<Result<_>>().map(Some)
}

fn expected(model: &MiniLm, sample: u64) -> Result<&[f32]> {
    model.case.outputs[&sample][OUTPUT].floats()
}

fn within(
    model: &MiniLm,
    dtype: &str,
    samples: [u64; 2],
    found: &[Vec<f32>],
    bound: f64,
) -> Result<()> {
    for (sample, found) in samples.into_iter().zip(found) {
        let error = max_difference(found, expected(model, sample)?);
        say(&format!(
            "text {sample} in {dtype}: max abs difference {error:.2e}, bound {bound:.2e}"
        ));
        ensure!(error <= bound, "text {sample} in {dtype}: {error:e} is past {bound:e}");
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
