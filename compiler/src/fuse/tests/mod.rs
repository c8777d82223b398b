//! Tests of all rules together. What a rule does alone is in its own doc, which [`examples`] runs.

mod awkward;
mod bert;
mod examples;
mod reports;
mod soundness;

use bytec_ir::eval::{Rounding, eval};
use bytec_ir::graph::Graph;
use bytec_ir::sample;
use bytec_ir::text::parse;
use bytec_ir::verify::verify;

/// Asserts that `after` gives what `before` gives, up to rounding, for samples of several sizes.
fn assert_same(before: &Graph, after: &Graph, what: &str) {
    for seed in 0..3 {
        let weights = sample::weights(before, seed);
        let inputs = sample::inputs(before, &sample::bindings(before, seed), seed);
        let run = |graph: &Graph| eval(graph, &inputs, &weights, Rounding::Exact).unwrap();
        let (expected, found) = (run(before), run(after));
        assert!(expected.keys().eq(found.keys()), "{what}: the outputs differ");
        for (name, expected) in &expected {
            assert_eq!(expected.shape, found[name].shape, "{what}: output {name}");
            let (expected, found) =
                (expected.as_floats().unwrap(), found[name].as_floats().unwrap());
            let finite = expected.iter().filter(|x| x.is_finite());
            let scale = finite.fold(1e-3, |scale: f64, x| scale.max(x.abs()));
            for (i, (e, f)) in expected.iter().zip(found).enumerate() {
                let same = e == f || e.is_nan() && f.is_nan() || (e - f).abs() <= 1e-9 * scale;
                assert!(
                    same,
                    "{what}: output {name}[{i}] is {f}, expected {e}; before:\n{before}\nafter:\n{after}"
                );
            }
        }
    }
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
