//! `bytec compile`: a model to a plan.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytec_compiler::emit::Emitted;
use bytec_compiler::report::KernelReport;
use bytec_compiler::tuned::Table;
use bytec_compiler::{Options, Stages, Target, file};
use bytec_text::TextEncoder;
use serde::Serialize;

use crate::Outcome;
use crate::args::CompileArgs;
use crate::failure::Failure;
use crate::int8::{Int8, Reference};
use crate::layers;
use crate::outputs;
use crate::progress::Bar;
use crate::resources;
use crate::targets;
use crate::toolchain;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    plan: &'a Path,
    bytes: u64,
    seconds: f64,
    targets: Vec<&'a str>,
    kernels: &'a [KernelReport],
    /// Of the program for `cpu:int8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    int8: Option<&'a Int8>,
    manifest: &'a bytec_plan::manifest::Manifest,
}

pub(crate) fn compile(args: &CompileArgs) -> Outcome {
    let targets = targets::resolve(&args.target)?;
    check(args, &targets)?;
    let begun = Instant::now();
    let options = options(args, targets)?;
    let reference = Reference::of(args, &options)?;
    let mut bar = Bar::compiling(args.json);
    let outcome =
        bytec_compiler::compile(&args.model.source, &options, &mut bar, |emitted, stages| {
            check_tokenizer(emitted)?;
            if let Some(folder) = &args.emit {
                write_stages(folder, &stages)?;
            }
            let int8 = reference.map(|reference| reference.beside(emitted, args)).transpose()?;
            let bytes = emitted.write_file(&args.output)?;
            let seconds = begun.elapsed().as_secs_f64();
            report(args, emitted, int8.as_ref(), bytes, seconds)
        });
    bar.finish();
    outcome
}

/// What can be known to go wrong before the work begins.
fn check(args: &CompileArgs, targets: &[Target]) -> Outcome {
    let devices: Vec<_> = targets.iter().map(|target| target.device()).collect();
    if let Some(twice) = (1..devices.len()).find(|&i| devices[..i].contains(&devices[i])) {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "--target: expected each device once, found {} twice; a plan has one program for each",
            devices[twice]
        )));
    }
    let ptx_alone = devices.iter().find(|device| device.starts_with("compute_"));
    if let Some(device) = ptx_alone.filter(|_| args.strip_ptx) {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "--strip-ptx: expected targets with machine code, such as sm_80, found {device}, which is PTX alone"
        )));
    }
    args.model.refuse_as_output(&args.output)?;
    let read = args.tuned.iter().chain(&args.text_file).map(PathBuf::as_path);
    outputs::refuse_inputs(&args.output, read, None)?;
    Ok(file::check(&args.output)?)
}

/// Finds out now, not at the first text, that the folder's tokenizer is of no use.
pub(crate) fn check_tokenizer(emitted: &Emitted<'_>) -> Outcome {
    let (Some(spec), Some(tokenizer)) = (&emitted.manifest.text, emitted.tokenizer()) else {
        return Ok(());
    };
    TextEncoder::new(tokenizer, spec).map(|_| ()).map_err(|error| {
        let help = "without a tokenizer.json in the folder, the plan takes token ids only";
        Failure::bad_input(anyhow::anyhow!("tokenizer.json: {error}; {help}"))
    })
}

fn options(args: &CompileArgs, targets: Vec<Target>) -> Result<Options, Failure> {
    Ok(Options {
        front: args.model.front(),
        targets,
        toolchain: toolchain::find(args.nvrtc.as_deref(), args.kernel_cache.as_deref()),
        strip_ptx: args.strip_ptx,
        tables: args.tuned.iter().map(|path| table(path)).collect::<Result<_, _>>()?,
        threads: args.threads.map(usize::from),
    })
}

/// A table of measured tiles.
fn table(path: &Path) -> Result<Table, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
    Table::read(&text).map_err(|error| {
        Failure::bad_input(anyhow::Error::new(error).context(path.display().to_string()))
    })
}

fn write_stages(folder: &Path, stages: &Stages) -> Outcome {
    fs::create_dir_all(folder).map_err(|source| {
        Failure::bad_input(anyhow::anyhow!("can't make the folder {}: {source}", folder.display()))
    })?;
    for (name, text) in &stages.files {
        let path = folder.join(name);
        file::replace(&path, |out| -> Result<(), Failure> {
            out.write_all(text.as_bytes())
                .map_err(|source| file::FileError { path: path.clone(), source }.into())
        })?;
    }
    Ok(())
}

fn report(
    args: &CompileArgs,
    emitted: &Emitted<'_>,
    int8: Option<&Int8>,
    bytes: u64,
    seconds: f64,
) -> Outcome {
    let manifest = &emitted.manifest;
    let targets: Vec<_> = emitted.programs.iter().map(|program| program.target.as_str()).collect();
    let warnings = manifest.report.non_finite.iter().map(|(name, count)| {
        format!("warning: {name} holds {count} elements that are NaN or infinite")
    });
    if args.json {
        tell(warnings);
        let (plan, kernels) = (&args.output, &emitted.kernels[..]);
        let summary = Summary { plan, bytes, seconds, targets, kernels, int8, manifest };
        let mut out = stdout().lock();
        serde_json::to_writer_pretty(&mut out, &summary).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    tell(resources::compiled(&emitted.kernels));
    let launched = emitted.programs.iter().filter(|program| program.device.is_some());
    tell(launched.map(|program| format!("{}: {}", program.target, layers::steps(program))));
    tell(manifest.report.notes.iter().cloned());
    tell(int8.into_iter().flat_map(Int8::lines));
    if !manifest.report.unused_tensors.is_empty() {
        tell([format!("unused tensors: {}", manifest.report.unused_tensors.join(", "))]);
    }
    tell(warnings);
    let total = |ops: &BTreeMap<String, u64>| ops.values().sum::<u64>();
    tell([format!(
        "{}: {:.1} MB for {}, {} ops fused into {} in {seconds:.2} s",
        args.output.display(),
        bytes as f64 / 1e6,
        targets.join(", "),
        total(&manifest.report.ops_before),
        total(&manifest.report.ops_after),
    )]);
    Ok(())
}

/// Lines for whoever watches. The plan is written: a closed standard error takes nothing from that.
fn tell(lines: impl IntoIterator<Item = String>) {
    let mut err = stderr().lock();
    for line in lines {
        let _ = writeln!(err, "{line}");
    }
}
