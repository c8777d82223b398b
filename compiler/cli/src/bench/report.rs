//! What a measurement finds, as `--json` prints it.

use std::path::Path;

use bytec_runtime::Engine;
use serde::Serialize;
use serde_json::{Map, Value};

use super::args::BenchArgs;
use super::ceilings::Found;

/// Everything. Rates that could not be measured are null.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) plan: String,
    /// The family and the architecture, as far as the plan says.
    pub(super) model: String,
    pub(super) target: String,
    pub(super) dtype: String,
    pub(super) device: String,
    /// The GPU, what stands in for one, or the processor.
    pub(super) machine: String,
    /// The processor's instruction set, where it runs the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instructions: Option<&'static str>,
    pub(super) threads: usize,
    pub(super) lengths: String,
    pub(super) seed: u64,
    pub(super) ceilings: CeilingRates,
    pub(super) rows: Vec<Row>,
}

/// What the machine reaches at best.
#[derive(Debug, Serialize)]
pub(super) struct CeilingRates {
    pub(super) copy_gb_per_s: Option<f64>,
    pub(super) product_tflop_per_s: Option<f64>,
    pub(super) fma_tflop_per_s: Option<f64>,
    /// Why some are missing.
    pub(super) missing: Vec<String>,
}

/// One sort of batches; means over its runs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) samples: f64,
    pub(super) tokens: f64,
    /// Different batches that were run in turn.
    pub(super) batches: usize,
    pub(super) runs: usize,
    /// Launches of a run; on the processor steps.
    pub(super) launches: f64,
    pub(super) gflop: f64,
    /// The share of the tokens that a padded batch would have, and this one has not.
    pub(super) padding_avoided: f64,
    pub(super) arena_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counts: Option<Counts>,
    /// With `--profile`, one for each kernel and one for each step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kernels: Vec<Line>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<Line>,
}

/// What was timed.
#[derive(Debug, Serialize)]
pub(super) struct Times {
    /// By percentile, such as `p50`.
    pub(super) latency_ms: Map<String, Value>,
    pub(super) pack_ms: f64,
    pub(super) samples_per_s: f64,
    pub(super) tokens_per_s: f64,
    pub(super) tflop_per_s: f64,
    pub(super) of_product: Option<f64>,
    pub(super) of_fma: Option<f64>,
}

/// What the interpreter counted in one run.
#[derive(Debug, Serialize)]
pub(super) struct Counts {
    pub(super) warp_instructions: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    pub(super) tensor_operations: u64,
    pub(super) extra_wavefronts: u64,
}

/// A step, or all steps of a kernel, in a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Line {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) step: String,
    pub(super) kernel: String,
    pub(super) launches: f64,
    /// Rows of the output.
    pub(super) rows: f64,
    pub(super) gflop: f64,
    /// The fewest bytes that have to be moved.
    pub(super) megabytes: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ms: Option<f64>,
    /// Of the time of all steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gflop_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gb_per_s: Option<f64>,
    /// The time that the ceilings allow, as a share of the time taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of_ceiling: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counts: Option<Counts>,
}

impl Report {
    pub(super) fn new(
        args: &BenchArgs,
        engine: &Engine,
        processor: String,
        lengths: String,
        found: &Found,
        rows: Vec<Row>,
    ) -> Self {
        let (program, manifest) = (engine.program(), engine.manifest());
        let model = format!("{} {}", manifest.family, manifest.architecture);
        Self {
            plan: name(&args.plan),
            model: model.trim().to_owned(),
            target: program.target.clone(),
            dtype: program.arithmetic().name().to_owned(),
            device: args.device.to_string(),
            machine: engine.driver().map_or(processor, |driver| driver.name().to_owned()),
            instructions: engine.driver().is_none().then(|| engine.isa().name()),
            threads: engine.threads(),
            lengths,
            seed: args.seed,
            ceilings: CeilingRates {
                copy_gb_per_s: found.rates.copy.map(|rate| rate / 1e9),
                product_tflop_per_s: found.rates.product.map(|rate| rate / 1e12),
                fma_tflop_per_s: found.rates.fma.map(|rate| rate / 1e12),
                missing: found.missing.clone(),
            },
            rows,
        }
    }
}

/// The file's name, which is the same wherever it lies.
fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string())
}
