//! `bytec compile`: what it writes and where, what it says on the way.

use std::fs;
use std::path::Path;

use bytec_models::tiny::TinyBert;
use bytec_tests::{plans, tokenizer};
use serde_json::Value;

use super::running::write_samples;
use super::{Place, json, printed, said};

#[test]
fn emit_writes_every_stage() {
    let place = Place::new();
    place.good(&["compile", "model", "-o", "b.plan", "--emit", "deep/stages"]);
    let mut names: Vec<_> = fs::read_dir(place.path("deep/stages"))
        .expect("the folder is there")
        .map(|entry| entry.expect("the entry can be read").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["1.graph.ir", "2.fused.ir", "3.schedule.txt", "5.plan.json"]);
    let read = |name: &str| fs::read_to_string(place.path("deep/stages").join(name)).expect("text");
    for graph in ["1.graph.ir", "2.fused.ir"] {
        let text = read(graph);
        assert_eq!(bytec_ir::parse(&text).expect("a graph").to_string(), text);
    }
    assert!(!read("3.schedule.txt").is_empty());
    assert!(serde_json::from_str::<Value>(&read("5.plan.json")).is_ok());
    // The emitted graph is a source of its own.
    place.good(&["compile", "model", "--graph", "deep/stages/1.graph.ir", "-o", "c.plan"]);
}

#[test]
fn compile_reports_as_json() {
    let place = Place::new();
    let output = place.good(&["compile", "model", "-o", "b.plan", "--json"]);
    assert_eq!(said(&output), "");
    let summary = json(&output);
    assert_eq!((&summary["plan"], &summary["targets"][0]), (&"b.plan".into(), &"cpu".into()));
    let length = fs::metadata(place.path("b.plan")).expect("the plan is there").len();
    assert_eq!(summary["bytes"], length);
    assert_eq!(summary["manifest"]["architecture"], "BertModel");
}

#[test]
fn progress_is_plain_lines_without_a_terminal() {
    let place = Place::new();
    let output = place.good(&["compile", "model", "-o", "b.plan"]);
    assert_eq!(printed(&output), "");
    let text = said(&output);
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text:?}");
    for (line, stage) in text.lines().zip(["read", "fuse", "schedule", "kernels", "emit"]) {
        assert!(line.contains(&format!("/5] {stage}: ")), "{text}");
    }
    assert!(
        text.lines().last().is_some_and(|line| line.starts_with("b.plan: 0.1 MB for cpu, ")),
        "{text}"
    );
}

#[test]
fn int8_says_what_it_costs() {
    let place = Place::new();
    let tiny = TinyBert {
        hidden: 48,
        architecture: "BertForSequenceClassification",
        ..TinyBert::default()
    };
    plans::write_folder(&tiny, &place.path("wide")).expect("a model folder");
    place.write("wide/tokenizer.json", &tokenizer::json());
    let compile = ["compile", "wide", "--target", "cpu:int8", "-o", "b.plan"];
    let said = said(&place.good(&compile));
    assert!(said.contains("int8: 9 linears; 1 in f32: classifier, it gives an output"), "{said}");
    let costs = "int8 beside f32, logits of 16 samples (built-in texts): cosine at least 0.9";
    assert!(said.contains(costs), "{said}");
    let shown = printed(&place.good(&["inspect", "b.plan"]));
    assert!(shown.contains("program forward for cpu in int8"), "{shown}");
    assert!(shown.contains("int8    9 of 10 linears"), "{shown}");
    let found = |more: &[&str]| {
        json(&place.good(&[&compile[..], &["--json"], more].concat()))["int8"].clone()
    };
    place.write("texts", b"one\ntwo\nthree and more\n");
    let of_texts = found(&["--text-file", "texts"]);
    assert_eq!(of_texts["samples"], 3);
    assert_eq!(of_texts["inputs"], "the texts of texts");
    let accuracy = &of_texts["outputs"]["logits"];
    let [least, median] =
        ["cosine_min", "cosine_median"].map(|of| accuracy[of].as_f64().expect("a number"));
    assert!(0.9 < least && least <= median && median <= 1.0, "{accuracy}");
    assert!(accuracy["max_abs"].as_f64() < accuracy["scale"].as_f64(), "{accuracy}");
    assert_eq!(of_texts["linears"], 9);
    fs::remove_file(place.path("wide/tokenizer.json")).expect("it is there");
    assert_eq!(found(&[])["inputs"], "random inputs");
    // Plans in f32 say nothing of it.
    assert!(json(&place.good(&["compile", "model", "-o", "c.plan", "--json"]))["int8"].is_null());
}

#[test]
#[cfg(unix)]
fn outputs_follow_the_umask_links_and_pipes() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    write_samples(&place);
    let mode = |name: &str| {
        fs::metadata(place.path(name)).expect("it is there").permissions().mode() & 0o777
    };
    place.shell("umask 027; \"$0\" compile model -o b.plan --emit stages");
    place.shell("umask 027; \"$0\" run b.plan --inputs in.safetensors -o out");
    assert_eq!([mode("b.plan"), mode("out"), mode("stages/1.graph.ir")], [0o640; 3]);
    place.shell("umask 022; \"$0\" compile model -o c.plan");
    assert_eq!(mode("c.plan"), 0o644);
    // A link stays one, and what it names is replaced.
    place.write("old.plan", b"old");
    symlink(Path::new("old.plan"), place.path("link.plan")).expect("a new link");
    place.good(&["compile", "model", "-o", "link.plan"]);
    assert!(place.path("link.plan").is_symlink());
    let read = |name: &str| fs::read(place.path(name)).expect("the plan is there");
    assert_eq!(read("old.plan"), read("c.plan"));
    assert_eq!(place.shell("\"$0\" compile model -o /dev/stdout | cat").stdout, read("c.plan"));
}
