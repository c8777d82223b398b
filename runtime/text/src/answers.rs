//! The part of a text that answers a question.

use std::ops::Range;

use bytec_plan::manifest::Scores;

use crate::Origin;
use crate::classes::scores;

/// The most tokens of an answer.
pub const LONGEST: usize = 30;

/// A part of the second text of a pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The probability of its first token times that of its last, over the second text's tokens.
    pub score: f32,
    /// Bytes of the second text.
    pub bytes: Range<usize>,
}

/// The best answer of at most [`LONGEST`] tokens; `None` if the second text has no tokens or no score is a number.
///
/// `start` and `end` are `[tokens]`, for the tokens that `origins` names.
pub fn answer(start: &[f32], end: &[f32], origins: &[Option<Origin>]) -> Option<Answer> {
    let tokens: Vec<(usize, &Origin)> = origins
        .iter()
        .enumerate()
        .filter_map(|(i, origin)| Some((i, origin.as_ref().filter(|origin| origin.text == 1)?)))
        .collect();
    let of = |logits: &[f32]| -> Option<Vec<f32>> {
        let own: Option<Vec<f32>> = tokens.iter().map(|&(i, _)| logits.get(i).copied()).collect();
        Some(scores(&own?, Scores::Softmax))
    };
    let (starts, ends) = (of(start)?, of(end)?);
    let mut best: Option<(f32, usize, usize)> = None;
    for (first, start) in starts.iter().enumerate() {
        for (last, end) in ends.iter().enumerate().skip(first).take(LONGEST) {
            let score = start * end;
            if !score.is_nan() && best.is_none_or(|(highest, ..)| score > highest) {
                best = Some((score, first, last));
            }
        }
    }
    let (score, first, last) = best?;
    Some(Answer { score, bytes: tokens[first].1.bytes.start..tokens[last].1.bytes.end })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tokens of the first text, a special one, `count` of the second.
    fn origins(count: usize) -> Vec<Option<Origin>> {
        let token = |text, i: usize| Some(Origin { text, bytes: 3 * i..3 * i + 2 });
        let mut origins = vec![token(0, 0), token(0, 1), None];
        origins.extend((0..count).map(|i| token(1, i)));
        origins
    }

    #[test]
    fn the_best_pair_in_order_within_the_second_text() {
        // The first text's token would win, and so would an end before the start.
        let start = [99.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0];
        let end = [99.0, 0.0, 0.0, 6.0, 0.0, 0.0, 4.0];
        let found = answer(&start, &end, &origins(4)).expect("an answer");
        assert_eq!(found.bytes, 3..11);
        let p = |at: f64, others: f64| at.exp() / (at.exp() + others);
        let expected = p(5.0, 3.0) * p(4.0, 2.0 + 6f64.exp());
        assert!((f64::from(found.score) - expected).abs() < 1e-6, "{} {expected}", found.score);
    }

    #[test]
    fn no_answer_without_a_text_or_a_number() {
        assert_eq!(answer(&[1.0; 3], &[1.0; 3], &origins(0)), None);
        assert_eq!(answer(&[f32::NAN; 4], &[1.0; 4], &origins(1)), None);
        assert_eq!(answer(&[1.0; 2], &[1.0; 2], &origins(1)), None);
    }

    #[test]
    fn an_answer_is_not_longer_than_the_longest() {
        let (mut start, mut end) = (vec![0.0; 63], vec![0.0; 63]);
        (start[3], end[3 + LONGEST]) = (9.0, 9.0);
        let found = answer(&start, &end, &origins(60)).expect("an answer");
        assert!(found.bytes.len() < 3 * LONGEST);
    }
}
