//! `bytec verify`: the same samples on several devices, packed and alone.

use std::path::Path;

use bytec_plan::program::{DType, Program};
use bytec_runtime::Engine;

use crate::Outcome;
use crate::args::VerifyArgs;
use crate::batches::{Batching, Item, Values, in_batches};
use crate::compare::{Tensor, Tensors, compare, first_other_bits};
use crate::devices::{self, Device};
use crate::failure::Failure;
use crate::findings::{Finding, Findings, mismatch, show};
use crate::{plan_file, tensors};

/// What one device gave.
struct Ran {
    device: String,
    program: String,
    dtype: DType,
    outputs: Vec<String>,
    batched: Tensors,
    alone: Tensors,
}

/// What values are held against.
struct Expected<'a> {
    name: String,
    tensors: &'a Tensors,
    /// The element type of the program that made them, if one did.
    dtype: Option<DType>,
}

pub(crate) fn verify(args: &VerifyArgs) -> Outcome {
    let programs = plan_file::read(&args.plan)?.0.programs;
    let devices =
        if args.devices.is_empty() { devices::able(&programs) } else { args.devices.clone() };
    if devices.is_empty() {
        return Err(Failure::machine(anyhow::anyhow!(
            "{}: expected a program that runs here, found none; compile one with --target cpu",
            args.plan.display()
        )));
    }
    let (keys, items) = tensors::read(&args.inputs)?;
    let reference = args.reference.as_deref().map(reference).transpose()?;
    if let (Some(path), Some(tensors)) = (&args.reference, &reference) {
        check_keys(path, tensors, &programs, &keys)?;
    }
    let ran = devices
        .iter()
        .map(|device| {
            run_on(*device, args, &keys, &items)
                .map_err(|failure| failure.context(format!("on {device}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let expected = match (&args.reference, &reference) {
        (Some(path), Some(tensors)) => {
            Expected { name: path.display().to_string(), tensors, dtype: None }
        }
        _ => {
            let first = &ran[0];
            let dtype = Some(first.dtype);
            Expected { name: first.device.clone(), tensors: &first.batched, dtype }
        }
    };
    let mut results = Vec::new();
    for (place, ran) in ran.iter().enumerate() {
        let compared = place > 0 || reference.is_some();
        for output in &ran.outputs {
            results.push(finding(
                ran,
                output,
                &keys,
                compared.then_some(&expected),
                args.tolerance,
            )?);
        }
    }
    // All that devices made of one output stand together.
    results.sort_by_key(|finding| ran[0].outputs.iter().position(|name| name == finding.output));
    let passed = results.iter().all(|finding| finding.passed);
    let findings = Findings { against: &expected.name, samples: keys.len(), passed, results };
    let shown = show(&findings, args.json);
    // A closed pipe takes the table, and must not take the verdict.
    match mismatch(&findings) {
        Some(message) => Err(Failure::mismatch(anyhow::anyhow!(message))),
        None => shown,
    }
}

/// Runs the samples packed and alone.
fn run_on(
    device: Device,
    args: &VerifyArgs,
    keys: &[String],
    items: &[Item],
) -> Result<Ran, Failure> {
    let engine = devices::open(device, &args.plan, args.threads)?.engine;
    let program = engine.program();
    let run = |alone| {
        let batching = Batching { alone, max_tokens: args.max_batch_tokens, bar: true };
        collect(&engine, keys, items, batching)
    };
    Ok(Ran {
        device: device.to_string(),
        program: format!("{} for {} in {}", program.entry, program.target, program.dtype.name()),
        dtype: program.dtype,
        outputs: program.outputs.iter().map(|output| output.name.clone()).collect(),
        batched: run(false)?,
        alone: run(true)?,
    })
}

fn collect(
    engine: &Engine,
    keys: &[String],
    items: &[Item],
    batching: Batching,
) -> Result<Tensors, Failure> {
    let mut tensors = Tensors::new();
    in_batches(engine, items, batching, |first, outputs| {
        for name in outputs.names() {
            let Some(values) = outputs.get(name) else { continue };
            for sample in 0..values.len() {
                if let (Some(data), Some(shape)) = (values.sample(sample), values.shape(sample)) {
                    let tensor = Tensor { shape, values: data.to_vec() };
                    tensors.insert(key(&keys[first + sample], name), tensor);
                }
            }
        }
        Ok(())
    })?;
    Ok(tensors)
}

fn key(sample: &str, output: &str) -> String {
    format!("{sample}.{output}")
}

/// The tensors of a reference file.
fn reference(path: &Path) -> Result<Tensors, Failure> {
    let (keys, items) = tensors::read(path)?;
    let mut found = Tensors::new();
    for (sample, item) in keys.iter().zip(items) {
        for tensor in item.tensors {
            let key = key(sample, &tensor.name);
            let Values::F32(values) = tensor.values else {
                return Err(Failure::bad_input(anyhow::anyhow!(
                    "{}: {key}: expected elements of F32, found integers",
                    path.display()
                )));
            };
            found.insert(key, Tensor { shape: tensor.shape, values });
        }
    }
    Ok(found)
}

/// Says what a reference lacks before anything has run.
fn check_keys(path: &Path, tensors: &Tensors, programs: &[Program], samples: &[String]) -> Outcome {
    for output in programs.iter().flat_map(|program| &program.outputs) {
        for sample in samples {
            expected(&path.display().to_string(), tensors, &key(sample, &output.name))?;
        }
    }
    Ok(())
}

fn expected<'a>(name: &str, tensors: &'a Tensors, key: &str) -> Result<&'a Tensor, Failure> {
    tensors.get(key).ok_or_else(|| {
        Failure::bad_input(anyhow::anyhow!(
            "{name}: expected {key}, found no such tensor; every output of every sample is compared"
        ))
    })
}

fn finding<'a>(
    ran: &'a Ran,
    output: &'a str,
    samples: &'a [String],
    against: Option<&Expected<'a>>,
    tolerance: Option<f64>,
) -> Result<Finding<'a>, Failure> {
    let mut bits = Vec::new();
    let mut values = Vec::new();
    for sample in samples {
        let key = key(sample, output);
        let batched = expected(&ran.device, &ran.batched, &key)?;
        bits.push((sample.as_str(), expected(&ran.device, &ran.alone, &key)?, batched));
        let Some(against) = against else { continue };
        let other = expected(&against.name, against.tensors, &key)?;
        if other.shape != batched.shape {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "{}: {key}: expected shape {:?} as on {}, found {:?}",
                against.name,
                batched.shape,
                ran.device,
                other.shape
            )));
        }
        values.push((sample.as_str(), batched, other));
    }
    let of_types = || {
        let other = against.and_then(|against| against.dtype).map_or(0.0, default_tolerance);
        default_tolerance(ran.dtype).max(other)
    };
    let tolerance = tolerance.unwrap_or_else(of_types);
    let alone_differs_at = first_other_bits(bits);
    let errors = against.map(|_| compare(values));
    Ok(Finding {
        output,
        device: &ran.device,
        program: &ran.program,
        alone_differs_at,
        errors,
        tolerance,
        passed: alone_differs_at.is_none() && errors.is_none_or(|e| e.within(tolerance)),
    })
}

/// The largest error, relative to an output's scale, that a program of this element type may show without being taken
/// for wrong. `--help` states these numbers.
fn default_tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::I64 => 5e-6,
        DType::F16 => 1e-2,
        DType::Bf16 => 8e-2,
    }
}
