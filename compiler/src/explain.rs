//! What a model's ops become: which step computes each of them, which rules took it there, and which guards stood in the
//! way of others.

use std::collections::BTreeSet;
use std::path::Path;

use bytec_ir::{Graph, NodeId};
use bytec_plan::manifest::RuleReport;
use serde::Serialize;

use crate::fuse::{self, Fused, Packed, Placement};
use crate::schedule::{self, Schedule};
use crate::target::Target;
use crate::{CompileError, FrontOptions, front};

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
    let fates = Fates { source: &model.graph, fused: &fused, compiled: compiled.as_ref() };
    let ops = model.graph.topological().into_iter().filter_map(|id| fates.of(id)).collect();
    let steps = fates.steps();
    let (front, target) = (model.front.to_owned(), target.to_string());
    Ok((Explanation { front, target, ops, steps, rules: fused.reports }, problem))
}

struct Fates<'a> {
    source: &'a Graph,
    fused: &'a Fused,
    compiled: Option<&'a (Packed, Schedule)>,
}

impl Fates<'_> {
    fn of(&self, id: NodeId) -> Option<OpFate> {
        let op = self.source.op(id)?;
        Some(OpFate {
            name: self.source.name(id).to_owned(),
            op: op.kind().to_string(),
            ty: self.source.ty(id).to_string(),
            rules: self.fused.origins.rules(id).iter().map(|&rule| rule.to_owned()).collect(),
            fate: self.fate(id),
        })
    }

    fn fate(&self, id: NodeId) -> Fate {
        let graph = &self.fused.graph;
        let became: Vec<_> = self.fused.origins.became(id).collect();
        let names = || became.iter().map(|&id| graph.name(id).to_owned());
        if became.is_empty() {
            return Fate::Gone;
        }
        let Some((packed, schedule)) = self.compiled else {
            return Fate::Ops { ops: names().collect() };
        };
        let known: BTreeSet<&str> = schedule.steps.iter().map(|step| step.name.as_str()).collect();
        let steps: Vec<_> = names().filter(|name| known.contains(name.as_str())).collect();
        if !steps.is_empty() {
            return Fate::Steps { steps };
        }
        let shared = became.iter().all(|id| packed.placement[id] == Placement::Shared);
        if shared { Fate::Weights } else { Fate::View }
    }

    fn steps(&self) -> Vec<StepOrigin> {
        let Some((_, schedule)) = self.compiled else { return Vec::new() };
        let graph = &self.fused.graph;
        let from = |name: &str| -> Vec<String> {
            let sources = graph.value(name).into_iter().flat_map(|id| self.fused.origins.of(id));
            sources.map(|id| self.source.name(id).to_owned()).collect()
        };
        let origin = |step: &bytec_plan::program::Step| StepOrigin {
            name: step.name.clone(),
            kernel: step.kernel.name().to_owned(),
            reason: step.reason.clone(),
            from: from(&step.name),
        };
        schedule.steps.iter().map(origin).collect()
    }
}
