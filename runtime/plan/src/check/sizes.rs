//! Sizes by shape: of weights exactly, of what depends on the sample by bounds and by trial.

use super::Fault;
use crate::extent::{Extent, Rows};
use crate::program::{Layout, Program, WeightSpec};

/// Elements of a weight, by its shape.
pub(super) fn elements(weight: &WeightSpec) -> Result<u64, Fault> {
    product(weight.shape.iter().copied()).ok_or(Fault::TooLarge)
}

/// Bytes of a weight, by its shape, type and layout.
pub(super) fn weight_bytes(weight: &WeightSpec) -> Result<u64, Fault> {
    let stored = match (weight.layout, weight.shape.as_slice()) {
        (Layout::RowMajor, _) => elements(weight)?,
        (Layout::Panels { width }, &[n, k]) if width > 0 => {
            let width = u64::from(width);
            product([n.div_ceil(width), k, width].into_iter()).ok_or(Fault::TooLarge)?
        }
        (Layout::Pairs { width }, &[n, k]) if width > 0 => {
            let width = u64::from(width);
            product([n.div_ceil(width), k.div_ceil(2), width, 2].into_iter())
                .ok_or(Fault::TooLarge)?
        }
        (Layout::Quads { width }, &[n, k]) if width > 0 => {
            // Per output its bytes, a scale and a correction.
            let of_output = k.div_ceil(4).checked_mul(4).and_then(|bytes| bytes.checked_add(8));
            let width = u64::from(width);
            let of_output = of_output.ok_or(Fault::TooLarge)?;
            product([n.div_ceil(width), width, of_output].into_iter()).ok_or(Fault::TooLarge)?
        }
        (Layout::Panels { width } | Layout::Pairs { width } | Layout::Quads { width }, shape) => {
            return Err(Fault::Panels { width, rank: shape.len() });
        }
    };
    stored.checked_mul(weight.dtype.bytes()).ok_or(Fault::TooLarge)
}

/// The most rows of one sample; `None` for 2^64 or more. Extents must have been checked.
pub(super) fn most_rows(rows: Rows, program: &Program) -> Option<u64> {
    match rows {
        Rows::PerSample => Some(1),
        Rows::Ragged(extent) => {
            let (_, most) = range(program.extents.get(extent as usize)?, program)?;
            // An extent below zero has no sample.
            u64::try_from(most.max(0)).ok()
        }
    }
}

/// Bounds of an extent over all samples, not always reached.
fn range(extent: &Extent, program: &Program) -> Option<(i128, i128)> {
    match extent {
        Extent::Fixed(n) => Some((i128::from(*n), i128::from(*n))),
        Extent::Symbol(symbol) => {
            let symbol = program.symbols.get(*symbol as usize)?;
            Some((i128::from(symbol.min), i128::from(symbol.max)))
        }
        Extent::Sum(terms) => {
            let (mut least, mut most) = (0i128, 0i128);
            for term in terms {
                let (mut low, mut high) =
                    (i128::from(term.coefficient), i128::from(term.coefficient));
                for factor in &term.factors {
                    let (a, b) = range(factor, program)?;
                    let ends = [
                        low.checked_mul(a)?,
                        low.checked_mul(b)?,
                        high.checked_mul(a)?,
                        high.checked_mul(b)?,
                    ];
                    low = ends.into_iter().min()?;
                    high = ends.into_iter().max()?;
                }
                least = least.checked_add(low)?;
                most = most.checked_add(high)?;
            }
            Some((least, most))
        }
        Extent::CeilDiv(extent, divisor) => {
            let (least, most) = range(extent, program)?;
            let divisor = i128::from(*divisor);
            // Below zero there is no sample; a bound there may be loose.
            let ceil = |n: i128| n.checked_add(divisor - 1)?.checked_div_euclid(divisor);
            Some((ceil(least)?, ceil(most)?))
        }
        Extent::FloorDiv(extent, divisor) => {
            let (least, most) = range(extent, program)?;
            let divisor = i128::from(*divisor);
            Some((least.checked_div_euclid(divisor)?, most.checked_div_euclid(divisor)?))
        }
    }
}

/// Refuses a shape that has another number of elements than its rows, for any of a few samples that are tried.
///
/// A sample for which a size has no value is passed over: the batch refuses it.
pub(super) fn check_shape(
    shape: &[Extent],
    rows: Rows,
    width: u64,
    program: &Program,
) -> Result<(), Fault> {
    for trial in 0..4 {
        let symbols = sample(trial, program);
        let by_rows = match rows {
            Rows::PerSample => Some(1),
            Rows::Ragged(extent) => {
                program.extents.get(extent as usize).and_then(|extent| extent.eval(&symbols))
            }
        };
        let by_rows = by_rows.and_then(|rows| rows.checked_mul(width));
        let by_shape = shape.iter().map(|extent| extent.eval(&symbols)).collect::<Option<Vec<_>>>();
        let by_shape = by_shape.and_then(|shape| product(shape.into_iter()));
        if let (Some(rows), Some(shape)) = (by_rows, by_shape)
            && rows != shape
        {
            let names = program.symbols.iter().map(|symbol| &symbol.name);
            let sample: Vec<_> =
                names.zip(&symbols).map(|(name, value)| format!("{name} = {value}")).collect();
            let sample = sample.join(", ");
            return Err(Fault::ShapeElements { sample, rows, shape });
        }
    }
    Ok(())
}

/// Symbol values to try: all least, all largest, and two mixed.
fn sample(trial: u64, program: &Program) -> Vec<u64> {
    let value = |(i, symbol): (usize, &crate::program::SymbolSpec)| {
        let span = symbol.max.saturating_sub(symbol.min);
        let step = match trial {
            0 => 0,
            1 => span,
            _ => span.min(trial + 2 * i as u64),
        };
        symbol.min + step
    };
    program.symbols.iter().enumerate().map(value).collect()
}

fn product(mut factors: impl Iterator<Item = u64>) -> Option<u64> {
    factors.try_fold(1u64, u64::checked_mul)
}
