//! What `bytec run` prints about a text: one JSON line, as the model's head is meant to be read.

use bytec_plan::extent::Rows;
use bytec_plan::manifest::{Scores, Task};
use bytec_plan::program::OutputSpec;
use bytec_runtime::{Engine, Output, Outputs};
use bytec_text::{TextEncoder, answers, classes, spans};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value, json};

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::texts::Text;

/// How many words are printed for a mask, unless the caller says.
const WORDS: usize = 5;

/// How outputs are read.
pub(crate) enum Reading<'e> {
    /// These outputs as they are.
    Outputs(Vec<String>),
    /// The best classes of the text.
    Classes { labels: &'e [String], scores: Scores, top: Option<usize> },
    /// Labelled parts of the text.
    Spans { labels: &'e [String] },
    /// The best words for each mask.
    Masks { encoder: &'e TextEncoder, mask: i64, name: &'e str, top: usize },
    /// The part of the second text that answers the first.
    Answer,
}

impl<'e> Reading<'e> {
    /// As the plan's task says; the outputs themselves if it has none or `--raw` asks for them.
    pub(crate) fn of(
        args: &RunArgs,
        engine: &'e Engine,
        encoder: &'e TextEncoder,
    ) -> Result<Reading<'e>, Failure> {
        let manifest = engine.manifest();
        let labels = manifest.labels.as_slice();
        let top = args.top_k.map(|top| top as usize);
        let counts =
            matches!(manifest.task, Some(Task::SequenceClassification { .. } | Task::MaskedLm));
        if top.is_some() && !counts {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "--top-k: expected a plan of a text classifier or a masked language model, found {}",
                if manifest.architecture.is_empty() { "a graph" } else { &manifest.architecture }
            )));
        }
        Ok(match manifest.task.filter(|_| !args.raw) {
            None => Reading::Outputs(shown(engine)),
            Some(Task::SequenceClassification { scores }) => {
                Reading::Classes { labels, scores, top }
            }
            Some(Task::TokenClassification) => Reading::Spans { labels },
            Some(Task::QuestionAnswering) => Reading::Answer,
            Some(Task::MaskedLm) => {
                let name = manifest.text.as_ref().and_then(|spec| spec.mask.as_deref());
                match name.and_then(|name| Some((name, encoder.id(name)?))) {
                    Some((name, mask)) => {
                        Reading::Masks { encoder, mask, name, top: top.unwrap_or(WORDS) }
                    }
                    None => {
                        return Err(Failure::bad_input(anyhow::anyhow!(
                            "{}: expected a mask token in the model's tokenizer_config.json, found {}; --raw prints the outputs",
                            args.plan.display(),
                            name.map_or("none".to_owned(), |name| format!(
                                "{name:?}, which tokenizer.json does not have"
                            ))
                        )));
                    }
                }
            }
        })
    }

    /// What a text lacks that this reading needs.
    pub(crate) fn check(&self, text: &Text) -> Result<(), String> {
        match self {
            Reading::Masks { mask, name, .. } if !text.ids.contains(mask) => Err(format!(
                "expected {name} where a word is to be guessed, found none; --raw prints the outputs"
            )),
            Reading::Answer if text.pair.is_none() => {
                Err("expected a question and a text: use --pair or --query".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// How many samples the outputs hold.
    pub(crate) fn len(&self, outputs: &Outputs<'_>) -> usize {
        outputs.names().next().and_then(|name| outputs.get(name)).map_or(0, |output| output.len())
    }

    /// One text's line.
    pub(crate) fn line<'a>(
        &'a self,
        text: &'a Text,
        outputs: &'a Outputs<'a>,
        sample: usize,
    ) -> Line<'a> {
        Line { reading: self, text, outputs, sample }
    }
}

/// One text's line, to be written.
pub(crate) struct Line<'a> {
    reading: &'a Reading<'a>,
    text: &'a Text,
    outputs: &'a Outputs<'a>,
    sample: usize,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("text", &text.text)?;
        if let Some(pair) = &text.pair {
            line.serialize_entry("pair", pair)?;
        }
        line.serialize_entry("tokens", &text.ids.len())?;
        line.serialize_entry("cut", &text.cut)?;
        if let Reading::Outputs(shown) = self.reading {
            for name in shown {
                if let Some(output) = self.outputs.get(name) {
                    line.serialize_entry(name, &nested(output, self.sample))?;
                }
            }
        }
        for (name, value) in self.fields() {
            line.serialize_entry(&name, &value)?;
        }
        line.end()
    }
}

impl Line<'_> {
    fn data(&self, name: &str) -> &[f32] {
        let output = self.outputs.get(name);
        output.and_then(|output| output.sample(self.sample)).unwrap_or_default()
    }

    /// What the outputs say.
    fn fields(&self) -> Map<String, Value> {
        let text = self.text;
        let one = |name: &str, value| Map::from_iter([(name.to_owned(), value)]);
        match self.reading {
            Reading::Outputs(_) => Map::new(),
            Reading::Classes { labels, scores, top } => {
                class_fields(labels, &classes::scores(self.data("logits"), *scores), *top)
            }
            Reading::Spans { labels } => {
                let spans = spans::spans(self.data("logits"), labels, &text.origins);
                one("spans", spans.iter().map(|span| span_fields(text, span)).collect())
            }
            Reading::Masks { encoder, mask, top, .. } => {
                let logits = self.data("logits");
                let width = logits.len() / text.ids.len().max(1);
                let rows = text.ids.iter().zip(logits.chunks(width.max(1)));
                let masked = rows.filter(|(id, _)| *id == mask);
                let scores = masked.map(|(_, row)| classes::scores(row, Scores::Softmax));
                one("masks", scores.map(|scores| words(encoder, &scores, *top)).collect())
            }
            Reading::Answer => {
                let (start, end) = (self.data("start_logits"), self.data("end_logits"));
                let answer = answers::answer(start, end, &text.origins);
                let fields = answer.map(|answer| part(text, 1, &answer.bytes, answer.score));
                one("answer", fields.map_or(Value::Null, Value::Object))
            }
        }
    }
}

/// The best class and its score, all of `top` classes, or the score alone where there is one class.
fn class_fields(labels: &[String], scores: &[f32], top: Option<usize>) -> Map<String, Value> {
    let best = classes::best(scores, top.unwrap_or(1));
    let label = |class: usize| json!(labels.get(class));
    let mut fields = Map::new();
    if let Some(&first) = best.first() {
        if scores.len() > 1 {
            fields.insert("label".to_owned(), label(first));
        }
        fields.insert("score".to_owned(), number(scores[first]));
    }
    if top.is_some() {
        let all = best.iter();
        let all = all.map(|&class| json!({"label": label(class), "score": number(scores[class])}));
        fields.insert("labels".to_owned(), all.collect());
    }
    fields
}

fn span_fields(text: &Text, span: &spans::Span) -> Value {
    let mut fields = Map::new();
    fields.insert("label".to_owned(), json!(span.label));
    if text.pair.is_some() {
        fields.insert("in".to_owned(), json!(if span.text == 0 { "text" } else { "pair" }));
    }
    fields.extend(part(text, span.text, &span.bytes, span.score));
    Value::Object(fields)
}

/// A part of a text: its score, its words, and its first and last place counted in characters.
fn part(
    text: &Text,
    which: usize,
    bytes: &std::ops::Range<usize>,
    score: f32,
) -> Map<String, Value> {
    let whole = if which == 0 { &text.text } else { text.pair.as_ref().unwrap_or(&text.text) };
    let characters = |to: usize| whole.get(..to).map_or(0, |before| before.chars().count());
    let words = whole.get(bytes.clone()).unwrap_or_default();
    let fields = [
        ("score", number(score)),
        ("text", json!(words)),
        ("start", json!(characters(bytes.start))),
        ("end", json!(characters(bytes.end))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn words(encoder: &TextEncoder, scores: &[f32], top: usize) -> Value {
    let word = |id: usize| u32::try_from(id).map(|id| encoder.word(id)).unwrap_or_default();
    let best = classes::best(scores, top);
    best.into_iter()
        .map(|id| json!({"word": word(id), "id": id, "score": number(scores[id])}))
        .collect()
}

/// A score with the digits of an f32; null if it is no number.
fn number(score: f32) -> Value {
    score.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// The outputs worth a line: the embedding; without one, those of one row a text; without any, all.
fn shown(engine: &Engine) -> Vec<String> {
    let program = engine.program();
    let named = |keep: &dyn Fn(&OutputSpec) -> bool| -> Vec<String> {
        let kept = program.outputs.iter().filter(|output| keep(output));
        kept.map(|output| output.name.clone()).collect()
    };
    let per_sample =
        |output: &OutputSpec| program.buffers[output.buffer as usize].rows == Rows::PerSample;
    [named(&|output| output.name == "embedding"), named(&per_sample), named(&|_| true)]
        .into_iter()
        .find(|names| !names.is_empty())
        .unwrap_or_default()
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
