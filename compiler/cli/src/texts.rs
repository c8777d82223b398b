//! Texts as samples, and `bytec run --text`: texts in, one JSON line each out.

use std::io::{BufWriter, IsTerminal, Write, stderr, stdin, stdout};
use std::path::Path;

use bytec_plan::manifest::{Task, TextSpec};
use bytec_plan::program::DType;
use bytec_runtime::Engine;
use bytec_text::{Origin, TextEncoder, Truncation};

use crate::Outcome;
use crate::args::{RunArgs, Source};
use crate::batches::{Batching, Item, Tensor, Values, in_batches};
use crate::failure::Failure;
use crate::lines::Reading;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// A text, or a pair of them, with what became of it.
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) pair: Option<String>,
    /// The token ids.
    pub(crate) ids: Vec<i64>,
    pub(crate) origins: Vec<Option<Origin>>,
    pub(crate) cut: usize,
}

pub(crate) fn run(args: &RunArgs, engine: &Engine) -> Outcome {
    let places = match engine.manifest().task {
        Some(Task::TokenClassification | Task::QuestionAnswering) => !args.raw,
        _ => false,
    };
    let encoder = encoder(&args.plan, engine)?;
    let encoder = if places { encoder.with_origins() } else { encoder };
    let reading = Reading::of(args, engine, &encoder)?;
    let (texts, items) = encode(&args.source, &args.plan, engine, &encoder)?;
    for (text, item) in texts.iter().zip(&items) {
        reading
            .check(text)
            .map_err(|problem| Failure::bad_input(anyhow::anyhow!("{}: {problem}", item.label)))?;
    }
    let mut out = BufWriter::new(stdout().lock());
    // A bar among the lines that a terminal shows would be noise.
    let bar = !stdout().is_terminal();
    let batching = Batching { alone: args.alone, max_tokens: args.source.max_batch_tokens, bar };
    in_batches(engine, &items, batching, |first, outputs| {
        for sample in 0..reading.len(&outputs) {
            let line = reading.line(&texts[first + sample], &outputs, sample);
            serde_json::to_writer(&mut out, &line).map_err(Failure::json)?;
            writeln!(out)?;
        }
        out.flush()?;
        Ok(())
    })?;
    say_cut(engine, &texts);
    Ok(())
}

/// The texts as samples `0`, `1` and so on.
pub(crate) fn samples(
    source: &Source,
    plan: &Path,
    engine: &Engine,
) -> Result<(Vec<String>, Vec<Item>), Failure> {
    let (texts, items) = encode(source, plan, engine, &encoder(plan, engine)?)?;
    say_cut(engine, &texts);
    Ok(((0..items.len()).map(|i| i.to_string()).collect(), items))
}

/// Says on standard error how many texts were cut, if any.
fn say_cut(engine: &Engine, texts: &[Text]) {
    let cut = texts.iter().filter(|text| text.cut > 0).count();
    if cut > 0 {
        let dropped: usize = texts.iter().map(|text| text.cut).sum();
        let limit = engine.manifest().text.as_ref().map_or(0, |spec| spec.max_tokens);
        // A closed standard error must not make the outputs a failure.
        let _ = writeln!(
            stderr(),
            "{cut} of {} texts were cut to {limit} tokens, {dropped} tokens dropped; --no-truncate refuses them instead",
            texts.len()
        );
    }
}

/// The texts of `--text`, then the lines of `--text-file`, then the pairs; each the second of one if there is a query.
fn texts(source: &Source) -> Result<Vec<(String, Option<String>)>, Failure> {
    let mut texts = source.text.clone();
    if let Some(path) = &source.text_file {
        texts.extend(lines(path)?);
    }
    let paired = |text: String| match &source.query {
        Some(query) => (query.clone(), Some(text)),
        None => (text, None),
    };
    let pairs = source.pair.chunks_exact(2).map(|pair| (pair[0].clone(), Some(pair[1].clone())));
    Ok(texts.into_iter().map(paired).chain(pairs).collect())
}

/// The texts of a file, one a line.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let content = read(path)?;
    if content.is_empty() {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "{}: expected a text a line, found nothing",
            named(path).display()
        )));
    }
    Ok(content.lines().map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<String, Failure> {
    let read = if path == Path::new(STDIN) {
        std::io::read_to_string(stdin().lock())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| Failure::reading(named(path), &error))
}

/// The path as messages give it.
pub(crate) fn named(path: &Path) -> &Path {
    if path == Path::new(STDIN) { Path::new("standard input") } else { path }
}

fn no_tokenizer(plan: &Path) -> Failure {
    Failure::bad_input(anyhow::anyhow!(
        "{} holds no tokenizer: its model had no tokenizer.json; use --inputs",
        plan.display()
    ))
}

fn takes_ids(engine: &Engine) -> bool {
    engine.program().inputs.iter().any(|input| input.dtype == DType::I64)
}

/// Whether a plan makes samples of texts.
pub(crate) fn reads(engine: &Engine) -> bool {
    takes_ids(engine) && engine.manifest().text.is_some() && engine.tokenizer().is_some()
}

fn encoder(plan: &Path, engine: &Engine) -> Result<TextEncoder, Failure> {
    if !takes_ids(engine) {
        let names: Vec<_> = engine.program().inputs.iter().map(|x| x.name.as_str()).collect();
        return Err(Failure::bad_input(anyhow::anyhow!(
            "{} reads no text: its model takes {}; use --inputs",
            plan.display(),
            names.join(" and ")
        )));
    }
    let spec = engine.manifest().text.as_ref().ok_or_else(|| no_tokenizer(plan))?;
    let tokenizer = engine.tokenizer().ok_or_else(|| no_tokenizer(plan))?;
    TextEncoder::new(tokenizer, spec).map_err(|error| {
        Failure::bad_input(anyhow::Error::new(error).context(plan.display().to_string()))
    })
}

fn encode(
    source: &Source,
    plan: &Path,
    engine: &Engine,
    encoder: &TextEncoder,
) -> Result<(Vec<Text>, Vec<Item>), Failure> {
    let spec = engine.manifest().text.as_ref().ok_or_else(|| no_tokenizer(plan))?;
    let truncation = if source.no_truncate { Truncation::Refuse } else { Truncation::Cut };
    tokens_of(texts(source)?, spec, encoder, truncation)
}

/// Texts as samples, cut to what the model takes. Messages call the plan `of`.
pub(crate) fn items(of: &Path, engine: &Engine, texts: Vec<String>) -> Result<Vec<Item>, Failure> {
    let spec = engine.manifest().text.as_ref().ok_or_else(|| no_tokenizer(of))?;
    let texts = texts.into_iter().map(|text| (text, None)).collect();
    Ok(tokens_of(texts, spec, &encoder(of, engine)?, Truncation::Cut)?.1)
}

fn tokens_of(
    texts: Vec<(String, Option<String>)>,
    spec: &TextSpec,
    encoder: &TextEncoder,
    truncation: Truncation,
) -> Result<(Vec<Text>, Vec<Item>), Failure> {
    let mut encoded = Vec::with_capacity(texts.len());
    let mut items = Vec::with_capacity(texts.len());
    for (i, (text, pair)) in texts.into_iter().enumerate() {
        let label = format!("{} {}", if pair.is_some() { "pair" } else { "text" }, i + 1);
        let tokens = match &pair {
            Some(pair) => encoder.encode_pair(&text, pair, truncation),
            None => encoder.encode(&text, truncation),
        };
        let tokens = tokens.map_err(|error| {
            Failure::bad_input(anyhow::Error::new(error).context(label.clone()))
        })?;
        let shape = vec![tokens.ids.len() as u64];
        let ids = Tensor {
            name: spec.ids.clone(),
            shape: shape.clone(),
            values: Values::I64(tokens.ids.clone()),
        };
        let types = spec.type_ids.clone().map(|name| Tensor {
            name,
            shape,
            values: Values::I64(tokens.type_ids),
        });
        items.push(Item { label, tensors: std::iter::once(ids).chain(types).collect() });
        let (ids, origins, cut) = (tokens.ids, tokens.origins, tokens.cut);
        encoded.push(Text { text, pair, ids, origins, cut });
    }
    Ok((encoded, items))
}
