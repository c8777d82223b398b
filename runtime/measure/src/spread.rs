//! How measurements spread.

/// Sorts times, so that the functions below can be asked.
pub fn sort(times: &mut [f64]) {
    times.sort_by(f64::total_cmp);
}

/// The smallest of the sorted values that is no smaller than `percent` of all (the nearest rank); none if there are no
/// values. `percent` is from 0 to 100.
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied()
}

/// The middle one of the sorted values; none if there are none.
pub fn median(sorted: &[f64]) -> Option<f64> {
    percentile(sorted, 50.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut values = vec![4.0, 1.0, 3.0, 2.0];
        sort(&mut values);
        let found: Vec<_> =
            [0.0, 25.0, 50.0, 51.0, 90.0, 100.0].map(|p| percentile(&values, p)).into();
        assert_eq!(found, [1.0, 1.0, 2.0, 3.0, 4.0, 4.0].map(Some));
        assert_eq!(median(&values), Some(2.0));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(percentile(&[], 50.0), None);
    }
}
