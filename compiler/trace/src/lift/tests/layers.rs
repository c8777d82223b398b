//! The rest of a model: embeddings, normalisations, convolutions, pooling, parts of values.

use std::collections::BTreeSet;

use super::super::{LiftOptions, lift};
use super::{lifted, lifted_with, lines, ops};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};
use crate::sketch::{Sketch, b, n, s};

const F: Kind = Kind::Float;

/// A sum of embeddings with positions cut from a table, a layer norm, a part of it all, rows pooled.
#[test]
fn embeddings_norms_and_poolings() {
    let mut t = Sketch::new(20);
    let ids = t.ids();
    let words = t.weight("words", &[10, 6]);
    let words = t.embedding(words, ids);
    let table = t.weight("positions", &[1, 20, 6]);
    let places = t.op(Op::Slice { axis: 1, start: n(0), step: 1 }, &[table], F, &[n(1), s(), n(6)]);
    let sum = t.add(words, places);
    let (gamma, beta) = (t.weight("gamma", &[6]), t.weight("beta", &[6]));
    let shape = t.ty(sum).shape;
    let normed = t.op(Op::LayerNorm { axes: 1, eps: 1e-5 }, &[sum, gamma, beta], F, &shape);
    let bare = t.op(Op::LayerNorm { axes: 1, eps: 1e-5 }, &[sum, gamma], F, &shape);
    let rms = t.op(Op::RmsNorm { eps: 1e-6 }, &[normed, gamma], F, &shape);
    let part = Op::Slice { axis: 2, start: n(2), step: 1 };
    let part = t.op(part, &[rms], F, &[b(), s(), n(3)]);
    let odd = Op::Slice { axis: 2, start: n(1), step: 2 };
    let odd = t.op(odd, &[rms], F, &[b(), s(), n(3)]);
    let first = t.op(Op::Select { axis: 1, index: n(0) }, &[normed], F, &[b(), n(6)]);
    let last = t.op(Op::Select { axis: 1, index: s() - n(1) }, &[bare], F, &[b(), n(6)]);
    let mean = Op::Reduce { f: ReduceOp::Mean, axes: vec![1], keep: false };
    let mean = t.op(mean, &[part], F, &[b(), n(3)]);
    let least = Op::Reduce { f: ReduceOp::Min, axes: vec![1, 2], keep: true };
    let least = t.op(least, &[part], F, &[b(), n(1), n(1)]);
    for (name, value) in
        [("first", first), ("last", last), ("mean", mean), ("least", least), ("odd", odd)]
    {
        t.output(name, value);
    }
    let graph = lifted(&t);
    assert_eq!(lines(&graph, "gather").len(), 2);
    assert_eq!(lines(&graph, "pool"), ["%v9) {kind = lasttoken, normalize = none}"]);
}

/// Sentence embeddings as sentence-transformers and its kin write them: the sum of what the mask leaves, divided by the sum
/// of the mask, kept above a smallest number or not, as columns or as one number, of ones made in the program or given.
#[test]
fn means_over_a_mask_are_means() {
    let sum = |axis| Op::Reduce { f: ReduceOp::Sum, axes: vec![axis], keep: false };
    for (spread, clamped, rooted, given) in [
        (true, true, false, true),
        (true, false, false, false),
        (false, true, false, false),
        (false, false, false, true),
        (false, false, true, true),
    ] {
        let mut t = Sketch::new(20);
        let x = t.input("x", F, &[b(), s(), n(6)]);
        let mask = if given {
            t.input("attention_mask", Kind::Int, &[b(), s()])
        } else {
            let one = t.int(1);
            t.op(Op::Full, &[one], Kind::Int, &[b(), s()])
        };
        let mask = t.cast(mask, F);
        let mut mask = t.reshape(mask, &[b(), s(), n(1)]);
        if spread {
            mask = t.op(Op::Expand, &[mask], F, &[b(), s(), n(6)]);
        }
        let width = if spread { 6 } else { 1 };
        let masked = t.mul(x, mask);
        let total = t.op(sum(1), &[masked], F, &[b(), n(6)]);
        let mut count = t.op(sum(1), &[mask], F, &[b(), n(width)]);
        if clamped {
            let least = t.float(1e-9);
            count = t.binary(BinaryOp::Max, count, least);
        }
        if rooted {
            count = t.unary(UnaryOp::Sqrt, count);
        }
        let mean = t.binary(BinaryOp::Div, total, count);
        t.output("embedding", mean);
        let options = LiftOptions {
            ones: BTreeSet::from(["attention_mask".to_owned()]),
            ..LiftOptions::default()
        };
        let graph = lifted_with(&t.trace, &options).graph;
        assert_eq!(ops(&graph), 1, "{graph}");
        let expected = if rooted { "pool" } else { "reduce" };
        assert_eq!(lines(&graph, expected).len(), 1, "{graph}");
    }
}

/// What is divided by another number than that of the rows is no mean.
#[test]
fn other_shares_are_refused() {
    let mut t = Sketch::new(20);
    let x = t.input("x", F, &[b(), s(), n(6)]);
    let sum = Op::Reduce { f: ReduceOp::Sum, axes: vec![1], keep: false };
    let total = t.op(sum.clone(), &[x], F, &[b(), n(6)]);
    let two = t.float(2.0);
    let twos = t.op(Op::Full, &[two], F, &[b(), s()]);
    let count = t.op(sum, &[twos], F, &[b()]);
    let count = t.reshape(count, &[b(), n(1)]);
    let share = t.binary(BinaryOp::Div, total, count);
    t.output("y", share);
    let refused = lift(&t.trace, &LiftOptions::default()).unwrap_err().to_string();
    assert!(refused.contains("found float [1, 1] that begins 40"), "{refused}");
}

/// RoBERTa's positions, counted over what is no padding, and its one row of segments.
fn roberta(t: &mut Sketch) -> ValueId {
    let ids = t.ids();
    let words = t.weight("words", &[10, 6]);
    let words = t.embedding(words, ids);
    let padding = t.int(1);
    let real = t.binary(BinaryOp::Ne, ids, padding);
    let real = t.cast(real, Kind::Int);
    let count = t.op(Op::CumSum { axis: 1 }, &[real], Kind::Int, &[b(), s()]);
    let count = t.mul(count, real);
    let places = t.add(count, padding);
    let zeros = t.op(Op::Full, &[padding], Kind::Int, &[b(), s()]);
    let zeros = t.binary(BinaryOp::Sub, zeros, padding);
    let types = t.weight("types", &[1, 6]);
    let types = t.embedding(types, zeros);
    let sum = t.add(words, types);
    let table = t.weight("positions", &[22, 6]);
    let positions = t.embedding(table, places);
    t.add(sum, positions)
}

#[test]
fn positions_counted_over_tokens_are_places_and_a_row_for_all_goes_into_their_table() {
    let mut t = Sketch::new(20);
    let sum = roberta(&mut t);
    t.output("y", sum);
    let lifted = lifted_with(&t.trace, &LiftOptions::default());
    assert!(lifted.provisos.is_empty(), "{lifted:?}");
    assert_eq!(lines(&lifted.graph, "places"), ["%input_ids) {skip = 1}"]);
    assert_eq!(lines(&lifted.graph, "gather").len(), 2);
    assert_eq!(super::ops(&lifted.graph), 6, "{}", lifted.graph);
}

#[test]
fn a_row_for_all_without_positions_is_added_where_the_sum_is_needed() {
    let mut t = Sketch::new(20);
    let x = t.input("x", F, &[b(), s(), n(6)]);
    let zeros = t.int(0);
    let zeros = t.op(Op::Full, &[zeros], Kind::Int, &[b(), s()]);
    let types = t.weight("types", &[2, 6]);
    let types = t.embedding(types, zeros);
    let sum = t.add(x, types);
    let y = t.unary(UnaryOp::Tanh, sum);
    t.output("y", y);
    assert_eq!(super::ops(&lifted(&t)), 3);
}

#[test]
fn promised_masks_vanish_and_defaults_are_written_down() {
    let mut t = Sketch::new(20);
    let x = t.input("x", F, &[b(), s(), n(6)]);
    let mask = t.input("attention_mask", Kind::Int, &[b(), s()]);
    let types = t.input("types", Kind::Int, &[b(), s()]);
    let table = t.weight("table", &[4, 6]);
    let types = t.embedding(table, types);
    let mask = t.cast(mask, F);
    let mask = t.reshape(mask, &[b(), s(), n(1)]);
    let masked = t.mul(x, mask);
    let sum = t.add(masked, types);
    t.output("y", sum);
    let options = LiftOptions {
        ones: BTreeSet::from(["attention_mask".to_owned()]),
        defaults: [("types".to_owned(), 0)].into(),
        ..LiftOptions::default()
    };
    let text = lifted_with(&t.trace, &options).graph.to_string();
    assert!(!text.contains("mask") && text.contains("input %types: i64[S] = 0"), "{text}");
}

#[test]
fn patches_are_rows_and_a_token_goes_before_them() {
    let mut t = Sketch::new(1);
    t.trace.symbols.truncate(1);
    let image = t.input("pixels", F, &[b(), n(3), n(9), n(8)]);
    let (kernel, bias) = (t.weight("kernel", &[6, 3, 4, 4]), t.weight("bias", &[6]));
    let op = Op::Conv { stride: vec![4, 4], padding: vec![0, 0], dilation: vec![1, 1], groups: 1 };
    let patches = t.op(op, &[image, kernel, bias], F, &[b(), n(6), n(2), n(2)]);
    let flat = t.reshape(patches, &[b(), n(6), n(4)]);
    let rows = t.permute(flat, &[0, 2, 1]);
    let token = t.weight("token", &[1, 1, 6]);
    let token = t.expand(token, &[b(), n(1), n(6)]);
    let rows = t.op(Op::Concat { axis: 1 }, &[token, rows], F, &[b(), n(5), n(6)]);
    t.output("y", rows);
    let graph = lifted(&t);
    assert_eq!(lines(&graph, "linear").len(), 1);
    assert_eq!(lines(&graph, "transpose").len(), 1, "{graph}");
}

#[test]
fn a_window_over_rows_is_unfolded() {
    let mut t = Sketch::new(20);
    let x = t.input("x", F, &[b(), s(), n(6)]);
    let columns = t.permute(x, &[0, 2, 1]);
    let (kernel, bias) = (t.weight("kernel", &[5, 6, 3]), t.weight("bias", &[5]));
    let op = Op::Conv { stride: vec![1], padding: vec![1], dilation: vec![1], groups: 1 };
    let y = t.op(op, &[columns, kernel, bias], F, &[b(), n(5), s()]);
    let y = t.permute(y, &[0, 2, 1]);
    t.output("y", y);
    let graph = lifted(&t);
    assert_eq!(lines(&graph, "unfold"), ["%x) {size = 3, before = 1}"]);
    assert_eq!(super::ops(&graph), 5, "{graph}");
}

#[test]
fn arithmetic_broadcasts_and_powers_are_products() {
    let mut t = Sketch::new(20);
    let x = t.input("x", F, &[b(), s(), n(6)]);
    let (two, three, half) = (t.float(2.0), t.float(3.0), t.float(-0.5));
    let square = t.binary(BinaryOp::Pow, x, two);
    let cube = t.binary(BinaryOp::Pow, x, three);
    let mean = Op::Reduce { f: ReduceOp::Mean, axes: vec![2], keep: true };
    let mean = t.op(mean, &[square], F, &[b(), s(), n(1)]);
    let root = t.binary(BinaryOp::Pow, mean, half);
    let scaled = t.mul(cube, root);
    let one = t.float(1.0);
    let same = t.mul(scaled, one);
    let weight = t.weight("w", &[6, 4]);
    let product = t.matmul(same, weight);
    let reciprocal = t.unary(UnaryOp::Square, product);
    let joined = t.op(Op::Concat { axis: 2 }, &[reciprocal, x], F, &[b(), s(), n(10)]);
    t.output("y", joined);
    let graph = lifted(&t);
    assert_eq!(lines(&graph, "linear").len(), 1);
    assert!(lines(&graph, "matmul").is_empty());
}

/// Ops in the graph of a program without a batch, whose inputs lose nothing.
#[test]
fn a_program_without_a_batch_is_lifted_too() {
    let mut t = Sketch::new(20);
    t.trace.batch = None;
    t.trace.symbols.remove(0);
    let x = t.input("x", F, &[s(), n(6)]);
    let y = t.linear(x, "dense", [4, 6]);
    t.output("y", y);
    assert_eq!(super::ops(&lifted(&t)), 2);
}
