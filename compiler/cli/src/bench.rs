//! `bytec bench`: a plan, measured.

mod args;
mod ceilings;
mod counts;
mod lengths;
mod plot;
mod report;
mod row;
mod samples;
mod shown;
mod trace;

use std::io::{Write, stdout};
use std::path::Path;

use bytec_compiler::file;
use bytec_measure::{Meter, machine};
use bytec_plan::program::Program;
use bytec_runtime::SessionOptions;

pub(crate) use self::args::BenchArgs;
use self::report::Report;
use self::samples::{Batch, Cut};
use crate::batches::Item;
use crate::devices::{self, Device, OpenedTimed};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::{Outcome, outputs};

/// Samples of a batch, unless the command line says otherwise; and with --plot.
const SAMPLES: usize = 8;
const PLOTTED: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

pub(crate) fn bench(args: &BenchArgs) -> Outcome {
    refuse(args)?;
    let files = [&args.plot, &args.trace];
    for file in files.into_iter().flatten() {
        outputs::refuse_inputs(file, [args.plan.as_path()], None)?;
        file::check(file)?;
    }
    let OpenedTimed { opened, timed } = devices::open_timed(args.device, &args.plan, args.threads)?;
    let engine = &opened.engine;
    let mut sizes = lengths::Sizes::new(args, engine.program())?;
    let lengths = sizes.said.clone();
    let simulated = opened.sim.is_some();
    // Whatever is wrong with the samples shows before anything is measured.
    let mut work: Vec<Vec<Batch>> = Vec::new();
    for cut in cuts(args, sizes.listed()) {
        work.push(samples::batches(engine, &mut sizes, cut, simulated, args.seed)?);
    }
    let found = match &timed {
        Some(timed) => ceilings::device(args, engine, timed),
        None if simulated => ceilings::Found::default(),
        None => ceilings::processor(args, engine)?,
    };
    let options = SessionOptions { graphs: args.graphs, ..SessionOptions::default() };
    let mut meter = Meter::new(engine, options, timed);
    let mut rows = Vec::new();
    let mut bar = Bar::new(work.len() as u64, true);
    for batches in &work {
        rows.push(match &opened.sim {
            Some(sim) => counts::count(sim, &mut meter, engine, batches)?,
            None => row::measure(args, &mut meter, engine, batches, &found.rates)?,
        });
        bar.advance(&format!("{} of {} sorts of batches", rows.len(), work.len()));
    }
    bar.finish();
    if let (Some(path), Some(batch)) = (&args.trace, work.last().and_then(|last| last.first())) {
        trace::write(path, args, &mut meter, engine, batch)?;
    }
    let report = Report::new(args, engine, machine::processor(), lengths, &found, rows);
    if let Some(path) = &args.plot {
        write(path, plot::svg(&report)?.as_bytes())?;
    }
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(Failure::json)?;
        writeln!(out)?;
    } else {
        shown::show(&mut out, &report)?;
    }
    Ok(())
}

/// Refuses flags that have no meaning together.
fn refuse(args: &BenchArgs) -> Outcome {
    let timed = [
        ("--plot", args.plot.is_some()),
        ("--trace", args.trace.is_some()),
        ("--duration", args.duration.is_some()),
        ("--runs", args.runs.is_some()),
        ("--percentiles", !args.percentiles.is_empty()),
    ];
    if let (Device::Sim(_), Some((flag, _))) =
        (args.device, timed.into_iter().find(|(_, given)| *given))
    {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "{flag}: expected --device cpu or cuda, found --device {}, which counts and does not time",
            args.device
        )));
    }
    let gpu = [("--graphs", args.graphs), ("--nvrtc", args.nvrtc.is_some())];
    if let (true, Some((flag, _))) =
        (args.device != Device::Cuda, gpu.into_iter().find(|(_, given)| *given))
    {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "{flag}: expected --device cuda, found --device {}",
            args.device
        )));
    }
    Ok(())
}

/// Random samples of a program, of the sizes that are drawn unless the command line names others: until they have so many
/// tokens.
pub(crate) fn random_items(
    program: &Program,
    tokens: u64,
    seed: u64,
) -> Result<Vec<Item>, Failure> {
    samples::until(program, &mut lengths::Sizes::usual(program, seed), tokens, seed)
}

/// How samples are cut into batches, one way after the other.
fn cuts(args: &BenchArgs, listed: Option<usize>) -> Vec<Cut> {
    if !args.tokens.is_empty() {
        return args.tokens.iter().map(|tokens| Cut::Tokens(*tokens)).collect();
    }
    if !args.batch.is_empty() {
        return args.batch.iter().map(|samples| Cut::Samples(*samples as usize)).collect();
    }
    match (listed, &args.plot) {
        (Some(all), _) => vec![Cut::Samples(all)],
        (None, Some(_)) => PLOTTED.map(Cut::Samples).into(),
        (None, None) => vec![Cut::Samples(SAMPLES)],
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Outcome {
    file::replace(path, |out| {
        out.write_all(bytes)
            .map_err(|source| file::FileError { path: path.to_owned(), source }.into())
    })
}
