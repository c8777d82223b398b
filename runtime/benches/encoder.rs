//! A whole encoder of the sizes of MiniLM, 64 samples in one packed batch. Prints the best of many runs.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[path = "../tests/runtime/encoder.rs"]
#[expect(dead_code, reason = "shared with the tests, which use the rest")]
mod encoder;
#[path = "../tests/runtime/programs.rs"]
#[expect(dead_code, reason = "shared with the tests, which use the rest")]
mod programs;

use std::error::Error;
use std::time::{Duration, Instant};

use bytec_runtime::{Isa, PackedBatch};

use encoder::{Sizes, encoder, texts};

const MINILM: Sizes =
    Sizes { layers: 6, hidden: 384, heads: 12, inner: 1536, words: 30522, longest: 512 };

fn main() -> Result<(), Box<dyn Error>> {
    let lengths: Vec<u64> = (0..64).map(|i| 4 + (i * i * 7) % 69).collect();
    for (name, lengths) in [("64 samples", &lengths[..]), ("1 of 512", &[512]), ("1 of 8", &[8])] {
        for threads in [1, 2] {
            let engine = encoder(MINILM).engine(threads, Isa::best());
            let mut batch = PackedBatch::new(&engine);
            for text in texts(MINILM, lengths, 3) {
                batch.push(&text.sample())?;
            }
            let mut session = engine.session();
            let mut best = Duration::MAX;
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(3) {
                let begin = Instant::now();
                session.run(&batch)?;
                best = best.min(begin.elapsed());
            }
            let tokens: u64 = lengths.iter().sum();
            let rate = tokens as f64 / best.as_secs_f64();
            println!("{name}, {tokens} tokens, {threads} threads: {best:?}, {rate:.0} tokens/s");
        }
    }
    Ok(())
}
