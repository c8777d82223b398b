//! Times models of real sizes, after a check that they give what the CPU gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytec_compiler::{self as compiler, CompileError, FrontOptions};
use bytec_measure::{Meter, RunTime, Timed, spread, work};
use bytec_plan::program::Program;
use bytec_runtime::cuda::Driver;
use bytec_runtime::{
    Elements, Engine, EngineOptions, PackedBatch, Sample, Session, SessionOptions,
};
use bytec_tests::batches::{Inputs, run, run_alone, same_bits};
use bytec_tests::golden::max_difference;
use bytec_tests::plans;
use bytec_tests::tensors::Tensor;

use crate::device::Device;
use crate::findings::{Check, Finding, KernelTime, OutputCheck, Timing};
use crate::options::Options;
use crate::shapes::Shape;
use crate::toolchain;

/// Element types that are timed, and the largest error against the CPU in f32, in units of the output's scale.
const DTYPES: [(&str, f64); 2] = [("f16", 1e-2), ("bf16", 8e-2)];
/// Texts of the batch that is compared with the CPU.
const COMPARED: usize = 6;
/// Runs before those that count.
const WARM_UP: usize = 3;
/// Runs with events around each launch.
const STEP_RUNS: usize = 7;

/// What is to be timed or checked.
pub(crate) enum Work {
    /// Against the CPU.
    Agrees,
    /// A batch of so many texts.
    Batch(usize),
}

/// A unit of the phase.
pub(crate) struct Unit {
    /// What it is called.
    pub(crate) name: String,
    shape: &'static str,
    dtype: &'static str,
    tolerance: f64,
    work: Work,
}

/// The units for shapes of these names.
pub(crate) fn units(shapes: &[String]) -> Vec<Unit> {
    let mut units = Vec::new();
    for shape in shapes.iter().filter_map(|name| Shape::named(name)) {
        for (dtype, tolerance) in DTYPES {
            let works = shape.batches.iter().map(|texts| Work::Batch(*texts));
            for work in std::iter::once(Work::Agrees).chain(works) {
                let what = match work {
                    Work::Agrees => "against the CPU".to_owned(),
                    Work::Batch(texts) => format!("{texts} texts"),
                };
                let name = format!("{} {dtype} {what}", shape.name);
                units.push(Unit { name, shape: shape.name, dtype, tolerance, work });
            }
        }
    }
    units
}

/// Times units one after the other; the last engine is kept for the next unit.
pub(crate) struct Bench<'a> {
    device: &'a Device,
    /// Where plans are made.
    folder: PathBuf,
    options: &'a Options,
    /// How long a batch is run again and again.
    seconds: f64,
    open: Option<Open>,
}

/// A plan's engine.
struct Open {
    plan: PathBuf,
    timed: Arc<Timed>,
    engine: Engine,
}

impl<'a> Bench<'a> {
    /// With plans below `folder`.
    pub(crate) fn new(device: &'a Device, folder: PathBuf, options: &'a Options) -> Self {
        let seconds = if matches!(device, Device::Cuda(_)) { 0.5 } else { 0.0 };
        Self { device, folder, options, seconds, open: None }
    }

    /// Does a unit. The second value says that the device failed.
    pub(crate) fn unit(&mut self, unit: &Unit) -> (Finding, bool) {
        if toolchain::nvrtc(self.options.nvrtc.as_deref()).is_none() {
            let why =
                "no NVRTC here, and plans of this size are compiled here; --nvrtc names its folder";
            return (Finding::left_out(&unit.name, why.to_owned()), false);
        }
        match self.try_unit(unit) {
            Ok(finding) => (finding, false),
            Err(error) => (Finding::failed(&unit.name, format!("{error:#}")), true),
        }
    }

    fn try_unit(&mut self, unit: &Unit) -> Result<Finding> {
        let shape = Shape::named(unit.shape).context("units are of known shapes")?;
        let target = format!("{}:{}", self.device.native(), unit.dtype);
        let plan = self.plan(&shape, &target, &unit.work)?;
        let open = self.open(plan, &target)?;
        match unit.work {
            Work::Agrees => {
                let cpu = self.plan(&shape, "cpu:f32", &unit.work)?;
                let check = agrees(&open.engine, &Engine::open(cpu)?, &shape, unit.tolerance)?;
                let wrong = crate::check::wrong(&check);
                self.open = Some(open);
                Ok(Finding { wrong, check: Some(check), ..Finding::empty(&unit.name) })
            }
            Work::Batch(texts) => {
                let timing = time(&open, &shape, unit.dtype, texts, self.seconds)?;
                self.open = Some(open);
                Ok(Finding { timing: Some(timing), ..Finding::empty(&unit.name) })
            }
        }
    }

    /// The engine of a plan.
    fn open(&mut self, plan: PathBuf, target: &str) -> Result<Open> {
        // What is open goes before anything else comes: two large models might not fit.
        if let Some(open) = self.open.take_if(|open| open.plan == plan) {
            return Ok(open);
        }
        self.open = None;
        let timed = Arc::new(Timed::new(self.device.for_target(target)?));
        let driver = Arc::clone(&timed) as Arc<dyn Driver>;
        let engine = Engine::with_driver(&plan, driver, EngineOptions::default())?;
        Ok(Open { plan, timed, engine })
    }

    /// The plan of a shape for a target, made when it is first asked for.
    fn plan(&self, shape: &Shape, target: &str, work: &Work) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.folder)?;
        // Rows are compared. Times are those of a classifier, since copying all rows to the host is no work of a GPU.
        let architecture = match work {
            Work::Agrees => "BertModel",
            Work::Batch(_) => "BertForSequenceClassification",
        };
        let target_name = target.replace(':', "-");
        let plan = self.folder.join(format!("{}-{architecture}-{target_name}.plan", shape.name));
        if plan.exists() {
            return Ok(plan);
        }
        let model = self.folder.join(shape.name);
        if !model.join("model.safetensors").exists() {
            plans::write_folder(&shape.model, &model)?;
        }
        let front =
            FrontOptions { architecture: Some(architecture.to_owned()), ..FrontOptions::default() };
        let cache = self.options.cache.clone().unwrap_or_else(|| self.folder.join("kernels"));
        let options = compiler::Options {
            targets: vec![target.parse()?],
            toolchain: toolchain::find(self.options.nvrtc.as_deref(), &cache),
            front,
            ..compiler::Options::default()
        };
        compile(&model, &options, &plan)?;
        Ok(plan)
    }
}

fn compile(model: &Path, options: &compiler::Options, plan: &Path) -> Result<(), CompileError> {
    plans::compile(model, options, plan).map(|_stages| ())
}

/// Compares a device with the CPU.
fn agrees(engine: &Engine, cpu: &Engine, shape: &Shape, tolerance: f64) -> Result<Check> {
    let samples = shape.samples(&shape.lengths(COMPARED));
    let mut session = engine.session();
    let found = run(engine, &mut session, &samples)?;
    let alone = run_alone(engine, &mut session, &samples)?;
    let mut other = run(engine, &mut session, samples.iter().rev())?;
    other.reverse();
    let graphs = SessionOptions { graphs: true, ..SessionOptions::default() };
    let mut session = engine.session_with(graphs);
    let captured = run(engine, &mut session, &samples)?;
    let replayed = run(engine, &mut session, &samples)?;
    let expected = run(cpu, &mut cpu.session(), &samples)?;
    let mut outputs: BTreeMap<String, OutputCheck> = BTreeMap::new();
    for (found, expected) in found.iter().zip(&expected) {
        for (name, expected) in expected {
            let error = max_difference(&found[name], expected);
            let scale = expected.iter().fold(0.0, |most: f64, x| most.max(f64::from(x.abs())));
            let none = OutputCheck { error: Some(0.0), bound: 0.0, simulated: None };
            let output = outputs.entry(name.clone()).or_insert(none);
            let worst = output.error.map(|worst| worst.max(error));
            output.error = worst.filter(|worst| worst.is_finite());
            output.bound = output.bound.max(tolerance * scale);
        }
    }
    let same = |a: &[_], b: &[_]| a.iter().zip(b).all(|(a, b)| same_bits(a, b));
    Ok(Check {
        outputs,
        alone_same_bits: same(&alone, &found),
        replayed_same_bits: same(&captured, &found) && same(&replayed, &found),
        other_batch_same_bits: same(&other, &found),
        every_bit_defined: false,
    })
}

fn time(open: &Open, shape: &Shape, dtype: &str, texts: usize, seconds: f64) -> Result<Timing> {
    let Open { timed, engine, .. } = open;
    let lengths = shape.lengths(texts);
    let samples = shape.samples(&lengths);
    let batch = packed(engine, &samples)?;
    let graphs = SessionOptions { graphs: true, ..SessionOptions::default() };
    let replayed = sorted_ms(&mut engine.session_with(graphs), &batch, seconds)?;
    let times = sorted_ms(&mut engine.session(), &batch, seconds)?;
    let work = gflop(engine.program(), &work::steps(engine.program(), &batch));
    let (mut runs, mut device) = (Vec::new(), Vec::new());
    let mut meter = Meter::new(engine, SessionOptions::default(), Some(Arc::clone(timed)));
    for _ in 0..STEP_RUNS {
        let taken = meter.steps(&batch)?;
        let end = taken.steps.iter().map(|step| step.begin + step.time).max().unwrap_or_default();
        device.push(end.as_secs_f64() * 1e3);
        runs.push(by_kernel(engine.program(), &taken));
    }
    spread::sort(&mut device);
    Ok(Timing {
        shape: shape.name.to_owned(),
        dtype: dtype.to_owned(),
        texts: texts as u64,
        tokens: lengths.iter().sum(),
        runs: times.len() as u64,
        median_ms: times[times.len() / 2],
        fastest_ms: times[0],
        slowest_ms: times[times.len() - 1],
        replayed_ms: replayed[replayed.len() / 2],
        device_ms: device[device.len() / 2],
        gflop: work.values().sum(),
        kernels: kernels(engine.program(), &runs, &work),
    })
}

/// The times of runs after a few that don't count, in milliseconds, the shortest first.
fn sorted_ms(session: &mut Session, batch: &PackedBatch, seconds: f64) -> Result<Vec<f64>> {
    for _ in 0..WARM_UP {
        check_finite(session, batch)?;
    }
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || (begun.elapsed().as_secs_f64() < seconds && times.len() < 500) {
        let begun = Instant::now();
        session.run(batch)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    spread::sort(&mut times);
    Ok(times)
}

fn packed(engine: &Engine, samples: &[Inputs]) -> Result<PackedBatch> {
    let mut batch = PackedBatch::new(engine);
    for inputs in samples {
        let mut sample = Sample::new();
        for (name, tensor) in inputs {
            if let Tensor::I64(values, shape) = tensor {
                sample = sample.with(name, shape, Elements::I64(values));
            }
        }
        batch.push(&sample)?;
    }
    Ok(batch)
}

/// Runs a batch, and looks at the results: times of a model that gives NaN would say nothing.
fn check_finite(session: &mut Session, batch: &PackedBatch) -> Result<()> {
    let outputs = session.run(batch)?;
    for name in outputs.names() {
        let output = outputs.get(name).context("outputs have names")?;
        for sample in 0..output.len() {
            let finite = output.sample(sample).is_some_and(|y| y.iter().all(|y| y.is_finite()));
            ensure!(finite, "output {name} of sample {sample} is not finite");
        }
    }
    Ok(())
}

/// For each kernel with products of matrices the operations of its steps.
fn gflop(program: &Program, steps: &[work::Work]) -> BTreeMap<String, f64> {
    let mut work: BTreeMap<String, f64> = BTreeMap::new();
    for (step, done) in program.steps.iter().zip(steps).filter(|(_, done)| done.products > 0.0) {
        *work.entry(step.kernel.name().to_owned()).or_default() += done.products / 1e9;
    }
    work
}

/// The sums of the times of each kernel's steps, in milliseconds.
fn by_kernel(program: &Program, run: &RunTime) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for step in &run.steps {
        let kernel = program.steps[step.index].kernel.name();
        *sums.entry(kernel.to_owned()).or_default() += step.time.as_secs_f64() * 1e3;
    }
    sums
}

fn kernels(
    program: &Program,
    runs: &[BTreeMap<String, f64>],
    work: &BTreeMap<String, f64>,
) -> BTreeMap<String, KernelTime> {
    let mut times: BTreeMap<String, KernelTime> = BTreeMap::new();
    for step in &program.steps {
        times.entry(step.kernel.name().to_owned()).or_default().steps += 1;
    }
    for (kernel, time) in &mut times {
        let mut all: Vec<f64> = runs.iter().filter_map(|run| run.get(kernel).copied()).collect();
        all.sort_by(f64::total_cmp);
        time.ms = all.get(all.len() / 2).copied().unwrap_or(0.0);
        time.gflop = work.get(kernel).copied();
    }
    times
}
