//! Traces in f64 against candle, at sizes that they were not made from.

use std::collections::BTreeMap;

use bytec_trace_candle::models::ENCODERS;
use bytec_trace_candle::{Error, MadeUp, Traced, compare, graph, trace};

use crate::configs::TINY;

/// Traces one of the tiny encoders; the largest difference from candle, as a part of the outputs' scale, over some sizes.
fn apart(name: &str) -> Result<f64, String> {
    let (_, config, longest) =
        TINY.iter().find(|(known, ..)| *known == name).expect("it has a config");
    let encoder = ENCODERS.iter().find(|encoder| encoder.name == name).expect("it is known");
    let prepare = || encoder.prepare(config, *longest).map_err(|error| format!("{error:#}"));
    let (options, build) = prepare()?;
    let traced = trace(build, Box::new(MadeUp), &options).map_err(|error| error.to_string())?;
    let mut worst = 0f64;
    for (batch, length) in [(4, 10), (1, 16), (7, 3), (2, 1), (1, 40)] {
        let at = options.sizes(batch, &[length]);
        let differences =
            compare(prepare()?.1, Box::new(MadeUp), &options, &traced.trace, &at, batch + length);
        worst = differences.map_err(|error| error.to_string())?.into_iter().fold(worst, f64::max);
    }
    Ok(worst)
}

#[test]
fn every_encoder_has_a_tiny_config() {
    let known: Vec<_> = ENCODERS.iter().map(|encoder| encoder.name).collect();
    let tiny: Vec<_> = TINY.iter().map(|(name, ..)| *name).collect();
    assert_eq!(known, tiny);
}

#[test]
fn every_encoder_is_traced_and_gives_candles_numbers_at_other_sizes() {
    let mut failed = BTreeMap::new();
    for (name, ..) in TINY {
        match apart(name) {
            Ok(worst) => {
                println!("{name}: {worst:.1e}");
                // Differences are of f32 against f64.
                if worst.is_nan() || worst > 1e-5 {
                    failed.insert(name, format!("differs by {worst}"));
                }
            }
            Err(error) => {
                failed.insert(name, error);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The trace of a tiny encoder with 16 heads, whose scores at 2,100 tokens are more than a trace computes.
fn long(name: &str, heads: &str) -> Result<Traced, Error> {
    let (_, config, _) = TINY.iter().find(|(known, ..)| *known == name).expect("it has a config");
    let many = config
        .replace(heads, &heads.replace('2', "16"))
        .replace("\"hidden_size\": 16", "\"hidden_size\": 32")
        .replace("\"max_position_embeddings\": 40", "\"max_position_embeddings\": 2100");
    let encoder = ENCODERS.iter().find(|encoder| encoder.name == name).expect("it is known");
    let (options, build) = encoder.prepare(&many, Some(2100)).expect("a config");
    let traced = trace(build, Box::new(MadeUp), &options)?;
    graph(&traced, &options).expect("a graph");
    Ok(traced)
}

#[test]
fn a_model_that_is_too_large_to_run_at_its_most_tokens_is_traced_from_its_begin() {
    // The mask of local attention comes before the first scores.
    long("modernbert", "\"num_attention_heads\": 2").expect("a trace");
}

#[test]
fn a_table_behind_what_is_too_large_to_compute_is_refused_in_words() {
    // The buckets of distances come after the first scores.
    let error = long("t5", "\"num_heads\": 2").expect_err("it is too large").to_string();
    assert!(error.contains("B=2, S=2100") && error.contains("--max-tokens"), "{error}");
}
