//! What `bytec run` says about texts, by the model's head.

use std::fs;

use bytec_models::tiny::TinyBert;
use bytec_plan::manifest::Scores;
use bytec_tests::{plans, tokenizer};
use bytec_text::classes;
use serde_json::{Value, json};

use super::{Place, lines, said};

/// A folder with a tiny model with this head, its tokenizer and its plan `b.plan`; `set` adds to its config.
fn place(architecture: &'static str, labels: usize, set: &[&str]) -> Place {
    let place = Place::new();
    let head = TinyBert { architecture, labels, ..TinyBert::default() };
    plans::write_folder(&head, &place.path("head")).expect("a model folder");
    place.write("head/tokenizer.json", &tokenizer::json());
    place.write("head/tokenizer_config.json", br#"{"mask_token": {"content": "[UNK]"}}"#);
    let mut arguments = vec!["compile", "head", "-o", "b.plan"];
    for field in set {
        arguments.extend(["--set", field]);
    }
    place.good(&arguments);
    place
}

fn floats(value: &Value) -> Vec<f32> {
    let list = value.as_array().expect("a list");
    list.iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

fn score(value: &Value) -> f32 {
    value.as_f64().expect("a score") as f32
}

#[test]
fn a_classifier_prints_its_best_label() {
    let place = place("BertForSequenceClassification", 3, &[]);
    let raw = &lines(&place.good(&["run", "b.plan", "--text", "the cat sat", "--raw"]))[0];
    let expected = classes::scores(&floats(&raw["logits"]), Scores::Softmax);
    let order = classes::best(&expected, 3);
    let line = &lines(&place.good(&["run", "b.plan", "--text", "the cat sat", "--top-k", "2"]))[0];
    assert_eq!(line["label"], format!("LABEL_{}", order[0]));
    assert_eq!(score(&line["score"]), expected[order[0]]);
    let labels = line["labels"].as_array().expect("a list");
    assert_eq!(labels.len(), 2);
    assert_eq!(labels[1]["label"], format!("LABEL_{}", order[1]));
    assert_eq!(score(&labels[1]["score"]), expected[order[1]]);
    let short = &lines(&place.good(&["run", "b.plan", "--text", "the cat sat"]))[0];
    assert!(short.get("labels").is_none() && short["label"] == line["label"]);
}

#[test]
fn pairs_are_one_input_and_a_query_makes_them() {
    let place = place("BertForSequenceClassification", 1, &[]);
    let arguments = ["run", "b.plan", "--pair", "the cat", "a mat.", "--pair", "the cat", "sat on"];
    let pairs = lines(&place.good(&arguments));
    let queried = ["run", "b.plan", "--query", "the cat", "--text", "a mat.", "--text", "sat on"];
    assert_eq!(lines(&place.good(&queried)), pairs);
    assert_eq!((&pairs[0]["text"], &pairs[0]["pair"]), (&json!("the cat"), &json!("a mat.")));
    // [CLS] the cat [SEP] a mat . [SEP]
    assert_eq!(pairs[0]["tokens"], 8);
    assert!(pairs[0].get("label").is_none(), "one class is a score");
    let raw = lines(&place.good(&[&arguments[..], &["--raw"]].concat()));
    for (line, raw) in pairs.iter().zip(&raw) {
        let expected = classes::scores(&floats(&raw["logits"]), Scores::Sigmoid);
        assert_eq!([score(&line["score"])], expected[..]);
    }
    assert_ne!(pairs[0]["score"], pairs[1]["score"]);
}

#[test]
fn a_regression_prints_its_number() {
    let place = place("BertForSequenceClassification", 1, &["problem_type=regression"]);
    let raw = &lines(&place.good(&["run", "b.plan", "--text", "a mat", "--raw"]))[0];
    let line = &lines(&place.good(&["run", "b.plan", "--text", "a mat"]))[0];
    assert_eq!([score(&line["score"])], floats(&raw["logits"])[..]);
}

#[test]
fn a_token_classifier_prints_spans_of_the_text() {
    let place = place("BertForTokenClassification", 3, &[]);
    // Characters of two bytes before the words: places count characters.
    let text = "é the cats sat";
    let raw = &lines(&place.good(&["run", "b.plan", "--text", text, "--raw"]))[0];
    let rows = raw["logits"].as_array().expect("a row a token");
    // [CLS] é the cat ##s sat [SEP]
    let places = [(0, 1), (2, 5), (6, 9), (9, 10), (11, 14)];
    let line = &lines(&place.good(&["run", "b.plan", "--text", text]))[0];
    let spans = line["spans"].as_array().expect("a list");
    let mut expected: Vec<(String, usize, usize)> = Vec::new();
    for (row, (start, end)) in rows[1..].iter().zip(places) {
        let class = classes::best(&classes::scores(&floats(row), Scores::Softmax), 1)[0];
        let label = format!("LABEL_{class}");
        match expected.last_mut() {
            Some(last) if last.0 == label => last.2 = end,
            _ => expected.push((label, start, end)),
        }
    }
    assert_eq!(spans.len(), expected.len());
    for (span, (label, start, end)) in spans.iter().zip(expected) {
        assert_eq!(span["label"], label);
        assert_eq!((&span["start"], &span["end"]), (&json!(start), &json!(end)));
        let words: String = text.chars().skip(start).take(end - start).collect();
        assert_eq!(span["text"], words);
    }
}

#[test]
fn a_masked_model_prints_words_for_each_mask() {
    let place = place("BertForMaskedLM", 2, &[]);
    let text = "the [UNK] sat on [UNK]";
    let raw = &lines(&place.good(&["run", "b.plan", "--text", text, "--raw"]))[0];
    let line = &lines(&place.good(&["run", "b.plan", "--text", text, "--top-k", "7"]))[0];
    let masks = line["masks"].as_array().expect("a list");
    assert_eq!(masks.len(), 2);
    for (mask, row) in masks.iter().zip([2, 5]) {
        let expected = classes::scores(&floats(&raw["logits"][row]), Scores::Softmax);
        let words = mask.as_array().expect("a list");
        let ids: Vec<_> = words.iter().map(|word| word["id"].as_u64().expect("an id")).collect();
        let best: Vec<_> = classes::best(&expected, 7).iter().map(|&id| id as u64).collect();
        assert_eq!(ids, best);
        assert_eq!(score(&words[0]["score"]), expected[best[0] as usize]);
        for word in words {
            let named = tokenizer::WORDS.iter().find(|(_, id)| word["id"] == *id);
            if let Some((name, _)) = named {
                assert_eq!(word["word"], *name);
            }
        }
    }
    let five = &lines(&place.good(&["run", "b.plan", "--text", text]))[0];
    assert_eq!(five["masks"][0].as_array().map(Vec::len), Some(5));
}

#[test]
fn an_answer_is_a_part_of_the_second_text() {
    let place = place("BertForQuestionAnswering", 2, &[]);
    let text = "the cat sat on a mat.";
    let line = &lines(&place.good(&["run", "b.plan", "--query", "a cat", "--text", text]))[0];
    let answer = &line["answer"];
    let place_of = |name: &str| answer[name].as_u64().expect("a place") as usize;
    assert_eq!(answer["text"], text[place_of("start")..place_of("end")]);
    assert!((0.0..=1.0).contains(&score(&answer["score"])));
    assert_eq!(line["pair"], text);
}

#[test]
fn what_a_text_lacks_is_said() {
    let refused = |place: &Place, arguments: &[&str], part: &str| {
        let output = place.command(&[&["run", "b.plan"], arguments].concat()).output();
        let output = output.expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(part), "{arguments:?}: {}", said(&output));
        assert!(output.stdout.is_empty());
    };
    let masked = place("BertForMaskedLM", 2, &[]);
    refused(&masked, &["--text", "[UNK] a", "--text", "the cat"], "text 2: expected [UNK]");
    refused(&masked, &["--text", "[UNK]", "--top-k", "0"], "--top-k");
    refused(&masked, &["--query", "the cat"], "--text");
    refused(&masked, &["--pair", "the cat"], "2 values required");
    fs::remove_file(masked.path("head/tokenizer_config.json")).expect("it was written");
    masked.good(&["compile", "head", "-o", "b.plan"]);
    refused(&masked, &["--text", "[UNK]"], "expected a mask token");
    let asked = place("BertForQuestionAnswering", 2, &[]);
    refused(&asked, &["--text", "the cat"], "--pair");
    let spans = place("BertForTokenClassification", 3, &[]);
    refused(&spans, &["--text", "the cat", "--top-k", "2"], "--top-k: expected a plan of");
}
