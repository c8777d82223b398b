//! How far values are from what they should be.

use serde::Serialize;

/// An element of a sample's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place<'a> {
    /// The sample's key.
    pub(crate) sample: &'a str,
    /// The element, counted through all of the sample's.
    pub(crate) index: usize,
    /// Its row, where rows are along the last axis.
    pub(crate) row: usize,
    /// Its place in the row.
    pub(crate) column: usize,
}

impl<'a> Place<'a> {
    fn new(sample: &'a str, index: usize, width: usize) -> Self {
        let width = width.max(1);
        Self { sample, index, row: index / width, column: index % width }
    }
}

/// The errors of a value over all samples.
#[derive(Clone, Copy, Debug, Default, Serialize)]
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

impl<'a> Errors<'a> {
    /// Adds a sample's values, in rows of `width`; there are as many expected as found.
    pub(crate) fn add(&mut self, sample: &'a str, width: usize, found: &[f32], expected: &[f32]) {
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            if expected.is_finite() {
                self.scale = self.scale.max(f64::from(expected).abs());
            }
            let difference = difference(found, expected);
            if difference > self.max_abs {
                self.max_abs = difference;
                self.worst =
                    Some(Worst { place: Place::new(sample, index, width), found, expected });
            }
        }
        if self.max_abs > 0.0 {
            self.max_relative = self.max_abs / self.scale;
        }
    }

    pub(crate) fn within(&self, tolerance: f64) -> bool {
        self.max_abs.is_finite() && self.max_abs <= tolerance * self.scale
    }
}

fn difference(found: f32, expected: f32) -> f64 {
    // Infinities of one sign are equal, and their difference would be NaN.
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.0;
    }
    let difference = (f64::from(found) - f64::from(expected)).abs();
    if difference.is_nan() { f64::INFINITY } else { difference }
}

/// The first element whose bits differ, or that only one of the two has. Which NaN a NaN is, does not count.
pub(crate) fn first_other_bits<'a>(
    sample: &'a str,
    width: usize,
    left: &[f32],
    right: &[f32],
) -> Option<Place<'a>> {
    let same = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
    let index = left.iter().zip(right).position(|pair| !same(pair));
    let shorter = left.len().min(right.len());
    let index = index.or((left.len() != right.len()).then_some(shorter))?;
    Some(Place::new(sample, index, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(found: &[f32], expected: &[f32]) -> Errors<'static> {
        let mut errors = Errors::default();
        errors.add("a", 1, found, expected);
        errors
    }

    #[test]
    fn errors_are_of_the_worst_element_over_all_samples() {
        let mut errors = Errors::default();
        errors.add("a", 2, &[1.0, -4.25], &[1.0, -4.0]);
        errors.add("b", 2, &[0.0, 0.0, 0.0, 2.5], &[0.0, 0.0, 0.0, 2.0]);
        errors.add("c", 2, &[1.25], &[1.0]);
        assert_eq!((errors.scale, errors.max_abs, errors.max_relative), (4.0, 0.5, 0.125));
        let worst = errors.worst.unwrap();
        assert_eq!(worst.place, Place { sample: "b", index: 3, row: 1, column: 1 });
        assert_eq!((worst.found, worst.expected), (2.5, 2.0));
        assert!(errors.within(0.125) && !errors.within(0.124));
    }

    /// A sample that comes later may make the scale larger.
    #[test]
    fn errors_are_relative_to_the_scale_of_all_samples() {
        let mut errors = Errors::default();
        errors.add("a", 1, &[1.5], &[1.0]);
        errors.add("b", 1, &[8.0], &[8.0]);
        assert_eq!((errors.max_abs, errors.max_relative), (0.5, 0.0625));
    }

    #[test]
    fn values_that_are_not_finite_equal_themselves_only() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
        for (i, found) in odd.into_iter().enumerate() {
            for (j, expected) in odd.into_iter().enumerate() {
                let errors = of(&[found], &[expected]);
                assert_eq!(errors.within(1.0), i == j, "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn nothing_expected_but_zero_allows_nothing_else() {
        assert!(of(&[0.0], &[0.0]).within(0.0));
        assert!(!of(&[1e-30], &[0.0]).within(1.0));
    }

    #[test]
    fn bits_tell_zeros_apart_and_nans_not() {
        let (plus, minus) = ([1.0, f32::NAN, 0.0], [1.0, -f32::NAN, -0.0]);
        let other_nan = [1.0, f32::from_bits(0x7fc0_0001), 0.0];
        assert_eq!(first_other_bits("a", 2, &plus, &plus), None);
        assert_eq!(first_other_bits("a", 2, &plus, &other_nan), None);
        let place = Place { sample: "b", index: 2, row: 1, column: 0 };
        assert_eq!(first_other_bits("b", 2, &plus, &minus), Some(place));
        assert_eq!(first_other_bits("b", 2, &plus, &plus[..2]), Some(place));
    }
}
