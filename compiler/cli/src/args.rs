//! The command line.

use std::path::PathBuf;

use bytec_compiler::front::PoolingChoice;
use clap::builder::{PathBufValueParser, RangedI64ValueParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::bench::BenchArgs;
use crate::devices::Device;
use crate::targets::Wanted;
use crate::tune::TuneArgs;

/// Compiles transformer models ahead of time and runs them on packed batches, without padding.
#[derive(Debug, Parser)]
#[command(
    name = "bytec",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 ok, 1 mismatch, 2 bad input, 3 this machine can't, 4 a defect of bytec."
)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compile a model into a plan.
    Compile(CompileArgs),
    /// Run a plan on texts or tensors.
    Run(RunArgs),
    /// Measure a plan: latencies, rates, and how near they come to what this machine can do.
    Bench(BenchArgs),
    /// Choose the tiles of a plan's linears by measuring them on this machine's GPU.
    Tune(TuneArgs),
    /// Compare a plan's results on several devices, and alone with batched.
    Verify(VerifyArgs),
    /// Write what a model should give: samples, random or given, with their outputs, computed in f64.
    Golden(GoldenArgs),
    /// Show what a plan holds and how it came about.
    Inspect(InspectArgs),
    /// Show what every op of a model becomes, by which rules, and what stood in the way of others.
    Explain(ExplainArgs),
    /// List the ops, fusion rules, kernels or model families that this bytec knows.
    List(ListArgs),
    /// Show what this machine can run.
    Doctor(DoctorArgs),
}

/// `bytec compile`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec compile all-MiniLM-L6-v2 -o minilm.plan
  bytec compile bert/model.safetensors --config bert/config.json --pooling mean --normalize true -o bert.plan
  bytec compile weights.safetensors --graph model.bytec -o model.plan --emit stages/
  bytec compile model.pt2 --outputs last_hidden_state,pooler_output -o model.plan
  bytec compile all-MiniLM-L6-v2 --target cpu,sm_80:f16,sm_90a:bf16 -o minilm.plan
  bytec compile all-MiniLM-L6-v2 --target cpu:int8 --text-file sentences.txt -o minilm.plan
  bytec compile bert --target sm_90a:f16 --tuned h100.json -o bert.plan")]
pub(crate) struct CompileArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Where to write the plan.
    #[arg(short, long, value_name = "FILE", value_parser = output())]
    pub(crate) output: PathBuf,
    /// What to compile for, several separated by commas: cpu, sm_80 (Ampere and Ada), sm_90a (Hopper), compute_80 (PTX
    /// for any of them and later ones), native (this machine's GPU); also the element type after a colon: for cpu f32
    /// (the default), bf16 or int8, for GPUs f16 (the default), bf16 or f32. In int8 linears multiply integers: weights
    /// have a scale for each output and rows of values one each, found at run time; those that give an output, and those
    /// of fewer than 32 inputs or outputs, stay f32 as all else does. What that costs the outputs is measured and printed.
    #[arg(long, visible_alias = "arch", value_delimiter = ',', default_value = "cpu")]
    pub(crate) target: Vec<Wanted>,
    /// The folder of NVRTC, for GPU targets; by default it is looked for where packages and toolkits put it.
    #[arg(long, value_name = "DIR")]
    pub(crate) nvrtc: Option<PathBuf>,
    /// Where compiled GPU kernels are kept for the next time; by default in the user's cache folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) kernel_cache: Option<PathBuf>,
    /// Tiles of GPU kernels as `bytec tune --table` measured them; where this table knows a layer it counts before the
    /// one that ships with bytec, and that before the cost model. Repeatable; the first that knows a layer counts.
    #[arg(long, value_name = "FILE")]
    pub(crate) tuned: Vec<PathBuf>,
    /// Leaves out the PTX beside machine code: a smaller plan, but for no later generation of GPUs, and not for
    /// --device sim.
    #[arg(long)]
    pub(crate) strip_ptx: bool,
    /// Writes every stage into this folder: graph, fused graph, schedule, plan as JSON.
    #[arg(long, value_name = "DIR")]
    pub(crate) emit: Option<PathBuf>,
    /// Texts to measure the accuracy of cpu:int8 on beside f32, one a line; `-` for standard input. By default a few
    /// built-in ones, or random inputs for a model without a tokenizer.
    #[arg(long, value_name = "FILE")]
    pub(crate) text_file: Option<PathBuf>,
    /// Threads to compile with; the plan is the same for any number.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<u16>,
    /// Prints the compile report as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The model of `bytec compile` and `bytec golden`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ModelArgs {
    /// A folder in Hugging Face layout, a .safetensors file, or a .pt2 archive of torch.export.
    pub(crate) source: PathBuf,
    /// How token rows become a sentence embedding: mean, cls, max, mean_sqrt_len_tokens, weightedmean or lasttoken, or
    /// several with commas between, put side by side; `none` leaves the folder's pooling out.
    #[arg(long, value_name = "MODES", value_parser = pooling)]
    pub(crate) pooling: Option<PoolingChoice>,
    /// Whether the embedding is divided by its L2 norm; by default as the folder says.
    #[arg(long, value_name = "BOOL")]
    pub(crate) normalize: Option<bool>,
    /// The model's config.json, if it is not beside the weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Supplies or overrides a field of the config, such as num_attention_heads=12; repeatable.
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field)]
    pub(crate) set: Vec<(String, String)>,
    /// The architecture, such as BertModel, if the config names none or another head is wanted.
    #[arg(long, value_name = "NAME")]
    pub(crate) architecture: Option<String>,
    /// A bytec graph to compile with these weights instead of a known family.
    #[arg(long, value_name = "FILE")]
    pub(crate) graph: Option<PathBuf>,
    /// Names for the outputs of a .pt2 archive, which has none, in order; by default output.0, output.1 and so on.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) outputs: Vec<String>,
    /// The most tokens, pixels or whatever else of a sample a .pt2 archive counts, where it leaves that open or a lower
    /// limit is wanted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_length: Option<u64>,
}

/// More threads than any machine has would only take its memory.
pub(crate) fn threads() -> RangedI64ValueParser<u16> {
    RangedI64ValueParser::new().range(1..=1024)
}

/// A file to write. `-` would make a file of that name, which nobody wants.
pub(crate) fn output() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if path.as_os_str() == "-" {
            Err("expected the name of a file; /dev/stdout is standard output")
        } else {
            Ok(path)
        }
    })
}

fn pooling(text: &str) -> Result<PoolingChoice, String> {
    if text == "none" {
        return Ok(PoolingChoice::None);
    }
    let kinds: Result<_, _> = text.split(',').map(PoolingChoice::kind).collect();
    Ok(PoolingChoice::Kinds(kinds?))
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected FIELD=VALUE".to_owned()),
    }
}

/// The samples of `bytec run` and `bytec verify`.
#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("samples").required(true).multiple(true).args(["text", "text_file", "pair", "inputs"])))]
pub(crate) struct Source {
    /// A text; repeatable.
    #[arg(long, conflicts_with = "inputs")]
    pub(crate) text: Vec<String>,
    /// A file with one text a line; `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    pub(crate) text_file: Option<PathBuf>,
    /// Two texts as one input, for a model that compares them; repeatable.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "inputs")]
    pub(crate) pair: Vec<String>,
    /// Makes every other text the second of a pair with this one: a query to rank passages, a question to answer.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["inputs", "pair"])]
    pub(crate) query: Option<String>,
    /// A safetensors file with keys `<sample>.<input name>`.
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Option<PathBuf>,
    /// Refuses texts over the model's limit instead of cutting them.
    #[arg(long, conflicts_with = "inputs")]
    pub(crate) no_truncate: bool,
    /// The most rows of one batch; more samples than fit run in several batches.
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    pub(crate) max_batch_tokens: u64,
}

/// `bytec run`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec run minilm.plan --text \"The cat sits outside\" --text \"A man is playing guitar\"
  bytec run minilm.plan --text-file sentences.txt > embeddings.jsonl
  bytec run reranker.plan --query \"how do planes fly\" --text-file passages.txt
  bytec run entailment.plan --pair \"A man sleeps.\" \"Somebody is asleep.\" --top-k 3
  bytec run bert.plan --inputs in.safetensors -o out.safetensors

Each text prints one JSON line, which says what the model's head is for: the embedding; the best label and its score, or
a lone class's score; labelled spans; words for each mask; the answer to a question. --inputs needs -o: the one holds `<sample>.<input>`, the other gets `<sample>.<output>`,
both without batch axis or padding.")]
pub(crate) struct RunArgs {
    /// The plan.
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) source: Source,
    /// Where to write the outputs of --inputs, with keys `<sample>.<output name>`.
    #[arg(short, long, value_name = "FILE", value_parser = output(), conflicts_with_all = ["text", "text_file", "pair"])]
    pub(crate) output: Option<PathBuf>,
    /// How many labels, or words for a mask, to print; by default the best label and 5 words.
    #[arg(long, value_name = "N", conflicts_with_all = ["inputs", "raw"], value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top_k: Option<u32>,
    /// Prints the model's outputs for a text as they are.
    #[arg(long, conflicts_with = "inputs")]
    pub(crate) raw: bool,
    /// What to run on: cpu, cuda, or sim[:sm_80|sm_90a], an interpreter of the plan's PTX that checks every access.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: Device,
    /// Runs every sample in a batch of its own; the results are the same bits.
    #[arg(long)]
    pub(crate) alone: bool,
    /// With --device sim: prints on standard error what each kernel did, counted exactly.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Threads to run with; by default as many as there are cores. The results are the same bits.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<u16>,
}

/// `bytec verify`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec verify bert.plan --inputs in.safetensors
  bytec verify bert.plan --inputs in.safetensors --reference out.safetensors --devices cpu
  bytec verify minilm.plan --text \"The cat sits outside\" --devices cpu,sim --steps
  bytec verify bert.plan --inputs in.safetensors --devices cpu,sim --steps --json | jq .steps

Every sample runs packed with others and alone; the two must be the same bits. Values must lie near those of --reference,
or else of the first device: so far, relative to the output's scale, the largest value expected in any sample.

- Against a file of `bytec golden`: twice what rounding to the program's element type after each op costs the model, which
  the file says; in f32 at least 2e-6.
- Against another file, whose own error is not known: 1e-5 in f32, 1e-2 in f16, 8e-2 in bf16, 2e-1 in int8. These are coarse: they find
  a wrong kernel, not a lost digit.
- Against another device: the same, of two programs the coarser.

--tolerance sets another. NaN equals NaN only.

--steps also holds the result of every step against that of the first device's step which gives the value of the same
name by the same kernel, as against another device, relative to that value's scale, and names the first step that is wrong. Errors
grow from step to step; a jump between two lines is where to look. Steps without a counterpart are listed.

A reference may leave out samples and outputs, which the report lists. Texts are samples 0, 1 and so on.")]
pub(crate) struct VerifyArgs {
    /// The plan.
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) source: Source,
    /// What the outputs should be: a safetensors file with keys `<sample>.<output name>`; by default what the first
    /// device gives.
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    /// What to run on, several separated by commas, out of cpu, sim[:sm_80|sm_90a], cuda; by default all that the plan
    /// has a program for and this machine can run.
    #[arg(long, value_delimiter = ',')]
    pub(crate) devices: Vec<Device>,
    /// Compares step by step, to find the first that is wrong. Runs everything once more, and keeps the results of all
    /// steps for one batch at a time; see --max-batch-tokens.
    #[arg(long)]
    pub(crate) steps: bool,
    /// The largest error allowed, relative to the output's scale, instead of one by the programs' element types.
    #[arg(long, value_name = "X", value_parser = tolerance)]
    pub(crate) tolerance: Option<f64>,
    /// Threads of the CPU to run with; by default as many as there are cores.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<u16>,
    /// Prints the findings as JSON; numbers that are not finite are null.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bytec golden`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec golden model/ -o golden.safetensors --lengths 1,7,64
  bytec golden vision/ -o golden.safetensors --lengths 28x28,14x42
  bytec golden model/ -o golden.safetensors --inputs in.safetensors
  bytec verify model.plan --inputs golden.safetensors --reference golden.safetensors

The graph is evaluated as it was read, before any fusion, one op after the other in f64. Ids and floats are random, the
same for the same --seed. The file holds `<sample>.<input>` and `<sample>.<output>`, each sample without batch axis or
padding; its metadata holds the errors of the same evaluation with rounding to f32, f16 and bf16 after each op, by output.
`bytec verify` allows twice those.")]
pub(crate) struct GoldenArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Where to write the samples and their outputs.
    #[arg(short, long, value_name = "FILE", value_parser = output())]
    pub(crate) output: PathBuf,
    /// The size of each sample: its tokens, or for several sizes such as rows and columns those joined by x; by default
    /// 1,2,7,8,9,16,17. A model of images of one size takes none, and gets three samples.
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = sizes)]
    pub(crate) lengths: Vec<Sizes>,
    /// Chooses the samples.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Samples to evaluate in place of random ones: a safetensors file with keys `<sample>.<input name>`. Outputs in it
    /// are passed over.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lengths", "seed"])]
    pub(crate) inputs: Option<PathBuf>,
}

/// The sizes of one sample, in the order of the model's symbols.
#[derive(Clone, Debug)]
pub(crate) struct Sizes(pub(crate) Vec<u64>);

fn sizes(text: &str) -> Result<Sizes, String> {
    let sizes: Result<Vec<u64>, _> = text.split('x').map(str::parse).collect();
    sizes.map(Sizes).map_err(|_| "expected a number, or numbers joined by x".to_owned())
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// `bytec inspect`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec inspect minilm.plan
  bytec inspect minilm.plan --json | jq .manifest.report.rules")]
pub(crate) struct InspectArgs {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// Prints everything as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bytec explain`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec explain all-MiniLM-L6-v2
  bytec explain weights.safetensors --graph model.bytec --target sm_80
  bytec explain minilm.plan --json | jq '.rules[] | select(.refused != [])'

Each step is followed by the model's ops that it computes, with the rules that took them there. Then come ops that need no
step, and the near misses: where a rule found its pattern, and which guard refused it. A model that can't be compiled is
explained as far as fusion came, and the exit code is 2. A plan is explained program by program.

Entries that come again with other numbers in their names, as a model's layers do, are counted; --json has them all.")]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What the steps are for, as in `bytec compile`.
    #[arg(long, default_value = "cpu")]
    pub(crate) target: Wanted,
    /// Prints everything as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bytec list`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec list rules
  bytec list ops --json")]
pub(crate) struct ListArgs {
    /// What to list.
    pub(crate) what: Listing,
    /// Prints a JSON list.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    /// The IR's ops.
    Ops,
    /// The fusion rules, in order.
    Rules,
    /// The kernels of a plan.
    Kernels,
    /// The model families.
    Models,
}

/// `bytec doctor`
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  bytec doctor
  bytec doctor minilm.plan --json")]
pub(crate) struct DoctorArgs {
    /// A plan to check against this machine.
    pub(crate) plan: Option<PathBuf>,
    /// The folder of NVRTC; by default it is looked for where packages and toolkits put it.
    #[arg(long, value_name = "DIR")]
    pub(crate) nvrtc: Option<PathBuf>,
    /// Prints the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
