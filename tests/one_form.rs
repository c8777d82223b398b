//! The families of bytec-models are written in the one form that the rules of `fuse/canon` lead to.

use std::fs;

use bytec_compiler::fuse::{RULES, Rule, run};
use bytec_models::MODELS;
use bytec_tests::families;

/// What these rules do to a text encoder would be a habit of its family: nothing else is written so.
#[test]
fn rules_to_one_form_leave_the_text_families_alone() {
    let folder = bytec_tests::root().join("compiler/src/fuse/canon");
    let of_form = |rule: &&&dyn Rule| folder.join(rule.name()).with_extension("rs").exists();
    let (canon, others): (Vec<&dyn Rule>, Vec<_>) = RULES.iter().partition(of_form);
    let files = fs::read_dir(&folder).expect("the folder can be listed").count();
    assert!(canon.len() > 10 && canon.len() < files, "{} of {files}", canon.len());
    for family in MODELS {
        for seed in 0..12 {
            let graph = families::graph(family, seed);
            if graph.value("input_ids").is_none() {
                continue;
            }
            let what = format!("{}, seed {seed}", family.name);
            let (with, _) = run(&graph, RULES).unwrap();
            let (without, _) = run(&graph, &others).unwrap();
            assert_eq!(with.to_string(), without.to_string(), "{what}");
        }
    }
}
