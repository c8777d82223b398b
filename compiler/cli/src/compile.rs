//! `bytec compile`: a model to a plan.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::time::Instant;

use bytec_compiler::emit::Emitted;
use bytec_compiler::front::PoolingChoice;
use bytec_compiler::{FrontOptions, Options, Stages, file};
use bytec_ir::PoolKind;
use serde::Serialize;

use crate::Outcome;
use crate::args::{CompileArgs, Pooling};
use crate::failure::Failure;
use crate::progress::Bar;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    plan: &'a Path,
    bytes: u64,
    seconds: f64,
    targets: Vec<&'a str>,
    manifest: &'a bytec_plan::manifest::Manifest,
}

pub(crate) fn compile(args: &CompileArgs) -> Outcome {
    if args.threads == Some(0) {
        return Err(Failure::bad_input(anyhow::anyhow!("--threads 0: expected 1 or more")));
    }
    let begun = Instant::now();
    let mut bar = Bar::compiling(args.json);
    let outcome =
        bytec_compiler::compile(&args.source, &options(args), &mut bar, |emitted, stages| {
            if let Some(folder) = &args.emit {
                write_stages(folder, &stages)?;
            }
            let bytes = emitted.write_file(&args.output)?;
            report(args, emitted, bytes, begun.elapsed().as_secs_f64())
        });
    bar.finish();
    outcome
}

fn options(args: &CompileArgs) -> Options {
    Options {
        front: FrontOptions {
            config: args.config.clone(),
            set: args.set.clone(),
            architecture: args.architecture.clone(),
            graph: args.graph.clone(),
            pooling: args.pooling.map(|pooling| match pooling {
                Pooling::Mean => PoolingChoice::Kind(PoolKind::Mean),
                Pooling::Cls => PoolingChoice::Kind(PoolKind::Cls),
                Pooling::Max => PoolingChoice::Kind(PoolKind::Max),
                Pooling::None => PoolingChoice::None,
            }),
            normalize: args.normalize,
        },
        targets: args.target.clone(),
        threads: args.threads,
    }
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

fn report(args: &CompileArgs, emitted: &Emitted<'_>, bytes: u64, seconds: f64) -> Outcome {
    let manifest = &emitted.manifest;
    let mut notes = manifest.report.notes.clone();
    if !manifest.report.unused_tensors.is_empty() {
        notes.push(format!("unused tensors: {}", manifest.report.unused_tensors.join(", ")));
    }
    for (name, count) in &manifest.report.non_finite {
        notes.push(format!("warning: {name} holds {count} elements that are NaN or infinite"));
    }
    if args.json {
        let targets = emitted.programs.iter().map(|program| program.target.as_str()).collect();
        let summary = Summary { plan: &args.output, bytes, seconds, targets, manifest };
        let mut out = stdout().lock();
        serde_json::to_writer_pretty(&mut out, &summary).map_err(Failure::internal)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut err = stderr().lock();
    for note in notes {
        writeln!(err, "{note}")?;
    }
    let fused = |ops: &std::collections::BTreeMap<String, u64>| ops.values().sum::<u64>();
    writeln!(
        err,
        "{}: {:.1} MB for {}, {} ops fused into {} in {seconds:.2} s",
        args.output.display(),
        bytes as f64 / 1e6,
        emitted
            .programs
            .iter()
            .map(|program| program.target.as_str())
            .collect::<Vec<_>>()
            .join(", "),
        fused(&manifest.report.ops_before),
        fused(&manifest.report.ops_after),
    )?;
    Ok(())
}
