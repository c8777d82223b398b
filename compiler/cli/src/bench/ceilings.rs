//! What the device reaches at best, measured beside the plan.

use std::sync::Arc;
use std::time::Duration;

use bytec_compiler::Target;
use bytec_compiler::cost::linear::Layer;
use bytec_measure::ceilings::{Ceilings, device_copy, fma, host_copy, product};
use bytec_measure::{Meter, Timed, work};
use bytec_plan::program::DType;
use bytec_runtime::cpu::peak::Products;
use bytec_runtime::cpu::threads::Threads;
use bytec_runtime::cuda::Driver;
use bytec_runtime::{Engine, EngineOptions, SessionOptions};

use super::args::BenchArgs;
use crate::failure::Failure;
use crate::{product, toolchain};

/// The longest time for each of the processor's.
const TIME: Duration = Duration::from_millis(300);
/// Bytes of each side of the device's copy; no GPU's caches hold them.
const COPIED: u64 = 1 << 30;
/// Rows of the device's product, and its columns and depth.
const ROWS: u64 = 8192;
const SIDE: u32 = 4096;
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
    let isa = engine.isa();
    let products = match engine.program().arithmetic() {
        DType::Bf16 if isa.has_bf16() => Products::Bf16,
        DType::I8 => Products::Int8,
        _ => Products::F32,
    };
    let rates = Ceilings {
        copy: Some(host_copy(count, time)),
        product: Some(product(isa, products, &threads, time)),
        fma: Some(fma(isa, products, &threads, time)),
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
    let layer = Layer { n: SIDE, k: SIDE, epilogue: Vec::new() };
    let tools = toolchain::find(args.nvrtc.as_deref(), None);
    let plan = product::plan(&layer, false, target, tools, args.seed)?;
    let driver = Arc::clone(timed) as Arc<dyn Driver>;
    let engine = Engine::from_bytes_with_driver(&plan, driver, EngineOptions::default())?;
    let batch = product::batch(&engine, ROWS, args.seed)?;
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
