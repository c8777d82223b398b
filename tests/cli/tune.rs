//! `bytec tune` and `bytec compile --tuned`: dry runs, and tables that choose tiles. Times need a GPU.

use std::path::Path;

use bytec_models::tiny::TinyBert;
use bytec_tests::{nvrtc, plans};
use serde_json::{Value, json};

use super::{Place, json as parsed, printed, said};

/// A command with the options that compiling for GPUs takes; `None` without NVRTC.
fn good(place: &Place, arguments: &[&str]) -> Option<std::process::Output> {
    let folder = nvrtc::nvrtc()?.library().parent()?.to_str()?;
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli_kernels");
    let tools = ["--nvrtc", folder, "--kernel-cache", cache.to_str()?];
    Some(place.good(&[arguments, &tools].concat()))
}

/// A plan with linears that are wide enough to have a choice: q, k and v, up, and the pooler's; the others are one with
/// the LayerNorm behind them.
fn place() -> Option<Place> {
    let place = Place::new();
    let wide =
        TinyBert { hidden: 64, heads: 1, intermediate: 128, layers: 1, ..TinyBert::default() };
    plans::write_folder(&wide, &place.path("wide")).expect("a model folder");
    let target = ["--target", "cpu,sm_80:f16,sm_90a:f16"];
    good(&place, &[&["compile", "wide", "-o", "wide.plan"], &target[..]].concat())?;
    Some(place)
}

const DRY: [&str; 4] = ["tune", "wide.plan", "--device", "sim:sm_90a"];

/// A table in which every layer has one tile after the other, and one has a tile that nothing knows.
fn table(found: &Value) -> Value {
    let mut linears = Vec::new();
    for layer in found["layers"].as_array().expect("layers") {
        let candidates = layer["rows"][0]["candidates"].as_array().expect("candidates");
        let mut last = candidates[candidates.len() - 1]["tile"].clone();
        if (&layer["n"], &layer["k"]) == (&json!(64), &json!(64)) {
            last["columns"] = json!(80);
        }
        let tiles = [candidates[1]["tile"].clone(), candidates[2]["tile"].clone(), last];
        let rows = [(1, json!(9)), (10, json!(19)), (20, json!(null))];
        for (tile, (from, to)) in tiles.into_iter().zip(rows) {
            linears.push(json!({
                "n": layer["n"], "k": layer["k"], "dtype": "f16", "bias": layer["bias"],
                "epilogue": layer["epilogue"], "from_rows": from, "to_rows": to, "tile": tile,
                "rows": 128, "median_ns": 1000, "model_ns": 2000,
            }));
        }
    }
    let device = json!({
        "device": "some GPU", "compute_capability": "9.0", "target": "sm_90a", "compiler": "bytec",
        "date": null, "linears": linears,
    });
    json!({"format": 1, "devices": [device]})
}

#[test]
fn a_dry_run_compiles_and_runs_every_candidate_and_changes_nothing() {
    let Some(place) = place() else { return };
    let output = good(&place, &[&DRY[..], &["-o", "tuned.plan"]].concat()).expect("as before");
    let text = printed(&output);
    assert!(text.starts_with("dry run of wide.plan for sm_90a in f16 on "), "{text}");
    assert!(text.contains("nothing was timed, and all choices are the cost model's"), "{text}");
    assert!(text.contains("128 x 64 bias gelu_erf") && text.contains("plan tuned.plan"), "{text}");
    assert!(said(&output).contains("[3/3] linear 64 x 64, 128 rows"), "{}", said(&output));
    let read = |name: &str| std::fs::read(place.path(name)).expect("the plan is there");
    assert_eq!(read("tuned.plan"), read("wide.plan"));
}

#[test]
fn a_table_chooses_tiles_by_rows_and_no_bit_changes() {
    let Some(place) = place() else { return };
    let found = parsed(&good(&place, &[&DRY[..], &["--json"]].concat()).expect("as before"));
    assert_eq!((&found["dry_run"], &found["table"]), (&json!(true), &Value::Null));
    place.write("table.json", table(&found).to_string().as_bytes());
    let compile =
        ["compile", "wide", "--tuned", "table.json", "--target", "cpu,sm_80:f16,sm_90a:f16"];
    let output = good(&place, &[&compile[..], &["-o", "table.plan"]].concat()).expect("as before");
    let text = said(&output);
    assert!(
        text.contains("; measured on some GPU: 1.0 us for 128 rows, by the cost model's tile 2.0"),
        "{text}"
    );
    assert!(
        text.contains("sm_90a: tiles by measurement: those of 3 of 3 sorts of linears"),
        "{text}"
    );
    let ignored = "linear 64 x 64: the table's tile from 20 rows on (128 x 80";
    assert_eq!(text.matches("is none of the").count(), 1, "{text}");
    assert!(text.contains(ignored), "{text}");
    let inspected = printed(&place.good(&["inspect", "table.plan"]));
    assert_eq!(inspected.matches(" from 10 rows on: linear_wgmma_").count(), 3, "{inspected}");
    // Alone a text has few rows, and with others many.
    let texts: Vec<_> = ["one", "one two one two one two", "two", "two one two one two one two"]
        .iter()
        .flat_map(|text| ["--text", text])
        .collect();
    place.write("wide/tokenizer.json", &bytec_tests::tokenizer::json());
    for (plan, table) in [("a.plan", None), ("b.plan", Some("table.json"))] {
        let mut compile =
            vec!["compile", "wide", "--target", "sm_90a:f16", "--pooling", "mean", "-o", plan];
        compile.extend(table.iter().flat_map(|table| ["--tuned", table]));
        good(&place, &compile);
    }
    let run = |plan: &str, more: &[&str]| {
        let device = ["run", plan, "--device", "sim:sm_90a"];
        printed(&place.good(&[&device[..], &texts, more].concat()))
    };
    let expected = run("a.plan", &[]);
    assert_eq!(run("b.plan", &[]), expected);
    assert_eq!(run("b.plan", &["--alone"]), expected);
    // Tuned by nothing, it is as if there had been no table.
    good(&place, &["tune", "b.plan", "--device", "sim:sm_90a", "-o", "c.plan"]);
    let read = |name: &str| std::fs::read(place.path(name)).expect("the plan is there");
    assert_eq!(read("c.plan"), read("a.plan"));
}
