//! The compiler is pure: a plan's bytes depend on the contents of the files and on the options alone.

use std::path::Path;

use bytec_compiler::front::PoolingChoice;
use bytec_compiler::{FrontOptions, Options};
use bytec_ir::PoolKind;
use bytec_models::tiny::TinyBert;
use bytec_tests::plans;

/// The plan's bytes.
fn compile(model: &Path, options: &Options) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("model.plan");
    plans::compile(model, options, &plan).unwrap();
    std::fs::read(plan).unwrap()
}

fn check(tiny: &TinyBert, front: FrontOptions) {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("model");
    let there = folder.path().join("another/and longer/path");
    plans::write_folder(tiny, &here).unwrap();
    plans::write_folder(tiny, &there).unwrap();
    let options = |threads| Options { front: front.clone(), threads, ..Options::default() };
    let what = format!("{} {front:?}", tiny.architecture);
    let first = compile(&here, &options(Some(1)));
    assert_eq!(first, compile(&here, &options(Some(1))), "{what}: a second time");
    assert_eq!(first, compile(&here, &options(Some(7))), "{what}: seven threads");
    assert_eq!(first, compile(&there, &options(None)), "{what}: another folder");

    let changed = TinyBert { seed: tiny.seed + 1, ..tiny.clone() };
    plans::write_folder(&changed, &here).unwrap();
    assert_ne!(first, compile(&here, &options(None)), "{what}: other weights");
}

#[test]
fn every_architecture_compiles_to_the_same_bytes() {
    for family in bytec_models::MODELS {
        for architecture in (family.architectures)() {
            check(&TinyBert { architecture, ..TinyBert::default() }, FrontOptions::default());
        }
    }
}

#[test]
fn every_pooling_compiles_to_the_same_bytes() {
    for kind in [PoolKind::Mean, PoolKind::Cls, PoolKind::Max] {
        let pooling = Some(PoolingChoice::Kind(kind));
        let front = FrontOptions { pooling, normalize: Some(true), ..FrontOptions::default() };
        check(&TinyBert::default(), front);
    }
}
