//! The text form of a plan.

use bytec_plan::json;
use bytec_plan::manifest::Manifest;
use expect_test::expect_file;

use crate::sample;

#[test]
fn the_sample_as_text() {
    let (program, _) = sample::program();
    let text = json::render(&sample::manifest(), &[program]);
    expect_file!["sample.plan.json"].assert_eq(&text);
}

#[test]
fn text_holds_the_same_values() {
    let (program, _) = sample::program();
    let text = json::render(&sample::manifest(), std::slice::from_ref(&program));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let manifest: Manifest = serde_json::from_value(value["manifest"].clone()).unwrap();
    assert_eq!(manifest, sample::manifest());
    assert_eq!(
        value["programs"][0],
        serde_json::from_str::<serde_json::Value>(&serde_json::to_string(&program).unwrap())
            .unwrap()
    );
    assert!(text.contains("\"eps\": 1e-12"), "numbers keep their short form");
}
