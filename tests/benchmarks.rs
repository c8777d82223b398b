//! What the README says of speed is what `docs/benchmarks` has on record.

use std::fs;

use bytec_tests::root;
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn the_readme_quotes_the_record_of_cpus() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let record: Value =
        serde_json::from_str(&read("docs/benchmarks/cpu.json")).expect("it is JSON");
    assert_eq!(record["dry_run"], false);
    let readme = read("README.md");
    let cells = record["cells"].as_array().expect("a list of cells");
    let most = cells.iter().map(|cell| cell["threads"].as_u64()).max().expect("there are cells");
    let mut quoted = 0;
    for cell in cells.iter().filter(|cell| cell["threads"].as_u64() == most) {
        let own = |name: &str| number(&cell["ways"][name]["tokens_per_s"]);
        let peer = |name: &str| number(&cell["ways"][name]["bytec_is_faster_by"]);
        let figures = format!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.2}x |",
            cell["samples"],
            own("bytec f32"),
            own("bytec bf16"),
            own("bytec int8"),
            peer("torch f32 packed"),
        );
        let model = format!("| {} |", cell["model"].as_str().expect("a name"));
        assert!(
            readme.lines().any(|line| line.starts_with(&model) && line.contains(&figures)),
            "{model} .. {figures}"
        );
        quoted += 1;
    }
    assert!(quoted > 0 && readme.contains(record["date"].as_str().expect("a date")));
}
