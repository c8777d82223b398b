//! The reader of bytec's graph text, on graphs of every model family and random ones.

use bytec_ir::sample::{self, Random};
use bytec_ir::{Graph, parse};
use bytec_models::MODELS;
use bytec_tests::families;

use super::statements::Statements;
use super::{Reached, Subject, mutate, packed};

/// What an edit may put in: characters with a meaning, and values that attributes and types take.
const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "%",
    "@",
    "#",
    "\"",
    "\\",
    "\\u{110000}",
    "\n",
    "*",
    "+",
    "-",
    "..=",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "0",
    "1",
    "L",
    "L*L",
    "ceil(L, 0)",
    "floor(L, 2)",
    "nan(0x7ff8000000000001)",
    "inf",
    "1e400",
    "f16",
    "i64[",
    "none",
    "causal",
    "band(0, *)",
    "t5(32, 128, both)",
    "log(256, 512)",
    "alibi([0.5])",
    "half(4, 10000.0)",
    "neg(x0)",
    "x999999999999",
    "é",
];

/// The most values of a graph that is fused as well; larger ones would take the time of many.
const MOST_FUSED: usize = 64;

/// Good graphs, as lines and as statements.
pub(super) struct Graphs {
    graphs: Vec<(Vec<String>, Statements)>,
}

impl Graphs {
    pub(super) fn new() -> Self {
        let models =
            MODELS.iter().flat_map(|family| (0..3).map(|seed| families::graph(family, seed)));
        let random = (0..60).map(sample::graph);
        let parts = |graph: Graph| {
            let lines = graph.to_string().lines().map(str::to_owned).collect();
            (lines, Statements::of(&graph))
        };
        Self { graphs: models.chain(random).map(parts).collect() }
    }
}

impl Subject for Graphs {
    /// Mostly a few statements of a graph, edited as such. Else the first lines of a text, with some edits in the last of
    /// them: the reader stops at the first fault, and what it has read before it is as it was in every other run.
    fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let (lines, statements) = &self.graphs[random.below(self.graphs.len())];
        if random.chance(65) {
            let mut cut = statements.cut(random);
            (0..random.below(4)).for_each(|_| cut.edit(random));
            let mut bytes = cut.text().into_bytes();
            if random.chance(10) {
                mutate::edit(&mut bytes, PIECES, random);
            }
            return bytes;
        }
        let end = 1 + random.below(lines.len());
        let start = end - 1 - random.below(end.min(6));
        let mut bytes = lines[..start].join("\n").into_bytes();
        bytes.push(b'\n');
        let mut last = lines[start..end].join("\n").into_bytes();
        mutate::edit(&mut last, PIECES, random);
        bytes.extend(last);
        bytes
    }

    /// What is read must print as a text that is read as the same.
    fn read(&self, input: &[u8]) -> Reached {
        let Ok(graph) = parse(&String::from_utf8_lossy(input)) else { return Reached::Refused };
        let text = graph.to_string();
        let again =
            parse(&text).unwrap_or_else(|error| panic!("what is printed is refused: {error}"));
        assert_eq!(again.to_string(), text, "what is printed is read as something else");
        if graph.len() > MOST_FUSED {
            return Reached::Read;
        }
        packed(&graph)
    }
}
