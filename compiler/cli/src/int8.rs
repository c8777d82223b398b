//! What int8 costs a model: the outputs of its program for `cpu:int8` beside those in f32.

use std::collections::BTreeMap;

use bytec_compiler::emit::Emitted;
use bytec_compiler::{CompileError, Options, Target};
use bytec_plan::kernel::Kernel;
use bytec_plan::program::{DType, Operand, Program, Step};
use bytec_runtime::{Engine, EngineOptions};
use serde::Serialize;

use crate::args::CompileArgs;
use crate::batches::{Batching, Item, in_batches};
use crate::bench::random_items;
use crate::compile::check_tokenizer;
use crate::failure::Failure;
use crate::progress::Silent;
use crate::texts;

/// Texts of several kinds and lengths, for when none are given.
const TEXTS: [&str; 16] = [
    "The cat sits outside.",
    "How do I reset my password?",
    "Water boils at 100 degrees Celsius at sea level, and at a lower temperature on a mountain.",
    "The committee will meet on 14 March 2024 in Room 3B; please bring two copies of the signed form.",
    "I loved the first half of the film, but the ending felt rushed and the music was far too loud.",
    "Error: connection refused (os error 111) while fetching https://example.com/index.json",
    "Heat the oil, add the onions and stir until they are golden; then add the rice and the stock, cover the pan and let it \
     simmer for twenty minutes without lifting the lid.",
    "Quarterly revenue rose 12.4 % to $3.1 billion, ahead of what analysts had expected.",
    "fn main() { println!(\"Hello, world!\"); }",
    "Der Zug nach München hat heute leider vierzig Minuten Verspätung.",
    "La bibliothèque est ouverte du lundi au vendredi, de neuf heures à dix-huit heures.",
    "Ok, thanks!",
    "Photosynthesis is the process by which green plants, algae and some bacteria turn light, water and carbon dioxide into \
     sugar and oxygen. It takes place in two stages: the first catches the energy of light, and the second uses that energy \
     to build carbohydrates. Nearly all life on Earth depends on it, directly or by way of what eats what.",
    "Whereas the parties wish to set forth the terms under which the services are to be provided, it is hereby agreed as \
     follows: the provider shall begin within ten days of the date above, and the client shall pay each invoice within \
     thirty days of receiving it, unless either has given notice in writing.",
    "Who wrote the first novel that was printed in the city of Lagos, and in which year did it come out?",
    "red shoes size 42 waterproof",
];

/// Tokens of random samples, in all; and how many samples, where all have one size.
const TOKENS: u64 = 1024;
const SAMPLES: u64 = 4;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Int8 {
    /// How many linears multiply in int8.
    linears: usize,
    /// The linears that stay f32, each with the reason.
    in_f32: BTreeMap<String, String>,
    /// What the samples are.
    inputs: String,
    samples: usize,
    /// By output.
    outputs: BTreeMap<String, Accuracy>,
}

/// How far an output is from that in f32.
#[derive(Debug, PartialEq, Serialize)]
struct Accuracy {
    /// Between a sample's output and the same in f32, each as one vector: the least of all samples.
    cosine_min: f64,
    /// Half of the samples have no less.
    cosine_median: f64,
    /// The largest difference of two elements.
    max_abs: f64,
    /// The largest element in f32, without its sign.
    scale: f64,
}

/// The outputs of a model in f32 on some samples.
pub(crate) struct Reference {
    items: Vec<Item>,
    inputs: String,
    outputs: Outputs,
}

/// Of each output by name, those of each sample.
type Outputs = BTreeMap<String, Vec<Vec<f32>>>;

impl Reference {
    /// Compiles the model for f32 in memory and runs it on the texts of `args`, or on built-in ones, or on random inputs
    /// where the model has no tokenizer; `None` if int8 is not among the targets.
    pub(crate) fn of(args: &CompileArgs, options: &Options) -> Result<Option<Self>, Failure> {
        if !options.targets.contains(&Target::CpuInt8) {
            return match &args.text_file {
                Some(_) => Err(Failure::bad_input(anyhow::anyhow!(
                    "--text-file: expected --target cpu:int8, whose accuracy is measured on the texts"
                ))),
                None => Ok(None),
            };
        }
        let given = args.text_file.as_deref().map(texts::lines).transpose()?;
        let options = Options { targets: vec![Target::Cpu], ..options.clone() };
        let mut plan = Vec::new();
        bytec_compiler::compile(&args.model.source, &options, &mut Silent, |emitted, _| {
            check_tokenizer(emitted)?;
            emitted.write(&mut plan).map_err(CompileError::from)?;
            Ok::<_, Failure>(())
        })?;
        let engine = engine(&plan, args)?;
        drop(plan);
        let (inputs, items) = samples(args, &engine, given)?;
        let outputs = run(&engine, &items)?;
        Ok(Some(Self { items, inputs, outputs }))
    }

    /// Runs the program in int8 on the same samples.
    pub(crate) fn beside(self, emitted: &Emitted<'_>, args: &CompileArgs) -> Result<Int8, Failure> {
        let mut plan = Vec::new();
        emitted.write(&mut plan).map_err(CompileError::from)?;
        let engine = engine(&plan, args)?;
        drop(plan);
        let found = run(&engine, &self.items)?;
        let accuracy = |(name, expected): (&String, &Vec<Vec<f32>>)| {
            let found = found.get(name).map_or(&[][..], Vec::as_slice);
            (name.clone(), Accuracy::of(found, expected))
        };
        let outputs = self.outputs.iter().map(accuracy).collect();
        let program = engine.program();
        let (linears, in_f32) = linears(program);
        Ok(Int8 { linears, in_f32, inputs: self.inputs, samples: self.items.len(), outputs })
    }
}

impl Int8 {
    /// Lines for whoever watches.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let kept: Vec<_> = self.in_f32.iter().map(|(name, why)| format!("{name}, {why}")).collect();
        lines.push(match kept.len() {
            0 => format!("int8: {} linears, all of the model's", self.linears),
            count => {
                format!("int8: {} linears; {count} in f32: {}", self.linears, kept.join("; "))
            }
        });
        for (name, accuracy) in &self.outputs {
            let Accuracy { cosine_min, cosine_median, max_abs, scale } = accuracy;
            lines.push(format!(
                "int8 beside f32, {} of {} samples ({}): cosine at least {cosine_min:.5}, in the median \
                 {cosine_median:.5}; largest error {max_abs:.1e}, largest element {scale:.1e}",
                name, self.samples, self.inputs
            ));
        }
        lines
    }
}

impl Accuracy {
    fn of(found: &[Vec<f32>], expected: &[Vec<f32>]) -> Self {
        let mut cosines: Vec<f64> =
            found.iter().zip(expected).map(|(found, expected)| cosine(found, expected)).collect();
        cosines.sort_by(f64::total_cmp);
        let pairs = || found.iter().flatten().zip(expected.iter().flatten());
        let error = |(found, expected): (&f32, &f32)| f64::from(*found) - f64::from(*expected);
        Self {
            cosine_min: cosines.first().copied().unwrap_or(1.0),
            cosine_median: cosines.get(cosines.len().saturating_sub(1) / 2).copied().unwrap_or(1.0),
            max_abs: pairs().map(error).fold(0.0, |most, x| larger(most, x.abs())),
            scale: expected.iter().flatten().fold(0.0, |most, x| larger(most, f64::from(x.abs()))),
        }
    }
}

/// The larger of two; NaN if the second is.
fn larger(a: f64, b: f64) -> f64 {
    if a >= b { a } else { b }
}

/// Of two vectors; 1 of equal ones, even if they are zero.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    if a == b { 1.0 } else { dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() }
}

fn engine(plan: &[u8], args: &CompileArgs) -> Result<Engine, Failure> {
    let threads = args.threads.map(usize::from);
    Ok(Engine::from_bytes(plan, EngineOptions { threads, ..EngineOptions::default() })?)
}

/// The samples, and what they are.
fn samples(
    args: &CompileArgs,
    engine: &Engine,
    given: Option<Vec<String>>,
) -> Result<(String, Vec<Item>), Failure> {
    let (readable, source) = (texts::reads(engine), &args.model.source);
    match (given, &args.text_file) {
        (Some(given), Some(file)) if readable => {
            let inputs = format!("the texts of {}", texts::named(file).display());
            Ok((inputs, texts::items(source, engine, given)?))
        }
        (Some(_), _) => Err(Failure::bad_input(anyhow::anyhow!(
            "--text-file: expected a model that reads texts, with its tokenizer.json, found one that takes {}; leave it \
             out, and random inputs are taken",
            takes(engine.program())
        ))),
        (None, _) if readable => {
            let texts = TEXTS.iter().map(|text| (*text).to_owned()).collect();
            Ok(("built-in texts".to_owned(), texts::items(source, engine, texts)?))
        }
        (None, _) => {
            let program = engine.program();
            let tokens = if program.symbols.is_empty() { SAMPLES } else { TOKENS };
            Ok(("random inputs".to_owned(), random_items(program, tokens, 0)?))
        }
    }
}

/// What a program's inputs are called.
fn takes(program: &Program) -> String {
    let names: Vec<_> = program.inputs.iter().map(|input| input.name.as_str()).collect();
    names.join(" and ")
}

fn run(engine: &Engine, items: &[Item]) -> Result<Outputs, Failure> {
    const BATCH: u64 = 4096;
    let longest = items.iter().map(Item::tokens).max().unwrap_or(0);
    let batching = Batching { alone: false, max_tokens: BATCH.max(longest), bar: false };
    let mut all = Outputs::new();
    in_batches(engine, items, batching, |_, outputs| {
        for name in outputs.names() {
            let output = outputs.get(name).into_iter();
            let samples =
                output.flat_map(|output| (0..output.len()).filter_map(move |i| output.sample(i)));
            all.entry(name.to_owned()).or_default().extend(samples.map(<[f32]>::to_vec));
        }
        Ok(())
    })?;
    Ok(all)
}

/// How many linears of a program are in int8, and which are not.
pub(crate) fn linears(program: &Program) -> (usize, BTreeMap<String, String>) {
    let of = |step: &&Step| matches!(step.kernel, Kernel::Linear { .. });
    let in_int8 = |step: &&Step| match step.operands.get(1) {
        Some(Operand::Weight(weight)) => {
            program.weights.get(*weight as usize).is_some_and(|weight| weight.dtype == DType::I8)
        }
        _ => false,
    };
    let (narrow, wide): (Vec<&Step>, Vec<&Step>) =
        program.steps.iter().filter(of).partition(in_int8);
    // The schedule says why behind what the linear's layout is.
    let why = |step: &Step| step.reason.rsplit("f32 as ").next().unwrap_or_default().to_owned();
    (narrow.len(), wide.into_iter().map(|step| (step.name.clone(), why(step))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_that_of_the_worst_sample_and_of_half_of_them() {
        let expected = [vec![1.0, 0.0], vec![0.0, -4.0], vec![2.0, 2.0], vec![0.0, 0.0]];
        let found = [vec![1.0, 0.0], vec![-3.0, -4.0], vec![2.0, 2.0], vec![0.0, 0.0]];
        let accuracy = Accuracy::of(&found, &expected);
        let expected = Accuracy { cosine_min: 0.8, cosine_median: 1.0, max_abs: 3.0, scale: 4.0 };
        assert_eq!(accuracy, expected);
    }

    #[test]
    fn what_is_no_number_shows() {
        let accuracy = Accuracy::of(&[vec![1.0, f32::NAN]], &[vec![1.0, 2.0]]);
        assert!(accuracy.cosine_min.is_nan() && accuracy.max_abs.is_nan());
        assert_eq!(accuracy.scale, 2.0);
        // A zero is no direction.
        assert!(Accuracy::of(&[vec![0.0]], &[vec![1.0]]).cosine_min.is_nan());
    }
}
