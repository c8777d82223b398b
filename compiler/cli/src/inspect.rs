//! `bytec inspect`: what a plan holds and how it came about.

use std::collections::BTreeMap;
use std::io::{self, Write, stdout};

use bytec_compiler::schedule::memory::arena_expression;
use bytec_plan::device::{Image, ModuleSpec};
use bytec_plan::manifest::{Manifest, PoolingSource, PoolingSpec, PoolingStep, RuleReport};
use bytec_plan::program::Program;
use bytec_plan::reader::PlanIndex;
use serde::Serialize;

use crate::Outcome;
use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::int8;
use crate::layers;
use crate::plan_file;
use crate::resources;

/// What `--json` prints.
#[derive(Serialize)]
struct Inspection<'a> {
    format: u32,
    bytes: u64,
    sections: BTreeMap<String, u64>,
    manifest: &'a Manifest,
    programs: Vec<ProgramReport<'a>>,
}

#[derive(Serialize)]
struct ProgramReport<'a> {
    arena_bytes: String,
    #[serde(flatten)]
    program: &'a Program,
}

pub(crate) fn inspect(args: &InspectArgs) -> Outcome {
    let (index, bytes) = plan_file::read(&args.plan)?;
    let mut out = stdout().lock();
    let sections: BTreeMap<_, _> =
        index.sections.iter().map(|section| (section.id.to_string(), section.length)).collect();
    if args.json {
        let programs = index
            .programs
            .iter()
            .map(|program| ProgramReport { arena_bytes: arena(program), program })
            .collect();
        let inspection = Inspection {
            format: index.format,
            bytes,
            sections,
            manifest: &index.manifest,
            programs,
        };
        serde_json::to_writer_pretty(&mut out, &inspection).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{}: {bytes} bytes, format {}", args.plan.display(), index.format)?;
    for (name, length) in &sections {
        writeln!(out, "  {name:<12} {length:>12} bytes")?;
    }
    source(&mut out, &index)?;
    ops(&mut out, &index.manifest)?;
    rules(&mut out, &index.manifest.report.rules)?;
    for program in &index.programs {
        show_program(&mut out, program)?;
    }
    Ok(())
}

/// The arena's size as an expression in the batch's extents, in bytes.
fn arena(program: &Program) -> String {
    let symbols: Vec<_> = program.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
    let extents: Vec<_> = program.extents.iter().map(|extent| extent.display(&symbols)).collect();
    arena_expression(&program.slots, &extents)
}

fn source(out: &mut impl Write, index: &PlanIndex) -> io::Result<()> {
    let manifest = &index.manifest;
    writeln!(out, "\nsource: {} (front end: {})", manifest.compiler, manifest.front)?;
    if !manifest.family.is_empty() {
        writeln!(out, "  model      {} {}", manifest.family, manifest.architecture)?;
    }
    if let Some(text) = &manifest.text {
        writeln!(out, "  texts      cut to {} tokens ({})", text.max_tokens, text.max_tokens_from)?;
    }
    if let Some(pooling) = &manifest.pooling {
        let from = match pooling.from {
            PoolingSource::Folder => "the folder's modules.json",
            PoolingSource::Option => "--pooling",
        };
        writeln!(out, "  embedding  {} ({from})", embedding(pooling))?;
    }
    if !manifest.labels.is_empty() {
        writeln!(out, "  labels     {}", manifest.labels.join(", "))?;
    }
    if !manifest.report.ignored_fields.is_empty() {
        writeln!(out, "  ignored    {} (config)", manifest.report.ignored_fields.join(", "))?;
    }
    if !manifest.report.unused_tensors.is_empty() {
        writeln!(out, "  unused     {}", manifest.report.unused_tensors.join(", "))?;
    }
    for (name, count) in &manifest.report.non_finite {
        writeln!(out, "  warning    {name}: {count} elements are NaN or infinite")?;
    }
    for note in &manifest.report.notes {
        writeln!(out, "  note       {note}")?;
    }
    Ok(())
}

/// How an embedding comes about: `Cls and Mean, Dense to 10 with Tanh, L2-normalised`.
fn embedding(pooling: &PoolingSpec) -> String {
    let kinds: Vec<_> = pooling.kinds.iter().map(|kind| format!("{kind:?}")).collect();
    let mut parts = vec![kinds.join(" and ")];
    parts.extend(pooling.steps.iter().map(|step| match step {
        PoolingStep::Normalize => "L2-normalised".to_owned(),
        PoolingStep::Dense { outputs, bias, function } => {
            let bias = if *bias { "" } else { " without bias" };
            let function = function.map_or(String::new(), |f| format!(", then {f:?}"));
            format!("Dense to {outputs}{bias}{function}")
        }
    }));
    parts.join(", ")
}

fn ops(out: &mut impl Write, manifest: &Manifest) -> io::Result<()> {
    let report = &manifest.report;
    let mut kinds: Vec<&String> = report.ops_before.keys().chain(report.ops_after.keys()).collect();
    kinds.sort();
    kinds.dedup();
    writeln!(out, "\nops                  before   after")?;
    let count = |ops: &BTreeMap<String, u64>, kind: &str| ops.get(kind).copied().unwrap_or(0);
    for kind in kinds {
        let (before, after) = (count(&report.ops_before, kind), count(&report.ops_after, kind));
        writeln!(out, "  {kind:<18} {before:>6}  {after:>6}")?;
    }
    let total = |ops: &BTreeMap<String, u64>| ops.values().sum::<u64>();
    writeln!(
        out,
        "  {:<18} {:>6}  {:>6}",
        "total",
        total(&report.ops_before),
        total(&report.ops_after)
    )?;
    if !report.ops_folded.is_empty() {
        let folded: Vec<_> =
            report.ops_folded.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        writeln!(out, "  on weights alone, done at compile time: {}", folded.join(", "))?;
    }
    Ok(())
}

fn rules(out: &mut impl Write, rules: &[RuleReport]) -> io::Result<()> {
    writeln!(out, "\nrules                  fired  refused")?;
    for rule in rules {
        writeln!(out, "  {:<20} {:>5}  {:>7}", rule.rule, rule.applied.len(), rule.refused.len())?;
        for refusal in &rule.refused {
            writeln!(out, "    refused at %{}: {}", refusal.at, refusal.reason)?;
        }
    }
    Ok(())
}

fn show_program(out: &mut impl Write, program: &Program) -> io::Result<()> {
    writeln!(
        out,
        "\nprogram {} for {} in {}",
        program.entry,
        program.target,
        program.arithmetic().name()
    )?;
    let symbols: Vec<_> = program.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
    for symbol in &program.symbols {
        writeln!(out, "  symbol  {} from {} to {}", symbol.name, symbol.min, symbol.max)?;
    }
    let shape = |shape: &[bytec_plan::extent::Extent]| {
        let dims: Vec<_> = shape.iter().map(|dim| dim.display(&symbols)).collect();
        dims.join(", ")
    };
    for input in &program.inputs {
        let default = input.default.map_or(String::new(), |value| format!(", {value} if left out"));
        let below = input.below.map_or(String::new(), |below| format!(", below {below}"));
        let dtype = input.dtype.name();
        writeln!(
            out,
            "  input   {}: {dtype}[{}]{below}{default}",
            input.name,
            shape(&input.shape)
        )?;
    }
    for output in &program.outputs {
        writeln!(
            out,
            "  output  {}: {}[{}]",
            output.name,
            program.dtype.name(),
            shape(&output.shape)
        )?;
    }
    let mut kernels: BTreeMap<&str, u64> = BTreeMap::new();
    for step in &program.steps {
        *kernels.entry(step.kernel.name()).or_insert(0) += 1;
    }
    let kernels: Vec<_> = kernels.iter().map(|(name, n)| format!("{n} {name}")).collect();
    writeln!(out, "  steps   {}: {}", program.steps.len(), kernels.join(", "))?;
    writeln!(out, "  layers  {}", layers::steps(program))?;
    let (narrow, wide) = int8::linears(program);
    if narrow > 0 {
        writeln!(out, "  int8    {narrow} of {} linears", narrow + wide.len())?;
    }
    let weights: u64 = program.weights.iter().map(|weight| weight.bytes).sum();
    writeln!(out, "  weights {} in {weights} bytes", program.weights.len())?;
    writeln!(out, "  arena   {} bytes in {} slots", arena(program), program.slots.len())?;
    let Some(code) = &program.device else { return Ok(()) };
    let bytes = |of: fn(&ModuleSpec) -> Option<&Image>| -> u64 {
        code.modules.iter().filter_map(of).map(|image| image.bytes).sum()
    };
    let machine_code = match bytes(|module| module.cubin.as_ref()) {
        0 => "no machine code".to_owned(),
        bytes => format!("{bytes} bytes of machine code for {}", code.arch),
    };
    let ptx = match bytes(|module| module.ptx.as_ref()) {
        0 => "no PTX: for no later generation of GPUs, and not for the interpreter".to_owned(),
        bytes => format!("{bytes} bytes of PTX"),
    };
    writeln!(out, "  code    {machine_code}, {ptx}")?;
    resources::planned(program, code).iter().try_for_each(|line| writeln!(out, "  {line}"))
}
