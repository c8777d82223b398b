//! What needs tables that no checkpoint holds: numbers of sizes, of ids and of places, and rows chosen by them.

use std::collections::BTreeMap;

use bytec_ir::eval::{Data, Tensor};
use bytec_ir::graph::Graph;

use super::super::{LiftError, LiftOptions, Lifted, lift};
use super::attention::{heads, merged};
use super::{lifted_with, lines};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};
use crate::sketch::{Sketch, b, n, s};

const F: Kind = Kind::Float;

fn with_tables(t: &Sketch) -> Lifted {
    let options = LiftOptions { tables: true, ..LiftOptions::default() };
    let without = lift(&t.trace, &LiftOptions::default());
    assert!(matches!(without, Err(LiftError::Refused(_))), "{without:?}");
    lifted_with(&t.trace, &options)
}

fn graph_of(build: impl FnOnce(&mut Sketch) -> ValueId) -> Lifted {
    let mut t = Sketch::new(150);
    let y = build(&mut t);
    t.output("y", y);
    with_tables(&t)
}

/// Rows `[B, S, 6]` of a table of four ids.
fn rows(t: &mut Sketch) -> [ValueId; 2] {
    let ids = t.ids();
    let table = t.weight("table", &[4, 6]);
    [ids, t.embedding(table, ids)]
}

/// `x[arange(B), place]`.
fn row_at(t: &mut Sketch, x: ValueId, numbers: ValueId) -> ValueId {
    let place = Op::Reduce { f: ReduceOp::ArgMax, axes: vec![1], keep: false };
    let place = t.op(place, &[numbers], Kind::Int, &[b()]);
    let samples = t.arange(b());
    t.op(Op::Index, &[x, samples, place], F, &[b(), n(6)])
}

#[test]
fn a_row_is_chosen_by_the_first_largest_of_the_ids_numbers() {
    let largest = graph_of(|t| {
        let [ids, x] = rows(t);
        row_at(t, x, ids)
    });
    assert_eq!(lines(&largest.graph, "iota").len(), 2, "two digits for 150 places");
    let ended = graph_of(|t| {
        let [ids, x] = rows(t);
        let (last, positions) = (t.int(2), t.weight("positions", &[150, 6]));
        let places = t.arange(s());
        let positions = t.embedding(positions, places);
        let x = t.add(x, positions);
        let ended = t.binary(BinaryOp::Eq, ids, last);
        let ended = t.cast(ended, Kind::Int);
        row_at(t, x, ended)
    });
    let most = ended.tables.values().filter_map(Tensor::as_floats).flatten();
    assert!(most.copied().all(|x| (0.0..128.0).contains(&x)));
}

#[test]
fn a_row_chosen_by_what_the_ids_do_not_decide_is_refused() {
    let mut t = Sketch::new(12);
    let [_, x] = rows(&mut t);
    let first = t.op(Op::Select { axis: 2, index: n(0) }, &[x], F, &[b(), s()]);
    let y = row_at(&mut t, x, first);
    t.output("y", y);
    let error = lift(&t.trace, &LiftOptions { tables: true, ..LiftOptions::default() });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the place of the largest element depends on the sample"), "{error}");
}

#[test]
fn masked_tokens_are_zeros_and_the_others_are_scaled_by_how_many_there_are() {
    let Lifted { graph, tables, .. } = graph_of(|t| {
        let [ids, x] = rows(t);
        let masked = t.int(3);
        let masked = t.binary(BinaryOp::Eq, ids, masked);
        let (column, zero) = (t.reshape(masked, &[b(), s(), n(1)]), t.float(0.0));
        let x = t.select(column, zero, x);
        let counts = t.cast(masked, Kind::Int);
        let sum = Op::Reduce { f: ReduceOp::Sum, axes: vec![1], keep: false };
        let sum = t.op(sum, &[counts], Kind::Int, &[b()]);
        let sum = t.cast(sum, F);
        let one = t.int(1);
        let ones = t.op(Op::Full, &[one], Kind::Int, &[s()]);
        let length = Op::Reduce { f: ReduceOp::Sum, axes: vec![0], keep: false };
        let length = t.op(length, &[ones], Kind::Int, &[]);
        let length = t.cast(length, F);
        let share = t.binary(BinaryOp::Div, sum, length);
        let two = t.float(2.0);
        let left = t.binary(BinaryOp::Sub, two, share);
        let left = t.reshape(left, &[b(), n(1), n(1)]);
        t.binary(BinaryOp::Div, x, left)
    });
    assert_eq!(lines(&graph, "gather").len(), 2, "{graph}");
    assert!(tables.values().any(|table| table.as_floats() == Some(&[1.0, 1.0, 1.0, 0.0])));
}

#[test]
fn numbers_of_the_sizes_are_tables() {
    let Lifted { graph, tables, .. } = graph_of(|t| {
        let x = t.input("x", F, &[b(), s(), n(6)]);
        let columns = t.arange(n(6));
        let columns = t.cast(columns, F);
        let waves = t.unary(UnaryOp::Cos, columns);
        let places = t.arange(s());
        let places = t.cast(places, F);
        let angles = t.reshape(places, &[s(), n(1)]);
        let angles = t.mul(angles, columns);
        let angles = t.unary(UnaryOp::Sin, angles);
        let x = t.add(x, waves);
        t.add(x, angles)
    });
    assert_eq!(lines(&graph, "gather").len(), 1, "{graph}");
    let shapes: Vec<_> = tables.values().map(|table| table.shape.clone()).collect();
    assert_eq!(shapes, [vec![6], vec![150, 6]]);
}

#[test]
fn numbers_that_differ_with_the_length_are_no_table() {
    let mut t = Sketch::new(12);
    let x = t.input("x", F, &[b(), s(), n(6)]);
    let places = t.op(Op::Arange { start: 0, step: 1 }, &[], Kind::Int, &[s()]);
    let back = t.op(Op::Flip { axis: 0 }, &[places], Kind::Int, &[s()]);
    let back = t.cast(back, F);
    let column = t.reshape(back, &[s(), n(1)]);
    let y = t.mul(x, column);
    t.output("y", y);
    let error = lift(&t.trace, &LiftOptions { tables: true, ..LiftOptions::default() });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("expected a number, consecutive integers"), "{error}");
}

/// `x cos + halves(x) sin` of queries, by angles that are made with a weight.
fn turned(t: &mut Sketch, x: ValueId, frequencies: ValueId) -> ValueId {
    let places = t.arange(s());
    let places = t.cast(places, F);
    let places = t.reshape(places, &[s(), n(1)]);
    let angles = t.mul(places, frequencies);
    let angles = t.op(Op::Concat { axis: 1 }, &[angles, angles], F, &[s(), n(4)]);
    let (cos, sin) = (t.unary(UnaryOp::Cos, angles), t.unary(UnaryOp::Sin, angles));
    let mut shape = t.ty(x).shape;
    shape[3] = n(2);
    let part = |start| Op::Slice { axis: 3, start: n(start), step: 1 };
    let (a, c) = (t.op(part(0), &[x], F, &shape), t.op(part(2), &[x], F, &shape));
    let negated = t.unary(UnaryOp::Neg, c);
    let whole = t.ty(x).shape;
    let across = t.op(Op::Concat { axis: 3 }, &[negated, a], F, &whole);
    let (kept, across) = (t.mul(x, cos), t.mul(across, sin));
    t.add(kept, across)
}

/// Attention whose queries and keys are turned by known frequencies.
fn by_known(frequencies: [f64; 2]) -> Graph {
    let mut t = Sketch::new(40);
    let [q, k, v] = heads(&mut t);
    let weight = t.weight("frequencies", &[2]);
    let (q, k) = (turned(&mut t, q, weight), turned(&mut t, k, weight));
    let shape = t.ty(q).shape;
    let op = Op::Attention { scale: 0.5, causal: false };
    let context = t.op(op, &[q, k, v], F, &shape);
    merged(&mut t, context);
    let tensor = Tensor { shape: vec![2], data: Data::Float(frequencies.to_vec()) };
    let known = BTreeMap::from([("frequencies".to_owned(), tensor)]);
    let options = LiftOptions { known: known.clone(), tables: true, ..LiftOptions::default() };
    assert!(lift(&t.trace, &LiftOptions::default()).is_err());
    super::lifted_as(&t.trace, &options, &known).graph
}

#[test]
fn known_frequencies_turn_rows_by_their_positions() {
    let found = lines(&by_known([1.0, 0.01]), "rotary");
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("rotary = half(4, 10000.0)"), "{found:?}");
}

#[test]
fn rows_that_are_turned_otherwise_are_computed_with_rows_first() {
    let graph = by_known([0.5, 0.25]);
    assert!(lines(&graph, "rotary").is_empty());
    let text = graph.to_string();
    assert!(
        !text.lines().any(|line| line.contains(": f32[2, S, 4] = binary") && line.contains("mul")),
        "{text}"
    );
}

#[test]
fn groups_of_one_tap_are_linears_of_their_columns() {
    let mut t = Sketch::new(20);
    let x = t.input("x", F, &[b(), s(), n(6)]);
    let columns = t.permute(x, &[0, 2, 1]);
    let (kernel, bias) = (t.weight("kernel", &[9, 2, 1]), t.weight("bias", &[9]));
    let [stride, dilation] = [vec![1], vec![1]];
    let conv = Op::Conv { stride, padding: vec![0], dilation, groups: 3 };
    let y = t.op(conv, &[columns, kernel, bias], F, &[b(), n(9), s()]);
    let y = t.permute(y, &[0, 2, 1]);
    t.output("y", y);
    let graph = super::lifted(&t);
    assert_eq!(lines(&graph, "linear").len(), 3, "{graph}");
    assert!(lines(&graph, "transpose").is_empty(), "{graph}");
}

#[test]
fn a_part_of_a_table_moves_behind_what_looks_it_up() {
    let mut t = Sketch::new(8);
    let [q, k, v] = heads(&mut t);
    let table = t.weight("positions", &[16, 8]);
    let start = n(8) - s();
    let part = t.op(Op::Slice { axis: 0, start, step: 1 }, &[table], F, &[s() * n(2), n(8)]);
    let part = t.linear(part, "project", [8, 8]);
    let part = t.reshape(part, &[s() * n(2), n(2), n(4)]);
    let part = t.permute(part, &[1, 2, 0]);
    let products = t.op(Op::MatMul, &[q, part], F, &[b(), n(2), s(), s() * n(2)]);
    let i = t.arange(s());
    let (rows, columns) = (t.reshape(i, &[s(), n(1)]), t.reshape(i, &[n(1), s()]));
    let distances = t.binary(BinaryOp::Sub, rows, columns);
    let one = t.int(1);
    let ones = t.op(Op::Full, &[one], Kind::Int, &[s()]);
    let length = Op::Reduce { f: ReduceOp::Sum, axes: vec![0], keep: false };
    let length = t.op(length, &[ones], Kind::Int, &[]);
    let numbers = t.add(distances, length);
    let whole = [b(), n(2), s(), s()];
    let numbers = t.expand(numbers, &whole);
    let looked_up = t.op(Op::Gather { axis: 3 }, &[products, numbers], F, &whole);
    let turned = t.permute(k, &[0, 1, 3, 2]);
    let scores = t.matmul(q, turned);
    let scores = t.add(scores, looked_up);
    let weights = t.softmax(scores);
    let context = t.matmul(weights, v);
    merged(&mut t, context);
    let found = lines(&super::lifted(&t), "attention").remove(0);
    assert!(found.contains("bias = disentangled(clip(8), c2p"), "{found}");
}
