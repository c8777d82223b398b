//! The command line of `bytec tune`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::args::output;
use crate::devices::Device;

/// `bytec tune`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec tune bert.plan -o bert.tuned.plan --table h100.json --date 2026-11-23
  bytec tune bert.plan --rows 1024,16384 --runs 50 --json
  bytec compile bert --target sm_90a:bf16 --tuned h100.json -o other.plan
  bytec tune bert.plan --device sim:sm_90a

Each sort of linear of the plan is timed by itself, with as many rows as --rows says, on random normal numbers, through
the runtime's own launches and by the GPU's own clock. The candidates are the tiles that the cost model does not rule out;
they take turns, and the median counts. A tile must be 2 % quicker than the cost model's to take its place. No tile changes
a bit of any result: outputs are compared, of every candidate and of the whole plan, and a difference ends it with code 1.

-o writes a plan that has for each range of rows the quickest tile. --table writes what was measured, for `bytec compile
--tuned`. NVRTC has to be there, as for compiling.

--device sim is a dry run: every candidate is compiled and run once, nothing is timed, there is no table, and a plan
written by -o has the tiles of the cost model.")]
pub(crate) struct TuneArgs {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// Where to write the tuned plan.
    #[arg(short, long, value_name = "FILE", value_parser = output())]
    pub(crate) output: Option<PathBuf>,
    /// Where to write the table of what was measured.
    #[arg(long, value_name = "FILE", value_parser = output())]
    pub(crate) table: Option<PathBuf>,
    /// The day, for the table.
    #[arg(long, value_name = "DAY", requires = "table")]
    pub(crate) date: Option<String>,
    /// What to run on: cuda, or sim[:sm_80|sm_90a] for a dry run.
    #[arg(long, default_value = "cuda")]
    pub(crate) device: Device,
    /// Rows to time, in ascending order; a choice holds from halfway to the smaller number, on a scale of factors, to
    /// halfway to the larger. By default 512,2048,8192,32768; on sim 128.
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) rows: Vec<u32>,
    /// How often each candidate is timed, after a first time that does not count.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) runs: u32,
    /// The folder of NVRTC; by default it is looked for where packages and toolkits put it.
    #[arg(long, value_name = "DIR")]
    pub(crate) nvrtc: Option<PathBuf>,
    /// Where compiled GPU kernels are kept for the next time; by default in the user's cache folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) kernel_cache: Option<PathBuf>,
    /// Chooses the numbers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Prints the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
