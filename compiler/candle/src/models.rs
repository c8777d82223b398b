//! The encoders of candle-transformers that the program knows: how each is built, and what it is given.

use anyhow::{Context, Result, bail};
use bytec_ir::dim::Dim;
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    bert, debertav2, distilbert, jina_bert, modernbert, nomic_bert, siglip, t5, vit, xlm_roberta,
};
use serde_json::Value;

use crate::options::{Input, Options};

/// A forward that is ready to run.
pub type Forward = Box<dyn FnMut(&[Tensor]) -> candle_core::Result<Vec<Tensor>>>;

/// How a forward is made from weights.
pub type Build = Box<dyn FnOnce(VarBuilder<'static>) -> candle_core::Result<Forward>>;

/// What a trace needs, from a config and the most tokens of a sample.
type Prepare = fn(&Value, Option<u64>) -> Result<(Options, Build)>;

/// One encoder.
pub struct Encoder {
    /// The name that the program knows it by: its module in candle-transformers.
    pub name: &'static str,
    /// What it takes and gives.
    pub about: &'static str,
    prepare: Prepare,
}

impl Encoder {
    /// What a trace of this encoder needs, from the text of its `config.json`. `longest` is the most tokens of a sample;
    /// without it, the most that the config allows.
    ///
    /// # Errors
    /// If the config is not one of this encoder's, or leaves the most tokens open.
    pub fn prepare(&self, config: &str, longest: Option<u64>) -> Result<(Options, Build)> {
        let config = serde_json::from_str(config).context("the config is no JSON")?;
        (self.prepare)(&config, longest).with_context(|| self.name)
    }
}

/// All of them.
pub const ENCODERS: &[Encoder] = &[
    Encoder {
        name: "bert",
        about: "input_ids, token_type_ids -> last_hidden_state",
        prepare: of_bert,
    },
    Encoder { name: "debertav2", about: "input_ids -> last_hidden_state", prepare: of_debertav2 },
    Encoder { name: "distilbert", about: "input_ids -> last_hidden_state", prepare: of_distilbert },
    Encoder { name: "jina_bert", about: "input_ids -> last_hidden_state", prepare: of_jina_bert },
    Encoder { name: "modernbert", about: "input_ids -> last_hidden_state", prepare: of_modernbert },
    Encoder { name: "nomic_bert", about: "input_ids -> last_hidden_state", prepare: of_nomic_bert },
    Encoder {
        name: "siglip",
        about: "pixel_values -> pooler_output (the vision tower)",
        prepare: of_siglip,
    },
    Encoder { name: "t5", about: "input_ids -> last_hidden_state (the encoder)", prepare: of_t5 },
    Encoder { name: "vit", about: "pixel_values -> logits", prepare: of_vit },
    Encoder {
        name: "xlm_roberta",
        about: "input_ids, token_type_ids -> last_hidden_state",
        prepare: of_xlm_roberta,
    },
];

const HIDDEN: &str = "last_hidden_state";

fn read<T: serde::de::DeserializeOwned>(config: &Value) -> Result<T> {
    serde_json::from_value(config.clone()).context("the config is not one of this encoder's")
}

/// The most tokens: what is asked for, or what the model can take.
fn longest(asked: Option<u64>, allowed: Option<usize>) -> Result<u64> {
    match (asked, allowed.map(|n| n as u64)) {
        (Some(asked), Some(allowed)) if asked > allowed => {
            bail!(
                "--max-tokens {asked} is more than the {allowed} that the model has positions for"
            )
        }
        (Some(0), _) => bail!("--max-tokens must be at least 1"),
        (Some(asked), _) => Ok(asked),
        (None, Some(allowed)) => Ok(allowed),
        (None, None) => {
            bail!("the config does not say how many tokens a sample may have: give --max-tokens")
        }
    }
}

/// Refuses a limit on tokens where a sample is an image.
fn refuse_tokens(asked: Option<u64>) -> Result<()> {
    match asked {
        None => Ok(()),
        Some(_) => bail!(
            "--max-tokens has no effect on an image, whose size is the config's; leave it out"
        ),
    }
}

fn vocabulary(size: usize) -> Result<u32> {
    u32::try_from(size).context("vocab_size is too large")
}

/// A forward that returns one tensor.
fn one(mut run: impl FnMut(&[Tensor]) -> candle_core::Result<Tensor> + 'static) -> Forward {
    Box::new(move |inputs| Ok(vec![run(inputs)?]))
}

fn of_bert(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let config: bert::Config = read(config)?;
    let ids = Input::ids("input_ids", vocabulary(config.vocab_size)?);
    let types = Input::ids("token_type_ids", vocabulary(config.type_vocab_size)?).or(0);
    let inputs = vec![ids, types, Input::mask("attention_mask")];
    let options =
        Options::tokens(longest(asked, Some(config.max_position_embeddings))?, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let model = bert::BertModel::load(vars, &config)?;
        Ok(one(move |x| model.forward(&x[0], &x[1], Some(&x[2]))))
    });
    Ok((options, build))
}

fn of_distilbert(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let allowed = config["max_position_embeddings"].as_u64().and_then(|n| usize::try_from(n).ok());
    let config: distilbert::Config = read(config)?;
    // candle's DistilBERT takes what is to be left out, not what is to be seen.
    let mask = Input::padding("attention_mask");
    let inputs = vec![Input::ids("input_ids", vocabulary(config.vocab_size)?), mask];
    let options = Options::tokens(longest(asked, allowed)?, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let model = distilbert::DistilBertModel::load(vars, &config)?;
        Ok(one(move |x| {
            let (batch, tokens) = x[1].dims2()?;
            model.forward(&x[0], &x[1].reshape((batch, 1, 1, tokens))?)
        }))
    });
    Ok((options, build))
}

fn of_xlm_roberta(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let config: xlm_roberta::Config = read(config)?;
    let ids = Input::ids("input_ids", vocabulary(config.vocab_size)?).without(config.pad_token_id);
    let types = Input::ids("token_type_ids", vocabulary(config.type_vocab_size)?).or(0);
    let inputs = vec![ids, Input::mask("attention_mask"), types];
    let first = config.pad_token_id as usize + 1;
    let allowed = config.max_position_embeddings.saturating_sub(first);
    let options = Options::tokens(longest(asked, Some(allowed))?, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let model = xlm_roberta::XLMRobertaModel::new(&config, vars)?;
        Ok(one(move |x| model.forward(&x[0], &x[1], &x[2], None, None, None)))
    });
    Ok((options, build))
}

fn of_jina_bert(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let mut config: jina_bert::Config = read(config)?;
    let inputs = vec![Input::ids("input_ids", vocabulary(config.vocab_size)?)];
    let longest = longest(asked, Some(config.max_position_embeddings))?;
    // candle makes a table of all distances when it builds the model: one of 3 GiB for 8192 tokens and 12 heads.
    config.max_position_embeddings =
        usize::try_from(longest).context("--max-tokens is too large")?;
    let options = Options::tokens(longest, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let model = jina_bert::BertModel::new(vars, &config)?;
        Ok(one(move |x| model.forward(&x[0])))
    });
    Ok((options, build))
}

fn of_nomic_bert(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let config: nomic_bert::Config = read(config)?;
    let ids = Input::ids("input_ids", vocabulary(config.vocab_size)?);
    let inputs = vec![ids, Input::mask("attention_mask")];
    let options = Options::tokens(longest(asked, Some(config.n_positions))?, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let model = nomic_bert::NomicBertModel::load(vars, &config)?;
        Ok(one(move |x| model.forward(&x[0], None, Some(&x[1]))))
    });
    Ok((options, build))
}

fn of_modernbert(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let config: modernbert::Config = read(config)?;
    let ids = Input::ids("input_ids", vocabulary(config.vocab_size)?);
    let inputs = vec![ids, Input::mask("attention_mask")];
    let options =
        Options::tokens(longest(asked, Some(config.max_position_embeddings))?, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let model = modernbert::ModernBert::load(vars, &config)?;
        Ok(one(move |x| model.forward(&x[0], &x[1])))
    });
    Ok((options, build))
}

fn of_debertav2(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let config: debertav2::Config = read(config)?;
    let ids = Input::ids("input_ids", vocabulary(config.vocab_size)?);
    let inputs = vec![ids, Input::mask("attention_mask")];
    let options =
        Options::tokens(longest(asked, Some(config.max_position_embeddings))?, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let model = debertav2::DebertaV2Model::load(vars, &config)?;
        Ok(one(move |x| model.forward(&x[0], None, Some(x[1].clone()))))
    });
    Ok((options, build))
}

fn of_t5(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    let config: t5::Config = read(config)?;
    let inputs = vec![Input::ids("input_ids", vocabulary(config.vocab_size)?)];
    // Relative positions have no end, so the config does not give one.
    let options = Options::tokens(longest(asked, None)?, inputs, HIDDEN);
    let build: Build = Box::new(move |vars| {
        let mut model = t5::T5EncoderModel::load(vars, &config)?;
        Ok(one(move |x| model.forward(&x[0])))
    });
    Ok((options, build))
}

fn of_vit(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    refuse_tokens(asked)?;
    // As in Hugging Face's configs: the labels by number, or nothing, which means two.
    let labels = config["id2label"].as_object().map_or(2, serde_json::Map::len);
    let config: vit::Config = read(config)?;
    let pixels = image(config.num_channels, config.image_size);
    let options = Options::fixed(vec![pixels], "logits");
    let build: Build = Box::new(move |vars| {
        let model = vit::Model::new(&config, labels, vars)?;
        Ok(one(move |x| model.forward(&x[0])))
    });
    Ok((options, build))
}

fn of_siglip(config: &Value, asked: Option<u64>) -> Result<(Options, Build)> {
    refuse_tokens(asked)?;
    let config: siglip::VisionConfig = match config.get("vision_config") {
        Some(tower) => read(tower)?,
        None => read(config)?,
    };
    let pixels = image(config.num_channels, config.image_size);
    let options = Options::fixed(vec![pixels], "pooler_output");
    let build: Build = Box::new(move |vars| {
        let vars = if vars.contains_tensor("vision_model.post_layernorm.weight") {
            vars.pp("vision_model")
        } else {
            vars
        };
        let model = siglip::VisionModel::new(&config, true, vars)?;
        Ok(one(move |x| model.forward(&x[0])))
    });
    Ok((options, build))
}

fn image(channels: usize, size: usize) -> Input {
    Input::floats("pixel_values", [channels, size, size].map(Dim::from))
}
