//! Archives of torch.export become graphs of one sample that give what their traces give, in f64.

use std::collections::BTreeMap;

use bytec_compiler::FrontOptions;
use bytec_compiler::front::pt2;
use bytec_ir::eval::{Data, EvalError, Rounding, Tensor, WeightSource, eval as eval_graph};
use bytec_ir::sample::Random;
use bytec_trace::eval::eval;
use bytec_trace::{Kind, LiftOptions, Lifted, Op, Trace, lift};

use crate::pt2::cases;

/// A checkpoint, and the weights that the lifting makes.
struct Both<'a> {
    weights: &'a dyn WeightSource,
    tables: BTreeMap<String, Tensor>,
}

impl WeightSource for Both<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor, EvalError> {
        self.tables.tensor(name).or_else(|_| self.weights.tensor(name))
    }
}

/// Random inputs of a trace, at a batch of one. No id is that of padding.
fn inputs(trace: &Trace, length: u64) -> BTreeMap<String, Tensor> {
    let mut random = Random::new(length);
    let sizes = trace.symbols.iter().map(|range| {
        let size = if Some(&range.symbol) == trace.batch.as_ref() { 1 } else { length };
        (range.symbol.clone(), size.clamp(range.min, range.max))
    });
    let bindings = sizes.collect();
    let mut inputs = BTreeMap::new();
    for (_, node) in trace.nodes() {
        let Op::Input { name } = &node.op else { continue };
        let shape = node.ty.shape.iter().map(|dim| dim.eval(&bindings).unwrap() as usize);
        let shape: Vec<_> = shape.collect();
        let count: usize = shape.iter().product();
        let data = match node.ty.kind {
            Kind::Float => Data::Float((0..count).map(|_| random.real()).collect()),
            _ if name == "token_type_ids" => {
                Data::Int((0..count).map(|_| random.below(2) as i64).collect())
            }
            _ => Data::Int((0..count).map(|_| 2 + random.below(40) as i64).collect()),
        };
        inputs.insert(name.clone(), Tensor { shape, data });
    }
    inputs
}

#[test]
fn every_archive_becomes_a_graph_that_gives_the_same() {
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        // Ops of which a graph takes only what sizes decide.
        if name == "ops" {
            continue;
        }
        let pt2::Opened { trace, weights, known } =
            pt2::open(&case.join("model.pt2"), &FrontOptions::default()).unwrap();
        let options = LiftOptions { known, tables: true, ..LiftOptions::default() };
        let lifted = lift(&trace, &options);
        let Lifted { graph, tables, .. } = lifted.unwrap_or_else(|error| panic!("{name}: {error}"));
        let both = Both { weights: &weights, tables };
        for length in [1, 2, 9] {
            let inputs = inputs(&trace, length);
            let expected = eval(&trace, &inputs, &weights).unwrap();
            let sample = inputs.into_iter().map(|(input, mut tensor)| {
                tensor.shape.remove(0);
                (input, tensor)
            });
            let sample = sample.filter(|(input, _)| graph.value(input).is_some()).collect();
            let found = eval_graph(&graph, &sample, &both, Rounding::Exact).unwrap();
            for (output, expected) in expected {
                let pairs =
                    expected.as_floats().unwrap().iter().zip(found[&output].as_floats().unwrap());
                for (x, y) in pairs {
                    assert!((x - y).abs() < 1e-6, "{name} at {length}, {output}: {x} and {y}");
                }
            }
        }
    }
}
