//! `bytec golden`: what a model should give, for `bytec verify` to hold plans against.

use std::fs;

use bytec_models::tiny::TinyBert;
use bytec_tests::plans;
use safetensors::SafeTensors;
use serde_json::Value;

use super::{Place, json, printed, said};

/// A folder with a token classifier in it.
fn place() -> Place {
    let place = Place::new();
    let head = TinyBert { architecture: "BertForTokenClassification", ..TinyBert::default() };
    plans::write_folder(&head, &place.path("head")).expect("a model folder");
    place
}

#[test]
fn plans_verify_against_it() {
    let place = place();
    place.good(&["golden", "head", "-o", "g.safetensors", "--lengths", "1,7,17,32", "--seed", "3"]);
    place.good(&["compile", "head", "-o", "b.plan"]);
    let arguments =
        ["verify", "b.plan", "--inputs", "g.safetensors", "--reference", "g.safetensors", "--json"];
    let findings = json(&place.good(&arguments));
    assert_eq!((&findings["passed"], &findings["samples"]), (&Value::from(true), &Value::from(4)));
    // The same file is inputs to run on.
    place.good(&["run", "b.plan", "--inputs", "g.safetensors", "-o", "o.safetensors"]);

    let bytes = fs::read(place.path("g.safetensors")).expect("it was written");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    for (sample, length) in [1, 7, 17, 32].into_iter().enumerate() {
        let shape = |name: &str| {
            let tensor = tensors.tensor(&format!("{sample}.{name}")).expect("the sample has it");
            tensor.shape().to_vec()
        };
        assert_eq!((shape("input_ids"), shape("logits")), (vec![length], vec![length, 3]));
    }
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let metadata = header.metadata().clone().expect("metadata");
    let about: Value = serde_json::from_str(&metadata["golden"]).expect("JSON");
    let largest = about["f32_vs_f64"]["logits"]["max_abs"].as_f64().expect("a number");
    assert!(largest > 0.0 && largest < 1e-3, "{largest}");
    // What rounding costs in each element type is what a program of it is allowed.
    let of = |dtype: &str| {
        let of = &about[format!("{dtype}_vs_f64")]["logits"];
        of["max_abs"].as_f64().expect("a number") / of["scale"].as_f64().expect("a number")
    };
    assert!(of("f32") < of("f16") && of("f16") < of("bf16"), "{about}");
    let allowed = findings["results"][0]["tolerance"].as_f64().expect("a number");
    assert!((allowed - (2.0 * of("f32")).max(2e-6)).abs() < 1e-12, "{allowed}");
    let bound = findings["bound"].as_str().expect("words");
    assert!(bound.contains("twice what rounding"), "{bound}");
}

#[test]
fn the_seed_chooses_the_samples() {
    let place = place();
    let written = |name: &str, seed: &str| {
        place.good(&["golden", "head", "-o", name, "--lengths", "3,5", "--seed", seed]);
        fs::read(place.path(name)).expect("it was written")
    };
    let first = written("a.safetensors", "1");
    assert_eq!(written("b.safetensors", "1"), first);
    assert_ne!(written("c.safetensors", "2"), first);
}

#[test]
fn given_samples_keep_their_keys_and_outputs() {
    let place = place();
    let tensors = |name: &str| fs::read(place.path(name)).expect("it was written");
    place.good(&["golden", "head", "-o", "a.safetensors", "--lengths", "3,5"]);
    // The outputs in it are passed over, and come out the same.
    place.good(&["golden", "head", "-o", "b.safetensors", "--inputs", "a.safetensors"]);
    let (drawn, given) = (tensors("a.safetensors"), tensors("b.safetensors"));
    let [drawn, given] = [&drawn, &given].map(|bytes| {
        let all = SafeTensors::deserialize(bytes).expect("a safetensors file");
        let mut all: Vec<_> =
            all.iter().map(|(key, view)| (key.to_owned(), view.data().to_vec())).collect();
        all.sort();
        all
    });
    assert!(drawn.iter().any(|(key, _)| key == "1.logits"));
    assert_eq!(given, drawn);

    let refused = |arguments: &[&str], part: &str| {
        let output = place.command(arguments).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(part), "{arguments:?}: {}", said(&output));
    };
    let golden = |inputs| ["golden", "head", "-o", "c.safetensors", "--inputs", inputs];
    refused(&golden("c.safetensors"), "can't read");
    place.good(&["golden", "model", "-o", "long.safetensors", "--lengths", "3"]);
    refused(&golden("long.safetensors"), "unknown input \"last_hidden_state\"");
    refused(
        &["golden", "head", "-o", "a.safetensors", "--inputs", "a.safetensors"],
        "that is read",
    );
    refused(&["golden", "head", "-o", "c.safetensors", "--inputs", "x", "--seed", "1"], "--seed");
    assert!(!place.path("c.safetensors").exists());
}

#[test]
fn a_wrong_weight_is_found() {
    let place = place();
    place.good(&["golden", "head", "-o", "g.safetensors", "--lengths", "4"]);
    let other =
        TinyBert { architecture: "BertForTokenClassification", seed: 9, ..TinyBert::default() };
    plans::write_folder(&other, &place.path("other")).expect("a model folder");
    place.good(&["compile", "other", "-o", "b.plan"]);
    let arguments =
        ["verify", "b.plan", "--inputs", "g.safetensors", "--reference", "g.safetensors"];
    let output = place.command(&arguments).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("logits"), "{}", printed(&output));
}

#[test]
fn what_cannot_be_written_is_said() {
    let place = place();
    let refused = |arguments: &[&str], part: &str| {
        let output = place.command(arguments).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(part), "{arguments:?}: {}", said(&output));
        assert!(!place.path("g.safetensors").exists());
    };
    let golden = |lengths| ["golden", "head", "-o", "g.safetensors", "--lengths", lengths];
    refused(&golden("0"), "--lengths: expected L from 1 to 32, found 0");
    refused(&golden("33"), "found 33");
    refused(&golden("3x4"), "expected the sizes of L joined by x, found 2 numbers");
    refused(&golden("three"), "expected a number");
    refused(&["golden", "none", "-o", "g.safetensors"], "none");
    refused(&["golden", "head", "-o", "head/model.safetensors"], "choose another name");
}
