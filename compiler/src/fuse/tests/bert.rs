//! The main job: every head of BERT comes out as the ops that have kernels.

use std::collections::BTreeMap;

use bytec_ir::attrs::PoolKind;
use bytec_ir::graph::Graph;
use bytec_models::tiny::TinyBert;
use bytec_models::{Config, Pooling, Request};

use super::assert_same;
use crate::fuse::pack::{Placement, pack};
use crate::fuse::{RULES, run};

fn bert(tiny: &TinyBert, pooling: Option<Pooling>) -> Graph {
    let made = tiny.checkpoint();
    let config = Config::new("config.json", made.config.as_object().unwrap().clone());
    let request = Request { architecture: None, pooling };
    let checkpoint = made.describe("model.safetensors", "F32");
    bytec_models::build(&config, &checkpoint, &request).unwrap().graph
}

fn fused(before: &Graph, what: &str) -> Graph {
    let (after, _) = run(before, RULES).unwrap();
    assert_same(before, &after, what);
    after
}

/// How many ops of each kind a graph has, those on weights alone left out.
fn kinds(graph: &Graph) -> BTreeMap<&'static str, usize> {
    let packed = pack(graph).unwrap();
    let mut kinds = BTreeMap::new();
    for (&id, placement) in &packed.placement {
        if let Some(op) = graph.op(id)
            && *placement != Placement::Shared
        {
            *kinds.entry(op.kind().row().mnemonic).or_insert(0) += 1;
        }
    }
    kinds
}

#[test]
fn an_encoder_is_four_linears_one_attention_and_two_norms_a_layer() {
    for layers in [1, 3] {
        let tiny = TinyBert { layers, pooler: false, ..TinyBert::default() };
        let pooling = Pooling::new(PoolKind::Mean, true);
        let after = fused(&bert(&tiny, Some(pooling)), "encoder");
        let expected = BTreeMap::from([
            ("add_layer_norm", 2 * layers),
            ("attention", layers),
            ("embed_layer_norm", 1),
            ("iota", 1),
            ("linear", 4 * layers),
            ("pool", 1),
            ("slice", 3 * layers),
        ]);
        assert_eq!(kinds(&after), expected, "{after}");
    }
}

#[test]
fn every_head_fuses_whole() {
    let one = TinyBert { layers: 1, ..TinyBert::default() };
    let heads = [
        ("BertModel", "gelu"),
        ("BertForSequenceClassification", "relu"),
        ("BertForTokenClassification", "silu"),
        ("BertForMaskedLM", "gelu_new"),
    ];
    for (architecture, act) in heads {
        let tiny = TinyBert { architecture, act, ..one.clone() };
        let after = fused(&bert(&tiny, None), architecture);
        let left: Vec<_> = kinds(&after)
            .into_keys()
            .filter(|kind| {
                [
                    "binary",
                    "unary",
                    "pointwise",
                    "matmul",
                    "softmax",
                    "transpose",
                    "reshape",
                    "gather",
                ]
                .contains(kind)
            })
            .collect();
        assert!(left.is_empty(), "{architecture} keeps {left:?}:\n{after}");
    }
}

#[test]
fn fusing_again_changes_nothing() {
    let after = fused(&bert(&TinyBert::default(), None), "bert");
    let (again, reports) = run(&after, RULES).unwrap();
    assert_eq!(after.to_string(), again.to_string());
    assert!(reports.iter().all(|report| report.applied.is_empty()));
}

#[test]
fn two_runs_give_the_same_text_and_reports() {
    let before = bert(&TinyBert::default(), None);
    let (first, first_reports) = run(&before, RULES).unwrap();
    let (second, second_reports) = run(&before, RULES).unwrap();
    assert_eq!(first.to_string(), second.to_string());
    assert_eq!(first_reports, second_reports);
}
