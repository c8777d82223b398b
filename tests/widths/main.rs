//! Writes `docs/widths.md`: the kernels of a layer at the hidden sizes of models, on the simulated GPUs with all checks.
//!
//! `cargo run -p bytec-tests --bin widths` prints the page with the rows that the file has; `--measure` runs every
//! width by every program first, or those that words name (`--measure 312 sm_90a:f16`), and `--write` writes the file
//! after each. A test runs the small widths and holds every row to its bound.

mod layer;

use anyhow::{Context, Result};

use layer::{COUNTS, Figure, KERNELS, Layer};

/// Hidden sizes: those of BERT's models and its small and odd relatives.
const HIDDEN: [u32; 7] = [64, 128, 256, 312, 384, 768, 1024];

/// The programs, each for a simulated GPU of its architecture.
const PROGRAMS: [&str; 4] = ["sm_90a:f16", "sm_90a:bf16", "sm_80:f16", "sm_80:bf16"];

/// What the first cell of a row says that has no figures yet.
const MISSING: &str = "not measured yet";

/// What a cell says of a kernel that is one with the linear before it.
const JOINED: &str = ", joined";

const BEGIN: &str = "# Kernels at every width

The kernels of a transformer's layer, compiled from a graph and run on the simulated GPU with all its checks: a LayerNorm; the linear to q, k and v in one; attention; the linear of the attention's output (of columns of the first), alone and with a residual and a LayerNorm behind it; up with GELU; down, alone and with a residual and a LayerNorm.
A linear and its LayerNorm that are one kernel are called joined.
Attention's heads have 32 columns at a hidden size of 64, 128 at 128, 26 at 312, 96 at 384, else 64.
Samples have 1, 7, 63, 64, 65, 127, 128, 129 and 1,000 tokens, each in a batch of its own, and all but the longest in one batch beside a sample of NaN. Every sample's rows repeat the same 125, and each of these has the same bits wherever it stands; of attention, whose rows depend on the sample's length, each sample has the same bits alone and in the batch.
Each cell has the largest error of these runs against f64, and its bound: twice the error of rounding after each op. No kernel spills registers, and the assembler warns of none.

`cargo run --release -p bytec-tests --bin widths -- --measure --write` measures every row anew; words after it pick widths and programs. A test runs the two smallest widths, and holds every cell to its bound.

";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]
fn main() -> Result<()> {
    let (mut measure, mut write) = (false, false);
    let (mut widths, mut programs) = (Vec::new(), Vec::new());
    for word in std::env::args().skip(1) {
        let width = word.parse().ok().filter(|width| HIDDEN.contains(width));
        match (word.as_str(), width) {
            ("--measure", _) => measure = true,
            ("--write", _) => write = true,
            (_, Some(width)) => widths.push(width),
            (program, None) if PROGRAMS.contains(&program) => programs.push(word),
            _ => anyhow::bail!(
                "expected --measure, --write, a width of {HIDDEN:?} or a program of {PROGRAMS:?}, found {word}"
            ),
        }
    }
    let path = bytec_tests::root().join("docs/widths.md");
    let mut rows = rows(&std::fs::read_to_string(&path).unwrap_or_default())?;
    if measure {
        let cache = bytec_tests::root().join("target/widths");
        let wanted = |hidden: &u32| widths.is_empty() || widths.contains(hidden);
        for hidden in HIDDEN.into_iter().filter(wanted) {
            let layer = Layer::new(hidden)?;
            for program in PROGRAMS {
                if !programs.is_empty() && !programs.iter().any(|wanted| wanted == program) {
                    continue;
                }
                let figures = layer.measure(program, &COUNTS, &cache)?;
                let figures = figures.context("NVRTC is needed to measure")?;
                let row = Row { hidden, program: program.to_owned(), figures };
                eprintln!("{}", row.line());
                rows.retain(|old| (old.hidden, &old.program) != (hidden, &row.program));
                rows.push(row);
                if write {
                    std::fs::write(&path, page(&rows))?;
                }
            }
        }
    }
    match write {
        true => std::fs::write(&path, page(&rows))?,
        false => println!("{}", page(&rows)),
    }
    Ok(())
}

/// A row of the page.
struct Row {
    hidden: u32,
    program: String,
    /// Of each of [`KERNELS`].
    figures: Vec<Figure>,
}

impl Row {
    fn line(&self) -> String {
        let cells = self.figures.iter().map(|f| {
            let joined = if f.joined { JOINED } else { "" };
            format!(" {:.1e} of {:.1e}{joined} |", f.error, f.bound)
        });
        format!("| {} | {} |{}", self.hidden, self.program, cells.collect::<String>())
    }
}

fn page(rows: &[Row]) -> String {
    let mut lines = vec![
        format!("| hidden | program | {} |", KERNELS.join(" | ")),
        format!("|---:|---|{}", "---:|".repeat(KERNELS.len())),
    ];
    for program in PROGRAMS {
        for hidden in HIDDEN {
            let row = rows.iter().find(|row| (row.hidden, &*row.program) == (hidden, program));
            let missing = || {
                format!("| {hidden} | {program} | {MISSING} |{}", " |".repeat(KERNELS.len() - 1))
            };
            lines.push(row.map_or_else(missing, Row::line));
        }
    }
    BEGIN.to_owned() + &lines.join("\n") + "\n"
}

/// The rows of a page.
fn rows(page: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for line in page.lines() {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [hidden, program, figures @ ..] = &cells[..] else { continue };
        let Ok(hidden) = hidden.parse() else { continue };
        if figures.first() == Some(&MISSING) {
            continue;
        }
        let figure = |cell: &&str| -> Result<Figure> {
            let (error, bound) = cell.split_once(" of ").context(line.to_owned())?;
            let joined = bound.ends_with(JOINED);
            let bound = bound.trim_end_matches(JOINED).parse()?;
            Ok(Figure { error: error.parse()?, bound, joined })
        };
        let figures = figures.iter().map(figure).collect::<Result<_>>()?;
        rows.push(Row { hidden, program: (*program).to_owned(), figures });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is as it would be made, and each figure is within its bound.
    #[test]
    fn the_page_is_true() {
        let path = bytec_tests::root().join("docs/widths.md");
        let written = std::fs::read_to_string(path).expect("docs/widths.md is there");
        let found = rows(&written).expect("its rows can be read");
        let help = "run `cargo run -p bytec-tests --bin widths -- --measure --write`";
        assert!(page(&found) == written, "docs/widths.md is not as it would be made: {help}");
        assert!(!found.is_empty(), "no row has figures: {help}");
        for row in &found {
            assert_eq!(row.figures.len(), KERNELS.len(), "{}", row.line());
            for Figure { error, bound, .. } in &row.figures {
                assert!(error <= bound, "{}", row.line());
            }
        }
    }

    /// The small widths at every token count; larger ones take minutes, and the page has them.
    #[test]
    fn small_widths_are_right() {
        let cache = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/widths");
        for (hidden, programs) in [(64, &PROGRAMS[..]), (128, &PROGRAMS[..1])] {
            let layer = Layer::new(hidden).expect("it can be made");
            for program in programs {
                let counts = if hidden == 64 { &COUNTS[..] } else { &COUNTS[..COUNTS.len() - 1] };
                let figures = layer.measure(program, counts, &cache);
                let Some(figures) = figures.expect("it runs") else { return };
                for (kernel, Figure { error, bound, .. }) in KERNELS.iter().zip(figures) {
                    assert!(
                        error <= bound,
                        "{hidden} {program} {kernel}: {error:e} is past {bound:e}"
                    );
                }
            }
        }
    }
}
