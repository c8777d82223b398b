//! Texts as samples, and `bytec run --text`: texts in, one JSON line each out.

use std::io::{BufWriter, IsTerminal, Write, stderr, stdin, stdout};
use std::path::Path;

use bytec_runtime::{Engine, Output, Outputs};
use bytec_text::{TextEncoder, Truncation};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::Outcome;
use crate::args::{RunArgs, Source};
use crate::batches::{Batching, Item, Tensor, Values, in_batches};
use crate::failure::Failure;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// A text with what became of it.
struct Text {
    text: String,
    tokens: usize,
    cut: usize,
}

pub(crate) fn run(args: &RunArgs, engine: &Engine) -> Outcome {
    let (texts, items) = encode(&args.source, &args.plan, engine)?;
    let shown = shown(engine);
    let mut out = BufWriter::new(stdout().lock());
    // A bar among the lines that a terminal shows would be noise.
    let bar = !stdout().is_terminal();
    let batching = Batching { alone: args.alone, max_tokens: args.source.max_batch_tokens, bar };
    in_batches(engine, &items, batching, |first, outputs| {
        for sample in 0..outputs_len(&outputs, &shown) {
            let line = Line { text: &texts[first + sample], sample, shown: &shown, outputs };
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
    let (texts, items) = encode(source, plan, engine)?;
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

/// The texts of `--text`, then the lines of `--text-file`.
fn texts(source: &Source) -> Result<Vec<String>, Failure> {
    let mut texts = source.text.clone();
    if let Some(path) = &source.text_file {
        let content = read(path)?;
        if content.is_empty() {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "{}: expected a text a line, found nothing",
                named(path).display()
            )));
        }
        texts.extend(content.lines().map(str::to_owned));
    }
    Ok(texts)
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
fn named(path: &Path) -> &Path {
    if path == Path::new(STDIN) { Path::new("standard input") } else { path }
}

fn encode(
    source: &Source,
    plan: &Path,
    engine: &Engine,
) -> Result<(Vec<Text>, Vec<Item>), Failure> {
    let no_tokenizer = || {
        Failure::bad_input(anyhow::anyhow!(
            "{} holds no tokenizer: its model had no tokenizer.json; use --inputs",
            plan.display()
        ))
    };
    let spec = engine.manifest().text.as_ref().ok_or_else(no_tokenizer)?;
    let tokenizer = engine.tokenizer().ok_or_else(no_tokenizer)?;
    let encoder = TextEncoder::new(tokenizer, spec).map_err(|error| {
        Failure::bad_input(anyhow::Error::new(error).context(plan.display().to_string()))
    })?;
    let truncation = if source.no_truncate { Truncation::Refuse } else { Truncation::Cut };
    let texts = texts(source)?;
    let mut encoded = Vec::with_capacity(texts.len());
    let mut items = Vec::with_capacity(texts.len());
    for (i, text) in texts.into_iter().enumerate() {
        let label = format!("text {}", i + 1);
        let tokens = encoder.encode(&text, truncation).map_err(|error| {
            Failure::bad_input(anyhow::Error::new(error).context(label.clone()))
        })?;
        encoded.push(Text { text, tokens: tokens.ids.len(), cut: tokens.cut });
        let shape = vec![tokens.ids.len() as u64];
        let ids = Tensor {
            name: spec.ids.clone(),
            shape: shape.clone(),
            values: Values::I64(tokens.ids),
        };
        let types = spec.type_ids.clone().map(|name| Tensor {
            name,
            shape,
            values: Values::I64(tokens.type_ids),
        });
        items.push(Item { label, tensors: std::iter::once(ids).chain(types).collect() });
    }
    Ok((encoded, items))
}

/// The outputs worth a line: the embedding; without one, those of one row a text; without any, all.
fn shown(engine: &Engine) -> Vec<String> {
    let program = engine.program();
    let named = |keep: &dyn Fn(&bytec_plan::program::OutputSpec) -> bool| -> Vec<String> {
        program
            .outputs
            .iter()
            .filter(|output| keep(output))
            .map(|output| output.name.clone())
            .collect()
    };
    let per_sample = |output: &bytec_plan::program::OutputSpec| {
        program.buffers[output.buffer as usize].rows == bytec_plan::extent::Rows::PerSample
    };
    [named(&|output| output.name == "embedding"), named(&per_sample), named(&|_| true)]
        .into_iter()
        .find(|names| !names.is_empty())
        .unwrap_or_default()
}

fn outputs_len(outputs: &Outputs<'_>, shown: &[String]) -> usize {
    shown.first().and_then(|name| outputs.get(name)).map_or(0, |output| output.len())
}

/// One text's line.
struct Line<'a> {
    text: &'a Text,
    sample: usize,
    shown: &'a [String],
    outputs: Outputs<'a>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("text", &self.text.text)?;
        map.serialize_entry("tokens", &self.text.tokens)?;
        map.serialize_entry("cut", &self.text.cut)?;
        for name in self.shown {
            if let Some(output) = self.outputs.get(name) {
                map.serialize_entry(name, &nested(output, self.sample))?;
            }
        }
        map.end()
    }
}

fn nested(output: Output<'_>, sample: usize) -> Nested<'_> {
    Nested {
        shape: output.shape(sample).unwrap_or_default(),
        data: output.sample(sample).unwrap_or_default(),
    }
}

/// A tensor as nested lists.
struct Nested<'a> {
    shape: Vec<u64>,
    data: &'a [f32],
}

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((&extent, rest)) = self.shape.split_first() else {
            return self.data.first().serialize(serializer);
        };
        let mut list = serializer.serialize_seq(Some(extent as usize))?;
        if rest.is_empty() {
            for value in self.data {
                list.serialize_element(value)?;
            }
        } else {
            let width = rest.iter().product::<u64>().max(1) as usize;
            for data in self.data.chunks(width) {
                list.serialize_element(&Nested { shape: rest.to_vec(), data })?;
            }
        }
        list.end()
    }
}
