//! Models whose positions pass over the padding token: the CPU and the simulated GPU count them as the interpreter does,
//! wherever the token stands.

use bytec_compiler::{FrontOptions, Options, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_models::MODELS;
use bytec_models::tiny::draw;
use bytec_runtime::{Engine, EngineOptions};
use bytec_tests::batches::{Inputs, Outputs, assert_same_bits, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::tensors::Tensor;
use bytec_tests::{interpreter, plans};

use super::{engine, options};

/// Ids of samples, 1 where the padding token stands: inside, at both ends, and alone.
const SAMPLES: [&[i64]; 5] = [&[0, 3, 2], &[0, 1, 3, 1, 1, 2], &[1], &[1, 3, 1], &[4, 2, 0, 3, 1]];

#[test]
fn positions_pass_over_the_padding_token() {
    for (family, architecture) in [("roberta", "RobertaModel"), ("mpnet", "MPNetModel")] {
        let family = MODELS.iter().find(|known| known.name == family).unwrap();
        // A seed whose model has room for these samples and ids.
        let tiny = (0..)
            .map(|seed| draw(family, architecture, seed))
            .find(|tiny| {
                let field = |name| tiny.config[name].as_u64();
                field("vocab_size") > Some(4)
                    && field("max_position_embeddings") > Some(9)
                    && field("pad_token_id").is_none_or(|pad| pad == 1)
            })
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        plans::write_folder(tiny.checkpoint().unwrap(), folder.path()).unwrap();
        let loaded = front::load(folder.path(), &FrontOptions::default()).unwrap();
        let inputs = SAMPLES.map(|ids| {
            let ids = Tensor::I64(ids.to_vec(), vec![ids.len() as u64]);
            Inputs::from([("input_ids".to_owned(), ids)])
        });
        let exact = inputs.each_ref().map(|inputs| {
            let inputs = interpreter::sample(inputs).unwrap();
            let outputs = eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Exact).unwrap();
            let single = |x: &bytec_ir::Tensor| {
                x.as_floats().unwrap().iter().map(|&x| x as f32).collect::<Vec<_>>()
            };
            outputs.iter().map(|(name, x)| (name.clone(), single(x))).collect::<Outputs>()
        });
        let path = folder.path().join("model.plan");
        let check = |engine: &Engine| {
            let mut session = engine.session();
            let found = run(engine, &mut session, &inputs).unwrap();
            let alone = run_alone(engine, &mut session, &inputs).unwrap();
            assert_same_bits(&found, &alone, architecture);
            for (exact, found) in exact.iter().zip(&found) {
                for (name, exact) in exact {
                    let error = max_difference(&found[name], exact);
                    assert!(error < 2e-5, "{architecture} {name}: {error:e}");
                }
            }
        };
        plans::compile(folder.path(), &Options::default(), &path).unwrap();
        let plan = std::fs::read(&path).unwrap();
        check(&Engine::from_bytes(&plan, EngineOptions::default()).unwrap());
        let Some(options) = options("sm_80:f32", FrontOptions::default()) else { return };
        plans::compile(folder.path(), &options, &path).unwrap();
        check(&engine(&std::fs::read(&path).unwrap(), 8));
    }
}
