//! Numbers of several runs as polynomials of the sizes.

use bytec_ir::dim::{Bindings, Dim, Symbol};

use crate::options::BATCH;

/// The products of symbols that a number may be a sum of: `{1, B} x {1, S, S^2, ..}`, of degree 2 at most beside the
/// batch.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    monomials: Vec<Vec<Symbol>>,
}

impl Basis {
    pub(crate) fn new(symbols: &[Symbol]) -> Self {
        let mut own: Vec<Vec<Symbol>> = vec![Vec::new()];
        own.extend(symbols.iter().map(|a| vec![a.clone()]));
        for (i, a) in symbols.iter().enumerate() {
            own.extend(symbols.iter().skip(i).map(|b| vec![a.clone(), b.clone()]));
        }
        let batch = Symbol::new(BATCH);
        let with_batch = own.iter().map(|product| [vec![batch.clone()], product.clone()].concat());
        Self { monomials: own.iter().cloned().chain(with_batch).collect() }
    }

    /// The polynomial with whole coefficients that has these values at these sizes; `None` if there is none.
    pub(crate) fn fit(&self, at: &[Bindings], values: &[i64]) -> Option<Dim> {
        let first = *values.first()?;
        if values.iter().all(|&value| value == first) {
            return constant(first);
        }
        let rows: Vec<Vec<f64>> = at.iter().map(|sizes| self.row(sizes)).collect::<Option<_>>()?;
        let coefficients = solve(rows, values.iter().map(|&value| value as f64).collect())?;
        let mut sum = Dim::fixed(0);
        for (monomial, coefficient) in self.monomials.iter().zip(coefficients) {
            let product = monomial
                .iter()
                .fold(Dim::fixed(1), |product, symbol| product * Dim::symbol(symbol.name()));
            let magnitude = Dim::fixed(coefficient.unsigned_abs()) * product;
            sum = if coefficient < 0 { sum - magnitude } else { sum + magnitude };
        }
        // Rounding may have made up a polynomial, so it is held against every run.
        let holds = |(sizes, &value): (&Bindings, &i64)| {
            sum.eval(sizes).ok().and_then(|n| i64::try_from(n).ok()) == Some(value)
        };
        at.iter().zip(values).all(holds).then_some(sum)
    }

    fn row(&self, sizes: &Bindings) -> Option<Vec<f64>> {
        let size = |symbol: &Symbol| sizes.get(symbol).map(|&n| n as f64);
        let product = |monomial: &Vec<Symbol>| monomial.iter().map(size).product::<Option<f64>>();
        self.monomials.iter().map(product).collect()
    }
}

/// A number as a dimension, if it can be one.
pub(crate) fn constant(value: i64) -> Option<Dim> {
    u64::try_from(value).ok().map(Dim::fixed)
}

/// Whole numbers `x` with `rows x = values`, by elimination with the largest pivot of a column. What the rows leave open
/// is 0, so that a number is not said to depend on more than the runs show.
fn solve(mut rows: Vec<Vec<f64>>, mut values: Vec<f64>) -> Option<Vec<i64>> {
    let columns = rows.first()?.len();
    let mut pivots = Vec::new();
    for column in 0..columns {
        let done = pivots.len();
        let best = (done..rows.len())
            .max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        if rows[best][column].abs() < 1e-6 {
            continue;
        }
        rows.swap(done, best);
        values.swap(done, best);
        let (pivot, result) = (rows[done].clone(), values[done]);
        for (other, (row, value)) in rows.iter_mut().zip(&mut values).enumerate() {
            if other != done {
                let factor = row[column] / pivot[column];
                row.iter_mut().zip(&pivot).for_each(|(x, y)| *x -= factor * y);
                *value -= factor * result;
            }
        }
        pivots.push(column);
        if pivots.len() == rows.len() {
            break;
        }
    }
    let mut whole = vec![0; columns];
    for (row, &column) in pivots.iter().enumerate() {
        let x = values[row] / rows[row][column];
        let is_whole = x.abs() < 1e15 && (x - x.round()).abs() < 1e-3;
        whole[column] = is_whole.then(|| x.round() as i64)?;
    }
    Some(whole)
}
