//! Attention's options, and ops that tell rows by their place, worked out by hand.

use super::{close, f, run};
use crate::attention::{Band, Bias, Pairs, Rotary};
use crate::attrs::Real;
use crate::buckets::Buckets;
use crate::eval::{Tensor, eval_node};
use crate::ops::Op;

fn attention(mask: Band, bias: Bias) -> Op {
    Op::Attention { heads: 1, head_size: 1, group: 1, scale: Real(2.), mask, bias, rotary: None }
}

/// Rows of one column; queries and keys of zero, so that only the options give scores.
fn column(x: &[f64]) -> Tensor {
    f(&[x.len(), 1], x)
}

#[test]
fn a_mask_takes_keys_away() {
    let (zero, v) = (column(&[0.; 4]), column(&[1., 2., 4., 8.]));
    let of = |mask| run(&attention(mask, Bias::None), &[&zero, &zero, &v]);
    close(&of(Band::ALL), &column(&[3.75; 4]));
    close(&of(Band::CAUSAL), &column(&[1., 1.5, 7. / 3., 3.75]));
    close(&of(Band::within(0)), &v);
    close(&of(Band { before: Some(1), after: Some(0) }), &column(&[1., 1.5, 3., 6.]));
    close(&of(Band { before: Some(0), after: Some(2) }), &column(&[7. / 3., 14. / 3., 6., 8.]));
    close(&of(Band::within(u64::MAX)), &column(&[3.75; 4]));
}

#[test]
fn a_bias_is_added_by_distance() {
    let ln3 = 3f64.ln();
    let (zero, v) = (column(&[0.; 2]), column(&[8., 4.]));
    // The other row's score is ln 3 lower: weights 3/4 and 1/4.
    let alibi = run(&attention(Band::ALL, Bias::Alibi(vec![Real(ln3)])), &[&zero, &zero, &v]);
    close(&alibi, &column(&[7., 5.]));
    // Rows of the table are for the distances -2 and less, -1, 0, and 1 and more; query 0 is at distance -1 from key 1.
    let clip = Buckets::Clip { span: 2 };
    let table = column(&[9., ln3, 0., -ln3]);
    let relative = run(&attention(Band::ALL, Bias::Relative(clip)), &[&zero, &zero, &v, &table]);
    close(&relative, &column(&[8. * 0.25 + 4. * 0.75, 8. * 0.25 + 4. * 0.75]));
}

#[test]
fn a_disentangled_bias_multiplies_tables() {
    let ln3 = 3f64.ln();
    let buckets = Buckets::Clip { span: 1 };
    let of = |c2p, p2c| attention(Band::ALL, Bias::Disentangled { buckets, c2p, p2c });
    // Row 0 is for distances below 0, row 1 for the others. The scale of 2 is over every product.
    let table = column(&[0., ln3 / 2.]);
    let v = column(&[8., 4.]);
    let (ones, zero) = (column(&[1., 1.]), column(&[0., 0.]));
    // Query 0 sees key 0 at distance 0 and key 1 at distance -1; query 1 sees both at distances of 0 and more.
    let expected = column(&[7., 6.]);
    close(&run(&of(true, false), &[&ones, &zero, &v, &table]), &expected);
    close(&run(&of(false, true), &[&zero, &ones, &v, &table]), &expected);
    let none = column(&[0., 0.]);
    let (q, k) = (column(&[1., 1.]), column(&[0., ln3 / 2.]));
    // q . k alone favours key 1 by 3; with the key table too, query 0 is even.
    close(&run(&of(true, true), &[&q, &k, &v, &none, &none]), &column(&[5., 5.]));
    close(&run(&of(true, true), &[&q, &k, &v, &table, &none]), &column(&[6., 5.]));
}

#[test]
fn rotations_turn_pairs_by_the_row() {
    let quarter = std::f64::consts::FRAC_PI_2;
    // The first pair turns by one radian a row; a base that makes the second pair turn by a quarter of it.
    let rotary = |pairs| Rotary { pairs, dims: 4, base: Real(16.) };
    let x = f(&[2, 5], &[1., 2., 3., 4., 5., 1., 2., 3., 4., 5.]);
    let op = |pairs| Op::Rotary { heads: 1, head_size: 5, rotary: rotary(pairs) };
    let turned =
        |a: f64, b: f64, by: f64| (a * by.cos() - b * by.sin(), b * by.cos() + a * by.sin());
    let ((a, c), (b, d)) = (turned(1., 3., 1.), turned(2., 4., 0.25));
    close(&run(&op(Pairs::Half), &[&x]), &f(&[2, 5], &[1., 2., 3., 4., 5., a, b, c, d, 5.]));
    let ((a, b), (c, d)) = (turned(1., 2., 1.), turned(3., 4., 0.25));
    close(&run(&op(Pairs::Interleaved), &[&x]), &f(&[2, 5], &[1., 2., 3., 4., 5., a, b, c, d, 5.]));
    // Scores depend on the distance alone: rows turned together give the products that they gave.
    let one = Rotary { pairs: Pairs::Half, dims: 2, base: Real(1.) };
    let q = f(&[3, 2], &[quarter, 0., quarter, 0., quarter, 0.]);
    let v = f(&[3, 2], &[1., 0., 2., 0., 4., 0.]);
    let op = |rotary| {
        let (mask, bias) = (Band::ALL, Bias::None);
        Op::Attention { heads: 1, head_size: 2, group: 1, scale: Real(1.), mask, bias, rotary }
    };
    let turn = Op::Rotary { heads: 1, head_size: 2, rotary: one };
    let apart = run(&turn, &[&q]);
    close(&run(&op(Some(one)), &[&q, &q, &v]), &run(&op(None), &[&apart, &apart, &v]));
}

#[test]
fn rows_by_their_neighbours_and_their_size() {
    let x = f(&[3, 2], &[1., 2., 3., 4., 5., 6.]);
    let unfold = |size, before| run(&Op::Unfold { size, before }, &[&x]);
    let expected = [0., 0., 1., 2., 3., 4., 1., 2., 3., 4., 5., 6., 3., 4., 5., 6., 0., 0.];
    assert_eq!(unfold(3, 1), f(&[3, 6], &expected));
    assert_eq!(unfold(1, 0), x);
    assert_eq!(unfold(2, 1), f(&[3, 4], &[0., 0., 1., 2., 1., 2., 3., 4., 3., 4., 5., 6.]));
    // Mean squares 12.5 and 12.5 + 3.5.
    let x = f(&[1, 2], &[3., 4.]);
    let gamma = f(&[2], &[1., 2.]);
    let rms = |eps| run(&Op::RmsNorm { eps: Real(eps) }, &[&x, &gamma]);
    close(&rms(3.5), &f(&[1, 2], &[0.75, 2.]));
    close(&rms(0.), &f(&[1, 2], &[3. / 12.5f64.sqrt(), 8. / 12.5f64.sqrt()]));
}

#[test]
fn places_pass_over_one_id() {
    let ids = |ids: &[i64]| Tensor::ints(&[ids.len()], ids.to_vec()).unwrap();
    let places = |skip, of: &[i64]| run(&Op::Places { skip }, &[&ids(of)]);
    assert_eq!(places(1, &[0, 7, 2]), ids(&[2, 3, 4]));
    assert_eq!(places(1, &[1, 7, 1, 1, 0]), ids(&[1, 2, 1, 1, 3]));
    assert_eq!(places(0, &[0]), ids(&[0]));
    let far = Op::Places { skip: usize::MAX };
    assert!(eval_node(&far, &[&ids(&[3])], &Default::default()).is_err());
    let last = Op::Places { skip: i64::MAX as usize };
    assert!(eval_node(&last, &[&ids(&[3])], &Default::default()).is_err());
    let rows = f(&[2], &[1., 2.]);
    assert!(eval_node(&Op::Places { skip: 1 }, &[&rows], &Default::default()).is_err());
}

#[test]
fn options_that_do_not_fit_are_errors() {
    let (x, long) = (column(&[0.; 2]), column(&[0.; 3]));
    let clip = Buckets::Clip { span: 2 };
    let both = |c2p, p2c| Bias::Disentangled { buckets: clip, c2p, p2c };
    let table = column(&[0.; 4]);
    let cases: Vec<(Op, Vec<&Tensor>)> = vec![
        (attention(Band::CAUSAL, Bias::None), vec![&long, &x, &x]),
        (attention(Band::ALL, Bias::Alibi(vec![Real(1.)])), vec![&long, &x, &x]),
        (attention(Band::ALL, Bias::Alibi(vec![])), vec![&x, &x, &x]),
        (attention(Band::ALL, Bias::None), vec![&x, &x, &x, &table]),
        (attention(Band::ALL, Bias::Relative(clip)), vec![&x, &x, &x]),
        (attention(Band::ALL, Bias::Relative(clip)), vec![&x, &x, &x, &long]),
        (attention(Band::ALL, both(false, false)), vec![&x, &x, &x]),
        (attention(Band::ALL, both(true, true)), vec![&x, &x, &x, &table]),
        (Op::Unfold { size: 2, before: 2 }, vec![&x]),
        (Op::Unfold { size: usize::MAX, before: 0 }, vec![&x]),
        (Op::RmsNorm { eps: Real(1.) }, vec![&x, &x]),
    ];
    for (op, operands) in cases {
        assert!(eval_node(&op, &operands, &Default::default()).is_err(), "{op:?}");
    }
    for dims in [0, 1, 2] {
        let rotary = Rotary { pairs: Pairs::Half, dims, base: Real(10.) };
        let op = Op::Rotary { heads: 1, head_size: 1, rotary };
        assert!(eval_node(&op, &[&x], &Default::default()).is_err(), "{op:?}");
    }
}
