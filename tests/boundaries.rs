//! Which crate may depend on which, read from cargo's own resolution.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};

/// Crates reachable from `name` over normal and build dependencies, by name, itself left out.
fn reachable(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let names: BTreeMap<&PackageId, String> =
        metadata.packages.iter().map(|package| (&package.id, package.name.to_string())).collect();
    let nodes: BTreeMap<_, _> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| &resolve.nodes)
        .map(|node| (&node.id, node))
        .collect();
    let start = &metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is a package of the workspace"))
        .id;
    let mut seen = BTreeSet::new();
    let mut stack = vec![start];
    while let Some(id) = stack.pop() {
        for dependency in &nodes[id].deps {
            let used =
                dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if used && seen.insert(names[&dependency.pkg].clone()) {
                stack.push(&dependency.pkg);
            }
        }
    }
    seen
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(bytec_tests::root().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .exec()
        .expect("cargo metadata runs in the workspace")
}

/// Fails if any of `from` reaches any of `forbidden`.
fn forbid(from: &[&str], forbidden: &[&str]) {
    let metadata = metadata();
    for name in from {
        let reached = reachable(&metadata, name);
        let found: Vec<_> = forbidden.iter().filter(|other| reached.contains(**other)).collect();
        assert!(found.is_empty(), "{name} reaches {found:?}");
    }
}

#[test]
fn the_runtime_reaches_nothing_of_the_compiler() {
    forbid(
        &["bytec-plan", "bytec-runtime"],
        &[
            "anyhow",
            "bytec",
            "bytec-compiler",
            "bytec-ir",
            "bytec-models",
            "bytec-text",
            "candle-core",
            "clap",
            "petgraph",
            "safetensors",
            "tera",
            "tokenizers",
        ],
    );
}

#[test]
fn the_runtime_asks_cuda_for_its_driver_only_and_can_do_without() {
    forbid(&["bytec-plan"], &["cudarc"]);
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let runtime = packages.into_iter().find(|package| package.name.as_str() == "bytec-runtime");
    let dependencies = &runtime.expect("the workspace has the runtime").dependencies;
    let cudarc = dependencies.iter().find(|used| used.name == "cudarc");
    let cudarc = cudarc.expect("the runtime uses cudarc");
    assert!(cudarc.optional && !cudarc.uses_default_features);
    let features: BTreeSet<_> = cudarc.features.iter().map(String::as_str).collect();
    assert_eq!(features, BTreeSet::from(["cuda-13000", "driver", "dynamic-loading", "std"]));
}

#[test]
fn the_compiler_never_reaches_the_runtime() {
    forbid(
        &["bytec-ir", "bytec-models", "bytec-compiler"],
        &["anyhow", "bytec", "bytec-runtime", "bytec-text", "candle-core", "clap", "tokenizers"],
    );
}

#[test]
fn the_ir_knows_neither_plans_nor_files() {
    forbid(&["bytec-ir"], &["bytec-plan", "bytec-models", "safetensors", "serde_json"]);
    forbid(&["bytec-models"], &["bytec-plan", "bytec-compiler", "safetensors"]);
}

#[test]
fn the_plan_stands_alone() {
    let metadata = metadata();
    let own: Vec<_> = reachable(&metadata, "bytec-plan")
        .into_iter()
        .filter(|name| name.starts_with("bytec"))
        .collect();
    assert!(own.is_empty(), "bytec-plan reaches {own:?}");
}

#[test]
fn only_text_uses_tokenizers_and_only_ir_uses_petgraph() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        for (dependency, owner) in [("tokenizers", "bytec-text"), ("petgraph", "bytec-ir")] {
            let uses = package.dependencies.iter().any(|used| used.name == dependency);
            assert_eq!(uses, package.name.as_str() == owner, "{} and {dependency}", package.name);
        }
    }
}

/// Tracing candle models is a workspace of its own; nobody else builds candle.
#[test]
fn nothing_here_reaches_candle() {
    let found: Vec<_> = metadata()
        .packages
        .into_iter()
        .map(|package| package.name.to_string())
        .filter(|name| name.starts_with("candle"))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
