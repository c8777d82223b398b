//! One sort of batches, run again and again.

use std::collections::BTreeMap;
use std::time::Instant;

use bytec_measure::ceilings::Ceilings;
use bytec_measure::work::{self, Work};
use bytec_measure::{Meter, spread};
use bytec_plan::program::Program;
use bytec_runtime::{Engine, PackedBatch};
use serde_json::{Map, Value};

use super::args::BenchArgs;
use super::report::{Line, Row, Times};
use super::samples::Batch;
use crate::batches;
use crate::failure::Failure;

/// Seconds, and the fewest runs.
const SECONDS: f64 = 2.0;
const RUNS: u32 = 5;
/// Percentiles, unless the command line says otherwise.
const PERCENTILES: [f64; 3] = [50.0, 90.0, 99.0];

/// What a batch comes to.
struct Done {
    steps: Vec<Work>,
    samples: f64,
    tokens: f64,
    padded: f64,
}

impl Done {
    fn of(program: &Program, batch: &PackedBatch) -> Self {
        let rows = work::tokens(program);
        let tokens = batch.rows(rows) as f64;
        let padded = tokens / (1.0 - work::padding(batch, rows));
        Self { steps: work::steps(program, batch), samples: batch.len() as f64, tokens, padded }
    }

    fn products(&self) -> f64 {
        self.steps.iter().map(|work| work.products).sum()
    }

    fn launches(&self) -> f64 {
        self.steps.iter().filter(|work| work.rows > 0).count() as f64
    }
}

/// Means over some of the runs; `of` says which batch each of them ran.
pub(super) fn means(program: &Program, batches: &[Batch], of: &[usize]) -> Row {
    let done: Vec<_> = batches.iter().map(|batch| Done::of(program, &batch.packed)).collect();
    let mean = |what: &dyn Fn(&Done) -> f64| {
        of.iter().map(|batch| what(&done[*batch])).sum::<f64>() / of.len().max(1) as f64
    };
    let (tokens, padded) = (mean(&|done| done.tokens), mean(&|done| done.padded));
    Row {
        samples: mean(&|done| done.samples),
        tokens,
        batches: batches.len(),
        runs: of.len(),
        launches: mean(&Done::launches),
        gflop: mean(&Done::products) / 1e9,
        padding_avoided: if padded > 0.0 { 1.0 - tokens / padded } else { 0.0 },
        ..Row::default()
    }
}

/// Runs the batches in turn for as long as the command line says.
pub(super) fn measure(
    args: &BenchArgs,
    meter: &mut Meter,
    engine: &Engine,
    batches: &[Batch],
    ceilings: &Ceilings,
) -> Result<Row, Failure> {
    let seconds = args.duration.unwrap_or(SECONDS);
    warm_up(meter, batches, seconds / 4.0)?;
    let least = args.runs.unwrap_or(RUNS) as usize;
    let (begun, mut times, mut of) = (Instant::now(), Vec::new(), Vec::new());
    while times.len() < least || begun.elapsed().as_secs_f64() < seconds {
        let batch = times.len() % batches.len();
        times.push(meter.run(&batches[batch].packed)?.as_secs_f64());
        of.push(batch);
    }
    let mut row = means(engine.program(), batches, &of);
    row.arena_bytes = meter.arena_bytes();
    let all: f64 = times.iter().sum();
    let rate = |mean: f64| mean * times.len() as f64 / all;
    let flops = rate(row.gflop * 1e9);
    let pack_ms = pack_ms(engine, batches)?;
    row.times = Some(Times {
        pack_ms,
        samples_per_s: rate(row.samples),
        tokens_per_s: rate(row.tokens),
        tflop_per_s: flops / 1e12,
        of_product: ceilings.product.map(|most| flops / most),
        of_fma: ceilings.fma.map(|most| flops / most),
        latency_ms: percentiles(args, &mut times),
    });
    if args.profile {
        profile(meter, engine, batches, (seconds, ceilings), &mut row)?;
    }
    Ok(row)
}

/// Runs batches once, the largest first, so that all memory is there; and looks at the results: times of a model that
/// gives NaN would say nothing.
fn warm_up(meter: &mut Meter, batches: &[Batch], seconds: f64) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut order: Vec<_> = batches.iter().collect();
    order.sort_by_key(|batch| {
        std::cmp::Reverse(batch.items.iter().map(|item| item.tokens()).sum::<u64>())
    });
    for (nth, batch) in order.into_iter().enumerate() {
        if nth > 0 && begun.elapsed().as_secs_f64() > seconds {
            break;
        }
        let outputs = meter.outputs(&batch.packed)?;
        for name in outputs.names() {
            let Some(output) = outputs.get(name) else { continue };
            let finite = |sample: usize| {
                output.sample(sample).is_none_or(|values| values.iter().all(|x| x.is_finite()))
            };
            if let Some(sample) = (0..output.len()).find(|sample| !finite(*sample)) {
                return Err(Failure::mismatch(anyhow::anyhow!(
                    "expected finite outputs, found NaN or infinity in {name} of random sample {sample}; times of such \
                     runs say nothing"
                )));
            }
        }
    }
    Ok(())
}

fn percentiles(args: &BenchArgs, times: &mut [f64]) -> Map<String, Value> {
    spread::sort(times);
    let wanted = if args.percentiles.is_empty() { &PERCENTILES[..] } else { &args.percentiles };
    let of = |percent: &f64| {
        let ms = spread::percentile(times, *percent).unwrap_or_default() * 1e3;
        (format!("p{percent}"), Value::from(ms))
    };
    wanted.iter().map(of).collect()
}

/// The median time to make a batch of its samples.
fn pack_ms(engine: &Engine, batches: &[Batch]) -> Result<f64, Failure> {
    let mut packed = PackedBatch::new(engine);
    let mut times = Vec::new();
    for batch in batches {
        let begun = Instant::now();
        batches::fill(&mut packed, &batch.items)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    spread::sort(&mut times);
    Ok(spread::median(&times).unwrap_or_default())
}

/// What a step or a kernel adds up to over some runs.
#[derive(Clone, Copy, Default)]
struct Sum {
    launches: u64,
    seconds: f64,
    least: Option<f64>,
    work: Work,
}

/// Runs batches again with a clock for each step.
fn profile(
    meter: &mut Meter,
    engine: &Engine,
    batches: &[Batch],
    (seconds, ceilings): (f64, &Ceilings),
    row: &mut Row,
) -> Result<(), Failure> {
    let program = engine.program();
    let mut steps = vec![Sum { least: Some(0.0), ..Sum::default() }; program.steps.len()];
    let (begun, mut runs) = (Instant::now(), 0);
    while runs < 3 || begun.elapsed().as_secs_f64() < seconds / 2.0 {
        let batch = &batches[runs % batches.len()].packed;
        let run = meter.steps(batch)?;
        let done = work::steps(program, batch);
        for step in run.steps {
            let (sum, done) = (&mut steps[step.index], done[step.index]);
            sum.launches += 1;
            sum.seconds += step.time.as_secs_f64();
            sum.work.add(&done);
            let least = ceilings.least_time(done.products, done.bytes);
            sum.least = sum.least.zip(least).map(|(sum, least)| sum + least);
        }
        runs += 1;
    }
    let all: f64 = steps.iter().map(|sum| sum.seconds).sum();
    let mut kernels: BTreeMap<&str, Sum> = BTreeMap::new();
    for (step, sum) in program.steps.iter().zip(&steps) {
        let none = Sum { least: Some(0.0), ..Sum::default() };
        let kernel = kernels.entry(step.kernel.name()).or_insert(none);
        kernel.launches += sum.launches;
        kernel.seconds += sum.seconds;
        kernel.work.add(&sum.work);
        kernel.least = kernel.least.zip(sum.least).map(|(a, b)| a + b);
    }
    let line = |step: &str, kernel: &str, sum: &Sum| {
        let per = |value: f64| (sum.seconds > 0.0).then(|| value / sum.seconds);
        Line {
            step: step.to_owned(),
            kernel: kernel.to_owned(),
            launches: sum.launches as f64 / runs as f64,
            rows: sum.work.rows as f64 / runs as f64,
            gflop: sum.work.products / runs as f64 / 1e9,
            megabytes: sum.work.bytes / runs as f64 / 1e6,
            ms: Some(sum.seconds / runs as f64 * 1e3),
            share: (all > 0.0).then(|| sum.seconds / all),
            gflop_per_s: per(sum.work.products / 1e9),
            gb_per_s: per(sum.work.bytes / 1e9),
            of_ceiling: sum.least.and_then(per),
            counts: None,
        }
    };
    row.kernels = kernels.iter().map(|(kernel, sum)| line("", kernel, sum)).collect();
    row.kernels.sort_by(|a, b| b.ms.unwrap_or(0.0).total_cmp(&a.ms.unwrap_or(0.0)));
    let named = program.steps.iter().zip(&steps);
    row.steps = named.map(|(step, sum)| line(&step.name, step.kernel.name(), sum)).collect();
    Ok(())
}
