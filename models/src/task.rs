//! What an architecture's outputs say about a text or an image.
//!
//! transformers names the classes of every family alike: what follows the family's name says the head.

use serde_json::Value;

use crate::Config;
use crate::error::FieldError;

/// What a model's outputs say about a text or an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `logits` `[labels]`, of a text or an image.
    SequenceClassification {
        /// How numbers become scores.
        scores: Scores,
    },
    /// `logits` `[L, labels]`.
    TokenClassification,
    /// `logits` `[L, vocab]`.
    MaskedLm,
    /// `start_logits` and `end_logits` `[L]`.
    QuestionAnswering,
}

/// How a classifier's numbers become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// One class out of several.
    Softmax,
    /// Classes that hold or not, each for itself.
    Sigmoid,
    /// The numbers themselves.
    Identity,
}

/// The task of `architecture`, such as `BertForTokenClassification`; `None` if its name ends in no task that is read.
///
/// # Errors
/// A `problem_type` that isn't one of transformers'.
pub fn of(architecture: &str, config: &Config, labels: usize) -> Result<Option<Task>, FieldError> {
    let Some((_, head)) = architecture.split_once("For") else { return Ok(None) };
    Ok(match head {
        "SequenceClassification" | "ImageClassification" | "ImageClassificationWithTeacher" => {
            Some(Task::SequenceClassification { scores: scores(config, labels)? })
        }
        "TokenClassification" => Some(Task::TokenClassification),
        "MaskedLM" => Some(Task::MaskedLm),
        "QuestionAnswering" => Some(Task::QuestionAnswering),
        _ => None,
    })
}

/// As the config's `problem_type` says. Without one, a single class is a score from 0 to 1, as rerankers have it.
fn scores(config: &Config, labels: usize) -> Result<Scores, FieldError> {
    let field = "problem_type";
    Ok(match config.get(field).map(Value::as_str) {
        None if labels == 1 => Scores::Sigmoid,
        None | Some(Some("single_label_classification")) => Scores::Softmax,
        Some(Some("multi_label_classification")) => Scores::Sigmoid,
        Some(Some("regression")) => Scores::Identity,
        Some(_) => {
            let expected = "single_label_classification, multi_label_classification or regression";
            return Err(config.error(field, expected, "single_label_classification"));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(fields: Value) -> Config {
        Config::new("config.json", fields.as_object().expect("an object").clone())
    }

    #[test]
    fn the_end_of_the_name_says_the_task() {
        let plain = config(json!({}));
        let task = |name, labels| of(name, &plain, labels).expect("a task or none");
        let classes = |scores| Some(Task::SequenceClassification { scores });
        assert_eq!(task("BertForSequenceClassification", 3), classes(Scores::Softmax));
        assert_eq!(task("RobertaForSequenceClassification", 1), classes(Scores::Sigmoid));
        assert_eq!(task("ViTForImageClassification", 3), classes(Scores::Softmax));
        let teacher = task("DeiTForImageClassificationWithTeacher", 3);
        assert_eq!(teacher, classes(Scores::Softmax));
        assert_eq!(task("DebertaV2ForTokenClassification", 9), Some(Task::TokenClassification));
        assert_eq!(task("CamembertForMaskedLM", 0), Some(Task::MaskedLm));
        assert_eq!(task("AlbertForQuestionAnswering", 0), Some(Task::QuestionAnswering));
        assert_eq!(task("BertForMultipleChoice", 0), None);
        assert_eq!(task("BertModel", 0), None);
        assert_eq!(task("BertForPreTraining", 0), None);
    }

    #[test]
    fn the_problem_type_says_the_scores() {
        let with = |kind: Value, labels| {
            of("BertForSequenceClassification", &config(json!({"problem_type": kind})), labels)
        };
        let scores = |kind: &str, labels| match with(json!(kind), labels) {
            Ok(Some(Task::SequenceClassification { scores })) => scores,
            other => panic!("expected a classification, found {other:?}"),
        };
        assert_eq!(scores("regression", 1), Scores::Identity);
        assert_eq!(scores("multi_label_classification", 4), Scores::Sigmoid);
        assert_eq!(scores("single_label_classification", 1), Scores::Softmax);
        let error = with(json!("ranking"), 2).expect_err("no such problem");
        assert!(error.to_string().contains("problem_type"), "{error}");
        assert!(with(json!(3), 2).is_err());
    }
}
