//! `bytec explain`: what every op of a model becomes, by which rules, and which guards refused others.

mod fold;

use std::fs::File;
use std::io::{self, Read, Write, stdout};
use std::path::Path;

use bytec_compiler::FrontOptions;
use bytec_compiler::explain::{
    Explanation, Fate, OpFate, StepOrigin, explain as explain_model, explain_program,
};
use bytec_plan::header::MAGIC;
use bytec_plan::manifest::RuleReport;
use serde::Serialize;

use self::fold::Entry;
use crate::Outcome;
use crate::args::ExplainArgs;
use crate::failure::Failure;
use crate::plan_file;
use crate::targets;

pub(crate) fn explain(args: &ExplainArgs) -> Outcome {
    if is_plan(&args.model.source) {
        return explain_plan(args);
    }
    let target = targets::resolve(&[args.target])?[0];
    let (explanation, problem) = explain_model(&args.model.source, &args.model.front(), target)?;
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &explanation).map_err(Failure::json)?;
        writeln!(out)?;
    } else {
        show(&mut out, &explanation)?;
        writeln!(out)?;
        near_misses(&mut out, &explanation.rules)?;
    }
    problem.map_or(Ok(()), |problem| Err(problem.into()))
}

/// Plans are known by how they begin.
fn is_plan(path: &Path) -> bool {
    let mut begin = [0; MAGIC.len()];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut begin).is_ok() && begin == MAGIC)
}

/// What `--json` prints of a plan.
#[derive(Serialize)]
struct Planned {
    front: String,
    programs: Vec<PlannedProgram>,
    rules: Vec<RuleReport>,
}

#[derive(Serialize)]
struct PlannedProgram {
    target: String,
    ops: Vec<OpFate>,
    steps: Vec<StepOrigin>,
}

fn explain_plan(args: &ExplainArgs) -> Outcome {
    if args.model.front() != FrontOptions::default() {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "{}: expected no options of a model, since a plan is made already; leave them out, or name the model",
            args.model.source.display()
        )));
    }
    let (index, _) = plan_file::read(&args.model.source)?;
    let programs = index.programs.iter().map(|program| explain_program(&index.manifest, program));
    let mut out = stdout().lock();
    if args.json {
        let programs = programs.map(|Explanation { target, ops, steps, .. }| PlannedProgram {
            target,
            ops,
            steps,
        });
        let (front, rules) = (index.manifest.front.clone(), index.manifest.report.rules.clone());
        let planned = Planned { front, programs: programs.collect(), rules };
        serde_json::to_writer_pretty(&mut out, &planned).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    for program in programs {
        show(&mut out, &program)?;
        writeln!(out)?;
    }
    near_misses(&mut out, &index.manifest.report.rules)?;
    Ok(())
}

/// A heading, and which ops stand under it.
type Section = (&'static str, fn(&Fate) -> bool);

/// The steps with the ops they come from, then the ops that have none.
fn show(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation { front, target, ops, steps, .. } = explanation;
    writeln!(out, "{front}: {} ops become {} steps for {target}", ops.len(), steps.len())?;
    let columns = Columns::of(ops);
    let blocks = steps.iter().map(|StepOrigin { name, kernel, reason, .. }| {
        let of = |op: &&OpFate| matches!(&op.fate, Fate::Steps { steps } if steps.contains(name));
        let lines = ops.iter().filter(of).map(|op| format!("\n{}", columns.line(op)));
        let text = format!("%{name} = {kernel}: {reason}{}", lines.collect::<String>());
        Entry { name: name.clone(), text }
    });
    fold::write(out, &blocks.collect::<Vec<_>>(), "\n")?;
    let sections: [Section; 4] = [
        ("no step of their own: read in place, or counted by the kernel", |fate| {
            *fate == Fate::View
        }),
        ("computed from weights when the plan is written", |fate| *fate == Fate::Weights),
        ("gone: no output needs them, or their result is another value", |fate| {
            *fate == Fate::Gone
        }),
        ("as far as fusion came", |fate| matches!(fate, Fate::Ops { .. })),
    ];
    for (title, wanted) in sections {
        let found = ops.iter().filter(|op| wanted(&op.fate));
        let found = found.map(|op| Entry { name: op.name.clone(), text: columns.line(op) });
        let found: Vec<_> = found.collect();
        if !found.is_empty() {
            writeln!(out, "\n{title}")?;
            fold::write(out, &found, "")?;
        }
    }
    Ok(())
}

/// How wide the columns of a list of ops are.
struct Columns {
    op: usize,
    name: usize,
}

impl Columns {
    /// Wide enough for the ops, and for most of their names.
    fn of(ops: &[OpFate]) -> Self {
        Self {
            op: ops.iter().map(|op| op.op.len()).max().unwrap_or(0),
            name: ops.iter().map(|op| op.name.len()).max().unwrap_or(0).min(60),
        }
    }

    fn line(&self, OpFate { name, op, ty, rules, fate }: &OpFate) -> String {
        let mut what = rules.join(", ");
        if let Fate::Ops { ops } = fate {
            what = format!("{what} -> %{}", ops.join(", %"));
        }
        let line = format!("  {op:<0$}  %{name:<1$}  {ty:<16}  {what}", self.op, self.name);
        line.trim_end().to_owned()
    }
}

/// Where rules found their pattern, and why they left it alone.
fn near_misses(out: &mut impl Write, rules: &[RuleReport]) -> io::Result<()> {
    let count: usize = rules.iter().map(|rule| rule.refused.len()).sum();
    writeln!(
        out,
        "near misses: {}",
        if count == 0 { "none".to_owned() } else { count.to_string() }
    )?;
    let width = rules.iter().map(|rule| rule.rule.len()).max().unwrap_or(0);
    for rule in rules {
        let entries = rule.refused.iter().map(|refusal| Entry {
            name: refusal.at.clone(),
            text: format!("  {:<width$}  %{}: {}", rule.rule, refusal.at, refusal.reason),
        });
        fold::write(out, &entries.collect::<Vec<_>>(), "")?;
    }
    Ok(())
}
