//! Every architecture on tiny checkpoints: output names and shapes, and values by hand where no reference case exists.

use std::collections::BTreeMap;

use bytec_compiler::front::{FrontOptions, Loaded};
use bytec_ir::eval::{Rounding, Tensor, WeightSource, eval};
use bytec_models::tiny::TinyBert;

use crate::folder::{Folder, architecture, set};

fn load(tiny: &TinyBert) -> Loaded {
    Folder::of(&tiny.checkpoint()).load(&FrontOptions::default()).unwrap()
}

fn run(loaded: &Loaded, ids: &[i64]) -> BTreeMap<String, Tensor> {
    let ids = Tensor::ints(&[ids.len()], ids.to_vec()).unwrap();
    let inputs = BTreeMap::from([("input_ids".to_owned(), ids)]);
    eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Exact).unwrap()
}

const IDS: [i64; 5] = [1, 7, 49, 7, 2];

/// `x W^T + b` row by row.
fn linear(loaded: &Loaded, module: &str, x: &[f64]) -> Vec<f64> {
    let floats = |name: &str| {
        let tensor = loaded.weights.tensor(&format!("{module}.{name}")).unwrap();
        tensor.as_floats().unwrap().to_vec()
    };
    let (weight, bias) = (floats("weight"), floats("bias"));
    let width = weight.len() / bias.len();
    let dot = |row: &[f64], column: usize| -> f64 {
        let weights = &weight[column * width..(column + 1) * width];
        bias[column] + row.iter().zip(weights).map(|(a, b)| a * b).sum::<f64>()
    };
    x.chunks(width)
        .flat_map(|row| (0..bias.len()).map(move |column| (row, column)))
        .map(|(row, column)| dot(row, column))
        .collect()
}

fn assert_close(found: &Tensor, expected: &[f64]) {
    let found = found.as_floats().unwrap();
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} is not {b}");
    }
}

#[test]
fn every_architecture_gives_its_outputs() {
    type Shapes = &'static [(&'static str, &'static [usize])];
    let cases: &[(&str, Shapes)] = &[
        ("BertModel", &[("last_hidden_state", &[5, 24]), ("pooler_output", &[24])]),
        ("BertForSequenceClassification", &[("logits", &[3])]),
        ("BertForTokenClassification", &[("logits", &[5, 3])]),
        ("BertForMaskedLM", &[("logits", &[5, 50])]),
        (
            "BertForPreTraining",
            &[("prediction_logits", &[5, 50]), ("seq_relationship_logits", &[2])],
        ),
        ("BertForNextSentencePrediction", &[("logits", &[2])]),
        ("BertForQuestionAnswering", &[("end_logits", &[5]), ("start_logits", &[5])]),
        ("BertForMultipleChoice", &[("logits", &[1])]),
    ];
    let built = (bytec_models::bert::FAMILY.architectures)();
    assert_eq!(cases.iter().map(|(name, _)| *name).collect::<Vec<_>>(), built);
    for (architecture, expected) in cases {
        for prefix in [false, true] {
            let loaded = load(&TinyBert { architecture, prefix, ..TinyBert::default() });
            assert_eq!(loaded.architecture, *architecture);
            let outputs = run(&loaded, &IDS);
            let found: Vec<_> =
                outputs.iter().map(|(name, t)| (name.as_str(), t.shape.as_slice())).collect();
            assert_eq!(found, *expected, "{architecture}");
        }
    }
}

#[test]
fn question_answering_splits_the_columns() {
    let tiny = TinyBert { architecture: "BertForQuestionAnswering", ..TinyBert::default() };
    let folder = Folder::of(&tiny.checkpoint());
    let answers = folder.load(&FrontOptions::default()).unwrap();
    let rows = run(&folder.load(&architecture("BertModel")).unwrap(), &IDS);
    let logits = linear(&answers, "qa_outputs", rows["last_hidden_state"].as_floats().unwrap());
    let outputs = run(&answers, &IDS);
    let column = |i: usize| logits.chunks(2).map(|pair| pair[i]).collect::<Vec<_>>();
    assert_close(&outputs["start_logits"], &column(0));
    assert_close(&outputs["end_logits"], &column(1));
}

#[test]
fn heads_on_the_pooler_read_the_pooled_row() {
    for (name, module, output) in [
        ("BertForMultipleChoice", "classifier", "logits"),
        ("BertForNextSentencePrediction", "cls.seq_relationship", "logits"),
        ("BertForPreTraining", "cls.seq_relationship", "seq_relationship_logits"),
    ] {
        let folder =
            Folder::of(&TinyBert { architecture: name, ..TinyBert::default() }.checkpoint());
        let loaded = folder.load(&FrontOptions::default()).unwrap();
        let base = run(&folder.load(&architecture("BertModel")).unwrap(), &IDS);
        let expected = linear(&loaded, module, base["pooler_output"].as_floats().unwrap());
        assert_close(&run(&loaded, &IDS)[output], &expected);
    }
}

#[test]
fn an_untied_model_uses_its_own_output_matrix() {
    let tiny = TinyBert { architecture: "BertForMaskedLM", tied: false, ..TinyBert::default() };
    let folder = Folder::of(&tiny.checkpoint());
    let untied = folder.load(&FrontOptions::default()).unwrap();
    assert_eq!(untied.unused_tensors, ["pooler.dense.bias", "pooler.dense.weight"]);
    let tied = folder.load(&set(&[("tie_word_embeddings", "true")])).unwrap();
    assert_ne!(run(&untied, &IDS), run(&tied, &IDS));
}

#[test]
fn a_tied_file_may_hold_a_copy_but_no_other_matrix() {
    let tiny = TinyBert { architecture: "BertForMaskedLM", ..TinyBert::default() };
    let mut checkpoint = tiny.checkpoint();
    let words = checkpoint.tensors["embeddings.word_embeddings.weight"].clone();
    checkpoint.tensors.insert("cls.predictions.decoder.weight".to_owned(), words);
    let bias = checkpoint.tensors["cls.predictions.bias"].clone();
    checkpoint.tensors.insert("cls.predictions.decoder.bias".to_owned(), bias);
    let copied = Folder::of(&checkpoint).load(&FrontOptions::default()).unwrap();
    assert_eq!(run(&copied, &IDS), run(&load(&tiny), &IDS));
    assert_eq!(copied.unused_tensors, ["pooler.dense.bias", "pooler.dense.weight"]);

    let decoder = checkpoint.tensors.get_mut("cls.predictions.decoder.weight").unwrap();
    decoder.values[3] += 1.0;
    let folder = Folder::of(&checkpoint);
    assert_eq!(
        folder.error(&FrontOptions::default()),
        "DIR/model.safetensors: `embeddings.word_embeddings.weight` and `cls.predictions.decoder.weight` should be one \
         tensor but hold different values; pass --set tie_word_embeddings=false to use the decoder's own, or =true to \
         use the word table"
    );
    for choice in ["true", "false"] {
        folder.load(&set(&[("tie_word_embeddings", choice)])).unwrap();
    }
}

#[test]
fn the_output_bias_goes_by_either_name() {
    let tiny = TinyBert { architecture: "BertForMaskedLM", ..TinyBert::default() };
    let mut checkpoint = tiny.checkpoint();
    let bias = checkpoint.tensors.remove("cls.predictions.bias").unwrap();
    checkpoint.tensors.insert("cls.predictions.decoder.bias".to_owned(), bias);
    let renamed = Folder::of(&checkpoint).load(&FrontOptions::default()).unwrap();
    assert_eq!(run(&renamed, &IDS), run(&load(&tiny), &IDS));
}

#[test]
fn names_do_not_change_the_result() {
    let plain = run(&load(&TinyBert::default()), &IDS);
    let rename = |from: &str, to: &str, prefix: &str| {
        let mut checkpoint = TinyBert::default().checkpoint();
        let tensors = std::mem::take(&mut checkpoint.tensors).into_iter();
        let name = |name: String| {
            let name = if name.contains("LayerNorm") { name.replace(from, to) } else { name };
            format!("{prefix}{name}")
        };
        checkpoint.tensors = tensors.map(|(key, tensor)| (name(key), tensor)).collect();
        Folder::of(&checkpoint).load(&FrontOptions::default()).unwrap()
    };
    let prefixed = rename("", "", "bert.");
    assert!(
        prefixed.graph.weights().iter().all(|&id| prefixed.graph.name(id).starts_with("bert."))
    );
    assert_eq!(run(&prefixed, &IDS), plain);
    let gamma = rename(".weight", ".gamma", "");
    assert_eq!(
        gamma.notes,
        [
            "5 tensors go by older names, such as embeddings.LayerNorm.gamma for embeddings.LayerNorm.weight"
        ]
    );
    assert_eq!(run(&gamma, &IDS), plain);
    assert_eq!(run(&rename(".bias", ".beta", "bert."), &IDS), plain);
}

#[test]
fn activations_differ_where_they_should() {
    let of = |act: &'static str| run(&load(&TinyBert { act, ..TinyBert::default() }), &IDS);
    let (erf, tanh) = (of("gelu"), of("gelu_new"));
    assert_eq!(of("gelu_pytorch_tanh"), tanh);
    assert_eq!(of("gelu_fast"), tanh);
    assert_eq!(of("silu"), of("swish"));
    let all = [erf, tanh, of("relu"), of("silu"), of("tanh")];
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| a != b), "activation {i} equals an earlier one");
    }
}

#[test]
fn a_model_without_a_pooler_has_no_pooler_output() {
    let loaded = load(&TinyBert { pooler: false, ..TinyBert::default() });
    assert_eq!(run(&loaded, &IDS).into_keys().collect::<Vec<_>>(), ["last_hidden_state"]);
    assert_eq!(loaded.notes, ["the file has no pooler, so there is no pooler_output"]);
}

#[test]
fn classes_are_named_by_number_when_the_config_leaves_them_out() {
    let tiny = TinyBert { architecture: "BertForTokenClassification", ..TinyBert::default() };
    let mut checkpoint = tiny.checkpoint();
    checkpoint.config.as_object_mut().unwrap().remove("id2label");
    let loaded = Folder::of(&checkpoint).load(&FrontOptions::default()).unwrap();
    assert_eq!(loaded.labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
}

#[test]
fn classes_are_ordered_by_number_not_by_text() {
    let tiny = TinyBert {
        architecture: "BertForSequenceClassification",
        labels: 12,
        ..TinyBert::default()
    };
    let loaded = load(&tiny);
    assert_eq!(loaded.labels, (0..12).map(|i| format!("LABEL_{i}")).collect::<Vec<_>>());
}
