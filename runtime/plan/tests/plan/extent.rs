//! Sizes of samples.

use bytec_plan::extent::{Extent, Term};

fn sum(terms: &[(i64, &[Extent])]) -> Extent {
    let term = |(coefficient, factors): &(i64, &[Extent])| Term {
        coefficient: *coefficient,
        factors: factors.to_vec(),
    };
    Extent::Sum(terms.iter().map(term).collect())
}

#[test]
fn sizes_and_their_names() {
    let [h, w] = [Extent::Symbol(0), Extent::Symbol(1)];
    let tokens = sum(&[(2, &[h.clone(), w.clone()]), (-1, std::slice::from_ref(&h)), (1, &[])]);
    let ceil = |extent: &Extent, by| Extent::CeilDiv(Box::new(extent.clone()), by);
    let floor = |extent: &Extent, by| Extent::FloorDiv(Box::new(extent.clone()), by);
    for (extent, size, name) in [
        (Extent::Fixed(7), 7, "7"),
        (h.clone(), 5, "H"),
        (tokens.clone(), 26, "2*H*W + -1*H + 1"),
        (ceil(&tokens, 4), 7, "ceil(2*H*W + -1*H + 1, 4)"),
        (floor(&tokens, 4), 6, "floor(2*H*W + -1*H + 1, 4)"),
        (ceil(&w, u64::MAX), 1, "ceil(W, 18446744073709551615)"),
    ] {
        assert_eq!(extent.eval(&[5, 3]), Some(size), "{name}");
        assert_eq!(extent.display(&["H", "W"]), name);
    }
    assert_eq!(Extent::Symbol(4).display(&["H"]), "?4");
}

#[test]
fn sizes_that_are_none() {
    let l = || Extent::Symbol(0);
    let none = [
        Extent::Symbol(1),
        sum(&[(-1, &[l()])]),
        sum(&[(1, &[l(), l()])]),
        sum(&[(1, &[l(), l(), l()])]),
        sum(&[(i64::MAX, &[l()]), (i64::MAX, &[l()])]),
        Extent::CeilDiv(Box::new(l()), 0),
        Extent::FloorDiv(Box::new(l()), 0),
        Extent::CeilDiv(Box::new(Extent::Symbol(1)), 0),
    ];
    for extent in none {
        assert_eq!(extent.eval(&[u64::MAX]), None, "{extent:?}");
    }
}
