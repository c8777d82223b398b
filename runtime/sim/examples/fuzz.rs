//! Parses mutated PTX: `cargo run --release -p bytec-sim --example fuzz -- EXECUTIONS [SEED]`.
//!
//! Each execution edits the text of one of the test kernels in a few places and parses it. A text may parse or be
//! refused; a panic ends the run with the text that caused it, written to standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people to run")]

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use bytec_sim::Module;

const TEXTS: [&str; 4] = [
    include_str!("../tests/fixtures/vector_add.ptx"),
    include_str!("../tests/fixtures/row_norm.ptx"),
    include_str!("../tests/fixtures/gemm.ptx"),
    include_str!("../tests/fixtures/odds_and_ends_13_5.ptx"),
];

/// What an edit may put in: characters with a meaning, and pieces of instructions.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ";",
    ",",
    "@",
    "!",
    "%",
    ".",
    "+",
    "-",
    "0x",
    "0f",
    "//",
    "/*",
    "\n",
    "\"",
    "%r1",
    "18446744073709551616",
    ".b128",
    ".param",
];

/// A stream of numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

/// A window of a text with some edits: whole texts would spend the time on the parts that were not edited.
fn mutated(random: &mut Random) -> String {
    let text = TEXTS[random.below(TEXTS.len())];
    let lines: Vec<&str> = text.lines().collect();
    let body = lines.iter().position(|line| line.starts_with('{')).unwrap_or(0);
    let from = body + random.below(lines.len() - body);
    let mut kept: Vec<&str> = lines[..body].to_vec();
    kept.push("{");
    // Without the declarations every instruction is refused for its registers.
    let declares = |line: &&&str| line.trim_start().starts_with('.') && !line.contains(".loc");
    kept.extend(lines[body..from].iter().filter(declares));
    kept.extend(lines[from..].iter().take(1 + random.below(12)));
    kept.push("}");
    let mut bytes = kept.join("\n").into_bytes();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            1 => bytes[at] = 32 + random.below(95) as u8,
            2 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            _ => {
                let end = (at + 1 + random.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Some(Ok(executions)), Ok(seed)) = (arguments.next(), arguments.next().unwrap_or(Ok(1)))
    else {
        eprintln!("usage: fuzz EXECUTIONS [SEED]");
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let mut random = Random(seed);
    let mut parsed = 0u64;
    for execution in 0..executions {
        let text = mutated(&mut random);
        match catch_unwind(|| Module::parse(&text).is_ok()) {
            Ok(fine) => parsed += u64::from(fine),
            Err(_) => {
                eprintln!("execution {execution} of seed {seed} panics on:\n{text}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{executions} executions of seed {seed}: {parsed} parsed, {} refused, none panicked, in {:.0} s",
        executions - parsed,
        begun.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
