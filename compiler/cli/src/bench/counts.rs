//! One run on the interpreter: everything counted, nothing timed.

use std::collections::BTreeMap;

use bytec_measure::Meter;
use bytec_measure::work::{self, Work};
use bytec_runtime::Engine;
use bytec_sim::{Profile, SimDriver};

use super::report::{Counts, Line, Row};
use super::row::means;
use super::samples::Batch;
use crate::failure::Failure;

/// Runs the first batch and counts what its kernels do.
pub(super) fn count(
    sim: &SimDriver,
    meter: &mut Meter,
    engine: &Engine,
    batches: &[Batch],
) -> Result<Row, Failure> {
    let program = engine.program();
    let mut row = means(program, batches, &[0]);
    let Some(batch) = batches.first() else { return Ok(row) };
    sim.take_profiles();
    meter.run(&batch.packed)?;
    let (mut all, mut kernels) = (Profile::default(), BTreeMap::new());
    for step in sim.take_profiles() {
        all.add(&step.profile);
        let kernel: &mut (u64, Profile) = kernels.entry(step.kernel).or_default();
        kernel.0 += step.launches;
        kernel.1.add(&step.profile);
    }
    let mut done: BTreeMap<&str, Work> = BTreeMap::new();
    for (step, work) in program.steps.iter().zip(work::steps(program, &batch.packed)) {
        done.entry(step.kernel.name()).or_default().add(&work);
    }
    row.kernels = kernels
        .into_iter()
        .map(|(kernel, (launches, profile))| {
            let work = done.get(kernel.as_str()).copied().unwrap_or_default();
            Line {
                launches: launches as f64,
                rows: work.rows as f64,
                gflop: work.products / 1e9,
                megabytes: work.bytes / 1e6,
                counts: Some(counts(&profile)),
                kernel,
                ..Line::default()
            }
        })
        .collect();
    row.arena_bytes = meter.arena_bytes();
    row.counts = Some(counts(&all));
    Ok(row)
}

fn counts(profile: &Profile) -> Counts {
    Counts {
        warp_instructions: profile.warp_instructions(),
        bytes_read: profile.global_reads.bytes,
        bytes_written: profile.global_writes.bytes,
        tensor_operations: profile.tensor_ops,
        extra_wavefronts: profile.extra_wavefronts,
    }
}
