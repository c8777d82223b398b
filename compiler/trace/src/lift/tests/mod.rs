//! A lifted graph gives what its trace gives for one sample, at short lengths and at the longest.

mod attention;
mod layers;
mod refusals;
mod robust;
mod rotary;
mod tables;
mod view;

use std::collections::BTreeMap;

use bytec_ir::dim::Bindings;
use bytec_ir::eval::{Data, Rounding, Tensor, eval as eval_graph};
use bytec_ir::graph::Graph;
use bytec_ir::sample::Random;

use super::{LiftOptions, Lifted, lift};
use crate::eval::eval;
use crate::op::Op;
use crate::program::{Kind, Trace};
use crate::sketch::Sketch;

/// Random tensors for a trace's inputs, at a batch of one, and for its weights. Ids are 1 to 3, and masks are all ones.
fn tensors(trace: &Trace, length: u64) -> [BTreeMap<String, Tensor>; 2] {
    let mut random = Random::new(length);
    let sizes = trace.symbols.iter().map(|range| {
        let size = if Some(&range.symbol) == trace.batch.as_ref() { 1 } else { length };
        (range.symbol.clone(), size.clamp(range.min, range.max))
    });
    let bindings: Bindings = sizes.collect();
    let [mut inputs, mut weights] = [BTreeMap::new(), BTreeMap::new()];
    for (_, node) in trace.nodes() {
        let (name, into) = match &node.op {
            Op::Input { name } => (name, &mut inputs),
            Op::Weight { name } => (name, &mut weights),
            _ => continue,
        };
        let size = |dim: &bytec_ir::Dim| dim.eval(&bindings).unwrap() as usize;
        let shape: Vec<usize> = node.ty.shape.iter().map(size).collect();
        let count: usize = shape.iter().product();
        let data = match node.ty.kind {
            Kind::Float => Data::Float((0..count).map(|_| random.real()).collect()),
            _ if name.contains("mask") => Data::Int(vec![1; count]),
            _ => Data::Int((0..count).map(|_| 1 + random.below(3) as i64).collect()),
        };
        into.entry(name.clone()).or_insert(Tensor { shape, data });
    }
    [inputs, weights]
}

/// Lifts a trace and compares what the two give.
fn lifted_with(trace: &Trace, options: &LiftOptions) -> Lifted {
    lifted_as(trace, options, &BTreeMap::new())
}

/// The same with some weights that are not random.
fn lifted_as(trace: &Trace, options: &LiftOptions, held: &BTreeMap<String, Tensor>) -> Lifted {
    let lifted = lift(trace, options).unwrap_or_else(|error| panic!("{error}"));
    let tables = &lifted.tables;
    for length in [1, 2, 7, 8, 9, u64::MAX] {
        let [inputs, mut weights] = tensors(trace, length);
        weights.extend(held.clone());
        let expected = eval(trace, &inputs, &weights).unwrap();
        weights.extend(tables.clone());
        let samples = inputs.into_iter().map(|(name, mut tensor)| {
            if trace.batch.is_some() {
                tensor.shape.remove(0);
            }
            (name, tensor)
        });
        let sample = samples.filter(|(name, _)| lifted.graph.value(name).is_some()).collect();
        let found = eval_graph(&lifted.graph, &sample, &weights, Rounding::Exact).unwrap();
        for (name, expected) in expected {
            let found = &found[&name];
            let (x, y) = (expected.as_floats().unwrap(), found.as_floats().unwrap());
            assert_eq!(x.len(), y.len(), "{name} at {length}");
            let scale = x.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
            for (x, y) in x.iter().zip(y) {
                // Masks and tables of the trace are rounded to f32.
                assert!((x - y).abs() <= 2e-5 * scale, "{name} at {length}: {x} and {y}");
            }
        }
    }
    lifted
}

fn lifted(sketch: &Sketch) -> Graph {
    lifted_with(&sketch.trace, &LiftOptions::default()).graph
}

/// The graph's lines with this mnemonic, from it on.
fn lines(graph: &Graph, mnemonic: &str) -> Vec<String> {
    let text = graph.to_string();
    let begin = format!(" = {mnemonic}(");
    let lines = text.lines().filter_map(|line| line.split_once(&begin));
    lines.map(|(_, rest)| rest.to_owned()).collect()
}

/// How many ops a graph has.
fn ops(graph: &Graph) -> usize {
    graph.ids().filter(|&id| graph.op(id).is_some()).count()
}
