//! Arithmetic on extents that the lifting needs.

use bytec_ir::dim::{Atom, Dim, Symbol};

/// True if the extent depends on the symbol.
pub(crate) fn mentions(dim: &Dim, symbol: &Symbol) -> bool {
    dim.symbols().contains(symbol)
}

/// A term of an extent put together again, its coefficient's sign apart.
fn term<'a>(coefficient: i64, factors: impl Iterator<Item = (&'a Dim, u32)>) -> (Dim, bool) {
    let mut product = Dim::fixed(coefficient.unsigned_abs());
    for (factor, power) in factors {
        for _ in 0..power {
            product = product * factor.clone();
        }
    }
    (product, coefficient < 0)
}

fn sum(terms: impl Iterator<Item = (Dim, bool)>) -> Dim {
    terms.fold(Dim::fixed(0), |sum, (term, negative)| match negative {
        true => sum - term,
        false => sum + term,
    })
}

fn factor(atom: &Atom) -> Dim {
    match atom {
        Atom::Symbol(symbol) => Dim::symbol(symbol.name()),
        Atom::CeilDiv(dim, divisor) => dim.ceil_div(*divisor),
        Atom::FloorDiv(dim, divisor) => dim.floor_div(*divisor),
    }
}

/// The extent with a symbol taken to be worth 1.
pub(crate) fn with_one(dim: &Dim, symbol: &Symbol) -> Dim {
    let replaced = |atom: &Atom| match atom {
        Atom::Symbol(found) if found == symbol => Dim::fixed(1),
        Atom::Symbol(_) => factor(atom),
        Atom::CeilDiv(dim, divisor) => with_one(dim, symbol).ceil_div(*divisor),
        Atom::FloorDiv(dim, divisor) => with_one(dim, symbol).floor_div(*divisor),
    };
    sum(dim.terms().map(|(monomial, coefficient)| {
        let factors: Vec<_> = monomial.iter().map(|(atom, &p)| (replaced(atom), p)).collect();
        term(coefficient, factors.iter().map(|(dim, power)| (dim, *power)))
    }))
}

/// The extent divided by a symbol, if it is a multiple of the symbol, once.
pub(crate) fn without(dim: &Dim, symbol: &Symbol) -> Option<Dim> {
    let atom = Atom::Symbol(symbol.clone());
    let linear = dim.terms().all(|(monomial, _)| monomial.get(&atom) == Some(&1));
    let rest = with_one(dim, symbol);
    let none_left = dim.terms().all(|(monomial, _)| {
        monomial.keys().filter(|key| **key != atom).all(|key| !mentions(&factor(key), symbol))
    });
    (linear && none_left && *dim != Dim::fixed(0)).then_some(rest)
}

/// The product of extents, or `None` if it can't be held.
pub(crate) fn product(dims: &[Dim]) -> Option<Dim> {
    dims.iter().try_fold(Dim::fixed(1), |product, dim| product.checked_mul(dim))
}

/// `a / b`, if it is an extent: of numbers, of an extent by a number that divides it, and of single products.
pub(crate) fn quotient(a: &Dim, b: &Dim) -> Option<Dim> {
    if a == b {
        return Some(Dim::fixed(1));
    }
    if *b == Dim::fixed(1) {
        return Some(a.clone());
    }
    let mut divisors = b.terms();
    let (Some((divisor, by)), None) = (divisors.next(), divisors.next()) else { return None };
    let mut quotient = Vec::new();
    for (monomial, coefficient) in a.terms() {
        if by == 0 || coefficient.checked_rem(by)? != 0 {
            return None;
        }
        let mut factors = Vec::new();
        for (atom, &power) in monomial {
            let left = power.checked_sub(divisor.get(atom).copied().unwrap_or(0))?;
            factors.push((factor(atom), left));
        }
        if divisor.keys().any(|atom| !monomial.contains_key(atom)) {
            return None;
        }
        let factors = factors.iter().map(|(dim, power)| (dim, *power));
        quotient.push(term(coefficient.checked_div(by)?, factors));
    }
    Some(sum(quotient.into_iter()))
}

/// The extents other than 1. Values are lowered without axes of 1: the batch's is one of them.
pub(crate) fn squeezed(shape: &[Dim]) -> Vec<Dim> {
    shape.iter().filter(|dim| **dim != Dim::fixed(1)).cloned().collect()
}

/// Which axis of the squeezed shape an axis becomes; `None` for an axis of 1.
pub(crate) fn squeezed_axis(shape: &[Dim], axis: usize) -> Option<usize> {
    let one = Dim::fixed(1);
    let kept = shape.get(axis).is_some_and(|dim| *dim != one);
    kept.then(|| shape[..axis].iter().filter(|dim| **dim != one).count())
}
