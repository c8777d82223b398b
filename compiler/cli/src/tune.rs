//! `bytec tune`: the tiles of a plan's linears, by measurement.

mod args;
mod choice;
mod layer;
mod shown;

use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;

use bytec_compiler::tune::{Tunable, layers, retile};
use bytec_compiler::tuned::{FORMAT, Table};
use bytec_compiler::{Target, file};
use bytec_plan::reader::PlanIndex;
use bytec_runtime::cuda::Driver;
use bytec_runtime::{Engine, EngineOptions, PackedBatch};

pub(crate) use self::args::TuneArgs;
use self::layer::{Bench, Point, bits};
use crate::devices::{self, Device, OpenedTimed};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::{Outcome, batches, bench, outputs, toolchain};

/// Rows that are timed, unless the command line says otherwise; and in a dry run.
const ROWS: [u64; 4] = [512, 2048, 8192, 32768];
const DRY: [u64; 1] = [128];

pub(crate) fn tune(args: &TuneArgs) -> Outcome {
    let dry = refuse(args)?;
    let bytes = std::fs::read(&args.plan).map_err(|error| Failure::reading(&args.plan, &error))?;
    let index = PlanIndex::read(&bytes).map_err(|error| {
        Failure::bad_input(anyhow::Error::new(error).context(args.plan.display().to_string()))
    })?;
    let OpenedTimed { opened, timed } = devices::open_timed(args.device, &args.plan, None)?;
    let engine = &opened.engine;
    let program = engine.program();
    let at = index.programs.iter().position(|of| of == program).ok_or_else(|| {
        Failure::bad_input(anyhow::anyhow!("{}: it changed while it was read", args.plan.display()))
    })?;
    let tunable = layers(&index, at)?;
    let driver = engine.driver().ok_or_else(|| {
        Failure::internal(anyhow::anyhow!("expected a device behind the engine, found none"))
    })?;
    let target: Target = format!("{}:{}", program.target, program.dtype.name())
        .parse()
        .map_err(Failure::internal)?;
    let bench = Bench {
        driver: Arc::clone(driver),
        timed,
        target,
        toolchain: toolchain::find(args.nvrtc.as_deref(), args.kernel_cache.as_deref()),
        runs: args.runs,
        seed: args.seed,
    };
    let rows = rows(args, dry);
    let found = measure(args, &bench, tunable, &rows)?;
    let mut table = None;
    if !dry {
        let dtype = program.dtype.name();
        let of = |(of, points): &(Tunable, Vec<Point>)| choice::linears(of, dtype, points);
        let mut linears: Vec<_> = found.iter().flat_map(of).collect();
        linears.sort_by_key(|one| (one.n, one.k, one.bias, one.epilogue.len(), one.from_rows));
        let devices = vec![bench.table(linears, args.date.clone())];
        table = Some(Table { format: FORMAT, devices });
    }
    if args.output.is_some() || !dry {
        let tables: Vec<_> = table.iter().cloned().collect();
        let plans = retile((&index, &bytes), at, &[tables], &bench.toolchain, &|_, _| {})?;
        let mut tuned = Vec::new();
        for plan in &plans {
            plan.write(&mut tuned).map_err(Failure::internal)?;
        }
        compare(args, engine, &tuned, if dry { &DRY } else { &rows })?;
        if let Some(path) = &args.output {
            write(path, &tuned)?;
        }
    }
    if let (Some(path), Some(table)) = (&args.table, &table) {
        write(path, table.to_text().map_err(Failure::json)?.as_bytes())?;
    }
    report(args, engine, &found, table.as_ref())
}

/// Whether it is a dry run; or what can be known to go wrong before the work begins.
fn refuse(args: &TuneArgs) -> Result<bool, Failure> {
    let bad = |text: String| Err(Failure::bad_input(anyhow::anyhow!(text)));
    let dry = match args.device {
        Device::Cuda => false,
        Device::Sim(_) => true,
        Device::Cpu => {
            return bad(
                "--device: expected cuda, or sim for a dry run, found cpu, whose kernels have no tiles to choose"
                    .to_owned(),
            );
        }
    };
    if dry && args.table.is_some() {
        return bad(format!(
            "--table: expected --device cuda, found --device {}, which times nothing",
            args.device
        ));
    }
    if !args.rows.is_sorted_by(|a, b| a < b) {
        return bad(format!("--rows: expected ascending numbers, found {:?}", args.rows));
    }
    if let (Some(output), Some(table)) = (&args.output, &args.table)
        && output == table
    {
        return bad(format!(
            "--table: expected another file than -o, found {} for both",
            table.display()
        ));
    }
    for path in [&args.output, &args.table].into_iter().flatten() {
        outputs::refuse_inputs(path, [args.plan.as_path()], None)?;
        file::check(path)?;
    }
    Ok(dry)
}

fn rows(args: &TuneArgs, dry: bool) -> Vec<u64> {
    match (args.rows.as_slice(), dry) {
        ([], true) => DRY.to_vec(),
        ([], false) => ROWS.to_vec(),
        (rows, _) => rows.iter().copied().map(u64::from).collect(),
    }
}

/// Every layer, one after the other.
fn measure(
    args: &TuneArgs,
    bench: &Bench,
    tunable: Vec<Tunable>,
    rows: &[u64],
) -> Result<Vec<(Tunable, Vec<Point>)>, Failure> {
    let mut bar = Bar::new((tunable.len() * rows.len()) as u64, args.json);
    let mut found = Vec::new();
    for of in tunable {
        let mut nth = 0;
        let points = bench.measure(&of, rows, || {
            bar.advance(&format!("linear {} x {}, {} rows", of.layer.n, of.layer.k, rows[nth]));
            nth += 1;
        })?;
        found.push((of, points));
    }
    bar.finish();
    Ok(found)
}

/// Holds the whole plan as it was against the tuned one, on random samples.
fn compare(args: &TuneArgs, engine: &Engine, tuned: &[u8], rows: &[u64]) -> Outcome {
    let Some(driver) = engine.driver() else { return Ok(()) };
    let driver: Arc<dyn Driver> = Arc::clone(driver);
    let other = Engine::from_bytes_with_driver(tuned, driver, EngineOptions::default())?;
    let (mut before, mut after) = (engine.session(), other.session());
    for &rows in rows {
        let items = bench::random_items(engine.program(), rows, args.seed)?;
        let (mut batch, mut same) = (PackedBatch::new(engine), PackedBatch::new(&other));
        batches::fill(&mut batch, &items)?;
        batches::fill(&mut same, &items)?;
        let expected = bits(&before.run(&batch)?);
        if expected != bits(&after.run(&same)?) {
            return Err(Failure::mismatch(anyhow::anyhow!(
                "{}: expected the same bits from the tuned plan, found others for {} random samples; nothing was written, and \
                 it is a defect of bytec, or of a plan that another build of it compiled",
                args.plan.display(),
                batch.len()
            )));
        }
    }
    Ok(())
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Outcome {
    file::replace(path, |out| {
        out.write_all(bytes)
            .map_err(|source| file::FileError { path: path.to_owned(), source }.into())
    })
}

fn report(
    args: &TuneArgs,
    engine: &Engine,
    found: &[(Tunable, Vec<Point>)],
    table: Option<&Table>,
) -> Outcome {
    let (program, machine) = (engine.program(), engine.driver().map_or("", |driver| driver.name()));
    let mut out = stdout().lock();
    if args.json {
        let layer = |(of, points): &(Tunable, Vec<Point>)| {
            let names = of.steps.iter().map(|step| program.steps[*step].name.as_str());
            shown::layer(of, &names.collect::<Vec<_>>(), points)
        };
        let report = shown::Report {
            plan: args.plan.display().to_string(),
            device: args.device.to_string(),
            machine: machine.to_owned(),
            dry_run: table.is_none(),
            layers: found.iter().map(layer).collect(),
            table,
        };
        serde_json::to_writer_pretty(&mut out, &report).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    let plan = args.plan.display();
    let (target, dtype) = (&program.target, program.dtype.name());
    match table {
        Some(_) => writeln!(
            out,
            "{plan} for {target} in {dtype} on {machine}: medians of {} runs",
            args.runs
        )?,
        None => writeln!(
            out,
            "dry run of {plan} for {target} in {dtype} on {machine}: nothing was timed, and all choices are the cost model's"
        )?,
    }
    shown::table(&mut out, found)?;
    for (path, what) in [(&args.output, "plan"), (&args.table, "table")] {
        if let Some(path) = path {
            writeln!(out, "{what} {}", path.display())?;
        }
    }
    Ok(())
}
