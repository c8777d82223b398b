//! An encoder whose layers are wide enough for linears with their LayerNorms in one kernel: five launches a layer, and
//! the results of the kernels apart.

use bytec_compiler::FrontOptions;
use bytec_ir::eval::Rounding;
use bytec_models::tiny::TinyBert;
use bytec_tests::plans;

use super::{check_batch, engine, options};

/// Lengths of samples; together more than a tile of rows.
const LENGTHS: [u64; 5] = [1, 64, 40, 7, 33];

#[test]
fn a_layer_is_five_launches() {
    let target = "sm_90a:bf16";
    let Some(options) = options(target, FrontOptions::default()) else { return };
    let tiny =
        TinyBert { hidden: 128, heads: 2, intermediate: 192, positions: 64, ..TinyBert::default() };
    let folder = tempfile::tempdir().unwrap();
    plans::write_folder(&tiny, folder.path()).unwrap();
    let path = folder.path().join("model.plan");
    plans::compile(folder.path(), &options, &path).unwrap();
    let engine = engine(&std::fs::read(&path).unwrap(), 9);
    assert_eq!(engine.manifest().report.notes, [""; 0]);
    let steps = &engine.program().steps;
    let layer = ["linear", "attention", "linear_layer_norm", "linear", "linear_layer_norm"];
    let kernels: Vec<_> = steps.iter().map(|step| step.kernel.name()).collect();
    assert_eq!(kernels[..11], [&["embed"], &layer[..], &layer[..]].concat());

    check_batch(&engine, folder.path(), &LENGTHS, Rounding::Bf16);
}
