//! Applies rules to a graph until nothing changes, and keeps a record of what they said.

use std::collections::BTreeMap;

use bytec_ir::graph::Graph;
use bytec_ir::patch::Change;
use bytec_ir::verify::{VerifyError, sized, verify};
use bytec_plan::manifest::{Refusal, RuleReport};
use thiserror::Error;

use super::origins::Origins;
use super::{Outcome, Rule};

/// A fault of a rule, not of the model: the graph that came in was well formed.
#[derive(Debug, Error)]
pub enum FuseError {
    /// A change broke an invariant of the graph.
    #[error(
        "the rule {rule} broke the graph at %{at}; leave the rule out and report this: {source}"
    )]
    Invalid {
        /// The rule.
        rule: &'static str,
        /// The value it was applied at.
        at: String,
        /// The invariant.
        source: VerifyError,
    },
    /// Rules keep changing the graph, which directional rules can't do for long.
    #[error(
        "after {changes} changes the rules still find something to do, the last one {rule}; leave that rule out and report this"
    )]
    Restless {
        /// How many changes were made.
        changes: usize,
        /// The rule that was applied last.
        rule: &'static str,
    },
}

/// Applies the first rule that finds something, to every node in topological order until it no longer applies, and begins
/// again at the first rule; until none changes anything. So a rule sees graphs that are at rest for all rules before it. The
/// result and the reports depend on the graph alone.
///
/// A refusal is reported if it still stands in the end: the rule was not applied to the value later. It stands too if
/// another rule made something of the value meanwhile, since that is not what the refusing rule was for.
///
/// # Errors
/// A rule broke the graph, or the rules do not come to rest.
pub fn run(source: &Graph, rules: &[&dyn Rule]) -> Result<(Graph, Vec<RuleReport>), FuseError> {
    run_followed(source, rules).map(|fused| (fused.graph, fused.reports))
}

/// What rules made of a graph.
#[derive(Debug)]
pub struct Fused {
    /// The graph.
    pub graph: Graph,
    /// Each rule, in order.
    pub reports: Vec<RuleReport>,
    /// What became of each op of the source.
    pub origins: Origins,
}

/// As [`run`], and says what became of each op.
///
/// # Errors
/// As [`run`].
pub fn run_followed(source: &Graph, rules: &[&dyn Rule]) -> Result<Fused, FuseError> {
    let origins = Origins::new(source);
    let mut pass =
        Pass { graph: source.clone(), origins, changes: 0, limit: 8 * (source.len() + 8) };
    let mut logs: Vec<Log> = rules.iter().map(|_| Log::default()).collect();
    let mut next = 0;
    while let (Some(rule), Some(log)) = (rules.get(next), logs.get_mut(next)) {
        let before = pass.changes;
        while pass.sweep(*rule, log)? {}
        next = if pass.changes == before || next == 0 { next + 1 } else { 0 };
    }
    let reports = rules.iter().zip(logs).map(|(rule, log)| log.report(rule.name())).collect();
    Ok(Fused { graph: pass.graph, reports, origins: pass.origins })
}

/// What one rule has said so far.
#[derive(Default)]
struct Log {
    applied: Vec<String>,
    /// The first reason, by name of the value.
    refused: BTreeMap<String, String>,
}

impl Log {
    fn report(self, rule: &str) -> RuleReport {
        let refused = self.refused.into_iter().map(|(at, reason)| Refusal { at, reason }).collect();
        RuleReport { rule: rule.to_owned(), applied: self.applied, refused }
    }
}

struct Pass {
    graph: Graph,
    origins: Origins,
    changes: usize,
    limit: usize,
}

impl Pass {
    /// One visit of every node; true if anything changed.
    fn sweep(&mut self, rule: &dyn Rule, log: &mut Log) -> Result<bool, FuseError> {
        let mut changed = false;
        for at in self.graph.topological() {
            if !self.graph.contains(at) {
                continue;
            }
            let name = self.graph.name(at).to_owned();
            match self.sized(rule.apply(&self.graph, at)) {
                Outcome::NoMatch => {}
                Outcome::Refused(reason) => {
                    // A later reason may only be about what other rules have made of the pattern's parts.
                    log.refused.entry(name).or_insert(reason);
                }
                Outcome::Applied(change) => {
                    self.apply(rule, &name, change)?;
                    log.refused.remove(&name);
                    log.applied.push(name);
                    changed = true;
                }
            }
        }
        if changed {
            self.check(rule, log.applied.last().map_or("", String::as_str))?;
        }
        Ok(changed)
    }

    /// An answer, but a refusal instead of a change that makes a value larger than a graph may hold: two linears that are
    /// within the limits may not be so as one.
    fn sized(&self, outcome: Outcome) -> Outcome {
        let Outcome::Applied(change) = outcome else { return outcome };
        let sized = change.added_types().try_for_each(|ty| sized(ty, self.graph.symbols()));
        match sized {
            Ok(()) => Outcome::Applied(change),
            Err(problem) => Outcome::Refused(format!("the result would be too large: {problem}")),
        }
    }

    fn apply(&mut self, rule: &dyn Rule, at: &str, change: Change) -> Result<(), FuseError> {
        self.origins.follow(&self.graph, &change, rule.name());
        self.graph.apply(change);
        self.changes += 1;
        if self.changes > self.limit {
            return Err(FuseError::Restless { changes: self.changes, rule: rule.name() });
        }
        // In release builds once a sweep is enough; while developing, the exact place is worth the time.
        if cfg!(debug_assertions) { self.check(rule, at) } else { Ok(()) }
    }

    fn check(&self, rule: &dyn Rule, at: &str) -> Result<(), FuseError> {
        verify(&self.graph).map_err(|source| FuseError::Invalid {
            rule: rule.name(),
            at: at.to_owned(),
            source,
        })
    }
}
