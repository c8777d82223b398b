//! Readers of what comes from outside, on mutated texts and files: `cargo run -p bytec-tests --bin fuzz -- READER
//! EXECUTIONS [SEED]`. A debug build counts overflowing arithmetic as a panic.
//!
//! Each execution edits a good input in a few places and takes it as far as the compiler would. It may be refused at any
//! stage; a panic, or an input that is read as something else than it says, ends the run with the input that caused it, on
//! standard error. The slowest execution is named, so that an input that takes long without need shows as well.
//!
//! A reader is one file with a [`Subject`] and one line in [`READERS`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people to run")]

mod graph;
mod mutate;
mod pt2;
mod ptx;
mod statements;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytec_compiler::fuse;
use bytec_ir::sample::Random;
use bytec_ir::{Graph, verify};

/// A reader under test, with the good inputs that it starts from.
trait Subject {
    /// A good input with some edits.
    fn mutated(&self, random: &mut Random) -> Vec<u8>;

    /// Reads an input, and says how far it got. A panic is a finding.
    fn read(&self, input: &[u8]) -> Reached;
}

/// How far an input got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    /// It was refused when it was read.
    Refused,
    /// It was read, and refused later, or there is nothing more to do with it.
    Read,
    /// It was read and is the graph of a model, of which no plan can be made.
    Graph,
    /// Its model was fused and placed in a batch.
    Packed,
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
#[derive(Debug, Default)]
struct Count {
    reached: BTreeMap<Reached, u64>,
    /// The number of the execution that took longest, and how long it took.
    slowest: (u64, Duration),
}

/// Takes a graph as far as a compilation does before it chooses kernels.
fn packed(graph: &Graph) -> Reached {
    if verify::verify(graph).is_err() {
        return Reached::Read;
    }
    let (fused, _) = fuse::run(graph, fuse::RULES)
        .unwrap_or_else(|error| panic!("a valid graph has no fused form: {error}"));
    match fuse::pack(&fused) {
        Ok(_) => Reached::Packed,
        Err(_) => Reached::Graph,
    }
}

/// Reads mutated inputs. The error is the number of the execution that panicked, and its input.
fn run(subject: &dyn Subject, executions: u64, seed: u64) -> Result<Count, (u64, Vec<u8>)> {
    let mut random = Random::new(seed);
    let mut count = Count::default();
    for execution in 0..executions {
        let input = subject.mutated(&mut random);
        let begun = Instant::now();
        let reached = catch_unwind(AssertUnwindSafe(|| subject.read(&input)));
        *count.reached.entry(reached.map_err(|_| (execution, input))?).or_default() += 1;
        let time = begun.elapsed();
        if time > count.slowest.1 {
            count.slowest = (execution, time);
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
        Ok(count) => {
            let seconds = begun.elapsed().as_secs_f64();
            let of = |reached| count.reached.get(&reached).copied().unwrap_or(0);
            println!(
                "{name}: {executions} executions of seed {seed}: {} refused when read, {} later, {} that no plan can be made of, {} fused and packed; none panicked, in {seconds:.0} s",
                of(Reached::Refused),
                of(Reached::Read),
                of(Reached::Graph),
                of(Reached::Packed)
            );
            let (slowest, time) = count.slowest;
            println!("the slowest was execution {slowest}, in {} ms", time.as_millis());
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

    /// A small share of what a long run does; inputs of all sorts come up, and of those that go on to a graph enough get
    /// past the reader.
    #[test]
    fn every_reader_takes_mutated_inputs() {
        for (name, subject) in READERS {
            match run(subject().as_ref(), 3000, 7) {
                Ok(count) => {
                    let at_least = |reached| count.reached.range(reached..).map(|(_, n)| n).sum();
                    let [read, packed]: [u64; 2] = [Reached::Read, Reached::Packed].map(at_least);
                    assert!(read < 2950, "{name}: {count:?}");
                    match *name {
                        "ptx" => assert!(read > 50, "{name}: {count:?}"),
                        _ => assert!(read > 1000 && packed > 100, "{name}: {count:?}"),
                    }
                }
                Err((execution, input)) => {
                    panic!("{name}: {execution}: {}", String::from_utf8_lossy(&input))
                }
            }
        }
    }
}
