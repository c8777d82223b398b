//! `bytec verify`: the same samples on several devices, packed and alone.

mod bounds;
mod compare;
mod findings;
mod reference;
mod steps;
mod steps_shown;

use std::collections::BTreeMap;

use bytec_plan::program::{DType, Program};
use bytec_runtime::Engine;

pub(crate) use self::bounds::key as errors_key;
use self::bounds::{Against, allowed, in_words};
use self::compare::{Errors, first_other_bits};
use self::findings::{Finding, Findings, mismatch, show};
use self::reference::Reference;
use crate::args::VerifyArgs;
use crate::batches::{Batching, Item, in_batches};
use crate::devices::{self, Device};
use crate::failure::Failure;
use crate::tensors::Names;
use crate::{Outcome, plan_file, tensors, texts};

/// The plan on one device.
struct On {
    device: Device,
    engine: Engine,
}

/// What one device gave.
struct Ran {
    device: String,
    program: String,
    dtype: DType,
    outputs: Vec<String>,
    batched: Tensors,
    alone: Tensors,
}

/// A tensor that a run gave, or should give.
#[derive(Debug)]
struct Tensor {
    shape: Vec<u64>,
    values: Vec<f32>,
}

/// Tensors by `<sample>.<output>`.
type Tensors = BTreeMap<String, Tensor>;

/// What values are held against.
struct Expected<'a> {
    name: String,
    tensors: &'a Tensors,
    /// Where they come from.
    against: Against<'a>,
}

pub(crate) fn verify(args: &VerifyArgs) -> Outcome {
    let on = open(args)?;
    let (keys, items) = match &args.source.inputs {
        Some(inputs) => tensors::read_inputs(inputs, on.iter().map(|on| on.engine.program()))?,
        None => texts::samples(&args.source, &args.plan, &on[0].engine)?,
    };
    let reference = match &args.reference {
        Some(path) => {
            let names = Names::of(on.iter().map(|on| on.engine.program()));
            Some((path.display().to_string(), Reference::read(path, &names, &keys)?))
        }
        None => None,
    };
    let place = |on: &On, failure: Failure| failure.context(format!("on {}", on.device));
    let ran = on
        .iter()
        .map(|on| run_on(on, args, &keys, &items).map_err(|failure| place(on, failure)))
        .collect::<Result<Vec<_>, _>>()?;
    let steps = args.steps.then(|| steps::compare_steps(&on, args, &keys, &items)).transpose()?;
    let expected = match &reference {
        Some((name, reference)) => {
            let against = Against::Reference(&reference.own_errors);
            Expected { name: name.clone(), tensors: &reference.tensors, against }
        }
        None => {
            let first = &ran[0];
            let against = Against::Program(first.dtype);
            Expected { name: first.device.clone(), tensors: &first.batched, against }
        }
    };
    let mut results = Vec::new();
    for (place, ran) in ran.iter().enumerate() {
        let against = (place > 0 || reference.is_some()).then_some(&expected);
        for output in &ran.outputs {
            results.push(finding(ran, output, &keys, against, args.tolerance)?);
        }
    }
    // All that devices made of one output stand together.
    results.sort_by_key(|finding| ran[0].outputs.iter().position(|name| name == finding.output));
    let outputs_pass = results.iter().all(|finding| finding.passed);
    let findings = Findings {
        against: &expected.name,
        bound: in_words(expected.against, args.tolerance.is_some()),
        samples: keys.len(),
        passed: outputs_pass && steps.as_ref().is_none_or(|steps| steps.first_wrong.is_none()),
        left_out: reference.as_ref().map(|(_, reference)| &reference.left_out),
        results,
        steps,
    };
    let shown = show(&findings, args.json);
    // A closed pipe takes the table, and must not take the verdict.
    match mismatch(&findings) {
        Some(message) => Err(Failure::mismatch(anyhow::anyhow!(message))),
        None => shown,
    }
}

/// Opens the plan on every device, so that one that is missing is said before anything runs.
fn open(args: &VerifyArgs) -> Result<Vec<On>, Failure> {
    let programs = plan_file::read(&args.plan)?.0.programs;
    let devices =
        if args.devices.is_empty() { devices::able(&programs) } else { args.devices.clone() };
    if devices.is_empty() {
        return Err(Failure::machine(anyhow::anyhow!(
            "{}: expected a program that runs here, found none; compile one with --target cpu",
            args.plan.display()
        )));
    }
    let open = |&device: &Device| {
        let opened = devices::open(device, &args.plan, args.threads);
        let opened = opened.map_err(|failure| failure.context(format!("on {device}")))?;
        Ok(On { device, engine: opened.engine })
    };
    devices.iter().map(open).collect()
}

/// Runs the samples packed and alone.
fn run_on(on: &On, args: &VerifyArgs, keys: &[String], items: &[Item]) -> Result<Ran, Failure> {
    let program = on.engine.program();
    let run = |alone| {
        let batching = Batching { alone, max_tokens: args.source.max_batch_tokens, bar: true };
        collect(&on.engine, keys, items, batching)
    };
    Ok(Ran {
        device: on.device.to_string(),
        program: described(program),
        dtype: program.arithmetic(),
        outputs: program.outputs.iter().map(|output| output.name.clone()).collect(),
        batched: run(false)?,
        alone: run(true)?,
    })
}

fn described(program: &Program) -> String {
    format!("{} for {} in {}", program.entry, program.target, program.arithmetic().name())
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

fn finding<'a>(
    ran: &'a Ran,
    output: &'a str,
    samples: &'a [String],
    against: Option<&Expected<'a>>,
    tolerance: Option<f64>,
) -> Result<Finding<'a>, Failure> {
    let mut alone_differs_at = None;
    let (mut errors, mut compared) = (Errors::default(), 0);
    for sample in samples {
        let key = key(sample, output);
        let missing = || Failure::internal(anyhow::anyhow!("{key} was not run on {}", ran.device));
        let batched = ran.batched.get(&key).ok_or_else(missing)?;
        let alone = ran.alone.get(&key).ok_or_else(missing)?;
        let width = batched.shape.last().map_or(1, |&extent| extent as usize);
        let other = || first_other_bits(sample, width, &alone.values, &batched.values);
        alone_differs_at = alone_differs_at.or_else(other);
        let expected = against.and_then(|against| Some((against, against.tensors.get(&key)?)));
        let Some((against, expected)) = expected else { continue };
        if expected.shape != batched.shape {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "{}: {key}: expected shape {:?} as on {}, found {:?}",
                against.name,
                batched.shape,
                ran.device,
                expected.shape
            )));
        }
        errors.add(sample, width, &batched.values, &expected.values);
        compared += 1;
    }
    let made_by = against.map_or(Against::Nothing, |against| against.against);
    let tolerance = tolerance.unwrap_or_else(|| allowed(ran.dtype, output, made_by));
    let errors = (compared > 0).then_some(errors);
    Ok(Finding {
        output,
        device: &ran.device,
        program: &ran.program,
        compared,
        alone_differs_at,
        errors,
        tolerance,
        passed: alone_differs_at.is_none() && errors.is_none_or(|e| e.within(tolerance)),
    })
}
