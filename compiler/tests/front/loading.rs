//! The forms in which a model may be stored: one file, shards, half precision, a config in the metadata, texts.

use std::collections::BTreeMap;

use bytec_compiler::front::weights::Weights;
use bytec_compiler::front::{self, FrontOptions};
use bytec_ir::eval::{Data, WeightSource};
use bytec_models::tiny::{TinyBert, TinyCheckpoint};
use expect_test::expect;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

use crate::folder::Folder;

/// A safetensors file as the format's own library writes it.
fn written(
    tensors: &BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: Option<(&str, &str)>,
) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let metadata = metadata.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
    serialize(views, metadata).unwrap()
}

fn bytes_of<const N: usize>(values: &[f32], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

fn stored(
    checkpoint: &TinyCheckpoint,
    dtype: Dtype,
) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = |values: &[f32]| match dtype {
        Dtype::F16 => bytes_of(values, |x| f16::from_f32(x).to_le_bytes()),
        Dtype::BF16 => bytes_of(values, |x| bf16::from_f32(x).to_le_bytes()),
        _ => bytes_of(values, f32::to_le_bytes),
    };
    let tensors = checkpoint.tensors.iter();
    tensors.map(|(name, t)| (name.clone(), (dtype, t.shape.clone(), bytes(&t.values)))).collect()
}

#[test]
fn every_float_type_is_read_exactly() {
    let checkpoint = TinyBert::default().checkpoint();
    type Rounded = fn(f32) -> f32;
    let cases: [(Dtype, Rounded); 3] = [
        (Dtype::F32, |x| x),
        (Dtype::F16, |x| f16::from_f32(x).to_f32()),
        (Dtype::BF16, |x| bf16::from_f32(x).to_f32()),
    ];
    for (dtype, rounded) in cases {
        let folder = Folder::of(&checkpoint);
        folder.write("model.safetensors", written(&stored(&checkpoint, dtype), None));
        let loaded = folder.load(&FrontOptions::default()).unwrap();
        assert_eq!(loaded.weights.names().count(), checkpoint.tensors.len());
        for (name, tensor) in &checkpoint.tensors {
            let expected: Vec<f32> = tensor.values.iter().map(|&x| rounded(x)).collect();
            assert_eq!(loaded.weights.f32(name).unwrap(), expected, "{name} in {dtype:?}");
            let wide: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
            assert_eq!(loaded.weights.tensor(name).unwrap().data, Data::Float(wide));
        }
    }
}

#[test]
fn every_half_number_converts_without_loss() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let folder = Folder::empty();
    for dtype in [Dtype::F16, Dtype::BF16] {
        let tensors = BTreeMap::from([("a".to_owned(), (dtype, vec![1 << 16], all.clone()))]);
        folder.write("a.safetensors", written(&tensors, None));
        let weights = Weights::open(&folder.file("a.safetensors")).unwrap();
        for (bits, value) in (0..=u16::MAX).zip(weights.f32("a").unwrap().iter()) {
            let expected = match dtype {
                Dtype::F16 => f16::from_bits(bits).to_f64(),
                _ => bf16::from_bits(bits).to_f64(),
            };
            assert!(f64::from(*value) == expected || (value.is_nan() && expected.is_nan()));
        }
        let unfinite = (0..=u16::MAX).filter(|&bits| match dtype {
            Dtype::F16 => !f16::from_bits(bits).is_finite(),
            _ => !bf16::from_bits(bits).is_finite(),
        });
        assert_eq!(weights.non_finite("a"), unfinite.count() as u64);
    }
}

#[test]
fn unaligned_floats_are_copied() {
    let folder = Folder::empty();
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.push(9);
    file.extend([1.5f32, f32::NAN].iter().flat_map(|x| x.to_le_bytes()));
    folder.write("a.safetensors", file);
    let weights = Weights::open(&folder.file("a.safetensors")).unwrap();
    assert_eq!(weights.f32("b").unwrap()[0], 1.5);
    assert_eq!(weights.non_finite("b"), 1);
    expect![
        "DIR/a.safetensors: tensor `a` is U8, expected F32, F16 or BF16; save it in one of these"
    ]
    .assert_eq(
        &weights
            .f32("a")
            .unwrap_err()
            .to_string()
            .replace(&folder.path().display().to_string(), "DIR"),
    );
    assert!(weights.tensor("a").is_err());
    assert!(weights.tensor("c").is_err());
}

#[test]
fn position_ids_are_ignored_and_others_are_named() {
    let checkpoint = TinyBert { prefix: true, ..TinyBert::default() }.checkpoint();
    let mut tensors = stored(&checkpoint, Dtype::F32);
    let ids = (Dtype::I64, vec![1, 32], vec![0; 8 * 32]);
    tensors.insert("bert.embeddings.position_ids".to_owned(), ids.clone());
    tensors.insert("extra.ids".to_owned(), ids);
    let folder = Folder::of(&checkpoint);
    folder.write("model.safetensors", written(&tensors, None));
    assert_eq!(folder.load(&FrontOptions::default()).unwrap().unused_tensors, ["extra.ids"]);
}

/// Splits the tensors of a checkpoint over two files.
fn sharded(checkpoint: &TinyCheckpoint) -> (Folder, Value) {
    let folder = Folder::of(checkpoint);
    folder.remove("model.safetensors");
    let mut map = serde_json::Map::new();
    let mut shards = [checkpoint.clone(), checkpoint.clone()];
    for (i, name) in checkpoint.tensors.keys().enumerate() {
        shards[1 - i % 2].tensors.remove(name);
        map.insert(name.clone(), json!(format!("model-{}.safetensors", i % 2)));
    }
    for (i, shard) in shards.iter().enumerate() {
        folder.write(&format!("model-{i}.safetensors"), shard.safetensors());
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    folder.json("model.safetensors.index.json", &index);
    (folder, index)
}

#[test]
fn shards_load_as_one_file() {
    let checkpoint = TinyBert::default().checkpoint();
    let (folder, _) = sharded(&checkpoint);
    for path in [folder.path().to_owned(), folder.file("model.safetensors.index.json")] {
        let loaded = front::load(&path, &FrontOptions::default()).unwrap();
        for (name, tensor) in &checkpoint.tensors {
            assert_eq!(loaded.weights.f32(name).unwrap(), tensor.values, "{name}");
        }
    }
}

#[test]
fn shards_that_disagree_with_the_index_are_refused() {
    let checkpoint = TinyBert { layers: 1, ..TinyBert::default() }.checkpoint();
    let (folder, index) = sharded(&checkpoint);
    let name = "embeddings.LayerNorm.weight";
    let mut found = String::new();
    let mut refuse = |index: &Value| {
        folder.json("model.safetensors.index.json", index);
        found.push_str(&folder.error(&FrontOptions::default()));
        found.push('\n');
    };
    let place = |value: Value| {
        let mut index = index.clone();
        index["weight_map"][name] = value;
        index
    };
    refuse(&json!({}));
    refuse(&json!([]));
    refuse(&json!({"weight_map": ["a"]}));
    refuse(&place(json!(1)));
    refuse(&place(json!("../model-0.safetensors")));
    refuse(&place(json!("model-0.safetensors")));
    refuse(&place(json!("model-2.safetensors")));
    let mut fewer = index.clone();
    fewer["weight_map"].as_object_mut().unwrap().remove(name);
    refuse(&fewer);
    folder.write("model-1.safetensors", "");
    refuse(&index);
    folder.remove("model-1.safetensors");
    refuse(&index);
    expect![[r#"
        DIR/model.safetensors.index.json: expected `weight_map`, an object from tensor to file
        DIR/model.safetensors.index.json: expected a JSON object, found a list
        DIR/model.safetensors.index.json: expected `weight_map`, an object from tensor to file
        DIR/model.safetensors.index.json: tensor `embeddings.LayerNorm.weight`: expected the name of a file beside the index, found 1
        DIR/model.safetensors.index.json: tensor `embeddings.LayerNorm.weight`: expected the name of a file beside the index, found "../model-0.safetensors"
        DIR/model.safetensors.index.json: tensor `embeddings.LayerNorm.weight` should be in model-0.safetensors, which doesn't hold it
        DIR/model.safetensors.index.json: shard model-2.safetensors is missing, which should hold `embeddings.LayerNorm.weight`; fetch the whole folder
        DIR/model.safetensors.index.json: model-1.safetensors holds `embeddings.LayerNorm.weight`, which the index doesn't place there
        DIR/model-1.safetensors: not a safetensors file: expected at least 8 bytes, found 0
        DIR/model.safetensors.index.json: shard model-1.safetensors is missing, which should hold `embeddings.LayerNorm.weight`; fetch the whole folder
    "#]].assert_eq(&found);
}

#[test]
fn a_config_may_travel_in_the_metadata() {
    let checkpoint = TinyBert::default().checkpoint();
    let tensors = stored(&checkpoint, Dtype::F32);
    let folder = Folder::empty();
    let text = checkpoint.config.to_string();
    folder.write("a.safetensors", written(&tensors, Some(("bytec.config", &text))));
    let path = folder.file("a.safetensors");
    assert_eq!(front::load(&path, &FrontOptions::default()).unwrap().family, "bert");
    folder.write("a.safetensors", written(&tensors, Some(("bytec.config", "{}"))));
    expect!["DIR/a.safetensors, metadata `bytec.config`: `model_type` must be a model family's name, found nothing; pass the model's own, such as --set model_type=bert"].assert_eq(&folder.error_at("a.safetensors", &FrontOptions::default()));
    // An option goes before the metadata.
    folder.write("c.json", text);
    let options = FrontOptions { config: Some(folder.file("c.json")), ..FrontOptions::default() };
    assert_eq!(front::load(&path, &options).unwrap().family, "bert");
}

#[test]
fn a_single_file_takes_the_config_beside_it() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    let path = folder.file("model.safetensors");
    assert_eq!(front::load(&path, &FrontOptions::default()).unwrap().architecture, "BertModel");
}

#[test]
fn loading_twice_gives_the_same() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    let load = || folder.load(&FrontOptions::default()).unwrap();
    assert_eq!(load().graph.to_string(), load().graph.to_string());
    let name = "embeddings.LayerNorm.bias";
    assert_eq!(load().weights.hash(name).unwrap(), load().weights.hash(name).unwrap());
}

#[test]
fn the_text_limit_is_the_first_that_the_folder_gives() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    let limit = || {
        let text = folder.load(&FrontOptions::default()).unwrap().text.unwrap();
        assert_eq!(
            (text.ids.as_str(), text.type_ids.as_deref()),
            ("input_ids", Some("token_type_ids"))
        );
        format!("{} by {}", text.max_tokens, text.max_tokens_from)
    };
    assert_eq!(folder.load(&FrontOptions::default()).unwrap().text, None);
    folder.write("tokenizer.json", "{}");
    assert_eq!(folder.load(&FrontOptions::default()).unwrap().tokenizer.unwrap(), b"{}");
    assert_eq!(limit(), "32 by max_position_embeddings");
    folder
        .write("tokenizer_config.json", r#"{"model_max_length": 1000000000000000019884624838656}"#);
    assert_eq!(limit(), "32 by max_position_embeddings");
    folder.write("tokenizer_config.json", r#"{"model_max_length": 31}"#);
    assert_eq!(limit(), "31 by tokenizer_config.json: model_max_length");
    folder.write("sentence_bert_config.json", r#"{"max_seq_length": null}"#);
    assert_eq!(limit(), "31 by tokenizer_config.json: model_max_length");
    folder.write("sentence_roberta_config.json", r#"{"max_seq_length": 9, "do_lower_case": true}"#);
    assert_eq!(limit(), "9 by sentence_roberta_config.json: max_seq_length");
    folder.write("sentence_bert_config.json", r#"{"max_seq_length": 512}"#);
    assert_eq!(limit(), "32 by max_position_embeddings");
}

#[test]
fn wrong_text_limits_are_refused() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    folder.write("tokenizer.json", "{}");
    let mut found = String::new();
    for value in ["0", "-1", "2.5", "\"256\"", "[]"] {
        folder.write("sentence_bert_config.json", format!("{{\"max_seq_length\": {value}}}"));
        found.push_str(&folder.error(&FrontOptions::default()));
        found.push('\n');
    }
    expect![[r#"
        DIR/sentence_bert_config.json: `max_seq_length` must be a number of tokens above 0, found 0; correct the file
        DIR/sentence_bert_config.json: `max_seq_length` must be a number of tokens above 0, found -1; correct the file
        DIR/sentence_bert_config.json: `max_seq_length` must be a number of tokens above 0, found 2.5; correct the file
        DIR/sentence_bert_config.json: `max_seq_length` must be a number of tokens above 0, found "256"; correct the file
        DIR/sentence_bert_config.json: `max_seq_length` must be a number of tokens above 0, found []; correct the file
    "#]].assert_eq(&found);
}

#[test]
fn what_is_not_done_to_texts_is_noted() {
    let folder = Folder::of(&TinyBert::default().checkpoint());
    folder.write("vocab.txt", "");
    let notes = || folder.load(&FrontOptions::default()).unwrap().notes.join("\n");
    expect!["vocab.txt without tokenizer.json isn't read: the plan takes token ids, not texts"]
        .assert_eq(&notes());
    folder.write("tokenizer.json", "{}");
    folder.write("sentence_bert_config.json", r#"{"do_lower_case": true}"#);
    let prompts = json!({"prompts": {"q": "query: "}, "default_prompt_name": "q"});
    folder.json("config_sentence_transformers.json", &prompts);
    expect![[r#"
        sentence_bert_config.json has do_lower_case, which is left to the tokenizer: texts aren't lower-cased before it
        config_sentence_transformers.json has the default prompt "query: ", which isn't put before texts: add it to them yourself"#]].assert_eq(&notes());
}
