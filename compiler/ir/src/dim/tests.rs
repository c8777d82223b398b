//! The algebra of dims, their text, and what overflows.

use proptest::prelude::*;

use super::{Bindings, Dim, DimError, MAX_TERMS, Symbol};
use crate::types::SymbolRange;

/// An expression that does not know about canonical forms.
#[derive(Clone, Debug)]
enum Tree {
    Number(u64),
    Symbol(&'static str),
    Add(Box<Tree>, Box<Tree>),
    Sub(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    Ceil(Box<Tree>, u64),
    Floor(Box<Tree>, u64),
}

impl Tree {
    fn dim(&self) -> Dim {
        match self {
            Tree::Number(n) => Dim::fixed(*n),
            Tree::Symbol(name) => Dim::symbol(name),
            Tree::Add(a, b) => a.dim() + b.dim(),
            Tree::Sub(a, b) => a.dim() - b.dim(),
            Tree::Mul(a, b) => a.dim() * b.dim(),
            Tree::Ceil(a, divisor) => a.dim().ceil_div(*divisor),
            Tree::Floor(a, divisor) => a.dim().floor_div(*divisor),
        }
    }

    /// The value, or `None` if a rounded division has no size to divide.
    fn value(&self, bindings: &Bindings) -> Option<i128> {
        let size = |tree: &Tree| tree.value(bindings).filter(|&n| n >= 0);
        Some(match self {
            Tree::Number(n) => i128::from(*n),
            Tree::Symbol(name) => i128::from(bindings[&Symbol::new(name)]),
            Tree::Add(a, b) => a.value(bindings)? + b.value(bindings)?,
            Tree::Sub(a, b) => a.value(bindings)? - b.value(bindings)?,
            Tree::Mul(a, b) => a.value(bindings)? * b.value(bindings)?,
            Tree::Ceil(a, divisor) => (size(a)? + i128::from(*divisor) - 1) / i128::from(*divisor),
            Tree::Floor(a, divisor) => size(a)? / i128::from(*divisor),
        })
    }

    /// As text with every bracket.
    fn text(&self) -> String {
        match self {
            Tree::Number(n) => n.to_string(),
            Tree::Symbol(name) => (*name).to_owned(),
            Tree::Add(a, b) => format!("({} + {})", a.text(), b.text()),
            Tree::Sub(a, b) => format!("({}-{})", a.text(), b.text()),
            Tree::Mul(a, b) => format!("{}*{}", a.text(), b.text()),
            Tree::Ceil(a, divisor) => format!("ceil({}, {divisor})", a.text()),
            Tree::Floor(a, divisor) => format!("floor({},{divisor})", a.text()),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (0u64..20).prop_map(Tree::Number),
        prop::sample::select(vec!["L", "H", "W"]).prop_map(Tree::Symbol),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        prop_oneof![
            pair.clone().prop_map(|(a, b)| Tree::Add(a, b)),
            pair.clone().prop_map(|(a, b)| Tree::Sub(a, b)),
            pair.prop_map(|(a, b)| Tree::Mul(a, b)),
            (inner.clone(), 1u64..5).prop_map(|(a, d)| Tree::Ceil(Box::new(a), d)),
            (inner, 1u64..5).prop_map(|(a, d)| Tree::Floor(Box::new(a), d)),
        ]
    })
}

fn bindings() -> impl Strategy<Value = Bindings> {
    prop::array::uniform3(1u64..30)
        .prop_map(|sizes| ["L", "H", "W"].into_iter().map(Symbol::new).zip(sizes).collect())
}

fn ranges() -> Vec<SymbolRange> {
    ["L", "H", "W"].map(|name| SymbolRange { symbol: Symbol::new(name), min: 1, max: 29 }).to_vec()
}

proptest! {
    #[test]
    fn the_canonical_form_has_the_value_of_the_tree(tree in tree(), bindings in bindings()) {
        // A division that the canonical form has dropped (times 0, or minus itself) may have had no value.
        if let Some(value) = tree.value(&bindings) {
            let dim = tree.dim();
            let found = dim.eval(&bindings);
            match u64::try_from(value) {
                Ok(size) => prop_assert_eq!(found, Ok(size)),
                Err(_) => prop_assert_eq!(found, Err(DimError::OutOfRange(dim.to_string()))),
            }
        }
    }

    #[test]
    fn text_reads_back_to_the_same_form(tree in tree()) {
        let dim = tree.dim();
        prop_assert_eq!(dim.to_string().parse::<Dim>().unwrap(), dim.clone());
        prop_assert_eq!(tree.text().parse::<Dim>().unwrap(), dim);
    }

    #[test]
    fn the_ring_laws_hold(a in tree(), b in tree(), c in tree()) {
        let (a, b, c) = (a.dim(), b.dim(), c.dim());
        prop_assert_eq!(a.clone() + b.clone(), b.clone() + a.clone());
        prop_assert_eq!(a.clone() * b.clone(), b.clone() * a.clone());
        prop_assert_eq!((a.clone() + b.clone()) + c.clone(), a.clone() + (b.clone() + c.clone()));
        prop_assert_eq!((a.clone() + b.clone()) * c.clone(), a.clone() * c.clone() + b.clone() * c);
        prop_assert_eq!(a.clone() + b.clone() - b, a.clone());
        prop_assert_eq!(a.clone() - a, Dim::fixed(0));
    }

    #[test]
    fn bounds_hold(tree in tree(), bindings in bindings()) {
        let dim = tree.dim();
        if let (Some((low, high)), Ok(value)) = (dim.bounds(&ranges()), dim.eval(&bindings)) {
            prop_assert!((low..=high).contains(&i128::from(value)), "{dim}: {low}..={high}, {value}");
        }
    }

    #[test]
    fn a_division_bounds_within_its_range_has_a_value(tree in tree(), bindings in bindings()) {
        let dim = tree.dim();
        if dim.bounds(&ranges()).is_some_and(|(low, _)| low >= 0) {
            prop_assert!(dim.eval(&bindings).is_ok());
        }
    }
}

#[test]
fn prints() {
    let (l, h, w) = (Dim::symbol("L"), Dim::symbol("H"), Dim::symbol("W"));
    let n = |n: u64| Dim::fixed(n);
    let cases = [
        (n(0), "0"),
        (n(0) - n(3), "-3"),
        (l.clone() + l.clone() + n(1), "2*L + 1"),
        (w.clone() * h.clone(), "H*W"),
        (n(5) - l.clone(), "-L + 5"),
        (l.clone() * l.clone() - l.clone(), "L*L - L"),
        ((l.clone() + n(1)).ceil_div(2) * n(3), "3*ceil(L + 1, 2)"),
        ((h * w).floor_div(4), "floor(H*W, 4)"),
        (n(7).ceil_div(2), "4"),
        (l.floor_div(1), "L"),
    ];
    for (dim, text) in cases {
        assert_eq!(dim.to_string(), text);
        assert_eq!(text.parse::<Dim>().unwrap(), dim);
    }
}

#[test]
fn nothing_overflows() {
    let l = Dim::symbol("L");
    let large = Dim::fixed(u64::MAX);
    assert_eq!(large.as_fixed(), Some(i64::MAX as u64));
    let (min, one) = (Dim::fixed(0) - large.clone() - Dim::fixed(1), Dim::fixed(1));
    // The operators cut off; the checked ones say so.
    assert_eq!(large.clone() + one.clone(), large);
    assert_eq!(large.clone() * large.clone(), large);
    assert_eq!(Dim::fixed(0) - min.clone(), large);
    assert_eq!(large.checked_add(&one), None);
    assert_eq!(large.checked_mul(&large), None);
    assert_eq!(Dim::fixed(0).checked_sub(&min), None);
    assert_eq!(min.checked_mul(&(Dim::fixed(0) - one.clone())), None);
    assert_eq!(l.checked_mul(&l).unwrap().to_string(), "L*L");
    let power = (1..16).fold(l.clone(), |power, _| power.checked_mul(&l).unwrap());
    assert_eq!(power.checked_mul(&l), None);
    let many = (0..MAX_TERMS).fold(Dim::fixed(0), |sum, i| sum + Dim::symbol(&format!("s{i}")));
    assert_eq!(many.checked_add(&Dim::symbol("more")), None);
    assert_eq!(many.checked_mul(&many), None);
    let bindings = Bindings::from([(Symbol::new("L"), u64::MAX)]);
    assert_eq!(l.eval(&bindings), Ok(u64::MAX));
    assert!(matches!(power.eval(&bindings), Err(DimError::OutOfRange(_))));
    assert!(matches!((l.clone() + one.clone()).eval(&bindings), Err(DimError::OutOfRange(_))));
    for zero in [l.ceil_div(0), l.floor_div(0), one.ceil_div(0), one.floor_div(0)] {
        assert!(matches!(zero.eval(&bindings), Err(DimError::OutOfRange(_))));
        assert_eq!(zero.bounds(&[]), None);
    }
    assert_eq!(l.eval(&Bindings::new()), Err(DimError::Unbound(Symbol::new("L"))));
    let widest = [SymbolRange { symbol: Symbol::new("L"), min: 1, max: u64::MAX }];
    assert_eq!(power.bounds(&widest), None);
}
