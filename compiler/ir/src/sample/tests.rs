//! Random graphs are valid, varied, and the same for the same seed.

use std::collections::BTreeSet;

use super::{bindings, graph, inputs, weights};
use crate::eval::{Rounding, eval};
use crate::graph::Graph;
use crate::ops::{OpKind, TABLE};
use crate::text::parse;
use crate::verify::verify;

const SEEDS: u64 = 400;

/// Names, types, definitions, operands and outputs, without ids.
fn shape_of(graph: &Graph) -> Vec<String> {
    let mut lines: Vec<_> = graph
        .ids()
        .map(|id| {
            let operands: Vec<_> =
                graph.operands(id).into_iter().map(|id| graph.node(id)).cloned().collect();
            format!("{:?} {operands:?}", graph.node(id))
        })
        .collect();
    lines.sort();
    lines.push(format!("{:?}", graph.symbols()));
    let outputs = graph.outputs().iter();
    lines.extend(outputs.map(|output| format!("{} {}", output.name, graph.name(output.value))));
    lines
}

#[test]
fn graphs_are_valid_and_their_values_finite() {
    for seed in 0..SEEDS {
        let graph = graph(seed);
        verify(&graph).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
        let inputs = inputs(&graph, &bindings(&graph, seed), seed);
        let outputs = eval(&graph, &inputs, &weights(&graph, seed), Rounding::Exact)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{graph}"));
        for (name, tensor) in outputs {
            let floats = tensor.as_floats().unwrap();
            assert!(
                floats.iter().all(|x| x.is_finite() && x.abs() < 1e6),
                "seed {seed}: {name}\n{graph}"
            );
        }
    }
}

#[test]
fn the_text_form_gives_back_the_same_graph() {
    for seed in 0..SEEDS {
        let graph = graph(seed);
        let text = graph.to_string();
        let read = parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert_eq!(read.to_string(), text, "seed {seed}");
        assert_eq!(shape_of(&read), shape_of(&graph), "seed {seed}");
    }
}

#[test]
fn every_op_of_a_source_is_reached() {
    let fused = [OpKind::AddLayerNorm, OpKind::EmbedLayerNorm, OpKind::Pool, OpKind::Pointwise];
    let expected: BTreeSet<_> =
        TABLE.iter().map(|row| row.kind).filter(|kind| !fused.contains(kind)).collect();
    let mut reached = BTreeSet::new();
    for seed in 0..SEEDS {
        let graph = graph(seed);
        reached.extend(graph.ids().filter_map(|id| graph.op(id).map(|op| op.kind())));
    }
    assert_eq!(reached, expected);
}

#[test]
fn one_seed_gives_one_graph() {
    for seed in 0..20 {
        assert_eq!(graph(seed).to_string(), graph(seed).to_string());
        assert_ne!(graph(seed).to_string(), graph(seed + 1).to_string());
    }
}
