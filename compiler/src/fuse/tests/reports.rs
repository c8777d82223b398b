//! What a rule says when it leaves a near miss alone.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;
use bytec_plan::manifest::Refusal;

use super::awkward::ATTENTION;
use super::{assert_same, graph};
use crate::fuse::dead_code::DeadCode;
use crate::fuse::linear_activation::LinearActivation;
use crate::fuse::rewrite::Rewrite;
use crate::fuse::{Outcome, RULES, Rule, run};

struct Case {
    rule: &'static str,
    statements: String,
    at: &'static str,
    reason: &'static str,
}

fn case(
    rule: &'static str,
    statements: impl Into<String>,
    at: &'static str,
    reason: &'static str,
) -> Case {
    Case { rule, statements: statements.into(), at, reason }
}

/// [`ATTENTION`] with one part replaced.
fn attention(old: &str, new: &str) -> String {
    assert!(ATTENTION.contains(old), "{old}");
    ATTENTION.replace(old, new)
}

fn cases() -> Vec<Case> {
    let dense = "%dense: f32[L, 8] = linear(%x, @w) {epilogue = []}\n";
    let sum = "%sum: f32[L, 8] = binary(%dense, @b) {f = add}\noutput y = %sum\n";
    let norm = "%y: f32[L, 8] = layer_norm(%sum, @gamma, @beta) {eps = 1e-5}\noutput y = %y\n";
    let gather = "input %ids: i64[L]\nweight @t: f32[9, 8]\n%word: f32[L, 8] = gather(@t, %ids)\n";
    vec![
        case(
            "linear_bias",
            format!("{dense}{sum}output d = %dense\n"),
            "sum",
            "%dense is an output",
        ),
        case(
            "linear_bias",
            format!("{dense}{sum}%e: f32[L, 8] = softmax(%dense)\noutput e = %e\n"),
            "sum",
            "%dense is also used by %e",
        ),
        case(
            "linear_bias",
            "%row: f32[8] = reduce(%x) {f = mean, axis = 0}
%a: f32[8] = linear(%row, @w) {epilogue = []}
%y: f32[8] = binary(%row, %a) {f = add}
output y = %y\n",
            "y",
            "%row is computed for each sample, a bias must be made of weights",
        ),
        case(
            "linear_bias",
            "%a: f32[L, 8] = linear(%x, @w, @b) {epilogue = []}
%y: f32[L, 8] = binary(%a, @gamma) {f = add}
output y = %y\n",
            "y",
            "%a already has a bias",
        ),
        case(
            "linear_activation",
            format!(
                "{dense}%act: f32[L, 8] = unary(%dense) {{f = relu}}\noutput a = %act\noutput d = %dense\n"
            ),
            "act",
            "%dense is an output",
        ),
        case(
            "add_layer_norm",
            format!(
                "%sum: f32[L, 8] = binary(%x, %z) {{f = add}}\n{norm}%next: f32[L, 8] = binary(%y, %sum) {{f = add}}\noutput n = %next\n"
            ),
            "y",
            "%sum is also used by %next",
        ),
        case(
            "add_layer_norm",
            format!("%sum: f32[L, 8] = binary(%x, @b) {{f = add}}\n{norm}"),
            "y",
            "the addends of %sum are f32[L, 8] and f32[8], expected one type",
        ),
        case(
            "embed_layer_norm",
            format!("{gather}%sum: f32[L, 8] = binary(%word, %x) {{f = add}}\n{norm}"),
            "y",
            "the addend %x is no gather",
        ),
        case(
            "embed_layer_norm",
            format!("{gather}%sum: f32[L, 8] = binary(%word, %word) {{f = add}}\n{norm}"),
            "y",
            "%word is used twice by %sum",
        ),
        case(
            "pool_normalize",
            "%mean: f32[8] = reduce(%x) {f = mean, axis = 0}
%y: f32[8] = l2_normalize(%mean) {eps = 1e-12}
output y = %y
output mean = %mean\n",
            "y",
            "%mean is an output",
        ),
        case(
            "merge_linears",
            attention("linear(%x, @wk)", "linear(%x, @wk, @b)"),
            "merged",
            "%k has a bias, %q has none",
        ),
        case("merge_linears", format!("{ATTENTION}output k = %k\n"), "merged", "%k is an output"),
        case(
            "merge_linears",
            attention("linear(%x, @wv) {epilogue = []}", "linear(%x, @wv) {epilogue = [relu]}"),
            "merged",
            "%v has an epilogue",
        ),
        case(
            "packed_attention",
            format!("{ATTENTION}output weights = %softmax\n"),
            "context",
            "%softmax is an output",
        ),
        case(
            "packed_attention",
            format!(
                "{ATTENTION}%peak: f32[2, L] = reduce(%scores) {{f = max, axis = 2}}\noutput p = %peak\n"
            ),
            "context",
            "%scores is also used by %peak",
        ),
        case(
            "packed_attention",
            attention("{f = mul}\n%softmax", "{f = add}\n%softmax"),
            "context",
            "the softmax is over %scaled, a binary add; expected scores, a matmul times at most a constant",
        ),
        case(
            "packed_attention",
            attention("const %scale = 0.5", "const %scale = inf"),
            "context",
            "the scale is inf",
        ),
        case(
            "packed_attention",
            "%x3: f32[2, L, 4] = reshape(%x) {shape = [2, L, 4]}
%z3: f32[2, 4, L] = reshape(%z) {shape = [2, 4, L]}
%scores: f32[2, L, L] = matmul(%x3, %z3)
%softmax: f32[2, L, L] = softmax(%scores)
%context: f32[2, L, 4] = matmul(%softmax, %x3)
output y = %context\n",
            "context",
            "the query %x3 is a reshape, expected a transpose by [1, 0, 2]",
        ),
        case(
            "packed_attention",
            attention("output y = %merged", "output y = %rows\noutput c = %context"),
            "context",
            "%context is an output",
        ),
    ]
}

#[test]
fn every_refusal_names_the_value_and_the_reason() {
    for Case { rule, statements, at, reason } in cases() {
        let before = graph(&statements);
        let (after, reports) = run(&before, RULES).unwrap();
        assert_same(&before, &after, rule);
        let report = reports.iter().find(|report| report.rule == rule).unwrap();
        let expected = Refusal { at: at.to_owned(), reason: reason.to_owned() };
        assert_eq!(report.refused, [expected], "{rule} on\n{before}");
    }
}

#[test]
fn a_refusal_that_another_rule_lifts_is_not_reported() {
    let before = graph(
        "%a: f32[L, 8] = linear(%x, @w) {epilogue = []}
%unused: f32[L, 8] = unary(%a) {f = tanh}
%y: f32[L, 8] = unary(%a) {f = relu}
output y = %y
",
    );
    let (_, reports) = run(&before, &[&LinearActivation]).unwrap();
    assert_eq!(reports[0].refused.len(), 2, "{reports:?}");
    let (_, reports) = run(&before, &[&LinearActivation, &DeadCode]).unwrap();
    assert_eq!(reports[0].applied, ["y"]);
    assert!(reports[0].refused.iter().all(|refusal| refusal.at != "y"), "{reports:?}");
}

/// A rule without direction: it swaps the operands of every addition, for ever.
struct Swap;

impl Rule for Swap {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn summary(&self) -> &'static str {
        "never comes to rest"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Op::Binary { f: BinaryFn::Add }) = graph.op(at) else { return Outcome::NoMatch };
        let operands = graph.operands(at);
        let mut rewrite = Rewrite::new(graph);
        let op = Op::Binary { f: BinaryFn::Add };
        rewrite
            .op(graph.name(at), op, &[operands[1], operands[0]])
            .map(|swapped| {
                rewrite.replace(at, swapped);
                rewrite.finish()
            })
            .into()
    }
}

#[test]
fn rules_that_never_rest_are_an_error_that_names_one() {
    let before = graph("%y: f32[L, 8] = binary(%x, %z) {f = add}\noutput y = %y\n");
    let error = run(&before, &[&Swap]).unwrap_err();
    assert!(error.to_string().contains("the last one swap"), "{error}");
}

/// The two halves of a gate, which a graph may hold, but not as one linear.
#[test]
fn nothing_grows_past_what_a_graph_may_hold() {
    let wide = bytec_ir::verify::MAX_ELEMENTS as u64 / 512;
    let mut statements = String::new();
    for name in ["p", "q"] {
        statements += &format!(
            "weight @{name}: f32[{wide}, 8]\n%{name}: f32[L, {wide}] = linear(%x, @{name}) {{epilogue = []}}\n"
        );
    }
    statements += &format!(
        "%a: f32[L, {wide}] = unary(%p) {{f = silu}}\n%y: f32[L, {wide}] = binary(%a, %q) {{f = mul}}\noutput y = %y\n"
    );
    let (_, reports) = run(&graph(&statements), RULES).unwrap();
    let gates = reports.iter().find(|report| report.rule == "merge_gates").unwrap();
    assert_eq!(gates.applied.len(), 0);
    let [refusal] = &gates.refused[..] else { panic!("{gates:?}") };
    assert_eq!(refusal.at, "y");
    let reason = "the result would be too large: expected at most 281474976710656 elements";
    assert!(refusal.reason.starts_with(reason), "{}", refusal.reason);
}
