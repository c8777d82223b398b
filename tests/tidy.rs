//! Habits of the tree that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    for entry in entries.map(|entry| entry.expect("the entry can be read")) {
        let name = entry.file_name();
        let skipped = ["target", ".git", ".cache"].iter().any(|skip| name == *skip);
        if entry.path().is_dir() && !skipped {
            files(&entry.path(), found);
        } else if entry.path().is_file() {
            found.push(entry.path());
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let root = bytec_tests::root();
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below the root").display().to_string();
            (name, fs::read_to_string(&path).expect("sources are UTF-8"))
        })
        .collect()
}

#[test]
fn every_source_begins_with_its_doc_and_is_short() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        if !text.starts_with("//!") {
            wrong.push(format!("{name}: begins without a module doc"));
        }
        let lines = text.lines().count();
        if lines > 600 {
            wrong.push(format!("{name}: {lines} lines, at most 600"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_named_after_nothing() {
    let empty = ["utils", "util", "common", "helpers", "helper", "core", "misc"];
    let wrong: Vec<_> = sources()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            let path = Path::new(name);
            path.file_stem().is_some_and(|stem| empty.iter().any(|bad| stem == *bad))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_rule_has_its_file_and_every_rule_file_its_line() {
    let root = bytec_tests::root();
    let mut named: Vec<_> =
        bytec_compiler::fuse::RULES.iter().map(|rule| rule.name().to_owned()).collect();
    named.sort();
    let folders = ["compiler/src/fuse", "compiler/src/fuse/canon"];
    let mut rules: Vec<_> = folders
        .into_iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("the folder can be listed"))
        .map(|entry| entry.expect("the entry can be read").path())
        .filter(|path| {
            path.is_file()
                && fs::read_to_string(path).is_ok_and(|text| text.contains("impl Rule for"))
        })
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    rules.sort();
    assert_eq!(named, rules);
}

#[test]
fn every_kernel_has_its_cpu_file() {
    let root = bytec_tests::root();
    for (name, _) in bytec_plan::kernel::KERNELS {
        let file = root.join(format!("runtime/src/cpu/{name}.rs"));
        assert!(file.is_file(), "kernel {name} has no {}", file.display());
    }
}

/// Every path that ARCHITECTURE.md and the README name in backquotes exists.
#[test]
fn documents_name_files_that_exist() {
    let root = bytec_tests::root();
    let mut wrong = Vec::new();
    for document in ["ARCHITECTURE.md", "README.md"] {
        let text = fs::read_to_string(root.join(document)).expect("the document is there");
        for quoted in text.split('`').skip(1).step_by(2) {
            let path_like = quoted.contains('/')
                && !quoted.contains(char::is_whitespace)
                && quoted.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
            // NAME stands for any name, and .cache holds what the quickstart makes.
            let kept = path_like && !quoted.contains("NAME") && !quoted.contains(".cache");
            if kept && !root.join(quoted).exists() {
                wrong.push(format!("{document}: {quoted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
