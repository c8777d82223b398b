//! A classifier's numbers as scores, and the best of many.

use std::cmp::Ordering;

use bytec_plan::manifest::Scores;

/// The scores of a row of logits, in its order. Sums are in f64.
pub fn scores(logits: &[f32], scores: Scores) -> Vec<f32> {
    match scores {
        Scores::Identity => logits.to_vec(),
        Scores::Sigmoid => {
            logits.iter().map(|&x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32).collect()
        }
        Scores::Softmax => {
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weight = |x: f32| (f64::from(x) - f64::from(largest)).exp();
            let sum: f64 = logits.iter().map(|&x| weight(x)).sum();
            logits.iter().map(|&x| (weight(x) / sum) as f32).collect()
        }
    }
}

/// The places of the `count` largest scores, largest first; of equal ones the first. NaN comes last.
pub fn best(scores: &[f32], count: usize) -> Vec<usize> {
    let order = |&a: &usize, &b: &usize| descending(scores[a], scores[b]).then(a.cmp(&b));
    let mut places: Vec<usize> = (0..scores.len()).collect();
    if count < places.len() {
        // All words of a vocabulary need not be sorted for five of them.
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}

fn descending(a: f32, b: f32) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => b.total_cmp(&a),
        (a, b) => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_whatever_the_size() {
        let found = scores(&[1.0, 2.0, 3.0], Scores::Softmax);
        let e = std::f64::consts::E;
        let sum = 1.0 + e + e * e;
        for (found, expected) in found.iter().zip([1.0 / sum, e / sum, e * e / sum]) {
            assert!((f64::from(*found) - expected).abs() < 1e-7, "{found} is not {expected}");
        }
        assert_eq!(scores(&[3e38, -3e38], Scores::Softmax), [1.0, 0.0]);
        assert_eq!(scores(&[f32::MAX; 2], Scores::Softmax), [0.5, 0.5]);
        assert!(scores(&[f32::NAN, 1.0], Scores::Softmax).iter().all(|x| x.is_nan()));
    }

    #[test]
    fn sigmoid_and_identity_take_each_for_itself() {
        assert_eq!(scores(&[0.0, 200.0, -200.0], Scores::Sigmoid), [0.5, 1.0, 0.0]);
        assert_eq!(scores(&[0.25, -7.5], Scores::Identity), [0.25, -7.5]);
        assert!(scores(&[], Scores::Softmax).is_empty());
    }

    #[test]
    fn the_best_come_first_and_nan_last() {
        let found = [0.1, f32::NAN, 0.7, 0.7, -0.0, 0.0];
        assert_eq!(best(&found, 1), [2]);
        assert_eq!(best(&found, 3), [2, 3, 0]);
        assert_eq!(best(&found, 99), [2, 3, 0, 5, 4, 1]);
        assert!(best(&found, 0).is_empty());
        assert!(best(&[], 4).is_empty());
    }
}
