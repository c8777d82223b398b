//! Readers of what comes from outside, on mutated texts and files: `cargo run -p bytec-tests --bin fuzz -- READER
//! EXECUTIONS [SEED]`. A debug build counts overflowing arithmetic as a panic.
//!
//! Each execution edits a good input in a few places and reads it. It may be read or refused; a panic, or an input that is
//! read as something else than it says, ends the run with the input that caused it, on standard error.
//!
//! A reader is one file with a [`Subject`] and one line in [`READERS`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people to run")]

mod graph;
mod mutate;
mod pt2;
mod ptx;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use bytec_ir::sample::Random;

/// A reader under test, with the good inputs that it starts from.
trait Subject {
    /// A good input with some edits.
    fn mutated(&self, random: &mut Random) -> Vec<u8>;

    /// Reads an input. True if it is read, false if it is refused; a panic is a finding.
    fn read(&self, input: &[u8]) -> bool;
}

/// A reader's name, and its subject.
type Reader = (&'static str, fn() -> Box<dyn Subject>);

/// All readers.
const READERS: &[Reader] = &[
    ("graph", || Box::new(graph::Graphs::new())),
    ("pt2", || Box::new(pt2::Archives::new())),
    ("ptx", || Box::new(ptx::Texts)),
];

/// What came of a run that found nothing.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    read: u64,
    refused: u64,
}

/// Reads mutated inputs. The error is the number of the execution that panicked, and its input.
fn run(subject: &dyn Subject, executions: u64, seed: u64) -> Result<Count, (u64, Vec<u8>)> {
    let mut random = Random::new(seed);
    let mut count = Count { read: 0, refused: 0 };
    for execution in 0..executions {
        let input = subject.mutated(&mut random);
        match catch_unwind(AssertUnwindSafe(|| subject.read(&input))) {
            Ok(true) => count.read += 1,
            Ok(false) => count.refused += 1,
            Err(_) => return Err((execution, input)),
        }
    }
    Ok(count)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map(|argument| argument.parse::<u64>());
    let reader = arguments.first().and_then(|name| READERS.iter().find(|reader| reader.0 == *name));
    let (Some((name, subject)), Some(Ok(executions)), Ok(seed)) =
        (reader, number(1), number(2).unwrap_or(Ok(1)))
    else {
        let names: Vec<_> = READERS.iter().map(|reader| reader.0).collect();
        eprintln!("usage: fuzz {} EXECUTIONS [SEED]", names.join("|"));
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    match run(subject().as_ref(), executions, seed) {
        Ok(Count { read, refused }) => {
            let seconds = begun.elapsed().as_secs_f64();
            println!(
                "{name}: {executions} executions of seed {seed}: {read} read, {refused} refused, none panicked, in {seconds:.0} s"
            );
            ExitCode::SUCCESS
        }
        Err((execution, input)) => {
            let input = String::from_utf8_lossy(&input);
            eprintln!("{name}: execution {execution} of seed {seed} panics on:\n{input}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small share of what a long run does; inputs of both sorts come up.
    #[test]
    fn every_reader_takes_mutated_inputs() {
        for (name, subject) in READERS {
            match run(subject().as_ref(), 4000, 7) {
                Ok(count) => assert!(count.read > 50 && count.refused > 50, "{name}: {count:?}"),
                Err((execution, input)) => {
                    panic!("{name}: {execution}: {}", String::from_utf8_lossy(&input))
                }
            }
        }
    }
}
