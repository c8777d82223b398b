//! `bytec run --device sim --profile`: what each kernel of a run did.

use std::collections::BTreeMap;
use std::io::{Write, stderr};

use bytec_sim::{Profile, StepProfile};

use crate::Outcome;

/// A line for each kernel, in the order of their names, and one for all. Goes to standard error, beside the results.
pub(crate) fn print(steps: &[StepProfile]) -> Outcome {
    let mut kernels: BTreeMap<&str, (u64, Profile)> = BTreeMap::new();
    let mut all = (0, Profile::default());
    for step in steps {
        for (launches, profile) in [kernels.entry(&step.kernel).or_default(), &mut all] {
            *launches += step.launches;
            profile.add(&step.profile);
        }
    }
    let mut err = stderr().lock();
    let width = kernels.keys().map(|name| name.len()).max().unwrap_or(0).max("all".len());
    writeln!(
        err,
        "{:width$} {:>8} {:>14} {:>14} {:>14} {:>16} {:>12}",
        "kernel", "launches", "instructions", "read", "written", "tensor ops", "conflicts"
    )?;
    let rows = kernels.iter().map(|(name, counts)| (*name, counts)).chain([("all", &all)]);
    for (name, (launches, profile)) in rows {
        writeln!(
            err,
            "{name:width$} {launches:>8} {:>14} {:>14} {:>14} {:>16} {:>12}",
            profile.warp_instructions(),
            profile.global_reads.bytes,
            profile.global_writes.bytes,
            profile.tensor_ops,
            profile.extra_wavefronts
        )?;
    }
    Ok(())
}
