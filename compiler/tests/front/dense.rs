//! Dense modules of sentence-transformers folders.

use std::collections::BTreeMap;

use bytec_compiler::front::FrontOptions;
use bytec_ir::eval::{Rounding, Tensor, eval};
use bytec_models::tiny::{TinyCheckpoint, TinyTensor};
use expect_test::expect;
use serde_json::{Value, json};

use crate::folder::Folder;

const INPUTS: usize = 24;
const OUTPUTS: usize = 5;

fn config() -> Value {
    json!({
        "in_features": INPUTS, "out_features": OUTPUTS, "bias": true,
        "activation_function": "torch.nn.modules.activation.Tanh",
    })
}

/// Element `i` of the weight, then of the bias.
fn number(i: usize) -> f32 {
    (i * 7 % 11) as f32 / 8.0 - 0.6
}

fn tensors() -> TinyCheckpoint {
    let weight = (0..OUTPUTS * INPUTS).map(number).collect();
    let bias = (0..OUTPUTS).map(number).collect();
    let tensors = BTreeMap::from([
        ("linear.weight".to_owned(), TinyTensor { shape: vec![OUTPUTS, INPUTS], values: weight }),
        ("linear.bias".to_owned(), TinyTensor { shape: vec![OUTPUTS], values: bias }),
    ]);
    TinyCheckpoint { config: Value::Null, tensors }
}

/// A folder that pools, goes through a dense module and normalises.
fn folder(config: &Value) -> Folder {
    let folder = Folder::sentence(&json!({"pooling_mode": "mean"}));
    folder.modules(&["Transformer", "Pooling", "Dense", "Normalize"]);
    folder.json("2_Dense/config.json", config);
    folder.write("2_Dense/model.safetensors", tensors().safetensors());
    folder
}

/// The rows and the embedding of one sample.
fn run(folder: &Folder, options: &FrontOptions) -> [Vec<f64>; 2] {
    let loaded = folder.load(options).unwrap();
    let dense = ["2_Dense.linear.bias", "2_Dense.linear.weight"];
    assert!(loaded.unused_tensors.iter().all(|name| !dense.contains(&name.as_str())));
    let ids = Tensor::ints(&[4], vec![1, 30, 8, 2]).unwrap();
    let inputs = BTreeMap::from([("input_ids".to_owned(), ids)]);
    let outputs = eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Exact).unwrap();
    ["last_hidden_state", "embedding"].map(|name| outputs[name].as_floats().unwrap().to_vec())
}

fn mean(rows: &[f64]) -> Vec<f64> {
    let count = (rows.len() / INPUTS) as f64;
    (0..INPUTS).map(|i| rows.iter().skip(i).step_by(INPUTS).sum::<f64>() / count).collect()
}

fn linear(x: &[f64]) -> Vec<f64> {
    let row = |n: usize| {
        let product =
            x.iter().enumerate().map(|(k, x)| f64::from(number(n * INPUTS + k)) * x).sum::<f64>();
        product + f64::from(number(n))
    };
    (0..OUTPUTS).map(row).collect()
}

fn normalized(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter().map(|x| x / norm).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }
}

#[test]
fn a_dense_module_follows_the_pooling() {
    let folder = folder(&config());
    let [rows, embedding] = run(&folder, &FrontOptions::default());
    let acted: Vec<_> = linear(&mean(&rows)).into_iter().map(f64::tanh).collect();
    assert_close(&embedding, &normalized(&acted));
    let raw = FrontOptions { normalize: Some(false), ..FrontOptions::default() };
    assert_close(&run(&folder, &raw)[1], &acted);
}

#[test]
fn modules_work_in_the_order_of_the_list() {
    let mut identity = config();
    identity["activation_function"] = json!("torch.nn.modules.linear.Identity");
    identity["module_input_name"] = json!("sentence_embedding");
    identity["module_output_name"] = Value::Null;
    let folder = folder(&identity);
    folder.modules(&["Transformer", "Pooling", "Normalize", "Dense"]);
    for name in ["config.json", "model.safetensors"] {
        let bytes = std::fs::read(folder.file(&format!("2_Dense/{name}"))).unwrap();
        folder.write(&format!("3_Dense/{name}"), bytes);
    }
    let [rows, embedding] = run(&folder, &FrontOptions::default());
    let expected = linear(&normalized(&mean(&rows)));
    assert_close(&embedding, &expected);
    let unit = FrontOptions { normalize: Some(true), ..FrontOptions::default() };
    assert_close(&run(&folder, &unit)[1], &normalized(&expected));
}

#[test]
fn wrong_dense_modules_are_refused_by_name() {
    let default = FrontOptions::default();
    let mut found = String::new();
    let mut refuse = |what: &str, folder: &Folder| {
        found.push_str(&format!("{what}: {}\n", folder.error(&default)));
    };
    for (field, value) in [
        ("in_features", json!(25)),
        ("in_features", json!(0)),
        ("out_features", json!(6)),
        ("out_features", Value::Null),
        ("bias", json!("yes")),
        ("activation_function", json!("torch.nn.modules.activation.Softmax")),
        ("activation_function", json!("mine.Tanh")),
        ("module_input_name", json!("token_embeddings")),
        ("dropout", json!(0.5)),
    ] {
        let mut config = config();
        config[field] = value;
        refuse(field, &folder(&config));
    }
    let folder = folder(&config());
    let class = |class| format!("sentence_transformers.models.{class}");
    let twice = json!([
        {"path": "", "type": class("Transformer")},
        {"path": "1_Pooling", "type": class("Pooling")},
        {"path": "2_Dense", "type": class("Dense")},
        {"path": "2_Dense", "type": class("Dense")},
    ]);
    folder.json("modules.json", &twice);
    refuse("twice", &folder);
    folder.modules(&["Transformer", "Pooling", "Dense", "Normalize"]);
    folder.write("2_Dense/pytorch_model.bin", "");
    folder.remove("2_Dense/model.safetensors");
    refuse("no weights", &folder);
    folder.remove("2_Dense/config.json");
    refuse("no config", &folder);
    expect![[r#"
        in_features: DIR/2_Dense/config.json: `in_features` must be 24, the width of what comes before, found 25; correct the file
        in_features: DIR/2_Dense/config.json: `in_features` must be an integer from 1 to 65536, found 0; correct the file
        out_features: DIR/model.safetensors: 2 tensors don't fit the model
          tensor `2_Dense.linear.weight` must be a float tensor [6, 24], found F32 [5, 24]; it belongs to the module of DIR/2_Dense/config.json
          tensor `2_Dense.linear.bias` must be a float tensor [6], found F32 [5]; it belongs to the module of DIR/2_Dense/config.json
        out_features: DIR/2_Dense/config.json: `out_features` must be an integer from 1 to 65536, found nothing; correct the file
        bias: DIR/2_Dense/config.json: `bias` must be true or false, found "yes"; correct the file
        activation_function: DIR/2_Dense/config.json: `activation_function` must be a class of torch.nn, one of Identity, Tanh, ReLU, GELU, SiLU, Sigmoid, ReLU6, LeakyReLU, Mish, found "torch.nn.modules.activation.Softmax"; correct the file
        activation_function: DIR/2_Dense/config.json: `activation_function` must be a class of torch.nn, one of Identity, Tanh, ReLU, GELU, SiLU, Sigmoid, ReLU6, LeakyReLU, Mish, found "mine.Tanh"; correct the file
        module_input_name: DIR/2_Dense/config.json: `module_input_name` must be "sentence_embedding", found "token_embeddings"; correct the file
        dropout: DIR/2_Dense/config.json: `dropout` must be left out: a dense module has the fields in_features, out_features, bias, activation_function, module_input_name, module_output_name, found 0.5; correct the file
        twice: DIR/model.safetensors: holds `2_Dense.linear.bias`, the name under which the tensor of DIR/2_Dense/model.safetensors is read; rename one of the two
        no weights: DIR/2_Dense: no weights, expected model.safetensors or model.safetensors.index.json, found config.json, pytorch_model.bin; convert the weights to safetensors
        no config: DIR/2_Dense/config.json: can't be read: No such file or directory (os error 2)
    "#]].assert_eq(&found);
}
