//! What the device reaches at best, measured beside the plan.

use std::sync::Arc;
use std::time::Duration;

use bytec_compiler::{self as compiler, CompileError, FrontOptions, Progress, Target};
use bytec_measure::ceilings::{Ceilings, device_copy, fma, host_copy, product};
use bytec_measure::{Meter, Timed, work};
use bytec_models::tiny::SplitMix64;
use bytec_runtime::cpu::threads::Threads;
use bytec_runtime::cuda::Driver;
use bytec_runtime::{Elements, Engine, EngineOptions, PackedBatch, Sample, SessionOptions};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use super::args::BenchArgs;
use crate::failure::Failure;
use crate::toolchain;

/// The longest time for each of the processor's.
const TIME: Duration = Duration::from_millis(300);
/// Bytes of each side of the device's copy; no GPU's caches hold them.
const COPIED: u64 = 1 << 30;
/// Rows of the device's product, and its columns and depth.
const ROWS: usize = 8192;
const SIDE: usize = 4096;
/// Runs of each on the device.
const TRIES: u32 = 10;

/// The rates, and why some are missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) rates: Ceilings,
    pub(super) missing: Vec<String>,
}

/// Those of the processor, with as many threads as the engine has. A short measurement takes little time for them.
pub(super) fn processor(args: &BenchArgs, engine: &Engine) -> Result<Found, Failure> {
    let time = args.duration.map_or(TIME, |seconds| TIME.min(Duration::from_secs_f64(seconds)));
    let count = engine.threads();
    let threads = Threads::new(Some(count)).map_err(Failure::machine)?;
    let rates = Ceilings {
        copy: Some(host_copy(count, time)),
        product: Some(product(engine.isa(), &threads, time)),
        fma: Some(fma(engine.isa(), &threads, time)),
    };
    Ok(Found { rates, missing: Vec::new() })
}

/// Those of a GPU. What can't be measured is left out with the reason.
pub(super) fn device(args: &BenchArgs, engine: &Engine, timed: &Arc<Timed>) -> Found {
    let mut found = Found::default();
    match device_copy(&**timed, COPIED, TRIES) {
        Ok(rate) => found.rates.copy = Some(rate),
        Err(error) => found.missing.push(format!("copy: {error}")),
    }
    match device_product(args, engine, timed) {
        Ok(rate) => found.rates.product = Some(rate),
        Err(error) => found.missing.push(format!("product: {error}")),
    }
    found
}

/// Multiplications and additions a second of a large product through bytec's own linear, compiled here for the plan's
/// target and element type.
fn device_product(args: &BenchArgs, engine: &Engine, timed: &Arc<Timed>) -> Result<f64, Failure> {
    let program = engine.program();
    let target: Target = format!("{}:{}", program.target, program.dtype.name())
        .parse()
        .map_err(Failure::internal)?;
    let folder = tempfile::tempdir().map_err(Failure::machine)?;
    let weights = folder.path().join("model.safetensors");
    let mut random = SplitMix64(args.seed);
    let scale = 1.0 / (SIDE as f32).sqrt();
    let bytes: Vec<u8> =
        (0..SIDE * SIDE).flat_map(|_| (scale * random.normal()).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![SIDE, SIDE], &bytes).map_err(Failure::internal)?;
    let file = serialize([("w", view)], None).map_err(Failure::internal)?;
    std::fs::write(&weights, file).map_err(Failure::machine)?;
    let text = folder.path().join("graph.ir");
    std::fs::write(&text, graph()).map_err(Failure::machine)?;
    let options = compiler::Options {
        targets: vec![target],
        toolchain: toolchain::find(args.nvrtc.as_deref(), None),
        front: FrontOptions { graph: Some(text), ..FrontOptions::default() },
        ..compiler::Options::default()
    };
    let plan = folder.path().join("product.plan");
    compiler::compile(&weights, &options, &mut Silent, |emitted, _| {
        emitted.write_file(&plan)?;
        Ok::<_, CompileError>(())
    })?;
    let driver = Arc::clone(timed) as Arc<dyn Driver>;
    let engine = Engine::with_driver(&plan, driver, EngineOptions::default())?;
    let x: Vec<f32> = (0..ROWS * SIDE).map(|_| random.normal()).collect();
    let mut batch = PackedBatch::new(&engine);
    let shape = [ROWS as u64, SIDE as u64];
    batch.push(&Sample::new().with("x", &shape, Elements::F32(&x))).map_err(Failure::internal)?;
    let done = work::steps(engine.program(), &batch);
    let mut meter = Meter::new(&engine, SessionOptions::default(), Some(Arc::clone(timed)));
    let mut best = f64::INFINITY;
    // The first one also brings the code in.
    for nth in 0..=TRIES {
        let run = meter.steps(&batch)?;
        for step in run.steps.iter().filter(|step| nth > 0 && done[step.index].products > 0.0) {
            best = best.min(step.time.as_secs_f64());
        }
    }
    Ok(done.iter().map(|work| work.products).sum::<f64>() / best.max(1e-9))
}

/// The product, of which one row is given out: a download is no part of it.
fn graph() -> String {
    format!(
        "bytec 1\nsymbol L in 1..={ROWS}\ninput %x: f32[L, {SIDE}]\nweight @w: f32[{SIDE}, {SIDE}]\n\
         %y: f32[L, {SIDE}] = linear(%x, @w) {{epilogue = []}}\n\
         %first: f32[{SIDE}] = pool(%y) {{kind = cls, normalize = none}}\noutput y = %first\n"
    )
}

/// Shows nothing.
struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &'static str) {}
    fn done(&mut self, _: String) {}
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_product_is_a_graph() {
        let graph: bytec_ir::Graph = super::graph().parse().unwrap();
        assert_eq!(graph.outputs().len(), 1);
    }
}
