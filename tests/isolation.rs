//! A sample's bits are its own: among a thousand others, of every length, beside samples that are NaN throughout.

use bytec_compiler::front::PoolingChoice;
use bytec_compiler::{FrontOptions, Options};
use bytec_ir::PoolKind;
use bytec_models::tiny::{SplitMix64, TinyBert};
use bytec_runtime::{Engine, EngineOptions, SessionOptions};
use bytec_tests::batches::{Inputs, Outputs, assert_same_bits, run, run_alone};
use bytec_tests::plans;
use bytec_tests::tensors::Tensor;

const SAMPLES: usize = 1000;
const POSITIONS: u64 = 80;
/// Token ids below this have rows of numbers.
const GOOD: u64 = 40;
/// The rows after them, each all of one value.
const BAD: [f32; 4] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN];
/// Lengths at which blocks and tiles begin and end.
const BOUNDARIES: [u64; 12] = [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, POSITIONS];

/// A sample, and whether it holds a token whose row is not finite.
pub(crate) struct Drawn {
    pub(crate) inputs: Inputs,
    pub(crate) bad: bool,
}

/// All samples, of which about a fifth are bad.
pub(crate) fn samples(random: &mut SplitMix64) -> Vec<Drawn> {
    let samples: Vec<_> = (0..SAMPLES).map(|_| draw(random)).collect();
    let bad = samples.iter().filter(|sample| sample.bad).count();
    assert!((100..500).contains(&bad), "{bad} bad samples");
    samples
}

fn draw(random: &mut SplitMix64) -> Drawn {
    let length = match random.below(2) {
        0 => BOUNDARIES[random.below(BOUNDARIES.len() as u64) as usize],
        _ => 1 + random.below(POSITIONS),
    };
    let mut ids: Vec<i64> = (0..length).map(|_| random.below(GOOD) as i64).collect();
    let types = (0..length).map(|_| random.below(2) as i64).collect();
    let bad = random.below(5) == 0;
    if bad {
        let at = random.below(length) as usize;
        ids[at] = (GOOD + random.below(BAD.len() as u64)) as i64;
    }
    let inputs = [("input_ids", ids), ("token_type_ids", types)];
    let named =
        |(name, values): (&str, Vec<i64>)| (name.to_owned(), Tensor::I64(values, vec![length]));
    Drawn { inputs: inputs.into_iter().map(named).collect(), bad }
}

pub(crate) fn shuffled(random: &mut SplitMix64) -> Vec<usize> {
    let mut order: Vec<_> = (0..SAMPLES).collect();
    for i in (1..SAMPLES).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    order
}

/// A tiny model with the rows that samples name.
pub(crate) fn tiny(architecture: &'static str) -> TinyBert {
    TinyBert {
        architecture,
        vocab: GOOD as usize + BAD.len(),
        positions: POSITIONS as usize,
        // A tied output matrix would hold the rows that are not finite, and so would every sample's logits.
        tied: false,
        ..TinyBert::default()
    }
}

/// The plan of a tiny model whose last rows of the word table are not finite.
pub(crate) fn plan(tiny: &TinyBert, options: &Options) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoint = tiny.checkpoint();
    let table = checkpoint.tensors.get_mut("embeddings.word_embeddings.weight").unwrap();
    for (row, value) in table.values.chunks_mut(tiny.hidden).skip(GOOD as usize).zip(BAD) {
        row.fill(value);
    }
    std::fs::write(folder.path().join("config.json"), checkpoint.config_json()).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), checkpoint.safetensors()).unwrap();
    let plan = folder.path().join("model.plan");
    plans::compile(folder.path(), options, &plan).unwrap();
    std::fs::read(plan).unwrap()
}

/// Asserts that a bad sample is NaN throughout, since attention hands a NaN to every row, and that no other is.
pub(crate) fn check_finite(samples: &[Drawn], alone: &[Outputs]) {
    for (sample, outputs) in samples.iter().zip(alone) {
        let as_expected = |x: &f32| if sample.bad { x.is_nan() } else { x.is_finite() };
        assert!(outputs.values().flatten().all(as_expected), "{outputs:?}");
    }
}

/// Runs `samples` in this order, and compares each result with the sample's own.
fn check_order(engine: &Engine, samples: &[Drawn], alone: &[Outputs], order: &[usize], what: &str) {
    let mut session =
        engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
    let found = run(engine, &mut session, order.iter().map(|&i| &samples[i].inputs)).unwrap();
    assert_same_bits(&found, order.iter().map(|&i| &alone[i]), what);
}

fn check(architecture: &'static str, front: FrontOptions) {
    check_model(&tiny(architecture), &Options { front, ..Options::default() });
}

fn check_model(tiny: &TinyBert, options: &Options) {
    let plan = plan(tiny, options);
    let engine = |threads| {
        let options = EngineOptions { threads: Some(threads), ..EngineOptions::default() };
        Engine::from_bytes(&plan, options).unwrap()
    };
    let mut random = SplitMix64(7);
    let samples = samples(&mut random);

    let one = engine(1);
    let inputs = samples.iter().map(|sample| &sample.inputs);
    let alone = run_alone(&one, &mut one.session(), inputs).unwrap();
    check_finite(&samples, &alone);

    check_order(&one, &samples, &alone, &shuffled(&mut random), "one thread");
    let two = engine(2);
    check_order(&two, &samples, &alone, &shuffled(&mut random), "two threads");
    let orders = [shuffled(&mut random), shuffled(&mut random)];
    std::thread::scope(|scope| {
        for order in &orders {
            let (engine, samples, alone) = (&two, &samples, &alone);
            scope.spawn(move || check_order(engine, samples, alone, order, "two sessions at once"));
        }
    });
}

fn check_pooling(kind: PoolKind) {
    for normalize in [false, true] {
        let front = FrontOptions {
            pooling: Some(PoolingChoice::Kinds(vec![kind])),
            normalize: Some(normalize),
            ..FrontOptions::default()
        };
        check("BertModel", front);
    }
}

#[test]
fn encoder_rows_and_pooler() {
    check("BertModel", FrontOptions::default());
}

/// Wide enough for linears in int8.
#[test]
fn in_int8() {
    let tiny = TinyBert { hidden: 36, ..tiny("BertModel") };
    let targets = vec!["cpu:int8".parse().unwrap()];
    check_model(&tiny, &Options { targets, ..Options::default() });
}

#[test]
fn sequence_logits() {
    check("BertForSequenceClassification", FrontOptions::default());
}

#[test]
fn token_logits() {
    check("BertForTokenClassification", FrontOptions::default());
}

#[test]
fn word_logits() {
    check("BertForMaskedLM", FrontOptions::default());
}

#[test]
fn mean_embeddings() {
    check_pooling(PoolKind::Mean);
}

#[test]
fn first_row_embeddings() {
    check_pooling(PoolKind::Cls);
}

#[test]
fn largest_embeddings() {
    check_pooling(PoolKind::Max);
}

#[test]
fn other_means_and_last_row_embeddings() {
    for kind in [PoolKind::MeanSqrtLen, PoolKind::WeightedMean, PoolKind::Last] {
        check_pooling(kind);
    }
}
