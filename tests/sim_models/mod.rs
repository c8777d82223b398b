//! Whole models on the simulated GPU, with all its checks: from a folder through the compiler and the runtime, as on a
//! GPU.

mod distances;
mod goldens;
mod neighbours;
mod norms;
mod padding_ids;
mod queries;

use std::path::Path;
use std::sync::Arc;

use bytec_compiler::{FrontOptions, Options, Target, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_runtime::cuda::Arch;
use bytec_runtime::{Engine, EngineOptions};
use bytec_sim::SimDriver;
use bytec_tests::batches::{Inputs, Outputs, assert_same_bits, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::interpreter;
use bytec_tests::nvrtc::toolchain;
use bytec_tests::tensors::Tensor;

/// Options that compile for one target, such as `sm_80:f16`; `None` without NVRTC.
fn options(target: &str, front: FrontOptions) -> Option<Options> {
    let toolchain = toolchain(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim_models"))?;
    let targets = vec![target.parse::<Target>().unwrap()];
    Some(Options { targets, toolchain, front, ..Options::default() })
}

/// An engine whose device passes for one of this compute capability.
fn engine(plan: &[u8], major: u32) -> Engine {
    let driver = SimDriver::of_arch(Arch::of_device(major, 0));
    Engine::from_bytes_with_driver(plan, Arc::new(driver), EngineOptions::default()).unwrap()
}

/// Token ids of samples of these lengths: within twice the error of the interpreter with `rounding`, and each sample as
/// alone.
fn check_batch(engine: &Engine, folder: &Path, lengths: &[u64], rounding: Rounding) {
    let ids = |length: u64| (0..length as i64).map(|at| (at * 7 + length as i64) % 50).collect();
    let input = |length: u64| ("input_ids".to_owned(), Tensor::I64(ids(length), vec![length]));
    let inputs: Vec<_> = lengths.iter().map(|&length| Inputs::from([input(length)])).collect();
    let mut session = engine.session();
    let found = run(engine, &mut session, &inputs).unwrap();
    let alone = run_alone(engine, &mut session, &inputs).unwrap();
    assert_same_bits(&found, &alone, &engine.program().target);
    let loaded = front::load(folder, &FrontOptions::default()).unwrap();
    let outputs = |inputs: &Inputs, rounding| {
        let inputs = interpreter::sample(inputs).unwrap();
        let outputs = eval(&loaded.graph, &inputs, &loaded.weights, rounding).unwrap();
        let single = |x: &bytec_ir::Tensor| {
            x.as_floats().unwrap().iter().map(|&x| x as f32).collect::<Vec<_>>()
        };
        outputs.iter().map(|(name, x)| (name.clone(), single(x))).collect::<Outputs>()
    };
    let [exact, rounded] = [Rounding::Exact, rounding]
        .map(|rounding| inputs.iter().map(|inputs| outputs(inputs, rounding)).collect::<Vec<_>>());
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
