//! The sizes of the samples of a measurement.

use std::path::PathBuf;
use std::str::FromStr;

use bytec_models::tiny::SplitMix64;
use bytec_plan::program::{Program, SymbolSpec};

use super::args::BenchArgs;
use crate::failure::Failure;

/// What `--lengths` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lengths {
    /// Any size between two, all equally often; for each number of a size by itself.
    Uniform(Vec<u64>, Vec<u64>),
    /// All the same.
    Fixed(Vec<u64>),
    /// Those of a file, in order, again from the beginning after the last.
    File(PathBuf),
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected uniform:8-256, fixed:128 or file:PATH; sizes of several numbers as 8x16"
                .to_owned()
        };
        let (how, what) = text.split_once(':').ok_or_else(expected)?;
        match how {
            "uniform" => {
                let (from, to) = what.split_once('-').ok_or_else(expected)?;
                let (from, to) = (size(from).ok_or_else(expected)?, size(to).ok_or_else(expected)?);
                let ordered = from.len() == to.len() && from.iter().zip(&to).all(|(a, b)| a <= b);
                if ordered {
                    Ok(Self::Uniform(from, to))
                } else {
                    Err("expected the smaller size first, and as many numbers in both".to_owned())
                }
            }
            "fixed" => Ok(Self::Fixed(size(what).ok_or_else(expected)?)),
            "file" if !what.is_empty() => Ok(Self::File(what.into())),
            _ => Err(expected()),
        }
    }
}

/// The numbers of a size.
fn size(text: &str) -> Option<Vec<u64>> {
    text.split('x').map(|number| number.parse().ok()).collect()
}

/// Gives the sizes of one sample after the other.
pub(super) struct Sizes {
    how: How,
    /// In words, for reports.
    pub(super) said: String,
    random: SplitMix64,
}

enum How {
    /// For each symbol.
    Uniform(Vec<(u64, u64)>),
    Listed {
        sizes: Vec<Vec<u64>>,
        next: usize,
    },
}

impl Sizes {
    /// As the command line says, for the samples of a program.
    pub(super) fn new(args: &BenchArgs, program: &Program) -> Result<Self, Failure> {
        let symbols = &program.symbols;
        let random = SplitMix64(args.seed);
        if symbols.is_empty() {
            for (flag, given) in
                [("--lengths", args.lengths.is_some()), ("--ratio", args.ratio.is_some())]
            {
                if given {
                    return Err(bad(format!(
                        "{flag}: expected none, since all samples of this plan have one size"
                    )));
                }
            }
            let how = How::Uniform(Vec::new());
            return Ok(Self { how, said: "one size".to_owned(), random });
        }
        let check = |flag: &str, size: &[u64]| fits(size, symbols, flag);
        let (how, said) = match (&args.lengths, args.ratio) {
            (Some(Lengths::Uniform(from, to)), _) => {
                check("--lengths", from)?;
                check("--lengths", to)?;
                let both = from.iter().copied().zip(to.iter().copied()).collect();
                (How::Uniform(both), format!("uniform:{}-{}", shown(from), shown(to)))
            }
            (Some(Lengths::Fixed(size)), _) => {
                check("--lengths", size)?;
                let both = size.iter().map(|number| (*number, *number)).collect();
                (How::Uniform(both), format!("fixed:{}", shown(size)))
            }
            (Some(Lengths::File(path)), _) => {
                let sizes = read(path, symbols)?;
                (How::Listed { sizes, next: 0 }, format!("file:{}", path.display()))
            }
            (None, Some(share)) => {
                let [symbol] = symbols.as_slice() else {
                    return Err(bad(format!(
                        "--ratio: expected a plan whose samples have one size, found {}; use --lengths",
                        symbols.len()
                    )));
                };
                let longest = args.longest.unwrap_or(symbol.max);
                check(if args.longest.is_some() { "--longest" } else { "--ratio" }, &[longest])?;
                let (from, to) = about(share, longest, symbol.min);
                (
                    How::Uniform(vec![(from, to)]),
                    format!("uniform:{from}-{to} (ratio {share} of {longest})"),
                )
            }
            (None, None) => return Ok(Self::usual(program, args.seed)),
        };
        Ok(Self { how, said, random })
    }

    /// From 8 to 256, as far as the program allows.
    pub(super) fn usual(program: &Program, seed: u64) -> Self {
        let clamped = |wanted: u64| -> Vec<u64> {
            let symbols = program.symbols.iter();
            symbols.map(|symbol| wanted.clamp(symbol.min, symbol.max)).collect()
        };
        let (from, to) = (clamped(8), clamped(256));
        let said = format!("uniform:{}-{}", shown(&from), shown(&to));
        let how = How::Uniform(from.into_iter().zip(to).collect());
        Self { how, said, random: SplitMix64(seed) }
    }

    /// How many sizes there are, if they are listed.
    pub(super) fn listed(&self) -> Option<usize> {
        match &self.how {
            How::Uniform(_) => None,
            How::Listed { sizes, .. } => Some(sizes.len()),
        }
    }

    /// The next sample's.
    pub(super) fn next(&mut self) -> Vec<u64> {
        match &mut self.how {
            How::Uniform(symbols) => symbols
                .iter()
                .map(|(from, to)| match (to - from).checked_add(1) {
                    Some(count) => from + self.random.below(count),
                    None => self.random.bits(),
                })
                .collect(),
            How::Listed { sizes, next } => {
                let size = sizes[*next].clone();
                *next = (*next + 1) % sizes.len();
                size
            }
        }
    }

    /// Puts a size back that was the last one drawn, where they are listed.
    pub(super) fn put_back(&mut self) {
        if let How::Listed { sizes, next } = &mut self.how {
            *next = (*next + sizes.len() - 1) % sizes.len();
        }
    }
}

/// The widest uniform range with this mean: up to the longest if the share is at least a half, else from the shortest.
fn about(share: f64, longest: u64, shortest: u64) -> (u64, u64) {
    let mean = share * longest as f64;
    let from = (2.0 * mean - longest as f64).round().max(shortest as f64) as u64;
    let from = from.min(longest);
    let to = (2.0 * mean - from as f64).round().max(from as f64) as u64;
    (from, to.min(longest))
}

fn shown(size: &[u64]) -> String {
    size.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}

fn fits(size: &[u64], symbols: &[SymbolSpec], place: &str) -> Result<(), Failure> {
    if size.len() != symbols.len() {
        let names: Vec<_> = symbols.iter().map(|symbol| symbol.name.as_str()).collect();
        return Err(bad(format!(
            "{place}: expected the sizes of {}, found {}",
            names.join(" and "),
            shown(size)
        )));
    }
    for (number, SymbolSpec { name, min, max }) in size.iter().zip(symbols) {
        if !(min..=max).contains(&number) {
            return Err(bad(format!(
                "{place}: expected {name} from {min} to {max}, found {number}"
            )));
        }
    }
    Ok(())
}

fn read(path: &std::path::Path, symbols: &[SymbolSpec]) -> Result<Vec<Vec<u64>>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
    let mut sizes = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let place = format!("{}, line {}", path.display(), nth + 1);
        let size =
            size(line).ok_or_else(|| bad(format!("{place}: expected a size, found `{line}`")))?;
        fits(&size, symbols, &place)?;
        sizes.push(size);
    }
    if sizes.is_empty() {
        return Err(bad(format!("{}: expected a size on each line, found none", path.display())));
    }
    Ok(sizes)
}

fn bad(problem: String) -> Failure {
    Failure::bad_input(anyhow::anyhow!(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_mean() {
        // As ByteTransformer draws: from twice the mean less the longest.
        assert_eq!(about(0.6, 512, 1), (102, 512));
        assert_eq!(about(0.6, 128, 1), (26, 128));
        assert_eq!(about(1.0, 64, 1), (64, 64));
        assert_eq!(about(0.5, 100, 1), (1, 99));
        assert_eq!(about(0.25, 100, 1), (1, 49));
        assert_eq!(about(1e-9, 100, 1), (1, 1));
        assert_eq!(about(0.1, 16, 4), (4, 4));
    }

    #[test]
    fn only_whole_sizes_in_order_are_lengths() {
        let parse = |text: &str| text.parse::<Lengths>();
        assert_eq!(parse("uniform:8-256"), Ok(Lengths::Uniform(vec![8], vec![256])));
        assert_eq!(parse("uniform:2x3-4x5"), Ok(Lengths::Uniform(vec![2, 3], vec![4, 5])));
        assert_eq!(parse("fixed:1"), Ok(Lengths::Fixed(vec![1])));
        assert_eq!(parse("file:a:b"), Ok(Lengths::File("a:b".into())));
        for wrong in [
            "",
            "8",
            "uniform:8",
            "uniform:9-8",
            "uniform:1x1-2",
            "fixed:",
            "fixed:-1",
            "file:",
            "zipf:1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
