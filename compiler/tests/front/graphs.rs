//! The second front end: a graph's text, in a file or in the metadata, over the same weights.

use std::collections::BTreeMap;

use bytec_compiler::front::{self, FrontOptions, PoolingChoice, graph_file};
use bytec_ir::attrs::PoolKind;
use bytec_ir::eval::{Rounding, Tensor, eval};
use bytec_models::tiny::TinyBert;
use expect_test::expect;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::folder::Folder;

const GRAPH: &str = "model.bytec";

/// A tiny model's folder, and its graph as text in a file of the folder.
fn folder() -> (Folder, String) {
    let folder = Folder::of(&TinyBert { layers: 1, ..TinyBert::default() }.checkpoint());
    let text = folder.load(&FrontOptions::default()).unwrap().graph.to_string();
    folder.write(GRAPH, &text);
    (folder, text)
}

fn options(folder: &Folder) -> FrontOptions {
    FrontOptions { graph: Some(folder.file(GRAPH)), ..FrontOptions::default() }
}

#[test]
fn a_printed_graph_loads_and_computes_the_same() {
    let (folder, text) = folder();
    folder.write("tokenizer.json", "{}");
    let built = folder.load(&FrontOptions::default()).unwrap();
    let read = folder.load(&options(&folder)).unwrap();
    assert_eq!(read.graph.to_string(), text);
    assert_eq!((read.front, built.front), ("bytec graph", "safetensors"));
    let limit = read.text.unwrap();
    assert_eq!((limit.max_tokens, limit.max_tokens_from.as_str()), (32, "the graph's limit on L"));
    assert_eq!(limit.type_ids.as_deref(), Some("token_type_ids"));
    let ids = Tensor::ints(&[3], vec![1, 2, 3]).unwrap();
    let inputs = BTreeMap::from([("input_ids".to_owned(), ids)]);
    let run = |graph| eval(graph, &inputs, &read.weights, Rounding::Exact).unwrap();
    assert_eq!(run(&built.graph), run(&read.graph));
}

#[test]
fn a_graph_may_travel_in_the_metadata() {
    let (folder, text) = folder();
    let tensors = TinyBert { layers: 1, ..TinyBert::default() }.checkpoint().tensors;
    let bytes: BTreeMap<_, Vec<u8>> = tensors
        .iter()
        .map(|(name, t)| (name, t.values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, t)| {
        (name, TensorView::new(Dtype::F32, t.shape.clone(), &bytes[name]).unwrap())
    });
    let metadata = [(graph_file::METADATA_KEY.to_owned(), text)].into();
    folder.write("alone/a.safetensors", serialize(views, Some(metadata)).unwrap());
    let loaded =
        front::load(&folder.file("alone/a.safetensors"), &FrontOptions::default()).unwrap();
    assert_eq!(loaded.front, "bytec graph");
    assert_eq!(loaded.unused_tensors, Vec::<String>::new());
}

#[test]
fn unused_tensors_of_a_graph_are_named() {
    let (folder, _) = folder();
    let pooled = FrontOptions {
        pooling: Some(PoolingChoice::Kinds(vec![PoolKind::Mean])),
        ..FrontOptions::default()
    };
    folder.write(GRAPH, folder.load(&pooled).unwrap().graph.to_string());
    let loaded = folder.load(&options(&folder)).unwrap();
    assert_eq!(loaded.unused_tensors, ["pooler.dense.bias", "pooler.dense.weight"]);
}

#[test]
fn weights_that_a_graph_declares_have_to_be_there() {
    let (folder, text) = folder();
    let mut found = String::new();
    let mut refuse = |text: &str| {
        folder.write(GRAPH, text);
        found.push_str(&folder.error(&options(&folder)));
        found.push('\n');
    };
    refuse(&text.replace("pooler.dense.bias", "pooler.dense.offset"));
    refuse(&text.replace("f32[24, 40]", "f32[40, 24]"));
    refuse(&text[..text.len() / 2]);
    refuse("nonsense");
    folder.write(GRAPH, [0xff, 0xfe]);
    found.push_str(&folder.error(&options(&folder)));
    found.push('\n');
    folder.remove(GRAPH);
    found.push_str(&folder.error(&options(&folder)));
    expect![[r#"
        DIR/model.safetensors: 1 tensor doesn't fit the model
          tensor `pooler.dense.offset` must be a float tensor [24], found nothing
        DIR/model.bytec: line 57, column 45: linear: weight must be f32[N, 40] for x f32[L, 40], found f32[40, 24]
        DIR/model.bytec: line 37, column 44: expected "[", found the end of the text
        DIR/model.bytec: line 1, column 1: expected the first line of a bytec graph, "bytec 1"
        DIR/model.bytec: expected text in UTF-8, found invalid utf-8 sequence of 1 bytes from index 0
        DIR/model.bytec: can't be read: No such file or directory (os error 2)"#]].assert_eq(&found);
}

#[test]
fn options_that_shape_a_model_do_not_apply_to_a_graph() {
    let (folder, _) = folder();
    let base = || options(&folder);
    let cases = [
        FrontOptions { config: Some(folder.file("config.json")), ..base() },
        FrontOptions { set: vec![("a".to_owned(), "1".to_owned())], ..base() },
        FrontOptions { architecture: Some("BertModel".to_owned()), ..base() },
        FrontOptions { pooling: Some(PoolingChoice::Kinds(vec![PoolKind::Mean])), ..base() },
        FrontOptions { normalize: Some(true), ..base() },
    ];
    for options in &cases {
        let message = folder.error(options);
        assert!(
            message.ends_with(
                "has no effect on a graph, which says the whole forward pass; leave it out"
            ),
            "{message}"
        );
    }
    let none = FrontOptions { pooling: Some(PoolingChoice::None), ..base() };
    assert_eq!(folder.load(&none).unwrap().pooling, None);
}
