//! candle's own BERT on the CPU, one sample after the other: no padding, and no mask.
//!
//! - `candle-peer MODEL IDS.json embed` prints an embedding for each sample: the mean of the last rows, normalised.
//! - `candle-peer MODEL IDS.json time SECONDS` prints the seconds a token, over whole turns of all samples, after one
//!   sample that does not count.
//!
//! `MODEL` has a `config.json` and a `model.safetensors`; `IDS.json` is a list of lists of token ids. `RAYON_NUM_THREADS`
//! says how many threads work.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};

fn main() -> Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [model, samples, what, seconds @ ..] = words.as_slice() else {
        bail!("expected MODEL IDS.json embed, or MODEL IDS.json time SECONDS");
    };
    let model = load(Path::new(model))?;
    let samples: Vec<Vec<u32>> = serde_json::from_slice(&std::fs::read(samples)?)?;
    let samples = samples.into_iter().map(|ids| Tensor::new(ids, &Device::Cpu)?.unsqueeze(0));
    let samples = samples.collect::<candle_core::Result<Vec<_>>>()?;
    match (what.as_str(), seconds) {
        ("embed", []) => {
            let rows = samples.iter().map(|ids| embed(&model, ids)?.to_vec1::<f32>());
            let rows = rows.collect::<candle_core::Result<Vec<_>>>()?;
            println!("{}", serde_json::to_string(&rows)?);
        }
        ("time", [seconds]) => {
            let seconds: f64 = seconds.parse()?;
            let first = samples.first().context("expected a sample, found none")?;
            embed(&model, first)?;
            let (begun, mut turns) = (Instant::now(), 0);
            while turns == 0 || begun.elapsed().as_secs_f64() < seconds {
                for ids in &samples {
                    embed(&model, ids)?;
                }
                turns += 1;
            }
            let tokens: usize = samples.iter().map(Tensor::elem_count).sum();
            println!("{}", begun.elapsed().as_secs_f64() / (turns * tokens) as f64);
        }
        _ => bail!("expected embed, or time and seconds, found {what} {seconds:?}"),
    }
    Ok(())
}

fn load(folder: &Path) -> Result<BertModel> {
    let config: Config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let weights = std::fs::read(folder.join("model.safetensors"))?;
    let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
    Ok(BertModel::load(weights, &config)?)
}

/// The embedding of one sample `[1, tokens]`.
fn embed(model: &BertModel, ids: &Tensor) -> candle_core::Result<Tensor> {
    let rows = model.forward(ids, &ids.zeros_like()?, None)?.squeeze(0)?;
    let mean = rows.mean(0)?;
    let norm = mean.sqr()?.sum_all()?.sqrt()?;
    mean.broadcast_div(&norm)
}
