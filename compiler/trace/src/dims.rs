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
