//! The simulator's reader of PTX, on the texts of its test kernels.

use bytec_ir::sample::Random;
use bytec_sim::Module;

use super::{Reached, Subject, mutate};

const TEXTS: [&str; 4] = [
    include_str!("../../runtime/sim/tests/fixtures/vector_add.ptx"),
    include_str!("../../runtime/sim/tests/fixtures/row_norm.ptx"),
    include_str!("../../runtime/sim/tests/fixtures/gemm.ptx"),
    include_str!("../../runtime/sim/tests/fixtures/odds_and_ends_13_5.ptx"),
];

/// What an edit may put in: characters with a meaning, and pieces of instructions.
const PIECES: &[&str] = &[
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

/// PTX that the assembler wrote.
pub(super) struct Texts;

impl Subject for Texts {
    /// A window of a text with some edits: whole texts would spend the time on the parts that were not edited.
    fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let lines: Vec<&str> = random.pick(&TEXTS).lines().collect();
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
        mutate::edit(&mut bytes, PIECES, random);
        bytes
    }

    fn read(&self, input: &[u8]) -> Reached {
        match Module::parse(&String::from_utf8_lossy(input)) {
            Ok(_) => Reached::Read,
            Err(_) => Reached::Refused,
        }
    }
}
