//! What a compilation tells about itself: the manifest, the report, and every stage as text.

use std::collections::BTreeMap;

use bytec_ir::{Graph, NodeId};
use bytec_plan::manifest::{Manifest, OpOrigin, Report, RuleReport};
use rayon::prelude::*;
use serde::Serialize;

use crate::Stages;
use crate::code::Code;
use crate::emit::Emitted;
use crate::front::Loaded;
use crate::fuse::Origins;
use crate::fuse::pack::{Packed, Placement};
use crate::schedule::Schedule;

/// What plans say compiled them.
pub const COMPILER: &str = concat!("bytec ", env!("CARGO_PKG_VERSION"));

/// The manifest of a model, its report still empty.
pub(crate) fn manifest(model: &Loaded) -> Manifest {
    Manifest {
        compiler: COMPILER.to_owned(),
        front: model.front.to_owned(),
        family: model.family.clone(),
        architecture: model.architecture.clone(),
        text: model.text.clone(),
        pooling: model.pooling.clone(),
        labels: model.labels.clone(),
        task: model.task,
        report: Report::default(),
    }
}

/// What was read, fused and left out.
pub(crate) fn report(
    model: &Loaded,
    packed: &Packed,
    rules: Vec<RuleReport>,
    origins: &Origins,
) -> Report {
    let shared = |id: NodeId| packed.placement[&id] == Placement::Shared;
    Report {
        ops: ops(&model.graph, &packed.graph, origins, shared),
        ops_before: count_ops(&model.graph, |_| true),
        ops_after: count_ops(&packed.graph, |id| !shared(id)),
        ops_folded: count_ops(&packed.graph, shared),
        rules,
        unused_tensors: model.unused_tensors.clone(),
        ignored_fields: model.ignored_fields.clone(),
        non_finite: non_finite(model, &packed.graph),
        notes: model.notes.clone(),
    }
}

/// What became of each op of a source graph; `shared` says which values of the fused graph depend on weights alone.
pub(crate) fn ops(
    source: &Graph,
    fused: &Graph,
    origins: &Origins,
    shared: impl Fn(NodeId) -> bool,
) -> Vec<OpOrigin> {
    let origin = |id: NodeId| {
        let became: Vec<_> = origins.became(id).collect();
        Some(OpOrigin {
            name: source.name(id).to_owned(),
            op: source.op(id)?.kind().to_string(),
            ty: source.ty(id).to_string(),
            rules: origins.rules(id).iter().map(|&rule| rule.to_owned()).collect(),
            weights: !became.is_empty() && became.iter().all(|&id| shared(id)),
            became: became.into_iter().map(|id| fused.name(id).to_owned()).collect(),
        })
    };
    source.topological().into_iter().filter_map(origin).collect()
}

/// What a compiled GPU kernel takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// What it is compiled for, such as `sm_80`.
    pub target: String,
    /// Its symbol.
    pub symbol: String,
    /// Threads of a block; the most of its launches.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block; the most of its launches.
    pub dynamic_shared: u32,
    /// What the assembler says; `None` for PTX alone, which the driver will assemble.
    pub resources: Option<Resources>,
    /// Warnings, C75xx messages of the assembler among them, one line each.
    pub warnings: Vec<String>,
    /// Whether it came from the cache.
    pub cached: bool,
    /// What was chosen and why, where there was a choice: the tile of a linear or of attention and what it is estimated to
    /// take.
    pub note: Option<String>,
}

/// What the assembler says of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of static shared memory of a block.
    pub static_shared: u32,
    /// Bytes of a thread's stack.
    pub stack: u32,
    /// Bytes that a thread writes to the stack for want of registers.
    pub spill_stores: u32,
    /// Bytes of those that it reads back.
    pub spill_loads: u32,
}

/// Every compiled kernel, program by program.
pub(crate) fn kernels(codes: &[Option<Code>]) -> Vec<KernelReport> {
    let mut reports = Vec::new();
    for code in codes.iter().flatten() {
        for (i, (source, compiled)) in code.sources.iter().zip(&code.compiled).enumerate() {
            let others = || code.by_rows.iter().map(|other| &other.launch);
            let all = || code.launches.iter().chain(others());
            let launches = || all().filter(|launch| launch.module as usize == i);
            reports.push(KernelReport {
                target: code.arch.to_string(),
                symbol: source.symbol.clone(),
                threads: launches().map(|launch| launch.block).max().unwrap_or(0),
                dynamic_shared: launches().map(|launch| launch.shared).max().unwrap_or(0),
                resources: compiled.usage.map(|usage| Resources {
                    registers: usage.registers,
                    static_shared: usage.shared,
                    stack: usage.stack,
                    spill_stores: usage.spill_stores,
                    spill_loads: usage.spill_loads,
                }),
                warnings: compiled.warnings.iter().map(ToString::to_string).collect(),
                cached: compiled.cached,
                note: source.note.clone(),
            });
        }
    }
    reports
}

fn count_ops(graph: &Graph, counts: impl Fn(NodeId) -> bool) -> BTreeMap<String, u64> {
    let mut ops = BTreeMap::new();
    for id in graph.ids().filter(|&id| counts(id)) {
        if let Some(op) = graph.op(id) {
            *ops.entry(op.kind().to_string()).or_insert(0) += 1;
        }
    }
    ops
}

/// The weights that hold NaN or infinity, and how many elements do.
fn non_finite(model: &Loaded, graph: &Graph) -> BTreeMap<String, u64> {
    let names: Vec<_> = graph.weights().into_iter().map(|id| graph.name(id).to_owned()).collect();
    names
        .into_par_iter()
        .map(|name| {
            let count = model.weights.non_finite(&name);
            (name, count)
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The graphs, schedules and kernels as text.
pub(crate) fn stages(
    graph: &Graph,
    fused: &Graph,
    schedules: &[Schedule],
    codes: &[Option<Code>],
) -> Stages {
    let schedules: Vec<_> = schedules.iter().map(|schedule| schedule.to_text(fused)).collect();
    let mut files = vec![
        ("1.graph.ir".to_owned(), graph.to_string()),
        ("2.fused.ir".to_owned(), fused.to_string()),
        ("3.schedule.txt".to_owned(), schedules.join("\n")),
    ];
    // The text is the same for every architecture.
    let mut kernels: Vec<_> = codes
        .iter()
        .flatten()
        .flat_map(|code| &code.sources)
        .map(|source| (format!("4.{}.cu", source.symbol), source.text.clone()))
        .collect();
    kernels.sort();
    kernels.dedup();
    files.extend(kernels);
    Stages { files }
}

/// The plan as JSON.
pub(crate) fn plan_stage(emitted: &Emitted<'_>) -> (String, String) {
    let text = bytec_plan::json::render(&emitted.manifest, &emitted.programs);
    ("5.plan.json".to_owned(), text)
}
