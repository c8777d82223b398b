//! How far results are from what they should be.

use std::collections::BTreeMap;

use serde::Serialize;

/// A tensor that a run gave, or should give.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<u64>,
    pub(crate) values: Vec<f32>,
}

/// Tensors by `<sample>.<output>`.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// An element of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place<'a> {
    /// The sample's key.
    pub(crate) sample: &'a str,
    /// The element, counted through the whole tensor.
    pub(crate) index: usize,
}

/// The errors of an output over all samples.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Errors<'a> {
    /// The largest finite value expected, without its sign.
    pub(crate) scale: f64,
    /// The largest difference; infinite where only one of the values is NaN, or infinite.
    pub(crate) max_abs: f64,
    /// That, in units of the scale.
    pub(crate) max_relative: f64,
    /// Where it is; none if there is no difference.
    pub(crate) worst: Option<Worst<'a>>,
}

/// The element with the largest difference, the first of equals.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Worst<'a> {
    #[serde(flatten)]
    pub(crate) place: Place<'a>,
    pub(crate) found: f32,
    pub(crate) expected: f32,
}

impl Errors<'_> {
    pub(crate) fn within(&self, tolerance: f64) -> bool {
        self.max_abs.is_finite() && self.max_abs <= tolerance * self.scale
    }
}

/// Compares each sample's values; both of a pair have the same number of elements.
pub(crate) fn compare<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a Tensor, &'a Tensor)>,
) -> Errors<'a> {
    let mut errors = Errors { scale: 0.0, max_abs: 0.0, max_relative: 0.0, worst: None };
    for (sample, found, expected) in pairs {
        for (index, (&found, &expected)) in found.values.iter().zip(&expected.values).enumerate() {
            if expected.is_finite() {
                errors.scale = errors.scale.max(f64::from(expected).abs());
            }
            let difference = difference(found, expected);
            if difference > errors.max_abs {
                errors.max_abs = difference;
                errors.worst = Some(Worst { place: Place { sample, index }, found, expected });
            }
        }
    }
    if errors.max_abs > 0.0 {
        errors.max_relative = errors.max_abs / errors.scale;
    }
    errors
}

fn difference(found: f32, expected: f32) -> f64 {
    // Infinities of one sign are equal, and their difference would be NaN.
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.0;
    }
    let difference = (f64::from(found) - f64::from(expected)).abs();
    if difference.is_nan() { f64::INFINITY } else { difference }
}

/// The first element whose bits differ, or that only one of the tensors has.
pub(crate) fn first_other_bits<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a Tensor, &'a Tensor)>,
) -> Option<Place<'a>> {
    pairs.into_iter().find_map(|(sample, left, right)| {
        let bits = |tensor: &Tensor, index: usize| tensor.values.get(index).map(|x| x.to_bits());
        let elements = left.values.len().max(right.values.len());
        let index = (0..elements).find(|&index| bits(left, index) != bits(right, index))?;
        Some(Place { sample, index })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor { shape: vec![values.len() as u64], values: values.to_vec() }
    }

    #[test]
    fn errors_are_of_the_worst_element_over_all_samples() {
        let (a, b) = (tensor(&[1.0, -4.0]), tensor(&[2.0]));
        let (found_a, found_b) = (tensor(&[1.0, -4.25]), tensor(&[2.5]));
        let errors = compare([("a", &found_a, &a), ("b", &found_b, &b)]);
        assert_eq!((errors.scale, errors.max_abs, errors.max_relative), (4.0, 0.5, 0.125));
        let worst = errors.worst.unwrap();
        assert_eq!(worst.place, Place { sample: "b", index: 0 });
        assert_eq!((worst.found, worst.expected), (2.5, 2.0));
        assert!(errors.within(0.125) && !errors.within(0.124));
    }

    #[test]
    fn values_that_are_not_finite_equal_themselves_only() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
        for (i, found) in odd.into_iter().enumerate() {
            for (j, expected) in odd.into_iter().enumerate() {
                let (found, expected) = (tensor(&[found]), tensor(&[expected]));
                let errors = compare([("a", &found, &expected)]);
                assert_eq!(errors.within(1.0), i == j, "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn nothing_expected_but_zero_allows_nothing_else() {
        let (zero, small) = (tensor(&[0.0]), tensor(&[1e-30]));
        assert!(compare([("a", &zero, &zero)]).within(0.0));
        assert!(!compare([("a", &small, &zero)]).within(1.0));
    }

    #[test]
    fn bits_tell_zeros_apart() {
        let (plus, minus) = (tensor(&[1.0, 0.0]), tensor(&[1.0, -0.0]));
        assert_eq!(first_other_bits([("a", &plus, &plus)]), None);
        let place = Place { sample: "b", index: 1 };
        assert_eq!(first_other_bits([("a", &plus, &plus), ("b", &plus, &minus)]), Some(place));
    }
}
