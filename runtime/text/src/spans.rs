//! A token classifier's numbers as labelled parts of a text.

use std::ops::Range;

use bytec_plan::manifest::Scores;

use crate::Origin;
use crate::classes::{best, scores};

/// The label of tokens that belong to nothing.
const OUTSIDE: &str = "O";

/// A labelled part of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The label, without the `B-` or `I-` before it.
    pub label: String,
    /// The mean of its tokens' scores for their own best class.
    pub score: f32,
    /// 0 for the text or the first of a pair, 1 for the second.
    pub text: usize,
    /// Bytes of that text.
    pub bytes: Range<usize>,
}

/// The spans of a text: neighbouring tokens of one label, as `B-` (begins) and `I-` (inside) say; a label without
/// either goes on as long as it stays the same. Tokens labelled `O` and special tokens are in none.
///
/// `logits` is `[tokens, labels]`, row-major, for the tokens that `origins` names.
pub fn spans(logits: &[f32], labels: &[String], origins: &[Option<Origin>]) -> Vec<Span> {
    let mut spans: Vec<(Span, usize)> = Vec::new();
    // Whether the token before is part of the last span.
    let mut open = false;
    for (row, origin) in logits.chunks_exact(labels.len().max(1)).zip(origins) {
        let scores = scores(row, Scores::Softmax);
        let class = best(&scores, 1).first().copied().filter(|&class| !scores[class].is_nan());
        let (Some(class), Some(origin)) = (class, origin) else {
            open = false;
            continue;
        };
        if labels[class] == OUTSIDE {
            open = false;
            continue;
        }
        let (begins, label) = named(&labels[class]);
        match spans.last_mut() {
            Some((span, tokens))
                if open && !begins && span.label == label && span.text == origin.text =>
            {
                span.bytes.end = origin.bytes.end;
                span.score += scores[class];
                *tokens += 1;
            }
            _ => {
                let (text, bytes) = (origin.text, origin.bytes.clone());
                spans
                    .push((Span { label: label.to_owned(), score: scores[class], text, bytes }, 1));
            }
        }
        open = true;
    }
    let mean = |(span, tokens): (Span, usize)| Span { score: span.score / tokens as f32, ..span };
    spans.into_iter().map(mean).collect()
}

/// Whether a label begins a span, and its name.
fn named(label: &str) -> (bool, &str) {
    match (label.strip_prefix("B-"), label.strip_prefix("I-")) {
        (Some(name), _) => (true, name),
        (_, Some(name)) => (false, name),
        _ => (false, label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["O", "B-PER", "I-PER", "B-ORG", "MISC"].map(str::to_owned).to_vec()
    }

    /// Spans of tokens of two bytes each, whose best classes are these; a class of 9 is a special token.
    fn found(classes: &[usize]) -> Vec<(String, usize, Range<usize>)> {
        let logits: Vec<f32> = classes
            .iter()
            .flat_map(|&class| (0..5).map(move |i| if i == class { 8.0 } else { 0.0 }))
            .collect();
        let origins: Vec<_> = classes
            .iter()
            .enumerate()
            .map(|(i, &class)| {
                (class != 9).then_some(Origin { text: i / 6, bytes: 2 * i..2 * i + 2 })
            })
            .collect();
        let spans = spans(&logits, &labels(), &origins);
        spans.into_iter().map(|span| (span.label, span.text, span.bytes)).collect()
    }

    #[test]
    fn neighbours_of_one_label_are_one_span() {
        let per = |bytes| ("PER".to_owned(), 0, bytes);
        assert_eq!(found(&[9, 1, 2, 2, 0, 9]), [per(2..8)]);
        assert_eq!(found(&[1, 1, 2, 0]), [per(0..2), per(2..6)]);
        assert_eq!(found(&[2, 0, 2]), [per(0..2), per(4..6)]);
        assert_eq!(found(&[1, 9, 2]), [per(0..2), per(4..6)]);
        assert_eq!(found(&[3, 2]), [("ORG".to_owned(), 0, 0..2), per(2..4)]);
        assert_eq!(found(&[4, 4]), [("MISC".to_owned(), 0, 0..4)]);
        assert!(found(&[0, 0, 9]).is_empty());
        assert!(found(&[]).is_empty());
    }

    #[test]
    fn a_span_ends_with_its_text() {
        let spans = found(&[0, 0, 0, 0, 0, 2, 2, 2]);
        assert_eq!(spans, [("PER".to_owned(), 0, 10..12), ("PER".to_owned(), 1, 12..16)]);
    }

    #[test]
    fn a_score_is_the_mean_and_nan_is_in_no_span() {
        let labels = ["O".to_owned(), "X".to_owned()];
        let origin = |i: usize| Some(Origin { text: 0, bytes: i..i + 1 });
        let logits = [0.0, 0.0 + 1e-3, 0.0, 50.0, f32::NAN, 1.0];
        let spans = spans(&logits, &labels, &[origin(0), origin(1), origin(2)]);
        assert_eq!((spans.len(), spans[0].bytes.clone()), (1, 0..2));
        assert!((spans[0].score - 0.75).abs() < 1e-3, "{}", spans[0].score);
    }
}
