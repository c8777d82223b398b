//! `bytec compile`: what it writes and where, what it says on the way.

use std::fs;
use std::path::Path;

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
