//! A phase's units, done one after the other in a process of its own: a device that has failed takes the process with
//! it, and the next process goes on behind the unit that failed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};

use crate::check;
use crate::device::Device;
use crate::findings::{self, Finding, Journal};
use crate::options::{Options, Phase};
use crate::pack_file::{Case, Kind};
use crate::timings::{self, Bench};

/// The names of a phase's units.
pub(crate) fn units(phase: Phase, pack: &Path, options: &Options) -> Result<Vec<String>> {
    Ok(match kind(phase) {
        Some(kind) => {
            let cases = Case::all(pack, kind, options)?;
            cases.iter().flat_map(of_case).map(|(case, target)| check::unit(case, target)).collect()
        }
        None => timings::units(&options.shapes).into_iter().map(|unit| unit.name).collect(),
    })
}

/// Does the units that a journal does not have yet. `Ok(false)` says that the device failed.
pub(crate) fn work(phase: Phase, pack: &Path, out: &Path, options: &Options) -> Result<bool> {
    let path = journal(phase, out);
    let (done, _) = findings::read(&path)?;
    let done: BTreeSet<String> = done.into_iter().map(|finding| finding.unit).collect();
    let device = Device::open(&options.device)?;
    let mut journal = Journal::open(&path)?;
    let mut unit = |name: &str, work: &mut dyn FnMut() -> (Finding, bool)| -> Result<bool> {
        if done.contains(name) {
            return Ok(true);
        }
        journal.begin(name)?;
        let (finding, failed) = work();
        say(&finding);
        journal.done(finding)?;
        Ok(!failed)
    };
    match kind(phase) {
        Some(kind) => {
            let cases = Case::all(pack, kind, options)?;
            for (case, target) in cases.iter().flat_map(of_case) {
                let name = check::unit(case, target);
                if !unit(&name, &mut || check::check(case, target, &device))? {
                    return Ok(false);
                }
            }
        }
        None if phase == Phase::Timings => {
            let mut bench = Bench::new(&device, out.join("models"), options);
            for work in timings::units(&options.shapes) {
                if !unit(&work.name, &mut || bench.unit(&work))? {
                    return Ok(false);
                }
            }
        }
        None => bail!("phase {} has no units", phase.name()),
    }
    Ok(true)
}

/// Runs the kernels for this device's architecture and compares nothing.
#[expect(clippy::print_stdout, reason = "the tool that looks on prints too")]
pub(crate) fn exercise(pack: &Path, options: &Options) -> Result<()> {
    let device = Device::open(&options.device)?;
    let cases = Case::all(pack, Kind::Kernel, options)?;
    let mut count = 0;
    for (case, target) in cases.iter().flat_map(of_case) {
        if target.starts_with(device.native()) && check::exercise(case, target, &device)? {
            count += 1;
        }
    }
    println!("{count} plans ran");
    Ok(())
}

/// Where a phase's findings are kept.
pub(crate) fn journal(phase: Phase, out: &Path) -> std::path::PathBuf {
    out.join(format!("{}.jsonl", phase.name()))
}

/// Which cases a phase runs.
fn kind(phase: Phase) -> Option<Kind> {
    match phase {
        Phase::Kernels => Some(Kind::Kernel),
        Phase::Models => Some(Kind::Model),
        Phase::Sanitizer | Phase::Timings => None,
    }
}

fn of_case(case: &Case) -> impl Iterator<Item = (&Case, &String)> {
    case.file.targets.keys().map(move |target| (case, target))
}

#[expect(clippy::print_stdout, reason = "who waits wants to see how far it is")]
fn say(finding: &Finding) {
    let unit = &finding.unit;
    match (finding.wrong.as_slice(), &finding.left_out) {
        ([], None) => println!("ok     {unit}"),
        ([], Some(why)) => println!("left   {unit}: {why}"),
        (wrong, _) => println!("WRONG  {unit}: {}", wrong.join("; ")),
    }
}
