//! Patches: names, uses, and what they refuse.

use expect_test::expect;

use super::Patch;
use crate::attrs::{BinaryFn, UnaryFn};
use crate::graph::Graph;
use crate::ops::Op;
use crate::text::parse;
use crate::verify::verify;

const GRAPH: &str = "\
bytec 1
symbol L in 1..=9
input %x: f32[L, 4]
%a: f32[L, 4] = unary(%x) {f = neg}
%b: f32[L, 4] = unary(%a) {f = tanh}
%c: f32[L, 4] = binary(%b, %b) {f = add}
output out = %b
output sum = %c
";

fn unary(f: UnaryFn) -> Op {
    Op::Unary { f }
}

/// The graph after `change`.
fn changed(change: impl FnOnce(&mut Patch<'_>, &Graph)) -> Graph {
    let mut graph = parse(GRAPH).unwrap();
    let mut patch = Patch::new(&graph);
    change(&mut patch, &graph);
    let change = patch.finish();
    graph.apply(change);
    graph
}

#[test]
fn a_replacement_takes_over_uses_outputs_and_name() {
    let graph = changed(|patch, graph| {
        let (x, b) = (graph.value("x").unwrap(), graph.value("b").unwrap());
        let half = patch.constant("half", 0.5);
        let new = patch.op("b", Op::Binary { f: BinaryFn::Mul }, &[x, half]).unwrap();
        patch.replace(b, new);
    });
    expect![[r#"
        bytec 1
        symbol L in 1..=9
        input %x: f32[L, 4]
        %a: f32[L, 4] = unary(%x) {f = neg}
        %b.old: f32[L, 4] = unary(%a) {f = tanh}
        const %half = 0.5
        %b: f32[L, 4] = binary(%x, %half) {f = mul}
        %c: f32[L, 4] = binary(%b, %b) {f = add}
        output out = %b
        output sum = %c
    "#]]
    .assert_eq(&graph.to_string());
    verify(&graph).unwrap();
    assert_eq!(graph.name(graph.value("b.old").unwrap()), "b.old");
}

#[test]
fn a_replacement_may_use_what_it_replaces() {
    let graph = changed(|patch, graph| {
        let a = graph.value("a").unwrap();
        let inner = patch.op("inner", unary(UnaryFn::Abs), &[a]).unwrap();
        let new = patch.op("a", unary(UnaryFn::Sqrt), &[inner]).unwrap();
        patch.replace(a, new);
    });
    expect![[r#"
        bytec 1
        symbol L in 1..=9
        input %x: f32[L, 4]
        %a: f32[L, 4] = unary(%x) {f = neg}
        %inner: f32[L, 4] = unary(%a) {f = abs}
        %a.2: f32[L, 4] = unary(%inner) {f = sqrt}
        %b: f32[L, 4] = unary(%a.2) {f = tanh}
        %c: f32[L, 4] = binary(%b, %b) {f = add}
        output out = %b
        output sum = %c
    "#]]
    .assert_eq(&graph.to_string());
    verify(&graph).unwrap();
}

#[test]
fn removed_nodes_free_their_names() {
    let graph = changed(|patch, graph| {
        let [x, a, b] = ["x", "a", "b"].map(|name| graph.value(name).unwrap());
        let new = patch.op("a", unary(UnaryFn::Silu), &[x]).unwrap();
        patch.replace(b, new);
        // In either order: b uses a.
        patch.remove(a);
        patch.remove(b);
    });
    expect![[r#"
        bytec 1
        symbol L in 1..=9
        input %x: f32[L, 4]
        %a: f32[L, 4] = unary(%x) {f = silu}
        %c: f32[L, 4] = binary(%a, %a) {f = add}
        output out = %a
        output sum = %c
    "#]]
    .assert_eq(&graph.to_string());
    verify(&graph).unwrap();
    assert_eq!(graph.value("b"), None);
}

#[test]
fn names_stay_unique() {
    let graph = changed(|patch, graph| {
        let b = graph.value("b").unwrap();
        for _ in 0..3 {
            patch.op("b", unary(UnaryFn::Neg), &[b]).unwrap();
        }
        patch.constant("x", 1.0);
    });
    let mut names: Vec<_> = graph.ids().map(|id| graph.name(id)).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "b.2", "b.3", "b.4", "c", "x", "x.2"]);
    verify(&graph).unwrap();
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let graph = parse(GRAPH).unwrap();
    let mut patch = Patch::new(&graph);
    let error = patch.op("y", Op::MatMul {}, &[graph.value("a").unwrap(); 2]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "matmul: expected [.., M, K] and [.., K, N], found f32[L, 4] and f32[L, 4]"
    );
}

#[test]
#[should_panic(expected = "a replacement keeps the type")]
fn a_replacement_of_another_type() {
    changed(|patch, graph| {
        let one = patch.constant("one", 1.0);
        patch.replace(graph.value("a").unwrap(), one);
    });
}

#[test]
#[should_panic(expected = "a is removed but still used")]
fn a_removal_of_what_is_used() {
    changed(|patch, graph| patch.remove(graph.value("a").unwrap()));
}

#[test]
#[should_panic(expected = "a change is for the graph that it was made of")]
fn a_change_of_another_graph() {
    let mut graph = parse(GRAPH).unwrap();
    let mut patch = Patch::new(&graph);
    patch.constant("one", 1.0);
    let (first, second) = (patch.finish(), Patch::new(&graph).finish());
    graph.apply(first);
    graph.apply(second);
}
