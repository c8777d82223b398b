//! Random valid configs of every family.

use serde_json::{Map, Value, json};

use super::{SplitMix64, TinyModel};
use crate::Family;
use crate::activation::ACTIVATIONS;

/// A random tiny model of `family` with this architecture: small sizes that are rarely powers of two, up to three layers,
/// every activation, tied and untied output matrices, with or without the base model's prefix and an unneeded pooler.
pub fn draw(family: &Family, architecture: &str, seed: u64) -> TinyModel {
    let mut random = Random(SplitMix64(seed));
    let (fields, base) = match family.name {
        "distilbert" => (random.distilbert(), "distilbert"),
        "albert" => (random.albert(), "albert"),
        "electra" => (random.electra(), "electra"),
        "roberta" => (random.roberta(), "roberta"),
        _ => (random.bert(), "bert"),
    };
    let mut config = Map::new();
    config.insert("architectures".to_owned(), json!([architecture]));
    let types = family.model_types;
    config.insert("model_type".to_owned(), json!(types[random.below(types.len() as u64)]));
    config.insert("num_labels".to_owned(), json!(random.from(1, 5)));
    config.insert("tie_word_embeddings".to_owned(), json!(random.even()));
    config.extend(fields);
    let prefix = if random.even() { format!("{base}.") } else { String::new() };
    let mut extra = Vec::new();
    if !prefix.is_empty() {
        extra.push(format!("{prefix}embeddings.word_embeddings.weight"));
    }
    if random.even() {
        let pooler = if base == "albert" { "pooler" } else { "pooler.dense" };
        extra.push(format!("{prefix}{pooler}.weight"));
    }
    TinyModel { config: Value::Object(config), extra, seed }
}

struct Random(SplitMix64);

type Fields = Map<String, Value>;

impl Random {
    fn below(&mut self, end: u64) -> usize {
        self.0.below(end) as usize
    }

    fn from(&mut self, first: u64, last: u64) -> u64 {
        first + self.0.below(last - first + 1)
    }

    fn even(&mut self) -> bool {
        self.0.below(2) == 0
    }

    fn activation(&mut self) -> &'static str {
        ACTIVATIONS[self.below(ACTIVATIONS.len() as u64)].0
    }

    /// Heads, and the columns of all of them.
    fn heads(&mut self) -> [u64; 2] {
        let heads = self.from(1, 5);
        [heads, heads * self.from(3, 14)]
    }

    fn eps(&mut self) -> f64 {
        [1e-12, 1e-7, 1e-5][self.below(3)]
    }

    fn bert(&mut self) -> Fields {
        let [heads, hidden] = self.heads();
        fields(json!({
            "hidden_act": self.activation(),
            "hidden_size": hidden,
            "intermediate_size": self.from(1, 70),
            "layer_norm_eps": self.eps(),
            "max_position_embeddings": self.from(8, 40),
            "num_attention_heads": heads,
            "num_hidden_layers": self.from(1, 3),
            "type_vocab_size": self.from(1, 3),
            "vocab_size": self.from(2, 60),
        }))
    }

    fn roberta(&mut self) -> Fields {
        let mut config = self.bert();
        config.insert("pad_token_id".to_owned(), json!(self.from(0, 3)));
        config
    }

    fn distilbert(&mut self) -> Fields {
        let [heads, hidden] = self.heads();
        fields(json!({
            "activation": self.activation(),
            "dim": hidden,
            "hidden_dim": self.from(1, 70),
            "max_position_embeddings": self.from(8, 40),
            "n_heads": heads,
            "n_layers": self.from(1, 3),
            "vocab_size": self.from(2, 60),
        }))
    }

    fn albert(&mut self) -> Fields {
        let mut config = self.bert();
        let layers = self.from(1, 3);
        config.insert("num_hidden_layers".to_owned(), json!(layers));
        config.insert("num_hidden_groups".to_owned(), json!(self.from(1, layers)));
        config.insert("inner_group_num".to_owned(), json!(self.from(1, 2)));
        config.insert("embedding_size".to_owned(), json!(self.from(3, 40)));
        config
    }

    fn electra(&mut self) -> Fields {
        let mut config = self.bert();
        let width = match self.even() {
            true => config["hidden_size"].clone(),
            false => json!(self.from(3, 40)),
        };
        config.insert("embedding_size".to_owned(), width);
        config.insert("summary_type".to_owned(), json!(["first", "mean"][self.below(2)]));
        config.insert("summary_use_proj".to_owned(), json!(self.even()));
        config.insert("summary_activation".to_owned(), json!(self.activation()));
        config
    }
}

fn fields(value: Value) -> Fields {
    value.as_object().cloned().unwrap_or_default()
}
