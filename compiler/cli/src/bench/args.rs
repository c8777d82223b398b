//! The command line of `bytec bench`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::lengths::Lengths;
use crate::args::{output, threads};
use crate::devices::Device;

/// `bytec bench`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec bench minilm.plan
  bytec bench minilm.plan --lengths uniform:8-256 --batch 1,8,64 --json
  bytec bench bert.plan --ratio 0.6 --longest 512 --batch 16 --profile
  bytec bench bert.plan --tokens 512,2048,8192 --plot tokens.svg
  bytec bench bert.plan --device cuda --graphs --trace trace.json

Every batch is measured for --duration, after it has run once. Samples are random: normal numbers, ids of the whole
table; inputs with a default are left to it. A time is that of a run, from a batch to its outputs on the host; making the
batch is measured by itself.

TFLOP/s count the multiplications and additions of linears and attention over the rows that there are, not those that
padding would add, and are held against ceilings measured here and now: a large product through bytec's own linear; on the
CPU a loop of fused multiply-adds; for steps that move more than they compute a copy in memory. --profile shows each
kernel and step, and how near it comes to what these ceilings allow.

--plot writes an SVG of tokens/s over the tokens of a batch. --trace writes one run for ui.perfetto.dev: a track for the
host, one for the steps as the device ran them, and on the CPU one for each thread.

On --device sim nothing is timed: the run of one batch is counted.")]
pub(crate) struct BenchArgs {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// What to run on: cpu, cuda, or sim[:sm_80|sm_90a], which counts and does not time.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: Device,
    /// The samples' sizes: uniform:8-256, fixed:128, or file:PATH with one size a line. Sizes of several numbers, such as
    /// rows and columns, are joined by x. By default uniform:8-256, as far as the model allows.
    #[arg(long, value_name = "HOW")]
    pub(crate) lengths: Option<Lengths>,
    /// Draws lengths whose mean is this share of the longest: uniform, and as wide as can be.
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "lengths")]
    pub(crate) ratio: Option<f64>,
    /// The longest sample of --ratio; by default the model's limit.
    #[arg(long, value_name = "N", requires = "ratio")]
    pub(crate) longest: Option<u64>,
    /// Samples of a batch; several numbers are measured one after the other. By default 8, for a file all of it, with
    /// --plot 1 to 64.
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Vec<u32>,
    /// The most tokens of a batch, in place of a number of samples.
    #[arg(long, value_name = "N,..", value_delimiter = ',', conflicts_with = "batch", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) tokens: Vec<u64>,
    /// Seconds to measure each number of samples or tokens; by default 2.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<f64>,
    /// The fewest runs of each, however long they take; by default 5.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: Option<u32>,
    /// Which percentiles of the latency to give; by default 50, 90 and 99.
    #[arg(long, value_name = "P,..", value_delimiter = ',', value_parser = percent)]
    pub(crate) percentiles: Vec<f64>,
    /// Chooses lengths and samples.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// With --device cuda: launches as graphs, captured once for each size class.
    #[arg(long)]
    pub(crate) graphs: bool,
    /// Threads of the CPU; by default as many as there are cores.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<u16>,
    /// With --device cuda: the folder of NVRTC, which compiles the product that rates are held against.
    #[arg(long, value_name = "DIR")]
    pub(crate) nvrtc: Option<PathBuf>,
    /// Also measures each kernel and step; on sim, counts them.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Writes tokens/s over the tokens of a batch as SVG.
    #[arg(long, value_name = "FILE", value_parser = output())]
    pub(crate) plot: Option<PathBuf>,
    /// Writes a trace of one run, of the last number of samples or tokens.
    #[arg(long, value_name = "FILE", value_parser = output())]
    pub(crate) trace: Option<PathBuf>,
    /// Prints the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn within(text: &str, most: f64, what: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=most).contains(&value) => Ok(value),
        _ => Err(format!("expected {what}")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let what = "a number above 0 and up to 1";
    within(text, 1.0, what)
        .and_then(|share| if share > 0.0 { Ok(share) } else { Err(format!("expected {what}")) })
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 86_400.0, "seconds, up to a day")
}

fn percent(text: &str) -> Result<f64, String> {
    within(text, 100.0, "a number from 0 to 100")
}
