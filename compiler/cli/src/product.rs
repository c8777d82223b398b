//! Plans of a single linear, for measurements: random normal rows through it, of which one a sample is given out, since
//! a download is no part of it.

use bytec_compiler::cost::linear::Layer;
use bytec_compiler::{self as compiler, CompileError, FrontOptions, Target, Toolchain};
use bytec_models::tiny::SplitMix64;
use bytec_runtime::{Elements, Engine, PackedBatch, Sample};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::failure::Failure;
use crate::progress::Silent;

/// Rows of the table that rows of x are drawn from.
const DRAWN: u32 = 4096;
/// The most rows of a sample.
const SAMPLE: u32 = 128;

/// The bytes of a plan that computes the linear, with weights of a seed. Its input `ids` says which row of the table each
/// row is.
pub(crate) fn plan(
    layer: &Layer,
    bias: bool,
    target: Target,
    toolchain: Toolchain,
    seed: u64,
) -> Result<Vec<u8>, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::machine)?;
    let source = folder.path().join("model.safetensors");
    let (n, k) = (layer.n as usize, layer.k as usize);
    let mut random = SplitMix64(seed);
    let mut normals = |count: usize, scale: f32| -> Vec<u8> {
        (0..count).flat_map(|_| (scale * random.normal()).to_le_bytes()).collect()
    };
    let rows = DRAWN as usize;
    let bytes = [
        ("rows", vec![rows, k], normals(rows * k, 1.0)),
        ("w", vec![n, k], normals(n * k, 1.0 / (k as f32).sqrt())),
        ("b", vec![n], normals(n, 1.0)),
    ];
    let mut tensors = Vec::new();
    for (name, shape, bytes) in &bytes {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(Failure::internal)?;
        tensors.push((*name, view));
    }
    let file = serialize(tensors, None).map_err(Failure::internal)?;
    std::fs::write(&source, file).map_err(Failure::machine)?;
    let text = folder.path().join("graph.ir");
    std::fs::write(&text, graph(layer, bias)?).map_err(Failure::machine)?;
    let options = compiler::Options {
        targets: vec![target],
        toolchain,
        front: FrontOptions { graph: Some(text), ..FrontOptions::default() },
        ..compiler::Options::default()
    };
    let mut plan = Vec::new();
    compiler::compile(&source, &options, &mut Silent, |emitted, _| {
        emitted.write(&mut plan)?;
        Ok::<_, CompileError>(())
    })?;
    Ok(plan)
}

/// A batch of random rows for such a plan.
pub(crate) fn batch(engine: &Engine, rows: u64, seed: u64) -> Result<PackedBatch, Failure> {
    let mut random = SplitMix64(seed ^ rows);
    let ids: Vec<i64> = (0..rows).map(|_| random.below(DRAWN.into()) as i64).collect();
    let mut batch = PackedBatch::new(engine);
    for sample in ids.chunks(SAMPLE as usize) {
        let shape = [sample.len() as u64];
        let sample = Sample::new().with("ids", &shape, Elements::I64(sample));
        batch.push(&sample).map_err(Failure::internal)?;
    }
    Ok(batch)
}

fn graph(layer: &Layer, bias: bool) -> Result<String, Failure> {
    let Layer { n, k, epilogue } = layer;
    // Functions have one name in plans and in graphs.
    let names = epilogue.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let names = names.map_err(Failure::json)?.join(", ").replace('"', "");
    let (declared, added) =
        if bias { (format!("weight @b: f32[{n}]\n"), ", @b") } else { (String::new(), "") };
    Ok(format!(
        "bytec 1\nsymbol L in 1..={SAMPLE}\ninput %ids: i64[L]\nweight @rows: f32[{DRAWN}, {k}]\n\
         %x: f32[L, {k}] = gather(@rows, %ids)\nweight @w: f32[{n}, {k}]\n{declared}\
         %y: f32[L, {n}] = linear(%x, @w{added}) {{epilogue = [{names}]}}\n\
         %first: f32[{n}] = pool(%y) {{kind = cls, normalize = none}}\noutput y = %first\n"
    ))
}

#[cfg(test)]
mod tests {
    use bytec_compiler::cost::linear::Layer;
    use bytec_plan::kernel::UnaryFn;

    #[test]
    fn a_linear_is_a_graph() {
        for (bias, epilogue) in [(false, Vec::new()), (true, vec![UnaryFn::GeluErf, UnaryFn::Relu])]
        {
            let layer = Layer { n: 64, k: 128, epilogue };
            let text = super::graph(&layer, bias).unwrap();
            let graph: bytec_ir::Graph = text.parse().unwrap();
            assert_eq!(graph.outputs().len(), 1);
        }
    }
}
