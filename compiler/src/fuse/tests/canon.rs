//! What sources write out in their own ways becomes the op that the models are written in.

use bytec_ir::ops::OpKind;

use super::{assert_same, graph};
use crate::fuse::{RULES, run};

/// The ops of what all rules make of these statements, which preserve their values.
fn ops(statements: &str) -> Vec<(OpKind, String)> {
    let before = graph(statements);
    let (after, _) = run(&before, RULES).unwrap();
    assert_same(&before, &after, statements);
    ops_of_rounded(statements)
}

/// The same for constants as f32 has them, for which a named function is a little more exact.
fn ops_of_rounded(statements: &str) -> Vec<(OpKind, String)> {
    let (after, reports) = run(&graph(statements), RULES).unwrap();
    let ops = after.topological().into_iter().filter_map(|id| {
        let op = after.op(id)?;
        let attributes: Vec<_> =
            op.attributes().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some((op.kind(), attributes.join(" ")))
    });
    let ops: Vec<_> = ops.collect();
    assert!(!ops.is_empty(), "{reports:?}");
    ops
}

/// All rules make one op of these statements, this one with these attributes.
fn becomes(statements: &str, kind: OpKind, attributes: &str) {
    assert_eq!(ops(statements), [(kind, attributes.to_owned())], "{statements}");
}

/// As `torch.export` gives it for a model that normalises by hand.
#[test]
fn layer_norms_of_torch() {
    let rows = "%m: f32[L] = reduce(%x) {f = mean, axis = 1}
%mk: f32[L, 1] = reshape(%m) {shape = [L, 1]}
%c: f32[L, 8] = binary(%x, %mk) {f = sub}
%s: f32[L, 8] = binary(%c, %c) {f = mul}
%v: f32[L] = reduce(%s) {f = mean, axis = 1}
%vk: f32[L, 1] = reshape(%v) {shape = [L, 1]}
const %eps = 1e-5
%e: f32[L, 1] = binary(%vk, %eps) {f = add}\n";
    for root in [
        "%r: f32[L, 1] = unary(%e) {f = rsqrt}\n%n: f32[L, 8] = binary(%c, %r) {f = mul}\n",
        "%r: f32[L, 1] = unary(%e) {f = sqrt}\n%n: f32[L, 8] = binary(%c, %r) {f = div}\n",
        "const %one = 1.0\n%q: f32[L, 1] = unary(%e) {f = sqrt}\n%r: f32[L, 1] = binary(%one, %q) {f = div}
%n: f32[L, 8] = binary(%r, %c) {f = mul}\n",
    ] {
        let affine = "%g: f32[L, 8] = binary(@gamma, %n) {f = mul}
%y: f32[L, 8] = binary(@beta, %g) {f = add}\noutput y = %y\n";
        becomes(&format!("{rows}{root}{affine}"), OpKind::LayerNorm, "eps=1e-5");
    }
}

/// candle takes the sum over the width for the mean, and has this form where there is no bias.
#[test]
fn layer_norms_of_candle() {
    let rows = "%m: f32[L] = reduce(%x) {f = sum, axis = 1}
%mk: f32[L, 1] = reshape(%m) {shape = [L, 1]}
const %width = 8.0
%mean: f32[L, 1] = binary(%mk, %width) {f = div}
%c: f32[L, 8] = binary(%x, %mean) {f = sub}
%s: f32[L, 8] = binary(%c, %c) {f = mul}
%v: f32[L] = reduce(%s) {f = sum, axis = 1}
%vk: f32[L, 1] = reshape(%v) {shape = [L, 1]}
%variance: f32[L, 1] = binary(%vk, %width) {f = div}
const %eps = 1e-12
%e: f32[L, 1] = binary(%variance, %eps) {f = add}
%r: f32[L, 1] = unary(%e) {f = sqrt}
%n: f32[L, 8] = binary(%c, %r) {f = div}\n";
    let kinds = |rest: &str| -> Vec<_> {
        ops(&format!("{rows}{rest}")).into_iter().map(|(kind, _)| kind).collect()
    };
    let with_both = "%g: f32[L, 8] = binary(%n, @gamma) {f = mul}
%y: f32[L, 8] = binary(%g, @beta) {f = add}\noutput y = %y\n";
    assert_eq!(kinds(with_both), [OpKind::LayerNorm]);
    let without_bias = "%y: f32[L, 8] = binary(%n, @gamma) {f = mul}\noutput y = %y\n";
    assert_eq!(kinds(without_bias), [OpKind::Binary, OpKind::LayerNorm]);
    let without_scale = "%y: f32[L, 8] = binary(%n, @beta) {f = add}\noutput y = %y\n";
    assert_eq!(kinds(without_scale), [OpKind::Binary, OpKind::Binary, OpKind::LayerNorm]);
    // The zeros and ones are made of a number, when the plan is written.
    let bare = kinds("output y = %n\n");
    assert_eq!(bare.last(), Some(&OpKind::LayerNorm));
    assert!(bare.contains(&OpKind::Concat), "{bare:?}");
}

#[test]
fn root_mean_squares() {
    // T5 of torch: pow 2, mean, rsqrt.
    becomes(
        "%s: f32[L, 8] = binary(%x, %x) {f = mul}
%v: f32[L] = reduce(%s) {f = mean, axis = 1}
%vk: f32[L, 1] = reshape(%v) {shape = [L, 1]}
const %eps = 1e-6
%e: f32[L, 1] = binary(%vk, %eps) {f = add}
%r: f32[L, 1] = unary(%e) {f = rsqrt}
%n: f32[L, 8] = binary(%x, %r) {f = mul}
%y: f32[L, 8] = binary(@gamma, %n) {f = mul}
output y = %y\n",
        OpKind::RmsNorm,
        "eps=1e-6",
    );
    // T5 of candle: a mean with its axis kept, sqrt, div.
    becomes(
        "%s: f32[L, 8] = binary(%x, %x) {f = mul}
%v: f32[L] = reduce(%s) {f = sum, axis = 1}
const %share = 0.125
%m: f32[L] = binary(%v, %share) {f = mul}
const %eps = 1e-6
%e: f32[L] = binary(%m, %eps) {f = add}
%r: f32[L] = unary(%e) {f = sqrt}
%rk: f32[L, 1] = reshape(%r) {shape = [L, 1]}
%n: f32[L, 8] = binary(%x, %rk) {f = div}
%y: f32[L, 8] = binary(%n, @gamma) {f = mul}
output y = %y\n",
        OpKind::RmsNorm,
        "eps=1e-6",
    );
}

#[test]
fn softmaxes_and_norms_of_rows() {
    let exponentials = "%m: f32[L] = reduce(%x) {f = max, axis = 1}
%mk: f32[L, 1] = reshape(%m) {shape = [L, 1]}
%d: f32[L, 8] = binary(%x, %mk) {f = sub}
%e: f32[L, 8] = unary(%d) {f = exp}
%s: f32[L] = reduce(%e) {f = sum, axis = 1}
%sk: f32[L, 1] = reshape(%s) {shape = [L, 1]}\n";
    let quotient = "%y: f32[L, 8] = binary(%e, %sk) {f = div}\noutput y = %y\n";
    becomes(&format!("{exponentials}{quotient}"), OpKind::Softmax, "");
    let squares = "%q: f32[L, 8] = binary(%x, %x) {f = mul}
%s: f32[L] = reduce(%q) {f = sum, axis = 1}
%sk: f32[L, 1] = reshape(%s) {shape = [L, 1]}
%r: f32[L, 1] = unary(%sk) {f = sqrt}\n";
    // torch keeps the norm above a smallest one, candle's examples don't.
    let bounded = "const %eps = 1e-12\n%n: f32[L, 1] = binary(%r, %eps) {f = max}
%y: f32[L, 8] = binary(%x, %n) {f = div}\noutput y = %y\n";
    becomes(&format!("{squares}{bounded}"), OpKind::L2Normalize, "eps=1e-12");
    let bare = "%y: f32[L, 8] = binary(%x, %r) {f = div}\noutput y = %y\n";
    becomes(&format!("{squares}{bare}"), OpKind::L2Normalize, "eps=0.0");
    // One row, as after pooling, has one number.
    let row = "%p: f32[8] = reduce(%x) {f = mean, axis = 0}
%q: f32[8] = binary(%p, %p) {f = mul}
%s: f32[] = reduce(%q) {f = sum, axis = 0}
%sk: f32[1] = reshape(%s) {shape = [1]}
%r: f32[1] = unary(%sk) {f = sqrt}
%y: f32[8] = binary(%p, %r) {f = div}
output y = %y\n";
    becomes(row, OpKind::Pool, "kind=mean normalize=0.0");
}

#[test]
fn activations() {
    let half = "const %half = 0.5\nconst %one = 1.0\n%h: f32[L, 8] = binary(%x, %half) {f = mul}\n";
    let result = "%y: f32[L, 8] = binary(%h, %p) {f = mul}\noutput y = %y\n";
    let erf = |inner: &str| {
        format!(
            "{half}{inner}%e: f32[L, 8] = unary(%i) {{f = erf}}\n%p: f32[L, 8] = binary(%one, %e) {{f = add}}\n{result}"
        )
    };
    let cases = [
        // torch divides by the root in f64; candle and f32 graphs have it, or its reciprocal, rounded.
        (erf("const %r = 1.4142135623730951\n%i: f32[L, 8] = binary(%x, %r) {f = div}\n"), "gelu_erf"),
        (erf("const %r = 0.7071067690849304\n%i: f32[L, 8] = binary(%x, %r) {f = mul}\n"), "gelu_erf"),
        (
            format!(
                "{half}const %a = 0.044714998453855515\nconst %k = 0.7978845834732056
%x2: f32[L, 8] = binary(%x, %x) {{f = mul}}\n%x3: f32[L, 8] = binary(%x2, %x) {{f = mul}}
%t: f32[L, 8] = binary(%x3, %a) {{f = mul}}\n%s: f32[L, 8] = binary(%x, %t) {{f = add}}
%i: f32[L, 8] = binary(%k, %s) {{f = mul}}\n%th: f32[L, 8] = unary(%i) {{f = tanh}}
%p: f32[L, 8] = binary(%th, %one) {{f = add}}\n{result}"
            ),
            "gelu_tanh",
        ),
        (
            // candle: x * k * (1 + a x^2), the halves last.
            "const %half = 0.5\nconst %one = 1.0\nconst %a = 0.044715\nconst %k = 0.7978845608028654
%x2: f32[L, 8] = binary(%x, %x) {f = mul}\n%t: f32[L, 8] = binary(%x2, %a) {f = mul}
%u: f32[L, 8] = binary(%t, %one) {f = add}\n%kx: f32[L, 8] = binary(%x, %k) {f = mul}
%i: f32[L, 8] = binary(%kx, %u) {f = mul}\n%th: f32[L, 8] = unary(%i) {f = tanh}
%p: f32[L, 8] = binary(%th, %one) {f = add}\n%px: f32[L, 8] = binary(%p, %x) {f = mul}
%y: f32[L, 8] = binary(%px, %half) {f = mul}\noutput y = %y\n"
                .to_owned(),
            "gelu_tanh",
        ),
        (
            "const %k = 1.702\n%i: f32[L, 8] = binary(%x, %k) {f = mul}\n%s: f32[L, 8] = unary(%i) {f = sigmoid}
%y: f32[L, 8] = binary(%x, %s) {f = mul}\noutput y = %y\n"
                .to_owned(),
            "quick_gelu",
        ),
        (
            // candle: x / (1 + e^-x).
            "const %one = 1.0\n%n: f32[L, 8] = unary(%x) {f = neg}\n%e: f32[L, 8] = unary(%n) {f = exp}
%d: f32[L, 8] = binary(%e, %one) {f = add}\n%y: f32[L, 8] = binary(%x, %d) {f = div}\noutput y = %y\n"
                .to_owned(),
            "silu",
        ),
        (
            "const %zero = 0.0\nconst %six = 6.0\n%m: f32[L, 8] = binary(%x, %zero) {f = max}
%y: f32[L, 8] = binary(%m, %six) {f = min}\noutput y = %y\n"
                .to_owned(),
            "relu6",
        ),
        (
            "%m: f32[L, 8] = unary(%x) {f = relu}\n%y: f32[L, 8] = binary(%m, %m) {f = mul}\noutput y = %y\n"
                .to_owned(),
            "relu_squared",
        ),
    ];
    for (statements, f) in cases {
        let found = ops_of_rounded(&statements);
        assert_eq!(found, [(OpKind::Pointwise, format!("expr={f}(x0)"))], "{statements}");
    }
}

/// What is nearly a function with a name is none.
#[test]
fn other_arithmetic_stays() {
    for constants in ["const %r = 1.4142\n", "const %r = 1.5\n"] {
        let statements = format!(
            "{constants}const %half = 0.5\nconst %one = 1.0\n%i: f32[L, 8] = binary(%x, %r) {{f = div}}
%e: f32[L, 8] = unary(%i) {{f = erf}}\n%p: f32[L, 8] = binary(%one, %e) {{f = add}}
%h: f32[L, 8] = binary(%x, %half) {{f = mul}}\n%y: f32[L, 8] = binary(%h, %p) {{f = mul}}\noutput y = %y\n"
        );
        let found = ops(&statements);
        assert!(found[0].1.contains("erf(div"), "{found:?}");
    }
    // A smaller bound than that of any sample is a bound all the same.
    let bounded =
        "const %zero = 0.0\nconst %most = 65504.0\n%m: f32[L, 8] = binary(%x, %zero) {f = max}
%y: f32[L, 8] = binary(%m, %most) {f = min}\noutput y = %y\n";
    assert_eq!(ops(bounded), [(OpKind::Pointwise, "expr=min(relu(x0), 65504.0)".to_owned())]);
}

/// A linear with its rows in a batch of one, its weight transposed, its bias a row: as candle's traces have it.
#[test]
fn linears() {
    let product = "%t: f32[8, 8] = transpose(@w) {perm = [1, 0]}\n%p: f32[L, 8] = matmul(%x, %t)\n";
    let bias =
        "%row: f32[1, 8] = reshape(@b) {shape = [1, 8]}\n%s: f32[L, 8] = binary(%p, %row) {f = add}
%batch: f32[1, L, 8] = reshape(%s) {shape = [1, L, 8]}\n%a: f32[1, L, 8] = unary(%batch) {f = relu}
%y: f32[L, 8] = reshape(%a) {shape = [L, 8]}\noutput y = %y\n";
    becomes(&format!("{product}{bias}"), OpKind::Linear, "epilogue=[relu]");
    let batched = "%batch: f32[1, L, 8] = reshape(%x) {shape = [1, L, 8]}
%l: f32[1, L, 8] = linear(%batch, @w) {epilogue = []}\n%s: f32[1, L, 8] = binary(%l, @b) {f = add}
%turned: f32[L, 1, 8] = transpose(%s) {perm = [1, 0, 2]}
%y: f32[L, 8] = reshape(%turned) {shape = [L, 8]}\noutput y = %y\n";
    becomes(batched, OpKind::Linear, "epilogue=[]");
}

/// Attention on heads that were split, scaled and moved: torch scales q, or q and k, before the product.
#[test]
fn attentions() {
    let heads = |name: &str| {
        format!(
            "%{name}.split: f32[L, 2, 4] = reshape(%{name}) {{shape = [L, 2, 4]}}
%{name}.heads: f32[2, L, 4] = transpose(%{name}.split) {{perm = [1, 0, 2]}}\n"
        )
    };
    let joined = |name: &str, from: &str| {
        format!(
            "%{name}.back: f32[L, 2, 4] = transpose(%{from}) {{perm = [1, 0, 2]}}
%{name}.rows: f32[L, 8] = reshape(%{name}.back) {{shape = [L, 8]}}\n"
        )
    };
    let scaled = "const %root = 0.5\nconst %eight = 4.0\n%q: f32[2, L, 4] = binary(%x.heads, %root) {f = mul}
%k: f32[2, L, 4] = binary(%z.heads, %eight) {f = div}\n";
    let statements = format!(
        "{}{}{scaled}{}{}%y: f32[L, 8] = attention(%q.rows, %k.rows, %z) {{heads = 2, head_size = 4, scale = 1.0}}\noutput y = %y\n",
        heads("x"),
        heads("z"),
        joined("q", "q"),
        joined("k", "k"),
    );
    becomes(&statements, OpKind::Attention, "heads=2 head_size=4 scale=0.125");
}

/// Values put together in two steps; once more where the first step's result is needed as well.
#[test]
fn values_put_together_in_two_steps() {
    let twice = "%a: f32[L, 16] = concat(%x, %z) {axis = 1}\n%y: f32[L, 24] = concat(%z, %a) {axis = 1}\noutput y = %y\n";
    becomes(twice, OpKind::Concat, "axis=1");
    let kept = ops(&format!("{twice}output a = %a\n"));
    assert_eq!(kept.len(), 2, "{kept:?}");
}

/// Something that a pattern has inside is needed as well: the answer says what.
#[test]
fn what_is_needed_elsewhere_is_not_taken_away() {
    let before = graph(
        "%s: f32[L, 8] = binary(%x, %x) {f = mul}
%v: f32[L] = reduce(%s) {f = mean, axis = 1}
const %eps = 1e-6
%e: f32[L] = binary(%v, %eps) {f = add}
%r: f32[L] = unary(%e) {f = rsqrt}
%rk: f32[L, 1] = reshape(%r) {shape = [L, 1]}
%n: f32[L, 8] = binary(%x, %rk) {f = mul}
output roots = %r
output y = %n\n",
    );
    let (_, reports) = run(&before, RULES).unwrap();
    let refused = reports.iter().find(|report| report.rule == "rms_norm").unwrap();
    assert_eq!(refused.refused.len(), 1);
    assert_eq!(refused.refused[0].at, "n");
    assert_eq!(refused.refused[0].reason, "%r is an output");
}
