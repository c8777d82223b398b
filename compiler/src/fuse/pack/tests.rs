//! What packs, what is refused, and in which words.

use bytec_ir::dim::Dim;
use bytec_ir::graph::Graph;
use bytec_ir::text::parse;
use bytec_ir::verify::verify;

use super::{Placement, pack};

/// A graph over rows of text, an image and a fixed vector.
fn graph(statements: &str) -> Graph {
    let text = format!(
        "bytec 1\nsymbol L in 1..=512\nsymbol H in 1..=64\nsymbol W in 1..=64\ninput %x: f32[L, 8]\n\
         input %image: f32[H, W, 4]\ninput %vector: f32[8]\ninput %tokens: f32[6, 8]\nweight @w: f32[8, 8]\nweight @b: f32[8]\n{statements}"
    );
    let graph = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&graph).unwrap_or_else(|e| panic!("{e}\n{text}"));
    graph
}

fn placement(graph: &Graph, name: &str) -> Placement {
    let packed = pack(graph).unwrap_or_else(|e| panic!("{e}"));
    let id = graph.ids().find(|&id| graph.name(id) == name).unwrap();
    packed.placement[&id].clone()
}

fn ragged(extent: Dim) -> Placement {
    Placement::Ragged { extent }
}

#[test]
fn values_are_shared_per_sample_or_ragged() {
    let l = Dim::symbol("L");
    let cases = [
        ("%v: f32[16, 8] = concat(@w, @w) {axis = 0}\noutput y = %x\n", Placement::Shared),
        ("%v: i64[3] = iota() {extent = 3, start = 0}\noutput y = %x\n", Placement::Shared),
        ("%v: i64[L] = iota() {extent = L, start = 0}\noutput y = %x\n", ragged(l.clone())),
        ("%v: f32[8] = unary(%vector) {f = exp}\noutput y = %v\n", Placement::PerSample),
        (
            "%v: f32[8] = pool(%x) {kind = mean, normalize = none}\noutput y = %v\n",
            Placement::PerSample,
        ),
        ("%v: f32[8] = reduce(%x) {f = sum, axis = 0}\noutput y = %v\n", Placement::PerSample),
        ("%v: f32[8] = select(%x) {axis = 0, index = 0}\noutput y = %v\n", Placement::PerSample),
        ("%v: f32[L, 8] = linear(%x, @w, @b) {epilogue = []}\noutput y = %v\n", ragged(l.clone())),
        (
            "%v: f32[L, 8] = attention(%x, %x, %x) {heads = 2, head_size = 4, scale = 1.0}\noutput y = %v\n",
            ragged(l.clone()),
        ),
        ("%v: f32[L, 8] = softmax(%x)\noutput y = %v\n", ragged(l.clone())),
        ("%v: f32[L, 8] = binary(%x, %vector) {f = add}\noutput y = %v\n", ragged(l.clone())),
        ("%v: f32[L, 8] = matmul(%x, @w)\noutput y = %v\n", ragged(l.clone())),
        ("%v: f32[L, 2, 4] = reshape(%x) {shape = [L, 2, 4]}\noutput y = %v\n", ragged(l.clone())),
        (
            "%s: f32[L, 2, 4] = reshape(%x) {shape = [L, 2, 4]}
%v: f32[L, 4, 2] = transpose(%s) {perm = [0, 2, 1]}
output y = %v\n",
            ragged(l.clone()),
        ),
        ("%v: f32[L, 16] = concat(%x, %x) {axis = 1}\noutput y = %v\n", ragged(l.clone())),
        (
            "%v: f32[L + 8, 8] = concat(@w, %x) {axis = 0}\noutput y = %v\n",
            ragged(l + Dim::fixed(8)),
        ),
        (
            "%n: f32[1, 8] = reshape(%vector) {shape = [1, 8]}\n%v: f32[7, 8] = concat(%n, %tokens) {axis = 0}\noutput y = %v\n",
            ragged(Dim::fixed(7)),
        ),
        (
            "%v: f32[8, 6] = transpose(%tokens) {perm = [1, 0]}\noutput y = %v\n",
            ragged(Dim::fixed(8)),
        ),
        ("%v: f32[48] = reshape(%tokens) {shape = [48]}\noutput y = %v\n", Placement::PerSample),
        (
            "%v: f32[6, 8] = attention(%tokens, %tokens, %tokens) {heads = 2, head_size = 4, scale = 1.0}\noutput y = %v\n",
            ragged(Dim::fixed(6)),
        ),
        (
            "%n: f32[1, 8] = reshape(@b) {shape = [1, 8]}\n%v: f32[1, 8] = attention(%n, %x, %x) {heads = 2, head_size = 4, scale = 1.0}\noutput y = %v\n",
            Placement::PerSample,
        ),
        (
            "%v: f32[8, 8] = attention(@w, %x, %x) {heads = 2, head_size = 4, scale = 1.0}\noutput y = %v\n",
            ragged(Dim::fixed(8)),
        ),
        (
            "%v: f32[H*W, 4] = reshape(%image) {shape = [H*W, 4]}\noutput y = %v\n",
            ragged(Dim::symbol("H") * Dim::symbol("W")),
        ),
    ];
    for (statements, expected) in cases {
        assert_eq!(placement(&graph(statements), "v"), expected, "{statements}");
    }
}

#[test]
fn inputs_are_never_shared() {
    let graph = graph("output y = %x\n");
    assert_eq!(placement(&graph, "vector"), Placement::PerSample);
    assert_eq!(placement(&graph, "tokens"), ragged(Dim::fixed(6)));
    assert_eq!(placement(&graph, "x"), ragged(Dim::symbol("L")));
    assert_eq!(placement(&graph, "image"), ragged(Dim::symbol("H") * Dim::symbol("W")));
}

/// What stands against packing, line by line.
fn refusals(statements: &str) -> Vec<String> {
    let error = pack(&graph(statements)).expect_err("the graph can't be packed");
    error.refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn an_op_that_mixes_rows_is_refused_by_name() {
    let cases = [
        (
            "%v: f32[8, L] = transpose(%x) {perm = [1, 0]}\noutput y = %v\n",
            "%v = transpose: f32[8, L]: axis 1 depends on the sample, expected rows first and then a fixed width",
        ),
        (
            "%v: f32[W, H, 4] = transpose(%image) {perm = [1, 0, 2]}\noutput y = %v\n",
            "%v = transpose: f32[W, H, 4]: it moves axis 0, the rows of f32[H, W, 4]",
        ),
        (
            "%v: f32[2*L, 4] = reshape(%x) {shape = [2*L, 4]}\noutput y = %v\n",
            "%v = reshape: f32[2*L, 4]: it makes 2*L rows of L rows",
        ),
        (
            "%v: f32[2*H, W, 4] = concat(%image, %image) {axis = 0}\noutput y = %v\n",
            "%v = concat: f32[2*H, W, 4]: it joins values along axis 0, one of 2 that make up the rows",
        ),
        (
            "%v: f32[W, 4] = reduce(%image) {f = mean, axis = 0}\noutput y = %v\n",
            "%v = reduce: f32[W, 4]: it reduces axis 0, one of 2 that make up the rows of f32[H, W, 4]",
        ),
        (
            "%s: f32[L] = reduce(%x) {f = max, axis = 1}
%v: f32[L] = softmax(%s)
output y = %v\n",
            "%v = softmax: f32[L]: it normalises over the rows of f32[L]",
        ),
    ];
    for (statements, expected) in cases {
        assert_eq!(refusals(statements), [expected], "{statements}");
    }
}

#[test]
fn a_weight_that_depends_on_the_sample_is_refused() {
    let linear = "%n: f32[1, 8] = reshape(%vector) {shape = [1, 8]}
%v: f32[L, 1] = linear(%x, %n) {epilogue = []}
output y = %v\n";
    assert_eq!(
        refusals(linear),
        [
            "%v = linear: f32[L, 1]: its weight %n is computed for each sample, expected one made of weights"
        ]
    );
}

#[test]
fn unfused_attention_is_reported_whole_with_its_bytes() {
    let statements = "%t: f32[8, L] = transpose(%x) {perm = [1, 0]}
%scores: f32[L, L] = matmul(%x, %t)
%softmax: f32[L, L] = softmax(%scores)
%context: f32[L, 8] = matmul(%softmax, %x)
output y = %context\n";
    assert_eq!(
        refusals(statements),
        [
            "%t = transpose: f32[8, L]: axis 1 depends on the sample, expected rows first and then a fixed width",
            "%scores = matmul: f32[L, L]: it holds L*L rows, more than in proportion to the sample (1048576 bytes at L = 512)",
            "%softmax = softmax: f32[L, L]: it holds L*L rows, more than in proportion to the sample (1048576 bytes at L = 512)",
            "%context = matmul: f32[L, 8]: it sums over the rows of f32[L, 8]",
        ]
    );
    let error = pack(&graph(statements)).unwrap_err();
    assert!(error.to_string().starts_with("4 values can't be computed on samples side by side\n"));
}
