//! Random valid configs of every family.

use serde_json::{Map, Value, json};

use super::{SplitMix64, TinyModel};
use crate::Family;
use crate::activation::ACTIVATIONS;
use crate::patches;

/// A random tiny model of `family` with this architecture: small sizes that are rarely powers of two, up to three layers,
/// every activation, tied and untied output matrices, with or without the base model's prefix and an unneeded pooler.
pub fn draw(family: &Family, architecture: &str, seed: u64) -> TinyModel {
    let mut random = Random(SplitMix64(seed));
    let names = match family.name {
        "roberta" => Names { base: "roberta", ..Names::default() },
        "distilbert" => Names { base: "distilbert", ..Names::default() },
        "albert" => Names { base: "albert", pooler: "pooler", ..Names::default() },
        "electra" => Names { base: "electra", ..Names::default() },
        "mpnet" => Names { base: "mpnet", ..Names::default() },
        "deberta" | "deberta-v2" => Names { base: "deberta", ..Names::default() },
        "t5" => Names { base: "transformer", words: "shared", ..Names::default() },
        "modernbert" => {
            Names { base: "model", words: "embeddings.tok_embeddings", ..Names::default() }
        }
        "nomic_bert" => Names { base: "nomic_bert", ..Names::default() },
        "vit" => Names { base: "vit", ..Names::of_images() },
        "deit" => Names { base: "deit", ..Names::of_images() },
        "dinov2" => Names { base: "dinov2", ..Names::of_images() },
        "dinov2_with_registers" => Names { base: "dinov2_with_registers", ..Names::of_images() },
        _ => Names::default(),
    };
    let mut config = Map::new();
    config.insert("architectures".to_owned(), json!([architecture]));
    let types = family.model_types;
    config.insert("model_type".to_owned(), json!(types[random.below(types.len() as u64)]));
    config.insert("num_labels".to_owned(), json!(random.from(1, 5)));
    config.insert("tie_word_embeddings".to_owned(), json!(random.even()));
    config.extend(match family.name {
        "roberta" => random.roberta(),
        "distilbert" => random.distilbert(),
        "albert" => random.albert(),
        "electra" => random.electra(),
        "mpnet" => random.mpnet(),
        "deberta" => random.deberta(),
        "deberta-v2" => random.deberta_v2(),
        "t5" => random.t5(),
        "modernbert" => random.modernbert(),
        "nomic_bert" => random.nomic(),
        "jina_bert" => random.jina(),
        "vit" | "deit" => random.vit(),
        "dinov2" | "dinov2_with_registers" => random.dinov2(family.name),
        _ => random.bert(),
    });
    let prefix = if random.even() { format!("{}.", names.base) } else { String::new() };
    let mut extra = Vec::new();
    if !prefix.is_empty() {
        extra.push(format!("{prefix}{}.weight", names.words));
    }
    if random.even() {
        extra.push(format!("{prefix}{}.weight", names.pooler));
    }
    // Jina's later layout is known by this tensor.
    if family.name == "jina_bert" && random.even() {
        let layer = |i| format!("{prefix}encoder.layer.{i}.mlp.up_gated_layer.weight");
        extra.extend((0..3).map(layer));
    }
    TinyModel { config: Value::Object(config), extra, seed }
}

/// Where a family has its tensors.
struct Names {
    /// The prefix.
    base: &'static str,
    /// The word table, or the projection of patches.
    words: &'static str,
    /// The pooler's linear.
    pooler: &'static str,
}

impl Default for Names {
    fn default() -> Self {
        Self { base: "bert", words: "embeddings.word_embeddings", pooler: "pooler.dense" }
    }
}

impl Names {
    fn of_images() -> Self {
        Self { words: patches::PROJECTION, ..Self::default() }
    }
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

    fn either<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.below(N as u64)]
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
        self.either([1e-12, 1e-7, 1e-5])
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
        config.insert("summary_type".to_owned(), json!(self.either(["first", "mean"])));
        config.insert("summary_use_proj".to_owned(), json!(self.even()));
        config.insert("summary_activation".to_owned(), json!(self.activation()));
        config
    }

    fn mpnet(&mut self) -> Fields {
        let mut config = self.bert();
        config.remove("type_vocab_size");
        config.insert("relative_attention_num_buckets".to_owned(), json!(32));
        config
    }

    fn deberta(&mut self) -> Fields {
        let mut config = self.bert();
        let terms = [json!(["c2p", "p2c"]), json!("p2c"), json!("p2c|c2p"), json!([])];
        let more = fields(json!({
            "legacy": self.even(),
            "max_relative_positions": self.either([-1, 12]),
            "pos_att_type": terms[self.below(4)],
            "position_biased_input": self.even(),
            "relative_attention": self.below(4) > 0,
            "type_vocab_size": self.from(0, 2),
        }));
        config.extend(more);
        if self.even() && config["legacy"] == true {
            config.insert("embedding_size".to_owned(), json!(self.from(3, 40)));
        }
        config
    }

    fn deberta_v2(&mut self) -> Fields {
        let mut config = self.deberta();
        let more = fields(json!({
            "conv_act": self.activation(),
            "conv_kernel_size": self.either([0, 1, 3, 5]),
            "norm_rel_ebd": self.either(["none", "layer_norm"]),
            "position_buckets": self.either([-1, 2, 5, 8]),
            "share_att_key": self.even(),
        }));
        config.extend(more);
        // Buckets are fewer than the distances that they are for.
        config.insert("max_relative_positions".to_owned(), json!(self.from(9, 40)));
        config
    }

    fn t5(&mut self) -> Fields {
        let gate = if self.even() { "gated-" } else { "" };
        fields(json!({
            "d_ff": self.from(1, 70),
            "d_kv": self.from(3, 14),
            "d_model": self.from(8, 60),
            "feed_forward_proj": format!("{gate}{}", self.activation()),
            "layer_norm_epsilon": self.eps(),
            "num_heads": self.from(1, 5),
            "num_layers": self.from(1, 3),
            "relative_attention_max_distance": self.from(20, 80),
            "relative_attention_num_buckets": self.from(4, 32),
            "vocab_size": self.from(2, 60),
        }))
    }

    fn modernbert(&mut self) -> Fields {
        let heads = self.from(1, 5);
        fields(json!({
            "attention_bias": self.even(),
            "classifier_activation": self.activation(),
            "classifier_bias": self.even(),
            "classifier_pooling": self.either(["cls", "mean"]),
            "decoder_bias": self.even(),
            "global_attn_every_n_layers": self.from(1, 3),
            "global_rope_theta": 160_000.0,
            "hidden_activation": self.activation(),
            "hidden_size": heads * 2 * self.from(2, 7),
            "intermediate_size": self.from(1, 70),
            "local_attention": self.from(1, 20),
            "local_rope_theta": 10_000.0,
            "max_position_embeddings": self.from(8, 40),
            "mlp_bias": self.even(),
            "norm_bias": self.even(),
            "norm_eps": self.eps(),
            "num_attention_heads": heads,
            "num_hidden_layers": self.from(1, 3),
            "vocab_size": self.from(2, 60),
        }))
    }

    fn nomic(&mut self) -> Fields {
        let mut config = self.bert();
        config.insert("head_dim".to_owned(), json!(2 * self.from(2, 7)));
        let rope = json!({"rope_type": "default", "rope_theta": 1000.0});
        config.insert("rope_parameters".to_owned(), rope);
        config
    }

    fn jina(&mut self) -> Fields {
        let mut config = self.bert();
        config.insert("position_embedding_type".to_owned(), json!("alibi"));
        let gate = self.either(["geglu", "reglu"]);
        config.insert("feed_forward_type".to_owned(), json!(gate));
        config
    }
}

impl Random {
    /// One number for both axes, or two.
    fn sides(&mut self, rows: u64, columns: u64) -> Value {
        if rows == columns && self.even() { json!(rows) } else { json!([rows, columns]) }
    }

    /// An image of a few patches, sometimes with pixels past the last of them.
    fn image(&mut self, square: bool) -> Fields {
        let [tall, broad] = [self.from(1, 6), self.from(1, 6)];
        let [high, wide] = [self.from(1, 4), self.from(2, 5)];
        let [rows, columns] = [high * tall + self.from(0, tall - 1), wide * broad];
        let broad = if square { rows.div_ceil(wide) } else { broad };
        let columns = if square { rows } else { columns };
        fields(json!({
            "image_size": self.sides(rows, columns),
            "num_channels": self.from(1, 4),
            "patch_size": self.sides(tall, broad),
        }))
    }

    fn vit(&mut self) -> Fields {
        let mut config = self.bert();
        for field in ["max_position_embeddings", "type_vocab_size", "vocab_size"] {
            config.remove(field);
        }
        config.extend(self.image(false));
        config.extend(fields(json!({
            "pooler_act": self.activation(),
            "pooler_output_size": self.from(1, 30),
            "qkv_bias": self.even(),
        })));
        config
    }

    fn dinov2(&mut self, family: &str) -> Fields {
        let mut config = self.vit();
        for field in ["intermediate_size", "pooler_act", "pooler_output_size"] {
            config.remove(field);
        }
        config.extend(self.image(true));
        config.insert("mlp_ratio".to_owned(), json!(self.from(1, 3)));
        config.insert("use_swiglu_ffn".to_owned(), json!(self.even()));
        if family == "dinov2_with_registers" {
            config.insert("num_register_tokens".to_owned(), json!(self.from(1, 5)));
        }
        config
    }
}

fn fields(value: Value) -> Fields {
    value.as_object().cloned().unwrap_or_default()
}
