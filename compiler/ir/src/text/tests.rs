//! Graphs print and read back; what does not read says where.

use std::fmt::Write;

use expect_test::expect;

use super::parse;
use crate::attrs::{Expr, MAX_EXPR_DEPTH, Real, UnaryFn};
use crate::builder::Builder;
use crate::dim::Dim;
use crate::ops::Op;
use crate::types::{DType, TensorType};

const SMALL: &str = "\
bytec 1
symbol L in 1..=512
input %input_ids: i64[L]
input %token_type_ids: i64[L] = 0
weight @words: f32[120, 48]
weight @types: f32[2, 48]
weight @\"odd name\": f32[48, 48]
const %scale = 0.25
%ids: i64[L] = iota() {extent = L, start = 2}
%w: f32[L, 48] = gather(@words, %input_ids)
%t: f32[L, 48] = gather(@types, %token_type_ids)
%sum: f32[L, 48] = binary(%w, %t) {f = add}
%scaled: f32[L, 48] = binary(%sum, %scale) {f = mul}
%dense: f32[L, 48] = linear(%scaled, @\"odd name\") {epilogue = [gelu_erf, tanh]}
%heads: f32[L, 4, 12] = reshape(%dense) {shape = [L, 4, 12]}
%fused: f32[L, 48] = pointwise(%dense, %sum) {expr = add(x0, mul(x1, -0.5))}
%row: f32[48] = pool(%fused) {kind = mean, normalize = 1e-12}
%plain: f32[48] = pool(%fused) {kind = cls, normalize = none}
output heads = %heads
output embedding = %row
output \"a b\" = %row
";

#[test]
fn prints_what_it_reads() {
    let graph = parse(SMALL).unwrap();
    assert_eq!(graph.to_string(), SMALL);
    crate::verify::verify(&graph).unwrap();
}

#[test]
fn blanks_comments_and_the_order_of_attributes_do_not_matter() {
    let loose = "# a graph\r\n\n  bytec 1 # version\r\nsymbol L in 1 ..= 9\n\n input %x : f32 [ L,2 ]#x\n\
                 %y:f32[2]=pool( %x ){normalize=none,kind=max}\noutput y=%y";
    expect![[r#"
        bytec 1
        symbol L in 1..=9
        input %x: f32[L, 2]
        %y: f32[2] = pool(%x) {kind = max, normalize = none}
        output y = %y
    "#]]
    .assert_eq(&parse(loose).unwrap().to_string());
}

#[test]
fn every_name_and_number_survives() {
    let names = [
        "plain.name/0-x_",
        "",
        " ",
        "a b",
        "#",
        "%x",
        "\"quoted\" \\ back",
        "line\nbreak\r\ttab",
        "nul\0",
        "\u{85}\u{2028}é😀",
        "a, b) {f = add}",
    ];
    let numbers = [
        0.0,
        -0.0,
        0.1,
        1e-300,
        5e-324,
        f64::MAX,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
    ];
    let mut b = Builder::new();
    let l = b.symbol("odd \"symbol\"", 0, u64::MAX);
    for name in names {
        b.symbol(name, 1, 2);
        let ty = TensorType::new(
            DType::F32,
            [l.clone(), Dim::symbol(name) + Dim::symbol("ceil").ceil_div(3)],
        );
        b.input(name, ty, Some(i64::MIN));
        let weight = b.weight(name, [3usize]);
        b.output(name, weight);
    }
    b.symbol("ceil", 1, 2);
    for (i, number) in numbers.into_iter().enumerate() {
        let x = b.constant(&format!("number.{i}"), number);
        let expr = Expr::Binary(
            crate::attrs::BinaryFn::Max,
            Box::new(Expr::Const(Real(number))),
            Box::new(Expr::Arg(0)),
        );
        b.op("y", Op::Pointwise { expr }, &[x]).unwrap();
    }
    let graph = b.finish();
    let text = graph.to_string();
    let read = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read.to_string(), text);
    for id in graph.ids() {
        let node = graph.node(id);
        let weight = node.def == crate::graph::Def::Weight;
        let other = if weight { read.weight(&node.name) } else { read.value(&node.name) };
        assert_eq!(read.node(other.unwrap()), node);
    }
}

/// The valid beginning of most cases.
const HEAD: &str = "\
bytec 1
symbol L in 1..=9
input %x: f32[L, 4]
weight @w: f32[4, 4]
";

#[test]
fn errors_say_where_and_what() {
    let cases = [
        "",
        "\n# nothing\n",
        "graph 1",
        "bytec",
        "bytec 2",
        "bytec one",
        "bytec 99999999999999999999",
        "bytec 1 2",
        "+symbol",
        "+model %x",
        "+symbol 1L in 1..=2",
        "+symbol L in 1..=2",
        "+symbol M 1..=2",
        "+symbol M in 1..2",
        "+symbol M in -1..=2",
        "+symbol M in 1..=18446744073709551616",
        "+input x: f32[L]",
        "+input %x: f32[L]",
        "+input %y f32[L]",
        "+input %y: f64[L]",
        "+input %y: f32[M]",
        "+input %y: f32[L",
        "+input %y: f32[L, ]",
        "+input %y: f32[L] = 0.5",
        "+input %y: f32[L] = 9223372036854775808",
        "+input %y: f32[9223372036854775808]",
        "+input %y: f32[2*9223372036854775807]",
        "+input %y: f32[9223372036854775807 + 1]",
        "+input %y: f32[4294967296, 4294967296]",
        "+input %y: f32[L*L*L*L*L*L*L*L*L*L*L*L*L*L*L*L*L]",
        "+input %y: f32[1, 1, 1, 1, 1, 1, 1, 1, 1]",
        "+input %y: f32[ceil(L, 0)]",
        "+input %y: f32[ceil(L)]",
        "+input %y: f32[(L]",
        "+input %y: f32[L L]",
        "+input %\"y: f32[L]",
        "+input %\"\\n\": f32[L]",
        "+input %\"\\u{d800}\": f32[L]",
        "+weight %y: f32[4]",
        "+weight @w: f32[4]",
        "+const %x = 1.0",
        "+const %c = one",
        "+const %c = 1e999",
        "+const %c = 1.0.0",
        "+const %c = infinity",
        "+const %c = nan(0x0)",
        "+const %c =",
        "+%y: f32[L, 4] = negate(%x)",
        "+%y: f32[L, 4] = unary(%x)",
        "+%y: f32[L, 4] = unary(%x) {}",
        "+%y: f32[L, 4] = unary(%x) {f = sine}",
        "+%y: f32[L, 4] = unary(%x) {g = neg}",
        "+%y: f32[L, 4] = unary(%x) {f = neg, f = neg}",
        "+%y: f32[L, 4] = unary(%x) {f = neg",
        "+%y: f32[L, 4] = unary(%x) {f = neg} {f = neg}",
        "+%y: f32[L, 4] = unary(%y) {f = neg}",
        "+%y: f32[L, 4] = unary(@x) {f = neg}",
        "+%y: f32[L, 4] = unary(x) {f = neg}",
        "+%y: f32[L, 4] = unary(%x, %x) {f = neg}",
        "+%y: f32[L, 5] = unary(%x) {f = neg}",
        "+%y: f32[L, 4] = softmax(%x) {f = neg}",
        "+%y: f32[L, 4] = softmax(%x",
        "+%y: f32[L, 4] = linear(%x, @w) {epilogue = relu}",
        "+%y: f32[M, 4] = reshape(%x) {shape = [M, 4]}",
        "+%y: f32[L, 4] = reshape(%x) {shape = [M, 4]}",
        "+%y: f32[L, 2] = reshape(%x) {shape = [L, 2]}",
        "+%y: f32[4] = select(%x) {axis = 18446744073709551616, index = 0}",
        "+%y: f32[4] = select(%x) {axis = -1, index = 0}",
        "+%y: f32[4] = select(%x) {axis = 0x1, index = 0}",
        "+%y: f32[4] = pool(%x) {kind = mean, normalize = nothing}",
        "+%y: f32[L, 4] = pointwise(%x) {expr = add(x0, x1)}",
        "+%y: f32[L, 4] = pointwise(%x) {expr = add(x0)}",
        "+%y: f32[L, 4] = pointwise(%x) {expr = x}",
        "+%y: f32[L, 4] = pointwise(%x) {expr = x99999999999999999999}",
        "+%y: f32[L, 4] = pointwise(%x) {expr = softmax(x0)}",
        "+output %x",
        "+output y = %z",
        "+output y = %x\noutput y = %x",
        "+output y = %x é",
        "+input %é: f32[L]",
    ];
    let mut report = String::new();
    for case in cases {
        let text =
            case.strip_prefix('+').map_or_else(|| case.to_owned(), |rest| HEAD.to_owned() + rest);
        let error = parse(&text).expect_err(case);
        writeln!(report, "{}\n    {error}", case.escape_debug()).unwrap();
    }
    expect![[r#"

            line 1, column 1: expected the first line of a bytec graph, "bytec 1"
        \n# nothing\n
            line 3, column 1: expected the first line of a bytec graph, "bytec 1"
        graph 1
            line 1, column 1: expected the first line of a bytec graph, "bytec 1"
        bytec
            line 1, column 6: expected a version, found the end of the text
        bytec 2
            line 1, column 7: expected version 1 of the text form, found 2
        bytec one
            line 1, column 7: expected a version, found "one"
        bytec 99999999999999999999
            line 1, column 7: expected a version, found "99999999999999999999", which is out of range
        bytec 1 2
            line 1, column 9: expected the end of the line, found "2"
        +symbol
            line 5, column 7: expected a symbol's name, found the end of the text
        +model %x
            line 5, column 1: expected symbol, input, weight, const, output or a value's %name, found "model"
        +symbol 1L in 1..=2
            line 5, column 8: expected a symbol's name, found "1L"
        +symbol L in 1..=2
            line 5, column 8: symbol L is declared twice
        +symbol M 1..=2
            line 5, column 8: expected "symbol M in MIN..=MAX"
        +symbol M in 1..2
            line 5, column 14: expected "..=", found "..2"
        +symbol M in -1..=2
            line 5, column 13: expected the smallest size, found "-1", which is out of range
        +symbol M in 1..=18446744073709551616
            line 5, column 17: expected the largest size, found "18446744073709551616", which is out of range
        +input x: f32[L]
            line 5, column 7: expected "%", found "x"
        +input %x: f32[L]
            line 5, column 7: %x is defined twice
        +input %y f32[L]
            line 5, column 10: expected ":", found "f32"
        +input %y: f64[L]
            line 5, column 11: unknown dtype "f64", expected f32, f16, bf16 or i64
        +input %y: f32[M]
            line 5, column 11: symbol M is not declared before this use
        +input %y: f32[L
            line 5, column 16: expected "," or "]", found the end of the text
        +input %y: f32[L, ]
            line 5, column 18: expected a dimension, found "]"
        +input %y: f32[L] = 0.5
            line 5, column 21: expected the end of the line, found ".5"
        +input %y: f32[L] = 9223372036854775808
            line 5, column 20: expected a whole number, found "9223372036854775808", which is out of range
        +input %y: f32[9223372036854775808]
            line 5, column 15: expected a size below 2^63, found "9223372036854775808", which is out of range
        +input %y: f32[2*9223372036854775807]
            line 5, column 15: the product is too large (numbers past 63 bits, or too many terms)
        +input %y: f32[9223372036854775807 + 1]
            line 5, column 15: the dimension is too large (numbers past 63 bits, or too many terms)
        +input %y: f32[4294967296, 4294967296]
            line 5, column 11: f32[4294967296, 4294967296] has too many elements to count
        +input %y: f32[L*L*L*L*L*L*L*L*L*L*L*L*L*L*L*L*L]
            line 5, column 15: the product is too large (numbers past 63 bits, or too many terms)
        +input %y: f32[1, 1, 1, 1, 1, 1, 1, 1, 1]
            line 5, column 11: expected at most 8 axes, found 9
        +input %y: f32[ceil(L, 0)]
            line 5, column 23: expected a divisor of at least 1, found 0
        +input %y: f32[ceil(L)]
            line 5, column 21: expected ",", found ")"
        +input %y: f32[(L]
            line 5, column 17: expected ")", found "]"
        +input %y: f32[L L]
            line 5, column 17: expected "," or "]", found "L"
        +input %\"y: f32[L]
            line 5, column 8: expected a closing '"' before the end of the line
        +input %\"\\n\": f32[L]
            line 5, column 9: expected one of the escapes \", \\ and \u{..}
        +input %\"\\u{d800}\": f32[L]
            line 5, column 9: expected one of the escapes \", \\ and \u{..}
        +weight %y: f32[4]
            line 5, column 8: expected "@", found "%"
        +weight @w: f32[4]
            line 5, column 8: @w is defined twice
        +const %x = 1.0
            line 5, column 7: %x is defined twice
        +const %c = one
            line 5, column 12: expected a number, found "one"
        +const %c = 1e999
            line 5, column 12: expected a number, found "1e999", which is out of range
        +const %c = 1.0.0
            line 5, column 12: expected a number, found "1.0.0"
        +const %c = infinity
            line 5, column 12: expected a number, found "infinity"
        +const %c = nan(0x0)
            line 5, column 12: expected the bits of a NaN, found "0x0"
        +const %c =
            line 5, column 11: expected a number, found the end of the text
        +%y: f32[L, 4] = negate(%x)
            line 5, column 17: unknown op "negate"; `bytec list ops` names them all
        +%y: f32[L, 4] = unary(%x)
            line 5, column 26: unary needs the attribute "f" before this place
        +%y: f32[L, 4] = unary(%x) {}
            line 5, column 29: unary needs the attribute "f" before this place
        +%y: f32[L, 4] = unary(%x) {f = sine}
            line 5, column 32: unknown function "sine", expected one of neg, abs, exp, sqrt, rsqrt, erf, tanh, sigmoid, relu, silu, gelu_erf, gelu_tanh, quick_gelu, relu_squared, relu6, leaky_relu, mish
        +%y: f32[L, 4] = unary(%x) {g = neg}
            line 5, column 28: unary has no attribute "g", expected f
        +%y: f32[L, 4] = unary(%x) {f = neg, f = neg}
            line 5, column 41: the attribute "f" is given twice
        +%y: f32[L, 4] = unary(%x) {f = neg
            line 5, column 35: expected "," or "}", found the end of the text
        +%y: f32[L, 4] = unary(%x) {f = neg} {f = neg}
            line 5, column 37: expected the end of the line, found "{"
        +%y: f32[L, 4] = unary(%y) {f = neg}
            line 5, column 23: %y is not defined before this use
        +%y: f32[L, 4] = unary(@x) {f = neg}
            line 5, column 23: @x is not defined before this use
        +%y: f32[L, 4] = unary(x) {f = neg}
            line 5, column 23: expected a value such as %x or @weight, found "x"
        +%y: f32[L, 4] = unary(%x, %x) {f = neg}
            line 5, column 17: unary: takes (x), got 2 operands
        +%y: f32[L, 5] = unary(%x) {f = neg}
            line 5, column 3: unary gives f32[L, 4], but the type written here is f32[L, 5]
        +%y: f32[L, 4] = softmax(%x) {f = neg}
            line 5, column 30: softmax has no attribute "f", expected none
        +%y: f32[L, 4] = softmax(%x
            line 5, column 27: expected "," or ")", found the end of the text
        +%y: f32[L, 4] = linear(%x, @w) {epilogue = relu}
            line 5, column 44: expected "[", found "relu"
        +%y: f32[M, 4] = reshape(%x) {shape = [M, 4]}
            line 5, column 5: symbol M is not declared before this use
        +%y: f32[L, 4] = reshape(%x) {shape = [M, 4]}
            line 5, column 29: symbol M is not declared before this use
        +%y: f32[L, 2] = reshape(%x) {shape = [L, 2]}
            line 5, column 17: reshape: f32[L, 4] has 4*L elements, f32[L, 2] has 2*L
        +%y: f32[4] = select(%x) {axis = 18446744073709551616, index = 0}
            line 5, column 33: expected a whole number, found "18446744073709551616", which is out of range
        +%y: f32[4] = select(%x) {axis = -1, index = 0}
            line 5, column 33: expected a whole number, found "-1", which is out of range
        +%y: f32[4] = select(%x) {axis = 0x1, index = 0}
            line 5, column 33: expected a whole number, found "0x1"
        +%y: f32[4] = pool(%x) {kind = mean, normalize = nothing}
            line 5, column 49: expected a number, found "nothing"
        +%y: f32[L, 4] = pointwise(%x) {expr = add(x0, x1)}
            line 5, column 17: pointwise: expr takes 2 operands, nested 2 deep; expected at most 1 operands and 256 levels
        +%y: f32[L, 4] = pointwise(%x) {expr = add(x0)}
            line 5, column 45: expected ",", found ")"
        +%y: f32[L, 4] = pointwise(%x) {expr = x}
            line 5, column 39: expected an operand such as x0, a number or a function, found "x"
        +%y: f32[L, 4] = pointwise(%x) {expr = x99999999999999999999}
            line 5, column 39: expected an operand such as x0, a number or a function, found "x99999999999999999999"
        +%y: f32[L, 4] = pointwise(%x) {expr = softmax(x0)}
            line 5, column 39: expected an operand such as x0, a number or a function, found "softmax"
        +output %x
            line 5, column 8: expected an output's name, found "%"
        +output y = %z
            line 5, column 12: %z is not defined before this use
        +output y = %x\noutput y = %x
            line 6, column 8: output "y" is declared twice
        +output y = %x é
            line 5, column 15: expected the end of the line, found "é"
        +input %é: f32[L]
            line 5, column 8: expected a name, found "é"
    "#]].assert_eq(&report);
}

#[test]
fn nesting_is_bounded() {
    let deep = |open: &str, inner: &str, close: &str, levels| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    assert_eq!(deep("(", "L", ")", 32).parse::<Dim>().unwrap(), Dim::symbol("L"));
    for levels in [33, 1_000_000] {
        assert!(deep("(", "L", ")", levels).parse::<Dim>().is_err());
        assert!(deep("ceil(", "L", ", 2)", levels).parse::<Dim>().is_err());
    }
    let chain = |levels| deep("neg(", "x0", ")", levels);
    let longest: Expr = chain(MAX_EXPR_DEPTH - 1).parse().unwrap();
    assert_eq!(longest.depth(), MAX_EXPR_DEPTH);
    assert_eq!(longest.to_string(), chain(MAX_EXPR_DEPTH - 1));
    for levels in [MAX_EXPR_DEPTH, 1_000_000] {
        assert!(chain(levels).parse::<Expr>().is_err());
    }
    let too_deep = Expr::Unary(UnaryFn::Neg, Box::new(longest));
    let x = TensorType::new(DType::F32, [2usize]);
    assert!(crate::infer::infer(&Op::Pointwise { expr: too_deep }, &[&x]).is_err());
}

#[test]
fn products_of_sums_do_not_blow_up() {
    let factors: Vec<_> = (0..40).map(|i| format!("(a{i} + b{i})")).collect();
    assert!(factors.join("*").parse::<Dim>().is_err());
    let sum: Vec<_> = (0..100).map(|i| format!("a{i}")).collect();
    assert!(sum.join(" + ").parse::<Dim>().is_err());
}

/// Every prefix of a text, and the text with any one character left out or replaced, is read or refused.
#[test]
fn damaged_texts_do_not_panic() {
    let chars: Vec<char> = SMALL.chars().collect();
    for at in 0..chars.len() {
        let (before, after) = (&chars[..at], &chars[at + 1..]);
        let _ = parse(&before.iter().collect::<String>());
        for replacement in ["", "\"", "é", "9", "-", "(", "\n", "*"] {
            let text: String = before.iter().chain(&[]).collect::<String>()
                + replacement
                + &after.iter().collect::<String>();
            if let Ok(graph) = parse(&text) {
                assert_eq!(parse(&graph.to_string()).unwrap().to_string(), graph.to_string());
            }
        }
    }
}
