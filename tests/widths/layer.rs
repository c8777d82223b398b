//! A layer's kernels: a graph of them, compiled and run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use bytec_compiler::{FrontOptions, Options};
use bytec_ir::eval::{Rounding, eval};
use bytec_ir::text::parse;
use bytec_ir::{Graph, sample};
use bytec_models::tiny::{TinyCheckpoint, TinyTensor};
use bytec_plan::kernel::Kernel;
use bytec_runtime::cuda::Arch;
use bytec_runtime::{Engine, EngineOptions};
use bytec_sim::SimDriver;
use bytec_tests::batches::{Inputs, Outputs, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::tensors::Tensor;
use bytec_tests::{interpreter, nvrtc, plans};

/// The kernels, by the names of their results.
pub(crate) const KERNELS: [&str; 8] =
    ["norm", "qkv", "attention", "out", "out_norm", "up", "down", "down_norm"];

/// The one kernel whose rows depend on the sample's others.
const ATTENTION: &str = "attention";

/// Tokens of the samples.
pub(crate) const COUNTS: [u64; 9] = [1, 7, 63, 64, 65, 127, 128, 129, 1000];

/// Different rows of a sample: those after them are the same again, at other places of tiles.
const PERIOD: u64 = 125;

/// The largest error of a kernel, and its bound.
pub(crate) struct Figure {
    pub(crate) error: f64,
    pub(crate) bound: f64,
    /// Whether it is one kernel with the linear before it.
    pub(crate) joined: bool,
}

/// The kernels of a layer of one hidden size, with weights and what the different rows give.
pub(crate) struct Layer {
    hidden: u32,
    text: String,
    graph: Graph,
    /// The attention alone, of q, k and v in one.
    attention: Graph,
    weights: BTreeMap<String, bytec_ir::Tensor>,
    /// The different rows.
    x: Vec<f32>,
    exact: Outputs,
}

impl Layer {
    /// A layer with weights from a seed.
    ///
    /// # Errors
    /// A graph that can't be read or interpreted, which would be a defect.
    pub(crate) fn new(hidden: u32) -> Result<Self> {
        let (h, h3, h4) = (hidden, 3 * hidden, 4 * hidden);
        let mut text = format!("bytec 1\nsymbol L in 1..=1000\ninput %x: f32[L, {h}]\n");
        let linears = [
            ("qkv", h3, h),
            ("out", h, h),
            ("joined", h, h),
            ("up", h4, h),
            ("down", h, h4),
            ("last", h, h4),
        ];
        for (name, n, k) in linears {
            text += &format!("weight @w_{name}: f32[{n}, {k}]\nweight @b_{name}: f32[{n}]\n");
        }
        for name in ["norm", "out_norm", "down_norm"] {
            text += &format!("weight @g_{name}: f32[{h}]\nweight @b_{name}: f32[{h}]\n");
        }
        let attention = attention(hidden);
        text += &format!(
            "%norm: f32[L, {h}] = layer_norm(%x, @g_norm, @b_norm) {{eps = 1e-12}}\n\
             %qkv: f32[L, {h3}] = linear(%norm, @w_qkv, @b_qkv) {{epilogue = []}}\n\
             {attention}\
             %out: f32[L, {h}] = linear(%v, @w_out, @b_out) {{epilogue = []}}\n\
             %joined: f32[L, {h}] = linear(%v, @w_joined, @b_joined) {{epilogue = []}}\n\
             %out_norm: f32[L, {h}] = add_layer_norm(%joined, %x, @g_out_norm, @b_out_norm) {{eps = 1e-12}}\n\
             %up: f32[L, {h4}] = linear(%out, @w_up, @b_up) {{epilogue = [gelu_erf]}}\n\
             %down: f32[L, {h}] = linear(%up, @w_down, @b_down) {{epilogue = []}}\n\
             %last: f32[L, {h}] = linear(%up, @w_last, @b_last) {{epilogue = []}}\n\
             %down_norm: f32[L, {h}] = add_layer_norm(%last, %out_norm, @g_down_norm, @b_down_norm) {{eps = 1e-12}}\n"
        );
        for name in KERNELS {
            text += &format!("output {name} = %{name}\n");
        }
        let attention = format!(
            "bytec 1\nsymbol L in 1..=1000\ninput %qkv: f32[L, {h3}]\n{attention}output attention = %attention\n"
        );
        let graph = parse(&text)?;
        let weights = sample::weights(&graph, 11);
        let bindings = sample::bindings(&graph, 11).into_keys().map(|name| (name, PERIOD));
        let inputs = sample::inputs(&graph, &bindings.collect(), 11);
        let Tensor::F32(x, _) = interpreter::inputs(&inputs)["x"].clone() else {
            anyhow::bail!("the input is numbers")
        };
        let exact = interpreted(&graph, &inputs, &weights, Rounding::Exact)?;
        let attention = parse(&attention)?;
        Ok(Self { hidden, text, graph, attention, weights, x, exact })
    }

    /// A sample of so many rows, which are those of `x` again and again.
    fn sample(&self, rows: u64) -> Inputs {
        let x = self.x.iter().copied().cycle().take((rows * u64::from(self.hidden)) as usize);
        let shape = vec![rows, self.hidden.into()];
        Inputs::from([("x".to_owned(), Tensor::F32(x.collect(), shape))])
    }

    /// Runs samples of these many tokens by a program, on a simulated GPU; `None` without NVRTC.
    ///
    /// # Errors
    /// A plan that does not compile or run, a kernel that spills, a check of the simulator, or a row whose bits depend
    /// on where it stands.
    pub(crate) fn measure(
        &self,
        program: &str,
        counts: &[u64],
        cache: &Path,
    ) -> Result<Option<Vec<Figure>>> {
        let Some(toolchain) = nvrtc::toolchain(cache) else { return Ok(None) };
        let engine = self.engine(program, toolchain)?;
        let what = format!("hidden {} for {program}", self.hidden);
        let samples: Vec<_> = counts.iter().map(|&count| self.sample(count)).collect();
        let alone = run_alone(&engine, &mut engine.session(), &samples)?;
        // The short ones together, one of NaN among them.
        let mut batch: Vec<_> =
            samples.iter().zip(counts).filter(|(_, count)| **count < 1000).collect();
        let mut poisoned = self.sample(7);
        for tensor in poisoned.values_mut() {
            if let Tensor::F32(values, _) = tensor {
                values.fill(f32::NAN);
            }
        }
        let nan = batch.len() / 2;
        batch.insert(nan, (&poisoned, &7));
        let mut packed =
            run(&engine, &mut engine.session(), batch.iter().map(|(inputs, _)| *inputs))?;
        packed.remove(nan);

        let rounding = if program.ends_with("bf16") { Rounding::Bf16 } else { Rounding::F16 };
        let inputs = interpreter::sample(&self.sample(PERIOD))?;
        let rounded = interpreted(&self.graph, &inputs, &self.weights, rounding)?;
        let mut figures = Vec::new();
        for name in KERNELS {
            if name == ATTENTION {
                let figure = self.attention(&alone, &rounded, rounding)?;
                let apart = samples.iter().zip(counts).zip(&alone);
                let short = apart.filter(|((_, count), _)| **count < 1000);
                for (((_, count), alone), packed) in short.zip(&packed) {
                    let same = alone[name].iter().map(|x| x.to_bits());
                    ensure!(
                        same.eq(packed[name].iter().map(|x| x.to_bits())),
                        "{what}: {name}: a sample of {count} has other bits in a batch"
                    );
                }
                figures.push(figure);
                continue;
            }
            let exact = &self.exact[name];
            let rows: Vec<_> = exact.chunks(exact.len() / PERIOD as usize).collect();
            // The bits of the different rows, once one has been seen.
            let mut bits: Vec<Option<Vec<u32>>> = vec![None; rows.len()];
            let mut error: f64 = 0.0;
            for outputs in alone.iter().chain(&packed) {
                for (at, found) in outputs[name].chunks(rows[0].len()).enumerate() {
                    let at = at % rows.len();
                    let own: Vec<_> = found.iter().map(|x| x.to_bits()).collect();
                    match &bits[at] {
                        Some(bits) => {
                            ensure!(*bits == own, "{what}: {name}: row {at} has other bits");
                        }
                        None => error = error.max(max_difference(found, rows[at])),
                    }
                    bits[at] = Some(own);
                }
            }
            ensure!(bits.iter().all(Option::is_some), "{what}: {name}: every row is seen");
            let bound = 2.0 * max_difference(&rounded[name], exact);
            let joined = engine.program().steps.iter().any(|step| {
                step.name == name && matches!(step.kernel, Kernel::LinearLayerNorm { .. })
            });
            figures.push(Figure { error, bound, joined });
        }
        Ok(Some(figures))
    }

    /// The largest error of the attention of samples that ran alone.
    fn attention(
        &self,
        alone: &[Outputs],
        rounded: &Outputs,
        rounding: Rounding,
    ) -> Result<Figure> {
        let width = 3 * self.hidden as usize;
        let evaluated = |qkv: &[f32], rows: usize, rounding| -> Result<Vec<f32>> {
            let qkv = qkv.iter().copied().cycle().take(rows * width).collect();
            let shape = vec![rows as u64, width as u64];
            let inputs = Inputs::from([("qkv".to_owned(), Tensor::F32(qkv, shape))]);
            let inputs = interpreter::sample(&inputs)?;
            let mut outputs = interpreted(&self.attention, &inputs, &BTreeMap::new(), rounding)?;
            Ok(outputs.remove(ATTENTION).unwrap_or_default())
        };
        let (mut error, mut bound): (f64, f64) = (0.0, 0.0);
        for outputs in alone {
            let found = &outputs[ATTENTION];
            let rows = found.len() / self.hidden as usize;
            let exact = evaluated(&self.exact["qkv"], rows, Rounding::Exact)?;
            let rounded = evaluated(&rounded["qkv"], rows, rounding)?;
            error = error.max(max_difference(found, &exact));
            bound = bound.max(2.0 * max_difference(&rounded, &exact));
        }
        Ok(Figure { error, bound, joined: false })
    }

    fn engine(&self, program: &str, toolchain: bytec_compiler::Toolchain) -> Result<Engine> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let tensor = |x: &bytec_ir::Tensor| {
            let values = x.as_floats().unwrap_or_default().iter().map(|&x| x as f32).collect();
            TinyTensor { shape: x.shape.clone(), values }
        };
        let tensors = self.weights.iter().map(|(name, x)| (name.clone(), tensor(x))).collect();
        let checkpoint = TinyCheckpoint { config: serde_json::Value::Null, tensors };
        std::fs::write(path("model.safetensors"), checkpoint.safetensors())?;
        std::fs::write(path("graph.ir"), &self.text)?;
        let front = FrontOptions { graph: Some(path("graph.ir")), ..FrontOptions::default() };
        let targets = vec![program.parse().map_err(anyhow::Error::msg)?];
        let options = Options { targets, toolchain, front, ..Options::default() };
        plans::compile(&path("model.safetensors"), &options, &path("model.plan"))?;
        let major = if program.starts_with("sm_90a") { 9 } else { 8 };
        let driver = SimDriver::of_arch(Arch::of_device(major, 0));
        let plan = std::fs::read(path("model.plan"))?;
        let engine =
            Engine::from_bytes_with_driver(&plan, Arc::new(driver), EngineOptions::default())?;
        let notes = &engine.manifest().report.notes;
        ensure!(notes.is_empty(), "hidden {}: spills or warnings: {notes:?}", self.hidden);
        Ok(engine)
    }
}

/// The lines that make q, k and v of `%qkv`, and the attention of them, in heads of 32 to 128 columns and of 26.
fn attention(hidden: u32) -> String {
    let (h, h2, h3) = (hidden, 2 * hidden, 3 * hidden);
    let head_size = match hidden {
        64 => 32,
        128 => 128,
        312 => 26,
        384 => 96,
        _ => 64,
    };
    let (heads, scale) = (h / head_size, f64::from(head_size).powf(-0.5));
    let slice = |name, begin, end| {
        format!("%{name}: f32[L, {h}] = slice(%qkv) {{axis = 1, start = {begin}, end = {end}}}\n")
    };
    [slice("q", 0, h), slice("k", h, h2), slice("v", h2, h3)].concat()
        + &format!(
            "%attention: f32[L, {h}] = attention(%q, %k, %v) {{heads = {heads}, head_size = {head_size}, scale = {scale:?}}}\n"
        )
}

fn interpreted(
    graph: &Graph,
    inputs: &BTreeMap<String, bytec_ir::Tensor>,
    weights: &BTreeMap<String, bytec_ir::Tensor>,
    rounding: Rounding,
) -> Result<Outputs> {
    let outputs = eval(graph, inputs, weights, rounding)?;
    let single = |x: &bytec_ir::Tensor| -> Vec<f32> {
        x.as_floats().unwrap_or_default().iter().map(|&x| x as f32).collect()
    };
    Ok(outputs.iter().map(|(name, x)| (name.clone(), single(x))).collect())
}
