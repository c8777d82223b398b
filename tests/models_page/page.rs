//! The page, and the figures in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bytec_models::{Family, MODELS};
use bytec_tests::figures::{self, Figure, PLACES};
use bytec_tests::{families, plans};

/// The figures of each family, one for each of [`PLACES`].
pub(crate) type Figures = BTreeMap<String, Vec<Figure>>;

const BEGIN: &str = "# Models

Every family that `bytec compile` knows by its `model_type`, with every head it builds, the kernels in the plans of tiny checkpoints of its heads, and how near its results are to the reference.

- *Reference data* are results of transformers in f64 for a checkpoint in `tests/golden_data`; every sample of them passes on the CPU, and in CI a few of each case on the simulated GPU, alone with the same bits as in a batch.
- *Random models* are random valid configs (`models/src/tiny/draw.rs`): the CPU against the interpreter in f64 for all heads (`tests/random_models.rs`), and the interpreter against transformers where Python can install it (`tests/transformers`).
- The tables have, for each device and element type, the result that came nearest to its bound, over the reference data and one random model. The bound in f32 is twice the reference's own error in f32 and no less than 2e-6 of the output's scale; in f16 and bf16 it is twice the error of rounding after each op. Random models are allowed eight times the error of rounding instead, in f32 too, and no less than 8e-6 of the output's scale or of 1.
- `sm_80` and `sm_90a` are the simulated GPU running the PTX that a plan holds. What tensor cores round otherwise, only a GPU can tell.

`cargo run -p bytec-tests --bin models_page -- --measure --write` measures anew and writes this page; a test holds it to the families, heads and kernels that there are.
";

/// Where the page is.
pub(crate) fn path() -> PathBuf {
    bytec_tests::root().join("docs/models.md")
}

/// The page with these figures.
///
/// # Errors
/// A family whose tiny checkpoints don't compile.
pub(crate) fn page(figures: &Figures) -> Result<String> {
    let mut page = BEGIN.to_owned();
    for family in MODELS {
        section(&mut page, family, figures.get(family.name).map_or(&[], Vec::as_slice))?;
    }
    Ok(page)
}

fn section(page: &mut String, family: &Family, figures: &[Figure]) -> Result<()> {
    let list = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let cases: Vec<_> = figures::cases(family)?.into_iter().map(|case| case.name).collect();
    let data = match &cases[..] {
        [] => "none".to_owned(),
        cases => cases.join(", "),
    };
    writeln!(page, "\n## {}\n\n{}.\n", family.name, family.summary)?;
    writeln!(page, "- `model_type`: {}", list(family.model_types))?;
    writeln!(page, "- Architectures: {}", list(&(family.architectures)()))?;
    writeln!(page, "- Kernels: {}", kernels(family)?)?;
    writeln!(page, "- Reference data: {data}")?;
    writeln!(page, "\n| device | type | samples | nearest to its bound | error | bound |")?;
    writeln!(page, "|---|---|---:|---|---:|---:|")?;
    for (place, figure) in PLACES.iter().zip(figures) {
        let Figure { subject, samples, error, bound } = figure;
        let (device, dtype) = (place.device, place.dtype);
        writeln!(
            page,
            "| {device} | {dtype} | {samples} | {subject} | {error:.1e} | {bound:.1e} |"
        )?;
    }
    Ok(())
}

/// The kernels of a family's heads, by name.
fn kernels(family: &Family) -> Result<String> {
    let mut names = BTreeSet::new();
    for seed in 0..(family.architectures)().len() as u64 {
        let folder = tempfile::tempdir()?;
        plans::write_folder(families::checkpoint(family, seed), folder.path())?;
        names.extend(figures::kernels(folder.path())?);
    }
    Ok(names.into_iter().collect::<Vec<_>>().join(", "))
}

/// The figures of a page.
///
/// # Errors
/// A row that is none.
pub(crate) fn parse(page: &str) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut family = None;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            family = Some(figures.entry(name.to_owned()).or_default());
            continue;
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", device, dtype, samples, subject, error, bound, ""] = cells[..] else { continue };
        let Some(family) = &mut family else { continue };
        let Some(place) = PLACES.get(family.len()) else { continue };
        if (device, dtype) != (place.device, place.dtype) {
            continue;
        }
        family.push(Figure {
            subject: subject.to_owned(),
            samples: samples.parse().context(line.to_owned())?,
            error: error.parse().context(line.to_owned())?,
            bound: bound.parse().context(line.to_owned())?,
        });
    }
    Ok(figures)
}

/// So many of them, evenly spread from the first to the last.
pub(crate) fn spread(numbers: &[u64], count: usize) -> Vec<u64> {
    match numbers.len() {
        0..=1 => numbers.to_vec(),
        len if len <= count => numbers.to_vec(),
        len => (0..count).map(|nth| numbers[nth * (len - 1) / (count - 1)]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page's families, heads and kernels are those that there are, each has a figure for each place, and each
    /// figure is within its bound.
    #[test]
    fn the_page_is_true() {
        let written = std::fs::read_to_string(path()).expect("docs/models.md is there");
        let figures = parse(&written).expect("its rows can be read");
        let help = "run `cargo run -p bytec-tests --bin models_page -- --write`, with --measure for a new family";
        assert!(
            page(&figures).expect("it can be made") == written,
            "docs/models.md is not as it would be made: {help}"
        );
        for family in MODELS {
            let own = &figures[family.name];
            assert_eq!(own.len(), PLACES.len(), "{}: {help}", family.name);
            for Figure { subject, error, bound, .. } in own {
                assert!(error <= bound, "{} {subject}: {error:e} is past {bound:e}", family.name);
            }
        }
    }
}
