//! An encoder whose layers are wide enough for linears with their LayerNorms in one kernel: five launches a layer, and
//! the results of the kernels apart. In batches of some sizes both linears behind attention are one launch, with the
//! same bits.

use bytec_compiler::FrontOptions;
use bytec_ir::eval::Rounding;
use bytec_measure::work::{self, Work};
use bytec_models::tiny::TinyBert;
use bytec_runtime::{Elements, Engine, PackedBatch, Sample, SessionOptions, StepOutput};
use bytec_tests::plans;

use super::{check_batch, engine, options};

/// Lengths of samples; together more than a tile of rows.
const LENGTHS: [u64; 5] = [1, 64, 40, 7, 33];

#[test]
fn a_layer_is_five_launches() {
    let target = "sm_90a:bf16";
    let Some(options) = options(target, FrontOptions::default()) else { return };
    let tiny =
        TinyBert { hidden: 128, heads: 2, intermediate: 512, positions: 64, ..TinyBert::default() };
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
    four_launches_give_the_same_bits(&std::fs::read(&path).unwrap(), engine);
}

/// The plan as it is has both linears in one launch from many rows on. Here it has them for batches of any size.
fn four_launches_give_the_same_bits(plan: &[u8], apart: Engine) {
    let code = apart.program().device.as_ref().unwrap();
    let from = code.by_rows.iter().map(|other| other.rows).min().unwrap();
    let ups = code.by_rows.iter().filter(|other| !other.launch.has_blocks() && other.rows == from);
    let ups: Vec<_> = ups.map(|other| other.step as usize).collect();
    assert_eq!((from > 4096, &ups[..]), (true, &[4, 9][..]));
    let always = plans::changed(plan, plans::launch_together);
    let together = engine(&always.unwrap(), 9);
    let mut batch = PackedBatch::new(&together);
    let mut same = PackedBatch::new(&apart);
    for length in LENGTHS {
        let ids: Vec<_> = (0..length as i64).map(|at| (at * 7 + length as i64) % 50).collect();
        for batch in [&mut batch, &mut same] {
            let shape = [length];
            batch.push(&Sample::new().with("input_ids", &shape, Elements::I64(&ids))).unwrap();
        }
    }
    let observed = |engine: &Engine, batch: &PackedBatch| {
        let mut shown = Vec::new();
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let show = &mut |step: StepOutput<'_>| {
            let rows = (0..step.len()).filter_map(|sample| step.sample(sample)).map(bits);
            shown.push((step.index(), rows.collect::<Vec<_>>()));
        };
        engine.session().run_observed(batch, show).unwrap();
        shown
    };
    let expected = observed(&apart, &same);
    assert_eq!(expected.len(), together.program().steps.len());
    assert!(observed(&together, &batch) == expected, "a step's result has other bits");
    // And as runs are, one by one and by a graph.
    let outputs = |engine: &Engine, graphs, batch: &PackedBatch| -> Vec<Vec<u32>> {
        let options = SessionOptions { graphs, ..SessionOptions::default() };
        let mut session = engine.session_with(options);
        let outputs = session.run(batch).unwrap();
        let output = outputs.get(outputs.names().next().unwrap()).unwrap();
        let samples = (0..output.len()).filter_map(|sample| output.sample(sample));
        samples.map(|x| x.iter().map(|x| x.to_bits()).collect()).collect()
    };
    let expected = outputs(&apart, false, &same);
    for graphs in [false, true] {
        assert!(outputs(&together, graphs, &batch) == expected, "graphs: {graphs}");
    }
    // What one launch does counts for the step that is launched.
    let [apart, together] = [(&apart, &same), (&together, &batch)]
        .map(|(engine, batch)| work::steps(engine.program(), batch));
    for up in ups {
        assert_eq!(together[up], Work::default());
        assert_eq!(together[up + 1].products, apart[up].products + apart[up + 1].products);
    }
}
