//! Runs one plan of a case, and compares.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytec_runtime::cuda::{Driver, runs};
use bytec_runtime::{Engine, EngineOptions, SessionOptions};
use bytec_tests::batches::{Inputs, Outputs, run, run_alone, same_bits};
use bytec_tests::golden::max_difference;
use bytec_tests::tensors;
use half::{bf16, f16};

use crate::device::Device;
use crate::findings::{Check, Differences, Finding, OutputCheck};
use crate::pack_file::{Case, EXACT, SAMPLES, TargetFile};

/// A case's samples.
struct Samples {
    compared: Vec<Inputs>,
    poison: Vec<Inputs>,
}

/// What a target of a case is called.
pub(crate) fn unit(case: &Case, target: &str) -> String {
    format!("{} {target}", case.file.name)
}

/// Runs a target of a case. The second value says that the device failed, so that nothing else can be run on it.
pub(crate) fn check(case: &Case, target: &str, device: &Device) -> (Finding, bool) {
    let unit = unit(case, target);
    let engine = match engine(case, target, device) {
        Ok(Some(engine)) => engine,
        Ok(None) => {
            let why = "this GPU does not run code for this target".to_owned();
            return (Finding::left_out(&unit, why), false);
        }
        Err(error) => return (Finding::failed(&unit, format!("{error:#}")), true),
    };
    match compare(case, target, &engine) {
        Ok((check, wrong)) => {
            let text = of_target(case, target).ok().and_then(|file| file.text.clone());
            (Finding { wrong, check: Some(check), text, ..Finding::empty(&unit) }, false)
        }
        Err(error) => (Finding::failed(&unit, format!("{error:#}")), true),
    }
}

/// Runs a target of a case, packed and alone, and compares nothing: a tool looks on.
pub(crate) fn exercise(case: &Case, target: &str, device: &Device) -> Result<bool> {
    let Some(engine) = engine(case, target, device)? else { return Ok(false) };
    let Samples { compared, poison } = samples(case)?;
    let mut session =
        engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
    run(&engine, &mut session, compared.iter().chain(&poison))?;
    run_alone(&engine, &mut session, compared.iter().take(2))?;
    Ok(true)
}

/// An engine for the target; none if the device does not run it.
fn engine(case: &Case, target: &str, device: &Device) -> Result<Option<Engine>> {
    let plan = case.folder.join(&of_target(case, target)?.plan);
    if target.starts_with("cpu") {
        return Ok(Some(Engine::open(plan)?));
    }
    let driver = device.for_target(target)?;
    let bytes = std::fs::read(&plan)?;
    let index = bytec_plan::reader::PlanIndex::read(&bytes)?;
    if !index.programs.iter().any(|program| runs(program, driver.arch())) {
        return Ok(None);
    }
    let driver: Arc<dyn Driver> = driver;
    Ok(Some(Engine::from_bytes_with_driver(&bytes, driver, EngineOptions::default())?))
}

fn of_target<'c>(case: &'c Case, target: &str) -> Result<&'c TargetFile> {
    case.file.targets.get(target).with_context(|| format!("{}: no {target}", case.file.name))
}

fn samples(case: &Case) -> Result<Samples> {
    let mut compared: Vec<_> = tensors::read(&case.folder.join(SAMPLES))?.into_values().collect();
    ensure!(compared.len() as u64 >= case.file.compared, "{}: too few samples", case.file.name);
    let poison = compared.split_off(case.file.compared as usize);
    Ok(Samples { compared, poison })
}

fn compare(case: &Case, target: &str, engine: &Engine) -> Result<(Check, Vec<String>)> {
    let Samples { compared, poison } = samples(case)?;
    let mut session =
        engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
    let batch = run(engine, &mut session, &compared)?;
    let alone = run_alone(engine, &mut session, &compared)?;
    let mixed = mixed(&compared, &poison);
    let found = run(engine, &mut session, mixed.iter().map(|(_, inputs)| *inputs))?;
    let same = |a: &[Outputs], b: &[Outputs]| a.iter().zip(b).all(|(a, b)| same_bits(a, b));
    let beside: Vec<_> =
        mixed.iter().zip(&found).filter_map(|((nth, _), y)| Some(((*nth)?, y))).collect();
    let file = of_target(case, target)?;
    let dtype = target.split(':').nth(1).unwrap_or("f32");
    let exact = outputs(case, EXACT)?;
    let simulated = file.simulated.as_deref().map(|name| outputs(case, name)).transpose()?;
    let bounds = case.file.bounds.get(dtype).with_context(|| format!("no bounds for {dtype}"))?;
    let mut checks = BTreeMap::new();
    for (name, bound) in bounds {
        let (found, exact) = (flat(&batch, name)?, flat(&exact, name)?);
        ensure!(found.len() == exact.len(), "{name}: {} elements", found.len());
        let error = max_difference(&found, &exact);
        let simulated = match &simulated {
            Some(simulated) => Some(differences(&found, &flat(simulated, name)?, dtype)),
            None => None,
        };
        let error = error.is_finite().then_some(error);
        checks.insert(name.clone(), OutputCheck { error, bound: *bound, simulated });
    }
    let graphs = SessionOptions { graphs: true, ..SessionOptions::default() };
    let mut session = engine.session_with(graphs);
    let captured = run(engine, &mut session, &compared)?;
    let replayed = run(engine, &mut session, &compared)?;
    let check = Check {
        outputs: checks,
        replayed_same_bits: same(&captured, &batch) && same(&replayed, &batch),
        alone_same_bits: same(&alone, &batch),
        other_batch_same_bits: beside.iter().all(|(nth, y)| same_bits(y, &batch[*nth])),
        every_bit_defined: file.every_bit_defined,
    };
    let wrong = wrong(&check);
    Ok((check, wrong))
}

/// What in a check is not as it should be.
pub(crate) fn wrong(check: &Check) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, output) in &check.outputs {
        let bound = output.bound;
        match output.error {
            Some(error) if error <= bound => {}
            Some(error) => wrong.push(format!("{name}: error {error:.2e} is past {bound:.2e}")),
            None => wrong.push(format!("{name}: NaN where a number is expected, or the reverse")),
        }
        if let Some(Differences { elements, differ, .. }) = output.simulated
            && differ > 0
            && check.every_bit_defined
        {
            wrong.push(format!(
                "{name}: {differ} of {elements} elements differ from the simulated GPU, and the code has no \
                 instruction whose bits are open"
            ));
        }
    }
    if !check.alone_same_bits {
        wrong.push("a sample alone gives other bits than in the batch".to_owned());
    }
    if !check.replayed_same_bits {
        wrong.push("a replayed graph gives other bits than single launches".to_owned());
    }
    if !check.other_batch_same_bits {
        wrong.push("a sample in another batch, beside NaN, gives other bits".to_owned());
    }
    wrong
}

/// The samples from the last to the first, with their numbers, and a poisoned one after each as long as there are any.
fn mixed<'s>(compared: &'s [Inputs], poison: &'s [Inputs]) -> Vec<(Option<usize>, &'s Inputs)> {
    let mut poison = poison.iter();
    let mut mixed = Vec::new();
    for (nth, inputs) in compared.iter().enumerate().rev() {
        mixed.push((Some(nth), inputs));
        mixed.extend(poison.next().map(|inputs| (None, inputs)));
    }
    mixed
}

fn outputs(case: &Case, file: &str) -> Result<Vec<Outputs>> {
    let samples = tensors::read(&case.folder.join(file))?;
    let outputs = |inputs: Inputs| {
        inputs.into_iter().map(|(name, y)| Ok((name, y.floats()?.to_vec()))).collect()
    };
    samples.into_values().map(outputs).collect()
}

/// All elements of one output.
fn flat(samples: &[Outputs], name: &str) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for sample in samples {
        all.extend(sample.get(name).with_context(|| format!("no output {name}"))?);
    }
    Ok(all)
}

/// Elements of a type, as it stores them, by their order: neighbours are one apart.
fn place(dtype: &str, x: f32) -> i64 {
    let (bits, sign) = match dtype {
        "f16" => (i64::from(f16::from_f32(x).to_bits()), 0x8000),
        "bf16" => (i64::from(bf16::from_f32(x).to_bits()), 0x8000),
        _ => (i64::from(x.to_bits()), 0x8000_0000),
    };
    if bits & sign != 0 { -(bits & (sign - 1)) } else { bits }
}

fn differences(found: &[f32], simulated: &[f32], dtype: &str) -> Differences {
    let mut differences = Differences { elements: found.len() as u64, ..Differences::default() };
    for (x, y) in found.iter().zip(simulated) {
        if x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()) {
            continue;
        }
        differences.differ += 1;
        let ulps = place(dtype, *x).abs_diff(place(dtype, *y));
        differences.most_ulps = differences.most_ulps.max(ulps);
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_ulp_apart_in_their_type() {
        for (dtype, next) in [
            ("f32", 1.0 + f32::EPSILON),
            ("f16", 1.0 + 2f32.powi(-10)),
            ("bf16", 1.0 + 2f32.powi(-7)),
        ] {
            let found = differences(&[1.0, f32::NAN, next], &[1.0, f32::NAN, 1.0], dtype);
            assert_eq!(found, Differences { elements: 3, differ: 1, most_ulps: 1 }, "{dtype}");
        }
        // The two zeros have other bits, and nothing between them.
        let zeros = differences(&[0.0], &[-0.0], "f16");
        assert_eq!(zeros, Differences { elements: 1, differ: 1, most_ulps: 0 });
    }

    fn good() -> Check {
        let simulated = Some(Differences { elements: 4, differ: 0, most_ulps: 0 });
        let output = OutputCheck { error: Some(0.5), bound: 1.0, simulated };
        Check {
            outputs: [("y".to_owned(), output)].into(),
            alone_same_bits: true,
            other_batch_same_bits: true,
            replayed_same_bits: true,
            every_bit_defined: true,
        }
    }

    #[test]
    fn each_thing_that_can_be_wrong_is_said() {
        assert!(wrong(&good()).is_empty());
        let changed = |change: &dyn Fn(&mut Check, &mut OutputCheck)| {
            let mut check = good();
            let mut output = check.outputs["y"].clone();
            change(&mut check, &mut output);
            check.outputs.insert("y".to_owned(), output);
            wrong(&check).len()
        };
        assert_eq!(changed(&|_, output| output.error = Some(1.5)), 1);
        assert_eq!(changed(&|_, output| output.error = None), 1);
        assert_eq!(changed(&|check, _| check.alone_same_bits = false), 1);
        assert_eq!(changed(&|check, _| check.other_batch_same_bits = false), 1);
        assert_eq!(changed(&|check, _| check.replayed_same_bits = false), 1);
        let differ = Some(Differences { elements: 4, differ: 1, most_ulps: 3 });
        assert_eq!(changed(&|_, output| output.simulated = differ), 1);
        // Tensor cores may sum in another order.
        let open = |check: &mut Check, output: &mut OutputCheck| {
            output.simulated = differ;
            check.every_bit_defined = false;
        };
        assert_eq!(changed(&open), 0);
    }
}
