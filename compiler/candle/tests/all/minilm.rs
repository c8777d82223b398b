//! The real MiniLM through candle: the same embeddings as from its folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bytec_compiler::CompileError;
use bytec_runtime::{Elements, Engine, PackedBatch, Sample};
use bytec_trace_candle::models::ENCODERS;
use bytec_trace_candle::{Tensors, graph, trace};
use candle_core::Device;
use candle_transformers::models::nomic_bert::{l2_normalize, mean_pooling};

use crate::plans::{Silent, plan};

/// The model's folder, filled as the quickstart does; why not, if it can't be.
fn folder() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fetch_minilm.sh");
    let output = Command::new("bash").arg(script).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    let path = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() { Ok(PathBuf::from(path)) } else { Err(last.to_owned()) }
}

/// The embeddings of some ids, packed.
fn embed(engine: &Engine, texts: &[Vec<i64>]) -> Result<Vec<Vec<f32>>> {
    let mut batch = PackedBatch::new(engine);
    for ids in texts {
        batch.push(&Sample::new().with("input_ids", &[ids.len() as u64], Elements::I64(ids)))?;
    }
    let mut session = engine.session();
    let outputs = session.run(&batch)?;
    let found = outputs.get("embedding").context("the plan embeds")?;
    (0..texts.len()).map(|i| Ok(found.sample(i).context("every text")?.to_vec())).collect()
}

fn compare(folder: &Path) -> Result<()> {
    let made = tempfile::tempdir()?;
    let weights = folder.join("model.safetensors");
    let encoder = ENCODERS.iter().find(|encoder| encoder.name == "bert").context("it is known")?;
    let config = std::fs::read_to_string(folder.join("config.json"))?;
    let (mut options, build) = encoder.prepare(&config, Some(256))?;
    options.outputs = vec!["embedding".to_owned()];
    let tensors = candle_core::safetensors::load(&weights, &Device::Cpu)?;
    let traced = trace(
        |vars| {
            let mut forward = build(vars)?;
            Ok(move |x: &[candle_core::Tensor]| {
                let rows = forward(x)?.remove(0);
                Ok(vec![l2_normalize(&mean_pooling(&rows, &x[2])?)?])
            })
        },
        Box::new(Tensors(tensors.into_iter().collect())),
        &options,
    )?;
    let lifted = graph(&traced, &options)?;
    let through_candle = plan(&lifted.graph, &weights, made.path())?;

    let file = made.path().join("folder.plan");
    bytec_compiler::compile(
        folder,
        &bytec_compiler::Options::default(),
        &mut Silent,
        |emitted, _| {
            emitted.write_file(&file)?;
            Ok::<_, CompileError>(())
        },
    )?;
    let through_folder = Engine::open(&file)?;

    // Ids of words from all over the vocabulary, between the marks that begin and end a text.
    let text = |length: i64| {
        let words = (0..length).map(|i| 1000 + (i * i * 7919 + length * 104_729) % 29_000);
        std::iter::once(101).chain(words).chain([102]).collect::<Vec<_>>()
    };
    let texts: Vec<_> = [3, 40, 1, 117, 12].map(text).into();
    let (found, expected) = (embed(&through_candle, &texts)?, embed(&through_folder, &texts)?);
    let worst = found
        .concat()
        .iter()
        .zip(expected.concat())
        .map(|(x, y)| (x - y).abs())
        .fold(0f32, f32::max);
    ensure!(found.concat().len() == 384 * texts.len(), "embeddings have 384 columns");
    // Both compute in f32, with pooling written in different ops; embeddings are of length 1.
    ensure!(worst < 1e-6, "embeddings differ by {worst}");
    Ok(())
}

#[test]
fn minilm_gives_the_embeddings_of_its_folder() {
    match folder() {
        Ok(folder) => compare(&folder).unwrap(),
        // Without a network there is nothing to compare; where tests are to be complete that is an error.
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "MiniLM can't be fetched: {why}");
            println!("skipped: MiniLM can't be fetched: {why}");
        }
    }
}
