//! Each invariant, broken once.

use std::collections::BTreeSet;
use std::fmt::Write;

use expect_test::{Expect, expect};

use super::{Invariant, verify};
use crate::attrs::{Real, UnaryFn};
use crate::dim::{Dim, Symbol};
use crate::graph::{Def, Graph, Node, NodeId, Output};
use crate::ops::Op;
use crate::text::parse;
use crate::types::{DType, SymbolRange, TensorType};

const VALID: &str = "\
bytec 1
symbol L in 1..=8
input %ids: i64[L]
input %types: i64[L] = 1
weight @words: f32[10, 4]
weight @types: f32[2, 4]
weight @gamma: f32[4]
%places: i64[L] = iota() {extent = L, start = 2}
%a: f32[L, 4] = gather(@words, %ids)
%b: f32[L, 4] = gather(@types, %types)
%c: f32[L, 4] = gather(@words, %places)
%d: f32[L, 4] = layer_norm(%a, @gamma, @gamma) {eps = 1e-12}
%e: f32[4] = select(%d) {axis = 0, index = 0}
output all = %d
output first = %e
";

/// Breaks one invariant of the valid graph, which it is given.
type Break = fn(&mut Graph);

fn named(graph: &Graph, name: &str) -> NodeId {
    graph.value(name).unwrap()
}

fn ty(text: &[Dim]) -> TensorType {
    TensorType::new(DType::F32, text.iter().cloned())
}

fn node(name: &str, ty: TensorType, def: Def) -> Node {
    Node { name: name.to_owned(), ty, def }
}

fn input(graph: &mut Graph, shape: &[Dim]) {
    graph.add_node(node("x", ty(shape), Def::Input { default: None }), &[]);
}

fn symbol(graph: &mut Graph, name: &str, min: u64, max: u64) {
    graph.add_symbol(SymbolRange { symbol: Symbol::new(name), min, max });
}

fn output(graph: &mut Graph, name: &str, value: NodeId) {
    graph.add_output(Output { name: name.to_owned(), value });
}

/// An op whose type is right.
fn op(graph: &mut Graph, name: &str, op: Op, operands: &[NodeId]) -> NodeId {
    let types: Vec<_> = operands.iter().map(|&id| graph.ty(id)).collect();
    let ty = crate::infer::infer(&op, &types).unwrap();
    graph.add_node(node(name, ty, Def::Op(op)), operands)
}

fn neg() -> Op {
    Op::Unary { f: UnaryFn::Neg }
}

fn l() -> Dim {
    Dim::symbol("L")
}

#[rustfmt::skip]
fn cases() -> Vec<(Invariant, Break, Expect)> {
    vec![
        (Invariant::Acyclic, |g| {
            let x = named(g, "d");
            let a = op(g, "loop", neg(), &[x]);
            let b = op(g, "back", neg(), &[a]);
            let users: Vec<_> = g.ids().filter(|&id| id != a).collect();
            g.redirect(x, b, &users);
            g.remove_outputs();
            output(g, "all", named(g, "a"));
        }, expect![[r#"
            invariant 1 at %loop: is on a cycle, or depends on one
            invariant 1 at %back: is on a cycle, or depends on one
        "#]]),
        (Invariant::Types, |g| {
            let x = named(g, "d");
            g.add_node(node("x", ty(&[Dim::fixed(4)]), Def::Op(neg())), &[x]);
        }, expect![[r#"
            invariant 2 at %x: expected the type f32[L, 4], found f32[4]
        "#]]),
        (Invariant::Types, |g| { g.add_node(node("x", ty(&[]), Def::Op(neg())), &[]); }, expect![[r#"
            invariant 2 at %x: unary: takes (x), got 0 operands
        "#]]),
        (Invariant::Types, |g| {
            let x = named(g, "d");
            g.add_node(node("x", ty(&[]), Def::Const(Real(1.0))), &[x]);
        }, expect![[r#"
            invariant 2 at %x: expected no operands, found 1
        "#]]),
        (Invariant::Types, |g| {
            g.add_node(node("x", ty(&[Dim::fixed(2)]), Def::Const(Real(1.0))), &[]);
        }, expect![[r#"
            invariant 2 at %x: expected the type f32[], found f32[2]
        "#]]),
        (Invariant::Names, |g| { g.add_node(node("d", ty(&[]), Def::Const(Real(1.0))), &[]); }, expect![[r#"
            invariant 3 at %d: expected a unique name, found it twice
        "#]]),
        (Invariant::Names, |g| { g.add_node(node("", ty(&[]), Def::Const(Real(1.0))), &[]); }, expect![[r#"
            invariant 3 at %: node #11 has no name
        "#]]),
        (Invariant::Outputs, Graph::remove_outputs, expect![[r#"
            invariant 4 at the graph: expected at least one output, found none
        "#]]),
        (Invariant::Outputs, |g| output(g, "all", named(g, "d")), expect![[r#"
            invariant 4 at output all: expected a name of its own that is not empty
        "#]]),
        (Invariant::Outputs, |g| output(g, "w", g.weight("words").unwrap()), expect![[r#"
            invariant 4 at output w: expected a value that depends on the sample, found one that is always the same
        "#]]),
        (Invariant::Outputs, |g| output(g, "i", named(g, "ids")), expect![[r#"
            invariant 4 at output i: expected floats, found i64[L]
        "#]]),
        (Invariant::Outputs, |g| g.remove_node(named(g, "e")), expect![[r#"
            invariant 4 at output first: its value #10 is no longer in the graph
        "#]]),
        (Invariant::Symbols, |g| input(g, &[l(), Dim::symbol("M")]), expect![[r#"
            invariant 5 at %x: symbol M is not declared
            invariant 7 at %x: M in f32[L, M] does not always have a value
        "#]]),
        (Invariant::Symbols, |g| symbol(g, "L", 1, 8), expect![[r#"
            invariant 5 at symbol L: expected one declaration, found two
        "#]]),
        (Invariant::Symbols, |g| {
            symbol(g, "M", 3, 2);
            input(g, &[Dim::symbol("M")]);
        }, expect![[r#"
            invariant 5 at symbol M: expected 1 <= min <= max, found 3..=2
        "#]]),
        (Invariant::Symbols, |g| {
            symbol(g, "a b", 1, 2);
            input(g, &[Dim::symbol("a b")]);
        }, expect![[r#"
            invariant 5 at symbol "a b": expected a name of letters, digits and _, not a digit first
        "#]]),
        (Invariant::Binding, |g| symbol(g, "M", 1, 2), expect![[r#"
            invariant 6 at symbol M: expected an input without default that has it as an axis, found none
        "#]]),
        (Invariant::Sizes, |g| input(g, &[l() - Dim::fixed(1)]), expect![[r#"
            invariant 7 at %x: expected extents of at least 1, found L - 1 in f32[L - 1], which may be 0
        "#]]),
        (Invariant::Sizes, |g| input(g, &[Dim::fixed(u64::MAX)]), expect![[r#"
            invariant 7 at %x: expected at most 281474976710656 elements, found f32[9223372036854775807] with up to 9223372036854775807
        "#]]),
        (Invariant::Sizes, |g| input(g, &[Dim::fixed(u64::MAX), Dim::fixed(2)]), expect![[r#"
            invariant 7 at %x: f32[9223372036854775807, 2] has too many elements to count
        "#]]),
        (Invariant::Sizes, |g| input(g, &[l().floor_div(0)]), expect![[r#"
            invariant 7 at %x: floor(L, 0) in f32[floor(L, 0)] does not always have a value
        "#]]),
        (Invariant::Sizes, |g| input(g, &vec![l(); 9]), expect![[r#"
            invariant 7 at %x: expected at most 8 axes, found f32[L, L, L, L, L, L, L, L, L]
        "#]]),
        (Invariant::Sources, |g| {
            g.add_node(node("x", ty(&[l()]), Def::Input { default: Some(0) }), &[]);
        }, expect![[r#"
            invariant 8 at %x: expected integers for the default 0, found f32[L]
        "#]]),
        (Invariant::Sources, |g| { g.add_node(node("w", ty(&[l()]), Def::Weight), &[]); }, expect![[r#"
            invariant 8 at @w: expected floats of a fixed shape, found f32[L]
        "#]]),
        (Invariant::Indices, |g| {
            let x = named(g, "d");
            op(g, "x", Op::Select { axis: 0, index: 1 }, &[x]);
        }, expect![[r#"
            invariant 9 at %x: expected an axis longer than the index 1, found L, which may be shorter
        "#]]),
        (Invariant::Indices, |g| {
            let (places, types) = (named(g, "places"), g.weight("types").unwrap());
            op(g, "x", Op::Gather {}, &[types, places]);
        }, expect![[r#"
            invariant 9 at %x: expected ids that are rows of @types, which has 2; %places gives 2 to 2 + L - 1
        "#]]),
        (Invariant::Indices, |g| {
            let places = op(g, "early", Op::Iota { extent: l(), start: -1 }, &[]);
            let moved = op(g, "moved", Op::Concat { axis: 0 }, &[named(g, "ids"), places]);
            let words = g.weight("words").unwrap();
            op(g, "x", Op::Gather {}, &[words, moved]);
        }, expect![[r#"
            invariant 9 at %x: expected ids that are rows of @words, which has 10; %early gives -1 to -1 + L - 1
        "#]]),
        (Invariant::Indices, |g| {
            let ty = TensorType::new(DType::I64, [l()]);
            let ids = g.add_node(node("late", ty, Def::Input { default: Some(10) }), &[]);
            let words = g.weight("words").unwrap();
            op(g, "x", Op::Gather {}, &[words, ids]);
        }, expect![[r#"
            invariant 9 at %x: expected ids that are rows of @words, which has 10; %late gives 10 to 10 + 1 - 1
        "#]]),
        (Invariant::Numbers, |g| {
            let x = named(g, "d");
            op(g, "x", Op::L2Normalize { eps: Real(-1.0) }, &[x]);
        }, expect![[r#"
            invariant 10 at %x: expected a finite number that is not negative for eps, found -1.0
        "#]]),
        (Invariant::Numbers, |g| {
            let x = named(g, "d");
            op(g, "x", Op::attention(2, 2, f64::NAN), &[x, x, x]);
        }, expect![[r#"
            invariant 10 at %x: expected a finite number for scale, found NaN
        "#]]),
    ]
}

#[test]
fn the_base_of_the_cases_is_valid() {
    verify(&parse(VALID).unwrap()).unwrap();
}

#[test]
fn each_invariant_has_its_violation() {
    let mut seen = BTreeSet::new();
    for (invariant, change, expected) in cases() {
        let mut graph = parse(VALID).unwrap();
        change(&mut graph);
        let error = verify(&graph).unwrap_err();
        let mut text = String::new();
        for violation in &error.violations {
            writeln!(text, "{violation}").unwrap();
        }
        expected.assert_eq(&text);
        assert_eq!(error.violations[0].invariant, invariant);
        seen.insert(invariant);
    }
    assert!(seen.into_iter().eq(Invariant::ALL), "every invariant has a case");
}

#[test]
fn numbers_are_those_of_the_page() {
    let numbers: Vec<_> = Invariant::ALL.iter().map(|invariant| invariant.number()).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
}
