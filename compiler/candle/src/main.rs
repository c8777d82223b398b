//! Traces the encoders of candle-transformers into bytec graphs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bytec_trace_candle::models::ENCODERS;
use bytec_trace_candle::{Error, Tensors, graph, trace, write};
use candle_core::Device;
use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  bytec-trace-candle bert --config model/config.json --weights model/model.safetensors -o bert.graph
  bytec-trace-candle t5 --config t5/config.json --weights t5/model.safetensors --max-tokens 512 -o t5.graph
  bytec compile model/model.safetensors --graph bert.graph -o bert.plan

A model of your own is traced with the library: see examples/own_model.rs.
Exit codes: 0 ok, 2 bad input, 4 a defect of bytec.";

/// Exit codes, as bytec's own.
const BAD_INPUT: u8 = 2;
const DEFECT: u8 = 4;

/// Runs an unmodified encoder of candle-transformers at a few sizes, and writes what it does with one unpadded sample as a
/// bytec graph.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Args {
    /// The encoder, by its module in candle-transformers
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(ENCODERS.iter().map(named)))]
    encoder: String,
    /// Its config.json
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Its weights, a safetensors file; give it once for every file of a sharded checkpoint
    #[arg(long, value_name = "FILE", required = true)]
    weights: Vec<PathBuf>,
    /// The most tokens of a sample, where the config's limit is not wanted or there is none. A model that makes tables of
    /// distances is run at this length, so a smaller one needs less time and memory
    #[arg(long, visible_alias = "max-length", value_name = "N")]
    max_tokens: Option<u64>,
    /// Where the graph goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn named(encoder: &bytec_trace_candle::models::Encoder) -> clap::builder::PossibleValue {
    clap::builder::PossibleValue::new(encoder.name).help(encoder.about)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program says what it did")]
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(lines) => {
            println!("{}", lines.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            let defect = matches!(error.downcast_ref(), Some(Error::Trace(_)));
            ExitCode::from(if defect { DEFECT } else { BAD_INPUT })
        }
    }
}

fn run(args: &Args) -> Result<Vec<String>> {
    let known = ENCODERS.iter().find(|encoder| encoder.name == args.encoder);
    let encoder = known.with_context(|| format!("there is no encoder {}", args.encoder))?;
    let config =
        fs::read_to_string(&args.config).with_context(|| args.config.display().to_string())?;
    let named = || args.config.display().to_string();
    let (options, build) = encoder.prepare(&config, args.max_tokens).with_context(named)?;
    let weights = load(&args.weights)?;
    let names: Vec<String> = weights.0.keys().cloned().collect();
    let traced = trace(build, Box::new(weights), &options)?;
    let lifted = graph(&traced, &options)?;
    write(&args.output, &lifted.graph.to_string())
        .with_context(|| format!("can't write {}", args.output.display()))?;
    let unused = names.iter().filter(|name| !traced.weights.contains_key(*name)).count();
    let mut lines = vec![format!(
        "wrote {}: {} values, {} weights ({unused} tensors of the checkpoint are not used)",
        args.output.display(),
        lifted.graph.len(),
        traced.weights.len(),
    )];
    lines.extend(lifted.provisos.iter().map(|proviso| format!("note: {proviso}")));
    Ok(lines)
}

/// All tensors of some safetensors files.
fn load(files: &[PathBuf]) -> Result<Tensors> {
    let mut all = BTreeMap::new();
    for file in files {
        let wrong = || format!("{}: no safetensors file that candle can read", file.display());
        let tensors = candle_core::safetensors::load(file, &Device::Cpu).with_context(wrong)?;
        // Sorted at once, so that the order of a hash map reaches nothing.
        let tensors: BTreeMap<_, _> = tensors.into_iter().collect();
        for (name, tensor) in tensors {
            if all.insert(name.clone(), tensor).is_some() {
                bail!("{}: tensor {name} is in another file, too", Path::new(file).display());
            }
        }
    }
    Ok(Tensors(all))
}
