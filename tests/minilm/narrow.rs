//! MiniLM with products in bf16 and in int8: how near its embeddings are, and what that does to the order in which texts
//! are found.

use anyhow::{Context, Result, ensure};
use bytec_compiler::Options;
use bytec_runtime::{Engine, EngineOptions, Isa};
use bytec_tests::batches::{Outputs, run, run_alone};
use bytec_tests::plans;

use crate::{MiniLm, expect_same, say};

const OUTPUT: &str = "embedding";

/// How far embeddings may be from the reference.
struct Bounds {
    /// The least cosine to it.
    cosine: f64,
    /// Texts whose nearest other text may be another.
    firsts: usize,
    /// How far the cosines of a pair that changes places may be apart.
    widest: f64,
}

pub(crate) fn bf16(model: &MiniLm) -> Result<()> {
    // One text's two nearest are 6e-4 apart, which attention in bf16 is enough for.
    let bounds = Bounds { cosine: 0.9995, firsts: 1, widest: 4e-3 };
    let best = Isa::best();
    let mut ways = vec![("its instruction", best), ("fma", best.without_bf16())];
    if best.has_amx() {
        ways.push(("the vectors' instruction", best.without_amx()));
    }
    embeddings_keep_their_order(model, "cpu:bf16", &ways, &bounds)?;
    Ok(())
}

pub(crate) fn int8(model: &MiniLm) -> Result<()> {
    // A last bit in f32 decides on a byte here and there, so a few texts come and go with it.
    let bounds = Bounds { cosine: 0.99, firsts: 8, widest: 6e-2 };
    let best = Isa::best();
    let ways = [("its instruction", best), ("wider ones", best.without_int8())];
    let found = embeddings_keep_their_order(model, "cpu:int8", &ways, &bounds)?;
    expect_same(&found[0], &found[1].iter().collect::<Vec<_>>())
}

/// Each text asks for the 63 others, nearest first. Two whose cosines to it are nearly the same may change places. Gives
/// what each way of multiplying gave.
fn embeddings_keep_their_order(
    model: &MiniLm,
    target: &str,
    ways: &[(&str, Isa)],
    bounds: &Bounds,
) -> Result<Vec<Vec<Outputs>>> {
    let folder = tempfile::tempdir()?;
    let plan = folder.path().join("narrow.plan");
    let targets = vec![target.parse()?];
    plans::compile(&model.folder, &Options { targets, ..Options::default() }, &plan)?;
    let expected: Vec<&[f32]> = model
        .case
        .outputs
        .values()
        .map(|outputs| outputs.get(OUTPUT).context(OUTPUT)?.floats())
        .collect::<Result<_>>()?;
    let mut all = Vec::new();
    for &(way, isa) in ways {
        let open = |threads| {
            let options = EngineOptions {
                threads: Some(threads),
                isa: Some(isa),
                ..EngineOptions::default()
            };
            Engine::open_with(&plan, options)
        };
        let engine = open(2)?;
        let outputs = run(&engine, &mut engine.session(), model.inputs())?;
        let engine = open(1)?;
        // A few, since what stands in for the instruction takes its time.
        let few = 8;
        let alone =
            run_alone(&engine, &mut engine.session(), model.inputs().into_iter().take(few))?;
        expect_same(&alone, &outputs.iter().take(few).collect::<Vec<_>>())?;

        let found: Vec<&[f32]> = outputs.iter().map(|outputs| &outputs[OUTPUT][..]).collect();
        let nearness = expected.iter().zip(&found).map(|(a, b)| cosine(a, b));
        let least = nearness.fold(1.0, f64::min);
        let Flips { pairs, flipped, firsts, widest } = flips(&expected, &found);
        say(&format!(
            "{target} by {way}: least cosine {least:.6}; {flipped} of {pairs} pairs of texts change places, their cosines at \
             most {widest:.1e} apart; {firsts} nearest texts change"
        ));
        ensure!(least >= bounds.cosine, "the least cosine to the reference is {least}");
        ensure!(firsts <= bounds.firsts, "{firsts} texts have another nearest text");
        ensure!(widest < bounds.widest, "texts {widest} apart change places");
        all.push(outputs);
    }
    Ok(all)
}

/// What became of the order of texts.
struct Flips {
    /// Pairs of other texts, over all texts that ask.
    pairs: usize,
    /// Those that changed places.
    flipped: usize,
    /// Texts whose nearest other text changed.
    firsts: usize,
    /// How far the cosines of a pair that changed places were apart at most.
    widest: f64,
}

fn flips(expected: &[&[f32]], found: &[&[f32]]) -> Flips {
    let mut flips = Flips { pairs: 0, flipped: 0, firsts: 0, widest: 0.0 };
    for query in 0..expected.len() {
        let others: Vec<usize> = (0..expected.len()).filter(|other| *other != query).collect();
        let to = |of: &[&[f32]]| -> Vec<f64> {
            others.iter().map(|&other| cosine(of[query], of[other])).collect()
        };
        let (before, after) = (to(expected), to(found));
        for i in 0..others.len() {
            for j in 0..i {
                flips.pairs += 1;
                if (before[i] > before[j]) != (after[i] > after[j]) {
                    flips.flipped += 1;
                    flips.widest = flips.widest.max((before[i] - before[j]).abs());
                }
            }
        }
        let first = |of: &[f64]| (0..of.len()).max_by(|&a, &b| of[a].total_cmp(&of[b]));
        flips.firsts += usize::from(first(&before) != first(&after));
    }
    flips
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
