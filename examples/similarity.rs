//! Embeds sentences of very different lengths in one packed batch and compares them.
//!
//! `cargo run --release -p bytec-examples --bin similarity -- .cache/minilm.plan`
#![expect(clippy::print_stdout, reason = "a program for people to run and read")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytec_runtime::{Elements, Engine, Output, PackedBatch, Sample};
use bytec_text::{TextEncoder, Truncation};

const TEXTS: [&str; 6] = [
    "The cat sits outside",
    "The cat plays in the garden",
    "A man is playing guitar",
    "Padding is work that nobody reads: a batch is as long as its longest text, and every shorter one is filled up with \
     tokens whose results are thrown away.",
    "Short and long texts meet in the same batch all day long. A search box sends five words, a document store sends \
     whole paragraphs, and a server that wants to keep its processor busy puts them side by side. Filled up to the \
     longest of them, most of the rows are empty; laid one after the other, all of them are real. What it takes is that \
     every step knows where one text ends and the next begins, so that no word ever looks at a word of its neighbour.",
    "She strums a guitar on stage",
];

fn main() -> Result<()> {
    let plan = std::env::args().nth(1).context("usage: similarity PLAN")?;

    let begun = Instant::now();
    let engine = Engine::open(&plan)?;
    let opened = begun.elapsed();
    let spec = engine.manifest().text.as_ref().context("the plan takes no texts")?;
    let encoder = TextEncoder::new(engine.tokenizer().context("the plan has no tokenizer")?, spec)?;

    let begun = Instant::now();
    let mut batch = PackedBatch::new(&engine);
    let mut lengths = Vec::new();
    for text in TEXTS {
        let tokens = encoder.encode(text, Truncation::Cut)?;
        let shape = [tokens.ids.len() as u64];
        batch.push(&Sample::new().with(&spec.ids, &shape, Elements::I64(&tokens.ids)))?;
        lengths.push(tokens.ids.len());
    }
    let encoded = begun.elapsed();

    let mut session = engine.session();
    let median = median_run(&mut session, &batch)?;
    let outputs = session.run(&batch)?;
    let embedding = outputs.get("embedding").context("the plan gives no embedding")?;

    print_table(embedding, &lengths)?;
    let real: usize = lengths.iter().sum();
    let padded = lengths.len() * lengths.iter().max().copied().unwrap_or(0);
    let report = &engine.manifest().report;
    let count = |ops: &std::collections::BTreeMap<String, u64>| ops.values().sum::<u64>();
    println!("\nfused     {} ops into {}", count(&report.ops_before), count(&report.ops_after));
    println!(
        "tokens    {real} computed, {padded} with padding ({:.1} times)",
        padded as f64 / real as f64
    );
    println!("plan      opened and checked in {opened:.1?}, texts encoded in {encoded:.1?}");
    println!(
        "batch     {median:.1?} in the median of {RUNS} runs, {:.0} tokens/s on {} threads ({})",
        real as f64 / median.as_secs_f64(),
        engine.threads(),
        engine.isa().name(),
    );
    Ok(())
}

const RUNS: usize = 9;

fn median_run(session: &mut bytec_runtime::Session, batch: &PackedBatch) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        session.run(batch)?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times[RUNS / 2])
}

/// Cosine similarities; the embeddings have unit length, so a dot product is all it takes.
fn print_table(embedding: Output<'_>, lengths: &[usize]) -> Result<()> {
    println!(
        "cosine    tokens  {}",
        (1..=TEXTS.len()).map(|i| format!("{i:>8}")).collect::<String>()
    );
    for (i, text) in TEXTS.iter().enumerate() {
        let a = embedding.sample(i).context("one embedding a text")?;
        let mut row = String::new();
        for j in 0..TEXTS.len() {
            let b = embedding.sample(j).context("one embedding a text")?;
            let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            row.push_str(&format!("{cosine:>8.4}"));
        }
        let start: String = text.chars().take(40).collect();
        println!("{:>6}  {:>8}  {row}  {start}", i + 1, lengths[i]);
    }
    Ok(())
}
