//! What a model's ops become: which step computes each of them, which rules took it there, and which guards stood in the
//! way of others.

use std::collections::BTreeMap;
use std::path::Path;

use bytec_plan::manifest::{Manifest, OpOrigin, Report, RuleReport};
use bytec_plan::program::{Program, Step};
use serde::Serialize;

use crate::fuse::{self, Placement};
use crate::target::Target;
use crate::{CompileError, FrontOptions, front, report, schedule};

/// How a model's ops become steps.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Which front end read the model.
    pub front: String,
    /// What the steps are for.
    pub target: String,
    /// Every op of the source, in the order in which it is computed.
    pub ops: Vec<OpFate>,
    /// The steps, in the order in which they run; none if the model can't be compiled.
    pub steps: Vec<StepOrigin>,
    /// Each rule, in order: where it was applied, and where a guard refused it and why.
    pub rules: Vec<RuleReport>,
}

/// What became of one op.
#[derive(Debug, Serialize)]
pub struct OpFate {
    /// The value's name.
    pub name: String,
    /// The op's mnemonic.
    pub op: String,
    /// The value's type.
    #[serde(rename = "type")]
    pub ty: String,
    /// The rules that took it into others, in order.
    pub rules: Vec<String>,
    /// What it is in the end.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What an op is in the end.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "became")]
pub enum Fate {
    /// Part of these steps.
    Steps {
        /// Their names.
        steps: Vec<String>,
    },
    /// Read in place from another step's result, or counted by the kernel that needs it.
    View,
    /// Computed from weights when the plan is written.
    Weights,
    /// Part of these ops of the fused graph, which has no steps since the model can't be compiled.
    Ops {
        /// Their values' names.
        ops: Vec<String>,
    },
    /// Nothing: no output needs it, or its result is another value.
    Gone,
}

/// A step and where it comes from.
#[derive(Debug, Serialize)]
pub struct StepOrigin {
    /// Its name.
    pub name: String,
    /// Its kernel.
    pub kernel: String,
    /// Why this kernel.
    pub reason: String,
    /// The source's ops that it computes, by value.
    pub from: Vec<String>,
}

/// Explains the model at `source`. With it comes what stands against compiling it, if anything does.
///
/// # Errors
/// The model can't be read, or a rule broke its graph.
pub fn explain(
    source: &Path,
    options: &FrontOptions,
    target: Target,
) -> Result<(Explanation, Option<CompileError>), CompileError> {
    let model = front::load(source, options)?;
    let fused = fuse::run_followed(&model.graph, fuse::RULES)?;
    let compiled = fuse::pack(&fused.graph).map_err(CompileError::from).and_then(|packed| {
        let schedule = schedule::schedule(&packed, target)?;
        Ok((packed, schedule))
    });
    let (compiled, problem) = match compiled {
        Ok(compiled) => (Some(compiled), None),
        Err(problem) => (None, Some(problem)),
    };
    let shared = |id| {
        compiled.as_ref().is_some_and(|(packed, _)| packed.placement[&id] == Placement::Shared)
    };
    let origins = report::ops(&model.graph, &fused.graph, &fused.origins, shared);
    let steps = compiled.as_ref().map(|(_, schedule)| &schedule.steps[..]);
    let explanation =
        explained(model.front.to_owned(), target.to_string(), &origins, steps, fused.reports);
    Ok((explanation, problem))
}

/// Explains a program of a plan, by what its manifest keeps of the model.
pub fn explain_program(manifest: &Manifest, program: &Program) -> Explanation {
    let Report { ops, rules, .. } = &manifest.report;
    let target = format!("{}:{}", program.target, program.dtype.name());
    explained(manifest.front.clone(), target, ops, Some(&program.steps), rules.clone())
}

fn explained(
    front: String,
    target: String,
    origins: &[OpOrigin],
    steps: Option<&[Step]>,
    rules: Vec<RuleReport>,
) -> Explanation {
    let known: Option<BTreeMap<&str, &str>> = steps.map(|steps| {
        steps
            .iter()
            .flat_map(|step| values(step).map(|value| (value, step.name.as_str())))
            .collect()
    });
    let of_step = |step: &Step| StepOrigin {
        name: step.name.clone(),
        kernel: step.kernel.name().to_owned(),
        reason: step.reason.clone(),
        from: origins
            .iter()
            .filter(|op| values(step).any(|value| op.became.iter().any(|name| name == value)))
            .map(|op| op.name.clone())
            .collect(),
    };
    Explanation {
        front,
        target,
        ops: origins.iter().map(|op| fate(op, known.as_ref())).collect(),
        steps: steps.unwrap_or_default().iter().map(of_step).collect(),
        rules,
    }
}

/// The names of the values that a step computes.
fn values(step: &Step) -> impl Iterator<Item = &str> {
    std::iter::once(&step.name).chain(&step.inner).map(String::as_str)
}

/// What an op is in the end, by the step of each value that is computed; `None` if the model can't be compiled.
fn fate(op: &OpOrigin, steps: Option<&BTreeMap<&str, &str>>) -> OpFate {
    let of_steps = |steps: &BTreeMap<&str, &str>| -> Vec<String> {
        let mut names = Vec::new();
        for name in op.became.iter().filter_map(|name| steps.get(name.as_str())) {
            if !names.iter().any(|known| known == name) {
                names.push((*name).to_owned());
            }
        }
        names
    };
    let fate = match steps.map(of_steps) {
        _ if op.became.is_empty() => Fate::Gone,
        None => Fate::Ops { ops: op.became.clone() },
        Some(steps) if !steps.is_empty() => Fate::Steps { steps },
        Some(_) if op.weights => Fate::Weights,
        Some(_) => Fate::View,
    };
    let OpOrigin { name, op, ty, rules, .. } = op.clone();
    OpFate { name, op, ty, rules, fate }
}
