//! Configs, sentence-transformers modules and tokenizers that are missing something or ask for what isn't built.

use serde_json::{Value, json};

use super::scene::Scene;
use super::{COMPILE, Row};

const CONFIG: &str = "model/config.json";
const POOLING: &str = "model/1_Pooling/config.json";

/// A row in which a field of the config has this value.
fn field(name: &'static str, value: Value, says: &[&str]) -> Row {
    let mark = format!("`{name}`");
    Row::new(format!("{name} = {value}"), COMPILE)
        .broken(move |scene| {
            scene.config(|fields| drop(fields.insert(name.to_owned(), value.clone())));
        })
        .fails(2, [&[CONFIG, &mark], says].concat())
}

fn broken(name: &str, breaks: impl Fn(&Scene) + 'static, says: &[&str]) -> Row {
    Row::new(name, COMPILE).broken(breaks).fails(2, says)
}

/// A row over a sentence-transformers folder with this pooling config.
fn pooling(name: &str, config: Value, says: &[&str]) -> Row {
    let breaks = move |scene: &Scene| {
        modules(scene, &["Transformer", "Pooling", "Normalize"]);
        scene.write(POOLING, config.to_string());
    };
    broken(name, breaks, &[&[POOLING], says].concat())
}

fn modules(scene: &Scene, classes: &[&str]) {
    let list: Vec<_> = classes
        .iter()
        .enumerate()
        .map(|(i, class)| {
            let path = if i == 0 { String::new() } else { format!("{i}_{class}") };
            json!({"idx": i, "type": format!("sentence_transformers.models.{class}"), "path": path})
        })
        .collect();
    scene.write("model/modules.json", Value::Array(list).to_string());
}

pub(super) fn rows() -> Vec<Row> {
    let required = [
        "model_type",
        "architectures",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
        "layer_norm_eps",
        "hidden_act",
    ];
    let mut rows: Vec<_> = required
        .into_iter()
        .map(|name| {
            let mark = format!("`{name}`");
            Row::new(format!("no {name}"), COMPILE)
                .broken(move |scene| scene.config(|fields| drop(fields.remove(name))))
                .fails(2, [CONFIG, &mark, "found nothing", "pass"])
        })
        .collect();
    rows.extend([
        field("hidden_size", json!("24"), &["found \"24\""]),
        field("hidden_size", json!(1_000_000_000_000_000_000u64), &["1 to 65536"]),
        field("hidden_size", json!(-24), &["found -24"]),
        field("num_hidden_layers", json!(1_000_000_000), &["1 to 512"]),
        field("num_attention_heads", json!(0), &["found 0"]),
        field("num_attention_heads", json!(5), &["a divisor of hidden_size (24)"]),
        field("vocab_size", json!(1e300), &["1e+300"]),
        field("layer_norm_eps", json!(0), &["above 0"]),
        field("hidden_act", json!("gelu_10"), &["gelu_new", "gelu_10"]),
        field("position_embedding_type", json!("relative_key"), &["absolute"]),
        field("is_decoder", json!(true), &["decoders aren't built"]),
        field("tie_word_embeddings", json!("yes"), &["true or false", "found \"yes\""]),
        broken(
            "an unknown model_type",
            |scene| scene.config(|fields| fields["model_type"] = json!("gpt2")),
            &[CONFIG, "model_type \"gpt2\"", "bert"],
        ),
        broken(
            "an unknown architecture",
            |scene| scene.config(|fields| fields["architectures"] = json!(["BertForEverything"])),
            &[CONFIG, "\"BertForEverything\"", "BertForMaskedLM"],
        ),
        broken(
            "a head that the file lacks",
            |scene| {
                let name = json!(["BertForTokenClassification"]);
                scene.config(|fields| fields["architectures"] = name);
            },
            &["model/model.safetensors", "`classifier.weight`", "[3, 24]"],
        ),
        broken("no config", |scene| scene.remove(CONFIG), &["no config.json", "--config FILE"]),
        broken(
            "a config that is no JSON",
            |scene| scene.write(CONFIG, "{,"),
            &[CONFIG, "column 2"],
        ),
        broken("an empty config", |scene| scene.write(CONFIG, ""), &[CONFIG, "EOF"]),
        broken(
            "a config that is a list",
            |scene| scene.write(CONFIG, "[]"),
            &[CONFIG, "found a list"],
        ),
        broken(
            "a config of endless brackets",
            |scene| scene.write(CONFIG, "[".repeat(1 << 20)),
            &[CONFIG, "recursion limit"],
        ),
        Row::new("--config not found", format!("{COMPILE} --config other.json"))
            .fails(2, ["other.json: can't be read"]),
        Row::new("--set without =", format!("{COMPILE} --set hidden_size"))
            .fails(2, ["--set", "hidden_size", "FIELD=VALUE"]),
        Row::new("--set without a field", format!("{COMPILE} --set =3"))
            .fails(2, ["--set", "'=3'", "FIELD=VALUE"]),
        Row::new("--set with another type", format!("{COMPILE} --set num_attention_heads=three"))
            .fails(2, ["--set: `num_attention_heads`", "found \"three\""]),
        Row::new("--architecture unknown", format!("{COMPILE} --architecture Bert"))
            .fails(2, ["--architecture", "\"Bert\""]),
        Row::new(
            "--pooling on a head",
            format!("{COMPILE} --architecture BertForMaskedLM --pooling mean"),
        )
        .fails(2, ["BertForMaskedLM", "mean pooling", "--pooling none"]),
        Row::new("--pooling nonsense", format!("{COMPILE} --pooling median")).fails(
            2,
            [
                "--pooling",
                "median",
                "(cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken) or none",
            ],
        ),
        Row::new("--normalize without pooling", format!("{COMPILE} --normalize true"))
            .fails(2, ["--normalize", "nothing is pooled", "--pooling"]),
    ]);
    let list = "model/modules.json";
    rows.extend([
        broken("modules.json that is no JSON", |scene| scene.write("model/modules.json", "{"), &[list, "a JSON list"]),
        broken("modules.json of numbers", |scene| scene.write("model/modules.json", "[3]"), &[list, "3 at position 0"]),
        broken(
            "an unknown module",
            |scene| modules(scene, &["Transformer", "Pooling", "LSTM"]),
            &[list, "module 2", "models.LSTM", "--pooling none"],
        ),
        broken(
            "a module outside the folder",
            |scene| {
                let module = json!([{"type": "sentence_transformers.models.Transformer", "path": "../model"}]);
                scene.write("model/modules.json", module.to_string());
            },
            &[list, "`path`", "../model"],
        ),
        broken(
            "no pooling config",
            |scene| modules(scene, &["Transformer", "Pooling"]),
            &[POOLING, "no such file"],
        ),
        pooling("no pooling mode", json!({}), &["`pooling_mode`", "found nothing"]),
        pooling(
            "a pooling mode that isn't built",
            json!({"pooling_mode_median_tokens": true}),
            &["pooling_mode_median_tokens", "lasttoken"],
        ),
        pooling("an unknown pooling mode", json!({"pooling_mode": "median"}), &["`pooling_mode`", "median"]),
        pooling(
            "a pooling of another width",
            json!({"pooling_mode": "mean", "word_embedding_dimension": 384}),
            &["word_embedding_dimension", "24", "384"],
        ),
        broken(
            "a tokenizer that is no JSON",
            |scene| scene.write("model/tokenizer.json", "{"),
            &["tokenizer.json", "without a tokenizer.json"],
        ),
        broken(
            "a tokenizer without a model",
            |scene| scene.write("model/tokenizer.json", "{\"version\": \"1.0\"}"),
            &["tokenizer.json", "Model missing"],
        ),
        broken(
            "a limit without room for a text",
            |scene| scene.write("model/sentence_bert_config.json", "{\"max_seq_length\": 1}"),
            &["2 special tokens", "limit of 1 tokens", "sentence_bert_config.json"],
        ),
        broken(
            "a limit of nothing",
            |scene| scene.write("model/sentence_bert_config.json", "{\"max_seq_length\": 0}"),
            &["model/sentence_bert_config.json", "`max_seq_length`", "found 0"],
        ),
        broken(
            "a limit that is no number",
            |scene| scene.write("model/tokenizer_config.json", "{\"model_max_length\": \"512\"}"),
            &["model/tokenizer_config.json", "`model_max_length`", "\"512\""],
        ),
    ]);
    rows
}
