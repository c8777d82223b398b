//! Writes `docs/models.md`: what each family is, which kernels it uses, and how far its results are from the reference.
//!
//! `cargo run -p bytec-tests --bin models_page` prints the page with the figures that the file has;
//! `--measure` runs every golden case and some random models on the CPU and on the simulated GPUs first, and `--write`
//! writes the file. A test holds the page to the families, heads and kernels that there are, and every figure to its
//! bound.

mod page;

use std::collections::BTreeMap;

use anyhow::Result;
use bytec_models::{Family, MODELS};
use bytec_tests::figures::{self, Figure, PLACES, Subject};

use page::Figures;

/// Random models of each family that are measured.
const RANDOM: u64 = 1;

/// Samples of a golden case that run on a simulated device, unless all are asked for.
const SAMPLES: usize = 4;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]
fn main() -> Result<()> {
    let mut options =
        BTreeMap::from([("--measure", false), ("--write", false), ("--whole", false)]);
    for word in std::env::args().skip(1) {
        let known = options.get_mut(word.as_str());
        *known.ok_or_else(|| {
            anyhow::anyhow!("expected --measure, --whole (all samples) or --write, found {word}")
        })? = true;
    }
    let path = page::path();
    let mut figures = match std::fs::read_to_string(&path) {
        Ok(page) => page::parse(&page)?,
        Err(_) => Figures::new(),
    };
    if options["--measure"] {
        for family in MODELS {
            eprintln!("{}", family.name);
            figures.insert(family.name.to_owned(), measure(family, options["--whole"])?);
        }
    }
    let page = page::page(&figures)?;
    if options["--write"] {
        std::fs::write(path, page)?;
    } else {
        println!("{page}");
    }
    Ok(())
}

/// For each place the figure that comes nearest to its bound.
fn measure(family: &Family, whole: bool) -> Result<Vec<Figure>> {
    let folder = bytec_tests::root().join("target/models_page");
    let cases = figures::cases(family)?;
    let spread = |case: &bytec_tests::golden::Case| {
        let numbers = figures::by_size(case);
        if whole { numbers } else { page::spread(&numbers, SAMPLES) }
    };
    let mut subjects = Vec::new();
    for case in &cases {
        subjects.push(Subject::golden(case, spread)?);
    }
    for seed in 0..RANDOM {
        subjects.push(Subject::random(family, seed)?);
    }
    let mut worst = Vec::new();
    for place in PLACES {
        let mut nearest: Option<Figure> = None;
        let mut samples = 0;
        for subject in &subjects {
            let Some(figure) = subject.measure(place, &folder)? else {
                anyhow::bail!("NVRTC is needed to measure {}", place.device);
            };
            samples += figure.samples;
            let part = |figure: &Figure| figure.error / figure.bound;
            if nearest.as_ref().is_none_or(|nearest| part(&figure) >= part(nearest)) {
                nearest = Some(figure);
            }
        }
        let nearest = nearest.ok_or_else(|| anyhow::anyhow!("{} has no models", family.name))?;
        worst.push(Figure { samples, ..nearest });
    }
    Ok(worst)
}
