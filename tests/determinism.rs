//! The compiler is pure: a plan's bytes depend on the contents of the files and on the options alone.

use std::path::Path;

use bytec_compiler::front::PoolingChoice;
use bytec_compiler::{FrontOptions, Options};
use bytec_ir::PoolKind;
use bytec_models::tiny::{TinyBert, TinyCheckpoint, TinyModel, draw};
use bytec_tests::plans;

/// The plan's bytes.
fn compile(model: &Path, options: &Options) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("model.plan");
    plans::compile(model, options, &plan).unwrap();
    std::fs::read(plan).unwrap()
}

fn check(model: &TinyCheckpoint, changed: &TinyCheckpoint, options: &Options) {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("model");
    let there = folder.path().join("another/and longer/path");
    plans::write_folder(model.clone(), &here).unwrap();
    plans::write_folder(model.clone(), &there).unwrap();
    let what = format!("{} {:?} {:?}", model.config, options.front, options.targets);
    let options = |threads| Options { threads, ..options.clone() };
    let first = compile(&here, &options(Some(1)));
    assert_eq!(first, compile(&here, &options(Some(1))), "{what}: a second time");
    assert_eq!(first, compile(&here, &options(Some(7))), "{what}: seven threads");
    assert_eq!(first, compile(&there, &options(None)), "{what}: another folder");

    plans::write_folder(changed.clone(), &here).unwrap();
    assert_ne!(first, compile(&here, &options(None)), "{what}: other weights");
}

#[test]
fn every_architecture_compiles_to_the_same_bytes() {
    for family in bytec_models::MODELS {
        for architecture in (family.architectures)() {
            let tiny = draw(family, architecture, 3);
            let other = TinyModel { seed: 4, ..tiny.clone() };
            let [tiny, other] = [tiny, other].map(|tiny| tiny.checkpoint().unwrap());
            check(&tiny, &other, &Options::default());
        }
    }
}

#[test]
fn every_pooling_compiles_to_the_same_bytes() {
    for &kind in PoolKind::ALL {
        let pooling = Some(PoolingChoice::Kinds(vec![kind]));
        let front = FrontOptions { pooling, normalize: Some(true), ..FrontOptions::default() };
        let other = TinyBert { seed: 2, ..TinyBert::default() };
        let options = Options { front, ..Options::default() };
        check(&TinyBert::default().checkpoint(), &other.checkpoint(), &options);
    }
}

#[test]
fn every_element_type_of_the_cpu_compiles_to_the_same_bytes() {
    let model = |seed| TinyBert { hidden: 36, seed, ..TinyBert::default() }.checkpoint();
    for target in ["cpu:bf16", "cpu:int8"] {
        let targets = vec![target.parse().unwrap()];
        check(&model(1), &model(2), &Options { targets, ..Options::default() });
    }
}
