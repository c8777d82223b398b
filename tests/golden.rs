//! Stage goldens: what the compiler makes of a model, stage by stage, as plain files that a review can read.
//!
//! Each folder of `golden/` is one case. Its `case.json` describes the model: either `tiny`, the knobs of a
//! [`TinyBert`], or `config` and `tensors`, a config and the shapes of a checkpoint whose values nobody needs. The other
//! files are the stages. `UPDATE_EXPECT=1` writes them anew.
//!
//! `targets` names GPU targets beside the CPU. Their schedules follow the CPU's, and the text of each of their kernels is
//! a file, in which a line `#include "lib/..."` stands for a file of the templates' library. The plan stays the CPU's, so
//! that all files can be compared on a machine without NVRTC.
//!
//! NVRTC has to take the kernels of every case, whatever its targets, for every architecture and in every element type,
//! without spills and warnings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use bytec_compiler::front::PoolingChoice;
use bytec_compiler::nvrtc::{Arch, Cache};
use bytec_compiler::render::{Float, Source, steps};
use bytec_compiler::{FrontOptions, Options, Target, front, fuse, schedule};
use bytec_ir::{Graph, PoolKind};
use bytec_models::tiny::TinyBert;
use bytec_models::{Checkpoint, Config, Pooling, Request, TensorInfo};
use bytec_templates::LIBRARY;
use bytec_tests::nvrtc::nvrtc;
use bytec_tests::plans;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Map, Value};

const DESCRIPTION: &str = "case.json";
const BLESS: &str = "UPDATE_EXPECT";

fn main() -> ExitCode {
    let cases = cases().expect("the folder of cases can be listed");
    assert!(!cases.is_empty(), "there are cases");
    let trials = cases.into_iter().map(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(name, move || check(&folder).map_err(|e| Failed::from(format!("{e:#}"))))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn cases() -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(bytec_tests::root().join("tests/golden"))? {
        folders.push(entry?.path());
    }
    folders.sort();
    Ok(folders)
}

/// The stages of a case.
struct Stages {
    /// Text by file name.
    files: BTreeMap<String, String>,
    /// What the kernels are made of.
    fused: Graph,
}

/// Compares the stages of a case with its files, or replaces the files; then compiles the kernels.
fn check(folder: &Path) -> Result<()> {
    let stages = stages(folder)?;
    compare(folder, &stages.files)?;
    compile(&stages.fused)
}

/// Compiles a graph's kernels for each architecture in each element type; without NVRTC it says so and compiles none.
fn compile(fused: &Graph) -> Result<()> {
    let Some(nvrtc) = nvrtc() else { return Ok(()) };
    let packed = fuse::pack(fused)?;
    let mut kernels = Vec::new();
    for arch in [Arch::SM_80, Arch::SM_90A] {
        for float in [Float::F32, Float::F16, Float::Bf16] {
            let schedule = schedule::schedule(&packed, Target::Cuda { arch, float })?;
            let sources = steps::render(&schedule, float, &[])?.sources;
            kernels.extend(sources.into_iter().map(|source| (source, arch)));
        }
    }
    let units: Vec<_> = kernels.iter().map(|(source, arch)| (source, *arch)).collect();
    let cache = Cache::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden"))?;
    let compiled = nvrtc.compile(&units, Some(&cache), &|_| {})?;
    for ((kernel, arch), compiled) in units.iter().zip(compiled) {
        let defects = compiled.defects();
        ensure!(defects.is_empty(), "{} for {arch}: {defects:?}", kernel.symbol);
    }
    Ok(())
}

/// A kernel's text with an include in the place of each file of the library.
fn folded(source: &Source) -> Result<String> {
    let mut text = String::new();
    let mut last = "";
    for (line, place) in source.text.lines().zip(&source.places) {
        if !place.file.starts_with("lib/") {
            text += line;
            text.push('\n');
        } else if place.file != last {
            text += &format!("#include \"{}\"\n", place.file);
        }
        last = place.file;
    }
    ensure!(unfolded(&text)? == source.text, "{}: its includes don't give its text", source.symbol);
    Ok(text)
}

/// The text that NVRTC gets.
fn unfolded(text: &str) -> Result<String> {
    let mut whole = String::new();
    for line in text.lines() {
        match line.strip_prefix("#include \"").and_then(|line| line.strip_suffix('"')) {
            Some(name) => {
                let file = LIBRARY.iter().find(|file| file.name == name);
                whole += file.with_context(|| format!("no library file {name}"))?.text;
            }
            None => whole += &format!("{line}\n"),
        }
    }
    Ok(whole)
}

fn compare(folder: &Path, stages: &BTreeMap<String, String>) -> Result<()> {
    let bless = std::env::var_os(BLESS).is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for (name, found) in stages {
        let path = folder.join(name);
        let expected = fs::read_to_string(&path).ok();
        if expected.as_ref() == Some(found) {
            continue;
        }
        if bless {
            fs::write(&path, found)?;
        } else {
            let expected = expected.unwrap_or_default();
            wrong.push(format!("{name} differs\n{}", difference(&expected, found)));
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name == DESCRIPTION || stages.contains_key(&name) {
            continue;
        }
        if bless {
            fs::remove_file(folder.join(&name))?;
        } else {
            wrong.push(format!("{name} is no stage's file"));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{}\nif this is what the compiler should give, run with {BLESS}=1 and read the diff",
        wrong.join("\n")
    );
    Ok(())
}

/// The lines that differ, between those that begin and end both texts.
fn difference(expected: &str, found: &str) -> String {
    const SHOWN: usize = 12;
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[start..], &new[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = format!("  at line {}\n", start + 1);
    for (mark, lines) in [('-', &old[..old.len() - end]), ('+', &new[..new.len() - end])] {
        for line in lines.iter().take(SHOWN) {
            text += &format!("  {mark} {line}\n");
        }
        if lines.len() > SHOWN {
            text += &format!("  {mark} and {} lines more\n", lines.len() - SHOWN);
        }
    }
    text
}

/// Every stage of a case by file name.
fn stages(folder: &Path) -> Result<Stages> {
    let text = fs::read_to_string(folder.join(DESCRIPTION)).context(DESCRIPTION)?;
    let fields: Map<String, Value> = serde_json::from_str(&text).context(DESCRIPTION)?;
    let known = ["about", "tiny", "config", "tensors", "pooling", "normalize", "targets"];
    if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        bail!("{DESCRIPTION}: expected one of {known:?}, found {name}");
    }
    let pooling = match fields.get("pooling").map(|kind| kind.as_str().unwrap_or_default()) {
        None => None,
        Some("mean") => Some(PoolKind::Mean),
        Some("cls") => Some(PoolKind::Cls),
        Some("max") => Some(PoolKind::Max),
        Some(other) => bail!("{DESCRIPTION}: expected mean, cls or max, found {other}"),
    };
    let normalize = fields.get("normalize").and_then(Value::as_bool);
    let targets = targets(fields.get("targets"))?;
    match (fields.get("tiny"), fields.get("config"), fields.get("tensors")) {
        (Some(Value::Object(knobs)), None, None) => {
            let front = FrontOptions {
                pooling: pooling.map(|kind| PoolingChoice::Kinds(vec![kind])),
                normalize,
                ..FrontOptions::default()
            };
            of_tiny(&tiny(knobs)?, &front, &targets)
        }
        (None, Some(Value::Object(config)), Some(Value::Object(tensors))) => {
            let normalize = normalize.unwrap_or_default();
            let pooling = pooling.map(|kind| Pooling::new(kind, normalize));
            of_shapes(config, tensors, &Request { pooling, ..Request::default() }, &targets)
        }
        _ => bail!("{DESCRIPTION}: expected the object tiny, or the objects config and tensors"),
    }
}

/// All stages of a model with weights.
fn of_tiny(tiny: &TinyBert, front: &FrontOptions, targets: &[(Target, Float)]) -> Result<Stages> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model");
    plans::write_folder(tiny, &model)?;
    let options = Options { front: front.clone(), ..Options::default() };
    let stages = plans::compile(&model, &options, &folder.path().join("model.plan"))?;
    let files = stages.files.into_iter().collect();
    let (fused, _) = fuse::run(&front::load(&model, front)?.graph, fuse::RULES)?;
    with_targets(Stages { files, fused }, targets)
}

/// The stages before weights are read.
fn of_shapes(
    config: &Map<String, Value>,
    tensors: &Map<String, Value>,
    request: &Request,
    targets: &[(Target, Float)],
) -> Result<Stages> {
    let info = |shape: &Value| -> Result<TensorInfo> {
        Ok(TensorInfo { dtype: "F32".to_owned(), shape: serde_json::from_value(shape.clone())? })
    };
    let tensors: Result<_> =
        tensors.iter().map(|(name, shape)| Ok((name.clone(), info(shape)?))).collect();
    let checkpoint = Checkpoint::new("model.safetensors", tensors?);
    let graph =
        bytec_models::build(&Config::new("config.json", config.clone()), &checkpoint, request)?
            .graph;
    let (fused, _) = fuse::run(&graph, fuse::RULES)?;
    let schedule = schedule::schedule(&fuse::pack(&fused)?, Target::Cpu)?;
    let files = BTreeMap::from([
        ("1.graph.ir".to_owned(), graph.to_string()),
        ("2.fused.ir".to_owned(), fused.to_string()),
        ("3.schedule.txt".to_owned(), schedule.to_text(&fused)),
    ]);
    with_targets(Stages { files, fused }, targets)
}

/// Adds the schedules and kernels of GPU targets.
fn with_targets(mut stages: Stages, targets: &[(Target, Float)]) -> Result<Stages> {
    let Stages { files, fused } = &mut stages;
    for &(target, float) in targets {
        let schedule = schedule::schedule(&fuse::pack(fused)?, target)?;
        let text = files.entry("3.schedule.txt".to_owned()).or_default();
        *text += &format!("\n{}", schedule.to_text(fused));
        for source in &steps::render(&schedule, float, &[])?.sources {
            files.insert(format!("4.{}.cu", source.symbol), folded(source)?);
        }
    }
    Ok(stages)
}

/// GPU targets by name, such as `sm_80:f16`.
fn targets(names: Option<&Value>) -> Result<Vec<(Target, Float)>> {
    let Some(names) = names else { return Ok(Vec::new()) };
    let names: Vec<String> = serde_json::from_value(names.clone()).context("targets")?;
    let target = |name: &String| match name.parse()? {
        target @ Target::Cuda { float, .. } => Ok((target, float)),
        Target::Cpu | Target::CpuBf16 | Target::CpuInt8 => {
            bail!("targets: every case is compiled for the CPU")
        }
    };
    names.iter().map(target).collect()
}

/// A tiny model with these knobs, the others as they are by default.
fn tiny(knobs: &Map<String, Value>) -> Result<TinyBert> {
    let mut tiny = TinyBert::default();
    for (name, value) in knobs {
        let number = || value.as_u64().with_context(|| format!("{name}: expected a number"));
        let text = || value.as_str().with_context(|| format!("{name}: expected a name"));
        let flag = || value.as_bool().with_context(|| format!("{name}: expected true or false"));
        let size = || number().map(|n| n as usize);
        match name.as_str() {
            "architecture" => tiny.architecture = one_of(&architectures(), text()?)?,
            "layers" => tiny.layers = size()?,
            "hidden" => tiny.hidden = size()?,
            "heads" => tiny.heads = size()?,
            "intermediate" => tiny.intermediate = size()?,
            "vocab" => tiny.vocab = size()?,
            "positions" => tiny.positions = size()?,
            "types" => tiny.types = size()?,
            "labels" => tiny.labels = size()?,
            "act" => tiny.act = one_of(&["gelu", "gelu_new", "relu", "silu"], text()?)?,
            "prefix" => tiny.prefix = flag()?,
            "gamma_beta" => tiny.gamma_beta = flag()?,
            "tied" => tiny.tied = flag()?,
            "pooler" => tiny.pooler = flag()?,
            "seed" => tiny.seed = number()?,
            _ => bail!("tiny: expected a field of TinyBert, found {name}"),
        }
    }
    Ok(tiny)
}

fn architectures() -> Vec<&'static str> {
    bytec_models::MODELS.iter().flat_map(|family| (family.architectures)()).collect()
}

fn one_of(names: &[&'static str], found: &str) -> Result<&'static str> {
    let known = names.iter().find(|name| **name == found);
    known.copied().with_context(|| format!("expected one of {names:?}, found {found}"))
}
