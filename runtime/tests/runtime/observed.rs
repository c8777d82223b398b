//! Runs that show each step's result.

use std::collections::BTreeMap;

use bytec_plan::program::DType;
use bytec_runtime::{Isa, PackedBatch, RunError, Session, SessionOptions, StepOutput};

use crate::encoder::{SMALL, encoder, texts};
use crate::on_device::{batch, engine};
use crate::programs::{bits, packed};
use crate::recorder::Event;

/// Each step's index, value and samples.
type Seen = Vec<(usize, String, Vec<Vec<f32>>)>;

fn look(seen: &mut Seen) -> impl FnMut(StepOutput<'_>) + Send {
    |shown| {
        assert_eq!(shown.sample(shown.len()), None);
        let of = |sample| shown.sample(sample).expect("a sample of the batch").to_vec();
        let values = (0..shown.len()).map(of).collect();
        seen.push((shown.index(), shown.value().name.clone(), values));
    }
}

fn observed(session: &mut Session, batch: &PackedBatch) -> (Seen, Vec<Vec<u32>>) {
    let mut seen = Seen::new();
    let outputs = session.run_observed(batch, &mut look(&mut seen)).expect("the batch runs");
    let first = outputs.names().next().and_then(|name| outputs.get(name)).expect("an output");
    let of = |sample| bits(first.sample(sample).expect("a sample of the batch"));
    let values = (0..batch.len()).map(of).collect();
    (seen, values)
}

#[test]
fn the_cpu_shows_every_step_with_the_bits_of_the_sample_alone() {
    let build = encoder(SMALL);
    let samples = texts(SMALL, &[5, 130, 1], 7);
    let engine = build.engine(2, Isa::best());
    let mut session =
        engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
    let (seen, outputs) =
        observed(&mut session, &packed(&engine, &samples.iter().collect::<Vec<_>>()));
    let order: Vec<_> = seen.iter().map(|(index, ..)| *index).collect();
    assert_eq!(order, (0..engine.program().steps.len()).collect::<Vec<_>>());
    for (i, sample) in samples.iter().enumerate() {
        let (alone, output) = observed(&mut session, &packed(&engine, &[sample]));
        assert_eq!(output[0], outputs[i]);
        for ((_, name, found), (_, _, expected)) in seen.iter().zip(&alone) {
            assert!(bits(&found[i]) == bits(&expected[0]), "{name} of sample {i}");
        }
    }
    // A result that is also an output is the output.
    let program = engine.program();
    let last = program.steps.iter().rposition(|step| step.output == program.outputs[0].buffer);
    let (_, _, values) = &seen[last.unwrap()];
    assert!(values.iter().map(|x| bits(x)).eq(outputs));
}

#[test]
fn a_device_shows_every_step_before_the_next_begins() {
    for dtype in [DType::F32, DType::F16, DType::Bf16] {
        let (engine, driver) = engine(dtype);
        let mut session = engine.session();
        let batch = batch(&engine, &[1, 0, 7]);
        session.run(&batch).unwrap();
        driver.take();
        let (seen, _) = observed(&mut session, &batch);
        let calls: String = driver
            .take()
            .iter()
            .filter_map(|event| match event {
                Event::Launch(_) => Some('l'),
                Event::Download { .. } => Some('d'),
                _ => None,
            })
            .collect();
        assert_eq!(calls, "ldldldldldddd", "five steps, then three outputs");
        // The first three steps copy the input.
        let expected = [0..4, 4..4, 4..32].map(|x| x.map(|x| x as f32).collect::<Vec<_>>());
        for (index, _, values) in &seen[..3] {
            assert_eq!(values[..], expected, "step {index} in {dtype:?}");
        }
        let sizes: BTreeMap<_, _> = seen.iter().map(|(i, _, x)| (*i, x[2].len())).collect();
        assert_eq!(sizes, BTreeMap::from([(0, 28), (1, 28), (2, 28), (3, 28), (4, 4)]));
    }
}

#[test]
fn steps_before_a_failure_have_been_shown() {
    let (engine, driver) = engine(DType::F32);
    let batch = batch(&engine, &[3]);
    driver.fail_after(2);
    let mut seen = Seen::new();
    let error = engine.session().run_observed(&batch, &mut look(&mut seen)).unwrap_err();
    assert!(matches!(error, RunError::Device(_)), "{error}");
    assert_eq!(seen.iter().map(|(index, ..)| *index).collect::<Vec<_>>(), [0, 1]);
}

/// A batch without rows has nothing to show.
#[test]
fn steps_without_rows_are_left_out() {
    let (engine, _) = engine(DType::F32);
    let (seen, _) = observed(&mut engine.session(), &batch(&engine, &[]));
    assert!(seen.is_empty());
    // One row a sample there is, and the pooled rows alone are shown.
    let (seen, _) = observed(&mut engine.session(), &batch(&engine, &[0]));
    assert_eq!(seen.iter().map(|(index, ..)| *index).collect::<Vec<_>>(), [4]);
}
