//! Whole graphs: binding, defaults, rounding, and ops that mean the same.

use std::collections::BTreeMap;

use super::{close, f, i};
use crate::builder::Builder;
use crate::dim::Dim;
use crate::eval::{Data, Rounding, Tensor, eval, eval_all};
use crate::ops::Op;
use crate::sample;
use crate::text::parse;

#[test]
fn the_builders_attention_is_the_op() {
    let mut b = Builder::new();
    let (queries, keys) = (b.symbol("Q", 1, 9), b.symbol("K", 1, 9));
    let ty = |rows: &Dim| {
        crate::types::TensorType::new(crate::types::DType::F32, [rows.clone(), Dim::fixed(6)])
    };
    let q = b.input("q", ty(&queries), None);
    let (k, v) = (b.input("k", ty(&keys), None), b.input("v", ty(&keys), None));
    let plain = b.self_attention(q, k, v, 2, 3).unwrap();
    let op = Op::attention(2, 3, 1.0 / 3f64.sqrt());
    let one = b.op("one", op, &[q, k, v]).unwrap();
    b.output("plain", plain);
    b.output("one", one);
    let graph = b.finish();
    crate::verify::verify(&graph).unwrap();
    for seed in 0..20 {
        let inputs = sample::inputs(&graph, &sample::bindings(&graph, seed), seed);
        let found = eval(&graph, &inputs, &BTreeMap::new(), Rounding::Exact).unwrap();
        close(&found["one"], &found["plain"]);
    }
}

const GRAPH: &str = "\
bytec 1
symbol L in 1..=3
input %ids: i64[L]
input %types: i64[L] = 1
input %x: f32[L, 2]
weight @table: f32[2, 2]
const %third = 0.3333333333333333
%a: f32[L, 2] = gather(@table, %types)
%b: f32[L, 2] = gather(@table, %ids)
%c: f32[L, 2] = binary(%a, %b) {f = add}
%d: f32[L, 2] = binary(%c, %x) {f = add}
%y: f32[L, 2] = binary(%d, %third) {f = mul}
output y = %y
output again = %y
";

fn table() -> BTreeMap<String, Tensor> {
    BTreeMap::from([("table".to_owned(), f(&[2, 2], &[1., 2., 3., 4.]))])
}

fn sample_of(tensors: &[(&str, Tensor)]) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect()
}

#[test]
fn a_graph_with_a_default() {
    let graph = parse(GRAPH).unwrap();
    let (ids, x) = (i(&[1], &[0]), f(&[1, 2], &[0.1, 0.2]));
    let given = sample_of(&[("ids", ids.clone()), ("x", x.clone())]);
    let found = eval(&graph, &given, &table(), Rounding::Exact).unwrap();
    close(&found["y"], &f(&[1, 2], &[4.1 / 3., 6.2 / 3.]));
    assert_eq!(found["again"], found["y"]);
    let types = i(&[1], &[0]);
    let given = sample_of(&[("ids", ids), ("x", x), ("types", types)]);
    let found = eval(&graph, &given, &table(), Rounding::Exact).unwrap();
    close(&found["y"], &f(&[1, 2], &[2.1 / 3., 4.2 / 3.]));
    // Rounded after each op, inputs and constants too.
    let all = eval_all(&graph, &given, &table(), Rounding::F32).unwrap();
    let third = f64::from(1f32 / 3.);
    assert_eq!(all[&graph.value("third").unwrap()].data, Data::Float(vec![third]));
    let y = f64::from((2f32 + 0.1f32) * (1f32 / 3.));
    assert_eq!(all[&graph.value("y").unwrap()].as_floats().unwrap()[0], y);
}

#[test]
fn samples_that_do_not_fit() {
    let graph = parse(GRAPH).unwrap();
    let (ids, x) = (i(&[2], &[0, 1]), f(&[2, 2], &[0.; 4]));
    let cases = [
        (vec![("ids", ids.clone())], "at %x: the sample leaves it out, and it has no default"),
        (
            vec![("ids", ids.clone()), ("x", x.clone()), ("mask", x.clone())],
            "unknown input \"mask\", expected one of ids, types, x",
        ),
        (
            vec![("ids", ids.clone()), ("x", f(&[1, 2], &[0.; 2]))],
            "at %x: symbol L is 2 by an earlier input and 1 by this one",
        ),
        (
            vec![("ids", i(&[4], &[0; 4])), ("x", x.clone())],
            "at %ids: symbol L must be in 1..=3, found 4",
        ),
        (
            vec![("ids", ids.clone()), ("x", f(&[2, 3], &[0.; 6]))],
            "at %x: expected floats [2, 2], found floats [2, 3]",
        ),
        (
            vec![("ids", ids.clone()), ("x", f(&[4], &[0.; 4]))],
            "at %x: expected f32[L, 2], found floats [4]",
        ),
        (
            vec![("ids", f(&[2], &[0.; 2])), ("x", x.clone())],
            "at %ids: expected integers [2], found floats [2]",
        ),
        (
            vec![("ids", i(&[2], &[0, 2])), ("x", x.clone())],
            "at %b: id 2 is not a row of a table of 2 rows",
        ),
    ];
    for (tensors, expected) in cases {
        let error = eval(&graph, &sample_of(&tensors), &table(), Rounding::Exact).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let given = sample_of(&[("ids", ids), ("x", x)]);
    let none: BTreeMap<String, Tensor> = BTreeMap::new();
    let error = eval(&graph, &given, &none, Rounding::Exact).unwrap_err();
    assert_eq!(error.to_string(), "at @table: no weight is called \"table\"");
    let wrong = sample_of(&[("table", f(&[2, 3], &[0.; 6]))]);
    let error = eval(&graph, &given, &wrong, Rounding::Exact).unwrap_err();
    assert_eq!(error.to_string(), "at @table: expected floats [2, 2], found floats [2, 3]");
}
