//! An encoder whose layers are wide enough for linears with their LayerNorms in one kernel: five launches a layer, and
//! the results of the kernels apart.

use bytec_compiler::{FrontOptions, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_models::tiny::TinyBert;
use bytec_tests::batches::{Inputs, Outputs, assert_same_bits, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::tensors::Tensor;
use bytec_tests::{interpreter, plans};

use super::{engine, options};

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

    let inputs = LENGTHS.map(|length| {
        let ids = (0..length as i64).map(|at| (at * 7 + length as i64) % 50).collect();
        Inputs::from([("input_ids".to_owned(), Tensor::I64(ids, vec![length]))])
    });
    let mut session = engine.session();
    let found = run(&engine, &mut session, &inputs).unwrap();
    let alone = run_alone(&engine, &mut session, &inputs).unwrap();
    assert_same_bits(&found, &alone, target);
    let loaded = front::load(folder.path(), &FrontOptions::default()).unwrap();
    let outputs = |inputs: &Inputs, rounding| {
        let inputs = interpreter::sample(inputs).unwrap();
        let outputs = eval(&loaded.graph, &inputs, &loaded.weights, rounding).unwrap();
        let single = |x: &bytec_ir::Tensor| {
            x.as_floats().unwrap().iter().map(|&x| x as f32).collect::<Vec<_>>()
        };
        outputs.iter().map(|(name, x)| (name.clone(), single(x))).collect::<Outputs>()
    };
    let [exact, rounded] = [Rounding::Exact, Rounding::Bf16]
        .map(|rounding| inputs.each_ref().map(|inputs| outputs(inputs, rounding)));
    for name in exact[0].keys() {
        let worst = |found: &[Outputs]| {
            let pairs = found.iter().zip(&exact);
            pairs
                .map(|(found, exact)| max_difference(&found[name], &exact[name]))
                .fold(0.0, f64::max)
        };
        let (error, bound) = (worst(&found), 2.0 * worst(&rounded));
        assert!(error <= bound, "{name}: {error:e}, expected at most {bound:e}");
    }
}
