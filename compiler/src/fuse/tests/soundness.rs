//! Every rule, and all of them, preserve what random graphs compute.

use std::collections::BTreeSet;

use bytec_ir::sample;

use super::assert_same;
use crate::fuse::pack::pack;
use crate::fuse::{RULES, run};

const GRAPHS: u64 = 300;

#[test]
fn every_rule_alone_preserves_random_graphs() {
    for seed in 0..GRAPHS {
        let before = sample::graph(seed);
        for rule in RULES {
            let (after, reports) =
                run(&before, &[*rule]).unwrap_or_else(|e| panic!("graph {seed}: {e}\n{before}"));
            if !reports[0].applied.is_empty() {
                assert_same(&before, &after, &format!("graph {seed}, {}", rule.name()));
            }
        }
    }
}

#[test]
fn all_rules_preserve_random_graphs_and_come_to_rest() {
    let mut applied = BTreeSet::new();
    for seed in 0..GRAPHS {
        let before = sample::graph(seed);
        let (after, reports) =
            run(&before, RULES).unwrap_or_else(|e| panic!("graph {seed}: {e}\n{before}"));
        assert_same(&before, &after, &format!("graph {seed}"));
        let (again, second) = run(&after, RULES).unwrap();
        assert_eq!(after.to_string(), again.to_string(), "graph {seed}: {second:?}");
        applied.extend(reports.into_iter().filter(|r| !r.applied.is_empty()).map(|r| r.rule));
    }
    let idle: Vec<_> =
        RULES.iter().map(|rule| rule.name()).filter(|name| !applied.contains(*name)).collect();
    assert!(idle.is_empty(), "no random graph is changed by {idle:?}");
}

#[test]
fn packing_has_an_answer_for_every_random_graph() {
    let mut packable = 0;
    for seed in 0..GRAPHS {
        let (fused, _) = run(&sample::graph(seed), RULES).unwrap();
        match pack(&fused) {
            Ok(packed) => {
                assert!(packed.placement.keys().copied().eq(fused.ids()), "graph {seed}");
                packable += 1;
            }
            Err(error) => assert!(!error.refusals.is_empty(), "graph {seed}"),
        }
    }
    println!("{packable} of {GRAPHS} graphs can be packed");
    assert!(packable > 0 && packable < GRAPHS);
}
