//! Tests of all rules together. What a rule does alone is in its own doc, which [`examples`] runs.

mod awkward;
mod bert;
mod canon;
mod examples;
mod reports;
mod soundness;

use std::collections::BTreeMap;

use bytec_ir::eval::{Data, Rounding, Tensor, eval};
use bytec_ir::graph::Graph;
use bytec_ir::sample::{self, Random};
use bytec_ir::text::parse;
use bytec_ir::verify::verify;

/// Asserts that `after` gives what `before` gives, up to rounding, for samples of several sizes.
///
/// Some random values are ill-conditioned, such as the direction of a row that is almost zero. How far they may move is
/// measured: a change of the weights in the twelfth digit moves them about as far.
fn assert_same(before: &Graph, after: &Graph, what: &str) {
    for seed in 0..3 {
        let weights = sample::weights(before, seed);
        let inputs = sample::inputs(before, &sample::bindings(before, seed), seed);
        let near = nudged(&weights, seed);
        let run = |graph, weights| eval(graph, &inputs, weights, Rounding::Exact).unwrap();
        let expected = run(before, &weights);
        let (found, moved) = (run(after, &weights), run(before, &near));
        assert!(expected.keys().eq(found.keys()), "{what}: the outputs differ");
        for (name, expected) in &expected {
            assert_eq!(expected.shape, found[name].shape, "{what}: output {name}");
            let floats = |tensor: &Tensor| tensor.as_floats().unwrap().to_vec();
            let (expected, found, moved) =
                (floats(expected), floats(&found[name]), floats(&moved[name]));
            let largest = |values: Vec<f64>| {
                values.into_iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()))
            };
            let moves = expected.iter().zip(&moved).map(|(e, m)| e - m).collect();
            let bound = 1e-12 + 1e-9 * largest(expected.clone()) + 100.0 * largest(moves);
            for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
                let same = e == f || e.is_nan() && f.is_nan() || (e - f).abs() <= bound;
                assert!(
                    same,
                    "{what}: output {name}[{i}] is {f}, expected {e} within {bound}; before:\n{before}\nafter:\n{after}"
                );
            }
        }
    }
}

/// The weights, each element changed in the twelfth digit.
fn nudged(weights: &BTreeMap<String, Tensor>, seed: u64) -> BTreeMap<String, Tensor> {
    let mut random = Random::new(seed);
    let mut nudged = weights.clone();
    for tensor in nudged.values_mut() {
        if let Data::Float(data) = &mut tensor.data {
            data.iter_mut().for_each(|x| *x *= 1.0 + 1e-12 * random.real());
        }
    }
    nudged
}

/// A graph over `[L, 8]` inputs `x` and `z`, weights and a few statements.
fn graph(statements: &str) -> Graph {
    let text = format!(
        "bytec 1\nsymbol L in 1..=512\ninput %x: f32[L, 8]\ninput %z: f32[L, 8]\n\
         weight @w: f32[8, 8]\nweight @b: f32[8]\nweight @gamma: f32[8]\nweight @beta: f32[8]\n{statements}"
    );
    let graph = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&graph).unwrap_or_else(|e| panic!("{e}\n{text}"));
    graph
}
