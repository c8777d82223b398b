//! Random samples and weights for any graph, and the comparison of two graphs on them.

use std::collections::BTreeMap;

use bytec_ir::dim::Bindings;
use bytec_ir::eval::{Rounding, Tensor, eval};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;
use bytec_ir::types::DType;
use bytec_models::tiny::SplitMix64;

/// The rows of the smallest table that ids are looked up in.
fn table_rows(graph: &Graph, ids: NodeId) -> u64 {
    let rows = |table: NodeId| graph.ty(table).shape[0].as_fixed().unwrap();
    graph
        .users(ids)
        .into_iter()
        .flat_map(|user| {
            let operands = graph.operands(user);
            match graph.op(user) {
                Some(Op::Gather {}) => vec![rows(operands[0])],
                Some(Op::EmbedLayerNorm { .. }) => operands[2..]
                    .chunks(2)
                    .filter(|pair| pair[1] == ids)
                    .map(|pair| rows(pair[0]))
                    .collect(),
                _ => Vec::new(),
            }
        })
        .min()
        .unwrap_or(2)
}

fn tensor(graph: &Graph, id: NodeId, bindings: &Bindings, random: &mut SplitMix64) -> Tensor {
    let ty = graph.ty(id);
    let shape: Vec<usize> =
        ty.shape.iter().map(|dim| usize::try_from(dim.eval(bindings).unwrap()).unwrap()).collect();
    let count = shape.iter().product();
    if ty.dtype == DType::I64 {
        let rows = table_rows(graph, id);
        let data = std::iter::repeat_with(|| random.below(rows) as i64).take(count).collect();
        Tensor::ints(&shape, data).unwrap()
    } else {
        let data = std::iter::repeat_with(|| f64::from(random.normal())).take(count).collect();
        Tensor::floats(&shape, data).unwrap()
    }
}

/// Asserts that `after` gives what `before` gives, up to rounding, for samples of several sizes.
pub(super) fn assert_same(before: &Graph, after: &Graph, what: &str) {
    for seed in 0..3 {
        let mut random = SplitMix64(seed);
        let bindings: Bindings = before
            .symbols()
            .iter()
            .map(|range| (range.symbol.clone(), (range.min + random.below(7)).min(range.max)))
            .collect();
        let weights: BTreeMap<String, Tensor> = before
            .weights()
            .into_iter()
            .map(|id| (before.name(id).to_owned(), tensor(before, id, &bindings, &mut random)))
            .collect();
        let inputs: BTreeMap<String, Tensor> = before
            .inputs()
            .into_iter()
            .map(|id| (before.name(id).to_owned(), tensor(before, id, &bindings, &mut random)))
            .collect();
        let exact = |graph: &Graph| eval(graph, &inputs, &weights, Rounding::Exact);
        let (expected, found) = (exact(before).unwrap(), exact(after).unwrap());
        assert_eq!(
            expected.keys().collect::<Vec<_>>(),
            found.keys().collect::<Vec<_>>(),
            "{what}: outputs"
        );
        for (name, expected) in &expected {
            let found = &found[name];
            assert_eq!(expected.shape, found.shape, "{what}: output {name}");
            let (expected, found) = (expected.as_floats().unwrap(), found.as_floats().unwrap());
            let scale = expected.iter().filter(|x| x.is_finite()).fold(1e-3, |m, x| x.abs().max(m));
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
