//! The forms that a pattern may take, and graphs where a hasty rule would break something.

use bytec_ir::graph::Graph;
use bytec_ir::ops::OpKind;
use bytec_ir::text::parse;

use super::{assert_same, graph};
use crate::fuse::{RULES, run};

/// Self-attention of `%x` in plain ops, two heads of 4, with layers for q, k and v.
pub(super) const ATTENTION: &str = "\
weight @wk: f32[8, 8]
weight @wv: f32[8, 8]
%q: f32[L, 8] = linear(%x, @w) {epilogue = []}
%k: f32[L, 8] = linear(%x, @wk) {epilogue = []}
%v: f32[L, 8] = linear(%x, @wv) {epilogue = []}
%q.split: f32[L, 2, 4] = reshape(%q) {shape = [L, 2, 4]}
%q.heads: f32[2, L, 4] = transpose(%q.split) {perm = [1, 0, 2]}
%k.split: f32[L, 2, 4] = reshape(%k) {shape = [L, 2, 4]}
%k.heads: f32[2, 4, L] = transpose(%k.split) {perm = [1, 2, 0]}
%v.split: f32[L, 2, 4] = reshape(%v) {shape = [L, 2, 4]}
%v.heads: f32[2, L, 4] = transpose(%v.split) {perm = [1, 0, 2]}
%scores: f32[2, L, L] = matmul(%q.heads, %k.heads)
const %scale = 0.5
%scaled: f32[2, L, L] = binary(%scores, %scale) {f = mul}
%softmax: f32[2, L, L] = softmax(%scaled)
%context: f32[2, L, 4] = matmul(%softmax, %v.heads)
%rows: f32[L, 2, 4] = transpose(%context) {perm = [1, 0, 2]}
%merged: f32[L, 8] = reshape(%rows) {shape = [L, 8]}
output y = %merged
";

pub(super) fn count(graph: &Graph, kind: OpKind) -> usize {
    graph.ids().filter(|&id| graph.op(id).is_some_and(|op| op.kind() == kind)).count()
}

/// The graph after all rules, which computes the same.
fn fused(statements: &str) -> Graph {
    let before = graph(statements);
    let (after, _) = run(&before, RULES).unwrap();
    assert_same(&before, &after, "all rules");
    assert_eq!(parse(&after.to_string()).unwrap().to_string(), after.to_string());
    after
}

/// `text` with one part replaced, which must be there.
fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old}");
    text.replace(old, new)
}

#[test]
fn attention_is_found_in_all_its_forms() {
    let scaled = "%scaled: f32[2, L, L] = binary(%scores, %scale) {f = mul}\n";
    let unscaled = with(&with(ATTENTION, scaled, ""), "softmax(%scaled)", "softmax(%scores)");
    let unscaled = with(&unscaled, "const %scale = 0.5\n", "");
    let scale_of = |value: &str, ty: &str, user: &str, used: &str| {
        let line =
            format!("const %scale = 0.5\n%s: {ty} = binary(%scale, {value}) {{f = mul}}\n{user}");
        with(&with(&unscaled, user, &line), used, &used.replace(value, "%s"))
    };
    let forms = [
        ("as the builder writes it", ATTENTION.to_owned()),
        ("the constant first", with(ATTENTION, "(%scores, %scale)", "(%scale, %scores)")),
        (
            "divided",
            with(
                &with(ATTENTION, "%scale) {f = mul}", "%scale) {f = div}"),
                "scale = 0.5",
                "scale = 2.0",
            ),
        ),
        ("no scale", unscaled.clone()),
        ("scaled query", scale_of("%q", "f32[L, 8]", "%q.split:", "reshape(%q)")),
        (
            "scaled query heads",
            scale_of("%q.heads", "f32[2, L, 4]", "%scores:", "matmul(%q.heads,"),
        ),
        ("scaled key", scale_of("%k.split", "f32[L, 2, 4]", "%k.heads:", "transpose(%k.split)")),
        (
            "the key turned in two steps",
            with(
                ATTENTION,
                "%k.heads: f32[2, 4, L] = transpose(%k.split) {perm = [1, 2, 0]}",
                "%k.rows: f32[2, L, 4] = transpose(%k.split) {perm = [1, 0, 2]}\n\
                 %k.heads: f32[2, 4, L] = transpose(%k.rows) {perm = [0, 2, 1]}",
            ),
        ),
        (
            "the context read in two ways",
            ATTENTION.to_owned()
                + "%again: f32[L, 4, 2] = reshape(%rows) {shape = [L, 4, 2]}\noutput z = %again\n",
        ),
    ];
    for (form, text) in forms {
        let after = fused(&text);
        assert_eq!(count(&after, OpKind::Attention), 1, "{form}:\n{after}");
        assert_eq!(count(&after, OpKind::Linear), 1, "{form}:\n{after}");
        assert_eq!(count(&after, OpKind::MatMul), 0, "{form}:\n{after}");
        let scale = if form == "no scale" { "scale = 1.0" } else { "scale = 0.5" };
        assert!(after.to_string().contains(scale), "{form}:\n{after}");
    }
}

#[test]
fn several_scales_are_multiplied() {
    let text = with(
        ATTENTION,
        "%softmax: f32[2, L, L] = softmax(%scaled)",
        "const %third = 3.0\n%twice: f32[2, L, L] = binary(%scaled, %third) {f = mul}\n\
         %softmax: f32[2, L, L] = softmax(%twice)",
    );
    assert!(fused(&text).to_string().contains("scale = 1.5"));
}

#[test]
fn one_head_without_splitting_is_attention() {
    let after = fused(
        "%t: f32[8, L] = transpose(%z) {perm = [1, 0]}
%scores: f32[L, L] = matmul(%x, %t)
%softmax: f32[L, L] = softmax(%scores)
%context: f32[L, 8] = matmul(%softmax, %z)
output y = %context
",
    );
    assert!(
        after.to_string().contains("attention(%x, %z, %z) {heads = 1, head_size = 8, scale = 1.0}")
    );
}

#[test]
fn a_scaled_query_that_something_else_needs_stays() {
    let text = with(
        ATTENTION,
        "%q.split: f32[L, 2, 4] = reshape(%q)",
        "const %half = 0.5\n%s: f32[L, 8] = binary(%q, %half) {f = mul}\noutput s = %s\n%q.split: f32[L, 2, 4] = reshape(%s)",
    );
    let after = fused(&text);
    assert_eq!(count(&after, OpKind::Attention), 1, "{after}");
    assert!(after.to_string().contains("scale = 0.5"), "{after}");
    assert_eq!(count(&after, OpKind::Pointwise), 1, "{after}");
}

#[test]
fn cross_attention_merges_k_and_v_alone() {
    let text = with(ATTENTION, "%q: f32[L, 8] = linear(%x, @w)", "%q: f32[L, 8] = linear(%z, @w)");
    let after = fused(&text);
    assert_eq!(count(&after, OpKind::Linear), 2, "{after}");
    assert!(after.to_string().contains("%kv: f32[L, 16] = linear(%x, %kv.weight)"), "{after}");
}

#[test]
fn keys_that_are_values_are_read_once() {
    let text =
        with(ATTENTION, "%v: f32[L, 8] = linear(%x, @wv)", "%v: f32[L, 8] = linear(%x, @wk)");
    let after = fused(&text);
    assert_eq!(count(&after, OpKind::Attention), 1, "{after}");
    assert_eq!(count(&after, OpKind::Linear), 2, "{after}");
}

#[test]
fn embeddings_are_found_in_any_nesting() {
    let head = "input %ids: i64[L]
weight @t: f32[9, 8]
weight @u: f32[512, 8]
%places: i64[L] = iota() {extent = L, start = 0}
%a: f32[L, 8] = gather(@t, %ids)
%b: f32[L, 8] = gather(@u, %places)
";
    let sums = [
        ("%sum: f32[L, 8] = binary(%b, %a) {f = add}\n", "@u, %places, @t, %ids"),
        (
            "%c: f32[L, 8] = gather(@u, %ids)
%ab: f32[L, 8] = binary(%a, %b) {f = add}
%sum: f32[L, 8] = binary(%c, %ab) {f = add}\n",
            "@u, %ids, @t, %ids, @u, %places",
        ),
    ];
    for (sum, pairs) in sums {
        let norm = "%y: f32[L, 8] = layer_norm(%sum, @gamma, @beta) {eps = 1e-5}\noutput y = %y\n";
        let after = fused(&format!("{head}{sum}{norm}"));
        assert!(after.to_string().contains(&format!("(@gamma, @beta, {pairs})")), "{after}");
    }
    let one = "%y: f32[L, 8] = layer_norm(%a, @gamma, @beta) {eps = 1e-5}\noutput y = %y\n";
    assert_eq!(count(&fused(&format!("{head}{one}")), OpKind::EmbedLayerNorm), 1);
}

#[test]
fn a_chain_breaks_where_a_value_is_given_out() {
    let after = fused(
        "%a: f32[L, 8] = binary(%x, %z) {f = mul}
%b: f32[L, 8] = unary(%a) {f = exp}
%c: f32[L, 8] = binary(%b, %a) {f = sub}
%d: f32[L, 8] = unary(%c) {f = tanh}
output b = %b
output d = %d
",
    );
    assert_eq!(count(&after, OpKind::Pointwise), 3, "{after}");
    assert!(
        after.to_string().contains("%b: f32[L, 8] = pointwise(%a) {expr = exp(x0)}"),
        "{after}"
    );
    assert!(after.to_string().contains("pointwise(%b, %a) {expr = tanh(sub(x0, x1))}"), "{after}");
}

#[test]
fn a_chain_breaks_where_shapes_differ_and_at_weights() {
    let after = fused(
        "%row: f32[8] = reduce(%x) {f = mean, axis = 0}
%gate: f32[8] = unary(%row) {f = sigmoid}
%scale: f32[8] = unary(@b) {f = exp}
%gated: f32[L, 8] = binary(%z, %gate) {f = mul}
%y: f32[L, 8] = binary(%gated, %scale) {f = add}
output y = %y
",
    );
    assert_eq!(count(&after, OpKind::Pointwise), 2, "{after}");
    assert_eq!(count(&after, OpKind::Unary), 1, "the op on a weight alone stays: {after}");
}

#[test]
fn a_long_chain_is_cut_into_ops_within_the_limits() {
    let mut text = String::from("%v0: f32[L, 8] = binary(%x, %z) {f = add}\n");
    for i in 1..200 {
        let (f, before) = (["tanh", "sigmoid"][i % 2], i - 1);
        text += &format!("%v{i}: f32[L, 8] = unary(%v{before}) {{f = {f}}}\n");
    }
    let after = fused(&format!("{text}output y = %v199\n"));
    assert_eq!(count(&after, OpKind::Pointwise), 4, "200 functions, 64 an op: {after}");

    let mut text = String::from("%s0: f32[L, 8] = unary(%x) {f = exp}\n");
    for i in 1..=20 {
        let before = i - 1;
        text += &format!(
            "weight @c{i}: f32[8]\n%s{i}: f32[L, 8] = binary(%s{before}, @c{i}) {{f = add}}\n"
        );
    }
    let after = fused(&format!("{text}output y = %s20\n"));
    assert_eq!(count(&after, OpKind::Pointwise), 3, "21 operands, 8 an op: {after}");
}

#[test]
fn doubling_does_not_grow_an_expression_past_its_limit() {
    let mut text = String::from("%d0: f32[L, 8] = unary(%x) {f = tanh}\n");
    for i in 1..40 {
        let before = i - 1;
        text += &format!("%d{i}: f32[L, 8] = binary(%d{before}, %d{before}) {{f = max}}\n");
    }
    let after = fused(&format!("{text}output y = %d39\n"));
    assert!(count(&after, OpKind::Pointwise) <= 8, "{after}");
}

#[test]
fn equal_values_that_are_both_outputs_stay_two_outputs() {
    let after = fused(
        "%a: f32[L, 8] = unary(%x) {f = exp}
%b: f32[L, 8] = unary(%x) {f = exp}
output a = %a
output b = %b
",
    );
    assert_eq!(after.outputs().len(), 2);
    assert_eq!(count(&after, OpKind::Pointwise), 1, "{after}");
}

#[test]
fn differences_in_both_directions_are_two_values() {
    let after = fused(
        "%a: f32[L, 8] = binary(%x, %z) {f = sub}
%b: f32[L, 8] = binary(%z, %x) {f = sub}
output a = %a
output b = %b
",
    );
    assert_eq!(count(&after, OpKind::Pointwise), 2, "{after}");
}

#[test]
fn an_output_may_become_an_input() {
    let after =
        fused("const %zero = 0.0\n%y: f32[L, 8] = binary(%x, %zero) {f = add}\noutput y = %y\n");
    assert!(after.to_string().contains("output y = %x"), "{after}");
}

#[test]
fn a_linear_of_one_row_takes_only_weights_as_bias() {
    let after = fused(
        "%row: f32[8] = reduce(%x) {f = mean, axis = 0}
%a: f32[8] = linear(%row, @w) {epilogue = []}
%b: f32[8] = binary(%a, @b) {f = add}
%c: f32[8] = binary(%b, %row) {f = add}
output y = %c
",
    );
    assert!(after.to_string().contains("%a: f32[8] = linear(%row, @w, @b)"), "{after}");
    assert_eq!(count(&after, OpKind::Pointwise), 1, "{after}");
}
