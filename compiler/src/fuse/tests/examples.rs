//! Runs the before and after in the doc of every rule, and holds the list of rules and the folder together.

use std::fs;
use std::path::{Path, PathBuf};

use bytec_ir::text::parse;
use bytec_ir::verify::verify;

use crate::fuse::{RULES, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fuse")
}

/// The file of a rule: in the folder, or among those to one form.
fn file(name: &str) -> PathBuf {
    let path = folder().join(name).with_extension("rs");
    if path.exists() { path } else { folder().join("canon").join(name).with_extension("rs") }
}

/// The code block of a module doc after the line that is `heading`.
fn block(source: &str, heading: &str) -> String {
    let doc = source.lines().map_while(|line| line.strip_prefix("//!"));
    doc.map(|line| line.strip_prefix(' ').unwrap_or(line))
        .skip_while(|line| *line != heading)
        .skip_while(|line| *line != "```text")
        .skip(1)
        .take_while(|line| *line != "```")
        .map(|line| format!("{line}\n"))
        .collect()
}

/// `source` with another code block after `heading`.
fn with_block(source: &str, heading: &str, text: &str) -> String {
    let open = format!("//! {heading}\n//! ```text\n");
    let start = source.find(&open).expect("the doc has the heading") + open.len();
    let end = start + source[start..].find("//! ```\n").expect("the block ends");
    let lines: String = text.lines().map(|line| format!("//! {line}\n")).collect();
    format!("{}{lines}{}", &source[..start], &source[end..])
}

#[test]
fn the_doc_of_every_rule_is_true() {
    let bless = std::env::var("UPDATE_EXPECT").is_ok();
    let mut wrong = Vec::new();
    for rule in RULES {
        let path = file(rule.name());
        let source = fs::read_to_string(&path).unwrap();
        let before = parse(&block(&source, "Before:"))
            .unwrap_or_else(|e| panic!("{}, before: {e}", rule.name()));
        verify(&before).unwrap_or_else(|e| panic!("{}, before: {e}", rule.name()));
        let (after, reports) = run(&before, &[*rule]).unwrap();
        assert!(!reports[0].applied.is_empty(), "{} does nothing to its example", rule.name());
        let after = after.to_string();
        if block(&source, "After:") == after {
            continue;
        }
        if bless {
            fs::write(&path, with_block(&source, "After:", &after)).unwrap();
        } else {
            wrong.push(format!("{}, after:\n{after}", rule.name()));
        }
    }
    assert!(
        wrong.is_empty(),
        "these docs differ from what the rules do (UPDATE_EXPECT=1 writes them):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_file_is_a_rule_of_the_list_or_one_of_the_frame() {
    const FRAME: [&str; 6] = ["driver", "mod", "origins", "pattern", "rewrite", "rows"];
    let canon = fs::read_dir(folder().join("canon")).unwrap();
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .chain(canon)
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|stem| !FRAME.contains(&stem.as_str()))
        .collect();
    files.sort();
    let mut rules: Vec<_> = RULES.iter().map(|rule| rule.name()).collect();
    rules.sort_unstable();
    assert_eq!(files, rules);
}

#[test]
fn a_summary_is_one_line() {
    for rule in RULES {
        let summary = rule.summary();
        assert!(
            !summary.is_empty() && summary.len() <= 100 && !summary.contains('\n'),
            "{summary}"
        );
    }
}
