//! The real MiniLM, fetched as the quickstart does: reference embeddings, the bit promise, and the text path.
//!
//! Where it can't be fetched the trials count as ignored, and one line says why. With `CI` set they fail.

mod narrow;
mod simulated;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use bytec_compiler::Options;
use bytec_compiler::fuse::RULES;
use bytec_models::tiny::SplitMix64;
use bytec_runtime::{Engine, EngineOptions};
use bytec_tests::batches::{Inputs, Outputs, run, run_alone, same_bits};
use bytec_tests::golden::{Case, max_difference};
use bytec_tests::tensors::Tensor;
use bytec_tests::{minilm, plans, program};
use bytec_text::{TextEncoder, Truncation};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::{Value, json};

type Check = fn(&MiniLm) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("embeddings_agree_with_the_reference", embeddings_agree_with_the_reference),
    ("alone_gives_the_bits_of_the_batch", alone_gives_the_bits_of_the_batch),
    ("order_and_threads_change_no_bit", order_and_threads_change_no_bit),
    ("texts_become_the_reference_ids", texts_become_the_reference_ids),
    ("similar_sentences_are_near", similar_sentences_are_near),
    ("compiles_to_the_same_bytes", compiles_to_the_same_bytes),
    ("in_bf16_embeddings_keep_their_order", narrow::bf16),
    ("in_int8_embeddings_keep_their_order", narrow::int8),
    ("a_simulated_gpu_agrees_in_f16", simulated::f16),
    ("a_simulated_gpu_agrees_in_bf16", simulated::bf16),
    ("a_simulated_gpu_agrees_in_f32", simulated::f32),
    ("inspect_shows_what_was_fused", inspect_shows_what_was_fused),
];

fn main() -> ExitCode {
    let trials = CHECKS.iter().map(|&(name, check)| {
        Trial::ignorable_test(name, move || match model() {
            Ok(model) => check(model)
                .map(|()| Completion::Completed)
                .map_err(|e| Failed::from(format!("{e:#}"))),
            Err(why) if std::env::var_os("CI").is_some() => Err(Failed::from(why)),
            Err(why) => Ok(Completion::ignored_with(why)),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// The model folder and its plan, with the reference's results.
struct MiniLm {
    folder: PathBuf,
    _made: tempfile::TempDir,
    plan: PathBuf,
    case: Case,
    /// Of all 64 texts in one batch, on two threads.
    batch: OnceLock<Vec<Outputs>>,
}

/// The model, fetched and compiled once; why not, if it can't be fetched.
fn model() -> Result<&'static MiniLm, &'static str> {
    static MODEL: OnceLock<Result<MiniLm, String>> = OnceLock::new();
    let model = MODEL.get_or_init(|| match minilm::fetch() {
        Ok(folder) => Ok(MiniLm::new(folder).expect("the model compiles")),
        Err(error) => {
            let why = format!("MiniLM can't be fetched: {error:#}");
            say(&format!("skipped: {why}"));
            Err(why)
        }
    });
    model.as_ref().map_err(String::as_str)
}

#[expect(clippy::print_stderr, reason = "a skipped test says so where people see it")]
fn say(line: &str) {
    eprintln!("{line}");
}

impl MiniLm {
    fn new(folder: PathBuf) -> Result<Self> {
        let made = tempfile::tempdir()?;
        let plan = made.path().join("minilm.plan");
        plans::compile(&folder, &Options::default(), &plan)?;
        let case = Case::load("minilm/sentences")?;
        ensure!(case.inputs.len() == 64, "the reference has 64 texts");
        Ok(Self { folder, _made: made, plan, case, batch: OnceLock::new() })
    }

    fn engine(&self, threads: usize) -> Result<Engine> {
        let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
        Ok(Engine::open_with(&self.plan, options)?)
    }

    fn inputs(&self) -> Vec<&Inputs> {
        self.case.inputs.values().collect()
    }

    fn batch(&self) -> &[Outputs] {
        self.batch.get_or_init(|| {
            let engine = self.engine(2).expect("the plan opens");
            run(&engine, &mut engine.session(), self.inputs()).expect("the batch runs")
        })
    }

    fn encoder(&self, engine: &Engine, limit: Option<u64>) -> Result<TextEncoder> {
        let mut spec = engine.manifest().text.clone().context("the plan takes texts")?;
        spec.max_tokens = limit.unwrap_or(spec.max_tokens);
        Ok(TextEncoder::new(engine.tokenizer().context("the plan has a tokenizer")?, &spec)?)
    }
}

fn expect_same(found: &[Outputs], expected: &[&Outputs]) -> Result<()> {
    ensure!(found.len() == expected.len(), "{} results of {}", found.len(), expected.len());
    let differs = found.iter().zip(expected).position(|(a, b)| !same_bits(a, b));
    ensure!(differs.is_none(), "sample {differs:?} differs in its bits");
    Ok(())
}

fn embeddings_agree_with_the_reference(model: &MiniLm) -> Result<()> {
    let mut worst: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for (expected, found) in model.case.outputs.values().zip(model.batch()) {
        for (name, expected) in expected {
            let Some(found) = found.get(name) else { continue };
            let difference = max_difference(found, expected.floats()?);
            let (worst, samples) = worst.entry(name).or_default();
            (*worst, *samples) = (worst.max(difference), *samples + 1);
        }
    }
    for (name, at_least) in [("embedding", 64), ("last_hidden_state", 4)] {
        let &(worst, samples) = worst.get(name).context(name)?;
        let bound = model.case.f32_bound(name)?;
        say(&format!("{name}: max abs difference {worst:.2e}, bound {bound:.2e}"));
        ensure!(samples >= at_least, "{name}: compared for {samples} samples");
        ensure!(worst <= bound, "{name}: {worst:e} is past {bound:e}");
    }
    Ok(())
}

fn alone_gives_the_bits_of_the_batch(model: &MiniLm) -> Result<()> {
    let engine = model.engine(2)?;
    let alone = run_alone(&engine, &mut engine.session(), model.inputs())?;
    expect_same(&alone, &model.batch().iter().collect::<Vec<_>>())
}

fn order_and_threads_change_no_bit(model: &MiniLm) -> Result<()> {
    let mut order: Vec<usize> = (0..model.case.inputs.len()).collect();
    let mut random = SplitMix64(3);
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    let inputs = model.inputs();
    let engine = model.engine(1)?;
    let found = run(&engine, &mut engine.session(), order.iter().map(|&i| inputs[i]))?;
    expect_same(&found, &order.iter().map(|&i| &model.batch()[i]).collect::<Vec<_>>())
}

fn texts_become_the_reference_ids(model: &MiniLm) -> Result<()> {
    let texts = std::fs::read_to_string(model.case.folder.join("texts.json"))?;
    let texts: Vec<String> = serde_json::from_str(&texts)?;
    ensure!(texts.len() == model.case.inputs.len(), "a text for each sample");
    let encoder = model.encoder(&model.engine(1)?, Some(u64::MAX))?;
    for (i, (text, inputs)) in texts.iter().zip(model.case.inputs.values()).enumerate() {
        let encoded = encoder.encode(text, Truncation::Refuse)?;
        let Some(Tensor::I64(ids, _)) = inputs.get("input_ids") else {
            anyhow::bail!("sample {i} has no ids")
        };
        ensure!(encoded.ids == *ids, "text {i}: found {:?}, expected {ids:?}", encoded.ids);
    }
    Ok(())
}

fn similar_sentences_are_near(model: &MiniLm) -> Result<()> {
    let engine = model.engine(2)?;
    let encoder = model.encoder(&engine, None)?;
    let texts = ["The cat sits outside", "The cat plays in the garden"];
    let samples: Result<Vec<Inputs>> = texts
        .iter()
        .map(|text| {
            let encoded = encoder.encode(text, Truncation::Refuse)?;
            let shape = vec![encoded.ids.len() as u64];
            Ok(BTreeMap::from([
                ("input_ids".to_owned(), Tensor::I64(encoded.ids, shape.clone())),
                ("token_type_ids".to_owned(), Tensor::I64(encoded.type_ids, shape)),
            ]))
        })
        .collect();
    let results = run(&engine, &mut engine.session(), &samples?)?;
    let product = |a: &Outputs, b: &Outputs| -> f64 {
        let pairs = a["embedding"].iter().zip(&b["embedding"]);
        pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    for result in &results {
        let norm = product(result, result).sqrt();
        ensure!((norm - 1.0).abs() < 1e-6, "the embedding's norm is {norm}");
    }
    let cosine = format!("{:.4}", product(&results[0], &results[1]));
    ensure!(cosine == "0.6788", "the cosine is {cosine}, expected 0.6788");
    Ok(())
}

fn compiles_to_the_same_bytes(model: &MiniLm) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("a copy of the model");
    copy_folder(&model.folder, &copy)?;
    let plan = folder.path().join("copy.plan");
    plans::compile(&copy, &Options { threads: Some(1), ..Options::default() }, &plan)?;
    // Not assert_eq: nobody wants to read 90 MB.
    ensure!(std::fs::read(&plan)? == std::fs::read(&model.plan)?, "the plans differ");
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn inspect_shows_what_was_fused(model: &MiniLm) -> Result<()> {
    let plan = model.plan.display().to_string();
    let output = program::bytec(["inspect", &plan, "--json"]);
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let ops = json!({
        "add_layer_norm": 12, "attention": 6, "embed_layer_norm": 1, "iota": 1, "linear": 24, "pool": 1, "slice": 18,
    });
    let report = &found["manifest"]["report"];
    ensure!(report["ops_after"] == ops, "ops after fusion: {}", report["ops_after"]);
    // Positions and slices are read in place; every other op is one step.
    let mut steps: BTreeMap<&str, u64> = BTreeMap::new();
    for step in found["programs"][0]["steps"].as_array().context("steps")? {
        *steps.entry(step["kernel"]["kind"].as_str().context("a kernel's name")?).or_default() += 1;
    }
    let kernels = [("attention", 6), ("embed", 1), ("layer_norm", 12), ("linear", 24), ("pool", 1)];
    ensure!(steps == BTreeMap::from(kernels), "steps: {steps:?}");
    let refused = |rule: &Value| rule["refused"].as_array().is_none_or(|list| !list.is_empty());
    let rules = report["rules"].as_array().context("rules")?;
    ensure!(rules.len() == RULES.len(), "{} rules of {}", rules.len(), RULES.len());
    ensure!(!rules.iter().any(refused), "refused: {rules:#?}");
    Ok(())
}
