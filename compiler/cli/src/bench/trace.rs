//! A trace of one run, as `chrome://tracing` defined it and ui.perfetto.dev reads it: JSON with a list of events.
//!
//! Event `X` is a span with its beginning `ts` and its length `dur` in microseconds, on the track `tid` of the process
//! `pid`; event `M` names one of these.

use std::path::Path;
use std::time::{Duration, Instant};

use bytec_measure::{Meter, work};
use bytec_runtime::{Engine, PackedBatch};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::BenchArgs;
use super::samples::Batch;
use crate::failure::Failure;
use crate::{Outcome, batches};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    trace_events: Vec<Event>,
    display_time_unit: &'static str,
    other_data: Value,
}

#[derive(Serialize)]
struct Event {
    name: String,
    ph: &'static str,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    args: Value,
}

/// The only process.
const PROCESS: u32 = 1;
/// What the calling thread does: the batch is made, and run.
const HOST: u32 = 1;
/// The steps: one after the other on the processor, the launches of a stream on a device.
const STEPS: u32 = 2;
/// The first of the processor's threads; the others follow. What lies between two of its spans, it waited.
const THREADS: u32 = 3;

/// Makes a batch again, runs it, and writes what happened when.
pub(super) fn write(
    path: &Path,
    args: &BenchArgs,
    meter: &mut Meter,
    engine: &Engine,
    batch: &Batch,
) -> Outcome {
    let program = engine.program();
    let mut packed = PackedBatch::new(engine);
    let begun = Instant::now();
    batches::fill(&mut packed, &batch.items)?;
    let made = begun.elapsed();
    let run = meter.steps(&packed)?;
    let tokens = packed.rows(work::tokens(program));
    let size = json!({"samples": packed.len(), "tokens": tokens});
    let steps = match engine.driver() {
        None => format!("steps, {} threads", engine.threads()),
        Some(driver) => format!("stream of {}", driver.name()),
    };
    let mut events = vec![
        named("process_name", HOST, &format!("bytec, {}", args.plan.display())),
        named("thread_name", HOST, "host"),
        named("thread_name", STEPS, &steps),
        span(HOST, "pack", "host", (Duration::ZERO, made), size.clone()),
        span(HOST, "run", "host", (made, run.all), size),
    ];
    let done = work::steps(program, &packed);
    for step in run.steps {
        let (spec, done) = (&program.steps[step.index], done[step.index]);
        let about = json!({
            "kernel": spec.kernel.name(),
            "rows": done.rows,
            "flop": done.products,
            "bytes": done.bytes,
            "reason": spec.reason,
        });
        let when = (made + step.begin, step.time);
        events.push(span(STEPS, &spec.name, spec.kernel.name(), when, about));
    }
    if engine.driver().is_none() {
        for (thread, tid) in (0..engine.threads()).zip(THREADS..) {
            events.push(named("thread_name", tid, &format!("thread {thread}")));
        }
    }
    for worked in run.threads {
        let spec = &program.steps[worked.index];
        let when = (made + worked.begin, worked.time);
        let tid = THREADS + u32::try_from(worked.thread).unwrap_or(u32::MAX - THREADS);
        events.push(span(tid, &spec.name, spec.kernel.name(), when, json!({})));
    }
    let clock = if engine.driver().is_none() {
        "one clock"
    } else {
        "the stream has the device's own clock; its first launch is put at the beginning of the run"
    };
    let trace = Trace {
        trace_events: events,
        display_time_unit: "ms",
        other_data: json!({
            "version": concat!("bytec ", env!("CARGO_PKG_VERSION")),
            "device": args.device.to_string(),
            "clock": clock,
        }),
    };
    super::write(path, &serde_json::to_vec(&trace).map_err(Failure::json)?)
}

fn named(what: &str, tid: u32, name: &str) -> Event {
    let (ph, args) = ("M", json!({"name": name}));
    Event { name: what.to_owned(), ph, pid: PROCESS, tid, cat: None, ts: None, dur: None, args }
}

fn span(
    tid: u32,
    name: &str,
    cat: &'static str,
    (begin, time): (Duration, Duration),
    args: Value,
) -> Event {
    let micros = |time: Duration| Some(time.as_secs_f64() * 1e6);
    let (ts, dur) = (micros(begin), micros(time));
    Event { name: name.to_owned(), ph: "X", pid: PROCESS, tid, cat: Some(cat), ts, dur, args }
}
