//! `bytec explain`: what every op of a model becomes, by which rules, and which guards refused others.

use std::fs::File;
use std::io::{self, Read, Write, stdout};
use std::path::Path;

use bytec_compiler::FrontOptions;
use bytec_compiler::explain::{Explanation, Fate, OpFate, StepOrigin, explain as explain_model};
use bytec_plan::header::MAGIC;
use bytec_plan::manifest::RuleReport;
use serde::Serialize;

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
struct Planned<'a> {
    front: &'a str,
    programs: Vec<PlannedProgram<'a>>,
    rules: &'a [RuleReport],
}

#[derive(Serialize)]
struct PlannedProgram<'a> {
    target: &'a str,
    steps: Vec<PlannedStep<'a>>,
}

#[derive(Serialize)]
struct PlannedStep<'a> {
    name: &'a str,
    kernel: &'a str,
    reason: &'a str,
    rules: Vec<&'a str>,
}

fn explain_plan(args: &ExplainArgs) -> Outcome {
    if args.model.front() != FrontOptions::default() {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "{}: expected no options of a model, since a plan is made already; leave them out, or name the model",
            args.model.source.display()
        )));
    }
    let (index, _) = plan_file::read(&args.model.source)?;
    let rules = &index.manifest.report.rules[..];
    let applied = |name: &str| {
        let rules = rules.iter().filter(|rule| rule.applied.iter().any(|at| at == name));
        rules.map(|rule| rule.rule.as_str()).collect()
    };
    let programs = index.programs.iter().map(|program| PlannedProgram {
        target: &program.target,
        steps: program
            .steps
            .iter()
            .map(|step| PlannedStep {
                name: &step.name,
                kernel: step.kernel.name(),
                reason: &step.reason,
                rules: applied(&step.name),
            })
            .collect(),
    });
    let planned = Planned { front: &index.manifest.front, programs: programs.collect(), rules };
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &planned).map_err(Failure::json)?;
        writeln!(out)?;
        return Ok(());
    }
    for program in &planned.programs {
        writeln!(out, "{} steps for {}", program.steps.len(), program.target)?;
        for step in &program.steps {
            writeln!(out, "\n%{} = {}: {}", step.name, step.kernel, step.reason)?;
            if !step.rules.is_empty() {
                writeln!(out, "  applied here: {}", step.rules.join(", "))?;
            }
        }
        writeln!(out)?;
    }
    near_misses(&mut out, planned.rules)?;
    Ok(())
}

/// A heading, and which ops stand under it.
type Section = (&'static str, fn(&Fate) -> bool);

fn show(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation { front, target, ops, steps, rules } = explanation;
    writeln!(out, "{front}: {} ops become {} steps for {target}", ops.len(), steps.len())?;
    let columns = Columns::of(ops);
    for StepOrigin { name, kernel, reason, .. } in steps {
        writeln!(out, "\n%{name} = {kernel}: {reason}")?;
        let of = |op: &&OpFate| matches!(&op.fate, Fate::Steps { steps } if steps.contains(name));
        columns.show(out, ops.iter().filter(of))?;
    }
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
        let found: Vec<_> = ops.iter().filter(|op| wanted(&op.fate)).collect();
        if !found.is_empty() {
            writeln!(out, "\n{title}")?;
            columns.show(out, found.into_iter())?;
        }
    }
    writeln!(out)?;
    near_misses(out, rules)
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

    fn show<'a>(
        &self,
        out: &mut impl Write,
        ops: impl Iterator<Item = &'a OpFate>,
    ) -> io::Result<()> {
        for OpFate { name, op, ty, rules, fate } in ops {
            let mut what = rules.join(", ");
            if let Fate::Ops { ops } = fate {
                what = format!("{what} -> %{}", ops.join(", %"));
            }
            let line = format!("  {op:<0$}  %{name:<1$}  {ty:<16}  {what}", self.op, self.name);
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
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
        for refusal in &rule.refused {
            writeln!(out, "  {:<width$}  %{}: {}", rule.rule, refusal.at, refusal.reason)?;
        }
    }
    Ok(())
}
