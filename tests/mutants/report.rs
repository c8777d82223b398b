//! The page: kill rates by class and by kernel, and every survivor.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Judged;
use super::bench::{Bench, Reason, Verdict};
use super::mutate::CLASSES;

/// Counts of some mutants.
#[derive(Default)]
struct Tally {
    mutants: usize,
    killed: usize,
    checks: BTreeMap<&'static str, usize>,
    reasons: BTreeMap<Reason, usize>,
}

impl Tally {
    fn of<'j>(judged: impl Iterator<Item = &'j Judged>) -> Self {
        let mut tally = Self::default();
        for one in judged.filter(|one| !refused(one)) {
            tally.mutants += 1;
            match one.verdict {
                Verdict::Killed(check) => {
                    tally.killed += 1;
                    *tally.checks.entry(check).or_default() += 1;
                }
                Verdict::Survived(reason) => *tally.reasons.entry(reason).or_default() += 1,
            }
        }
        tally
    }

    fn row(&self, name: &str) -> String {
        if self.mutants == 0 {
            return format!("| {name} | 0 | | | | | these kernels have none |\n");
        }
        let mut checks: Vec<_> = self.checks.iter().collect();
        checks.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        let checks: Vec<_> =
            checks.into_iter().map(|(check, count)| format!("{check} {count}")).collect();
        let (mutants, killed, rate) = (self.mutants, self.killed, self.rate());
        let idle = self.survived(Reason::NotReached) + self.survived(Reason::Equivalent);
        let apart = match mutants - idle {
            0 => String::new(),
            apart => format!("{:.1} %", 100.0 * killed as f64 / apart as f64),
        };
        let checks = checks.join(", ");
        format!("| {name} | {mutants} | {killed} | {rate} | {idle} | {apart} | {checks} |\n")
    }

    fn rate(&self) -> String {
        format!("{:.1} %", 100.0 * self.killed as f64 / self.mutants as f64)
    }

    fn survived(&self, reason: Reason) -> usize {
        self.reasons.get(&reason).copied().unwrap_or(0)
    }
}

/// Whether the text is no longer PTX that the simulator takes; such mutants count nowhere.
fn refused(judged: &Judged) -> bool {
    judged.verdict == Verdict::Killed("refused")
}

const REASONS: [(Reason, &str, &str); 4] = [
    (Reason::NotReached, "not reached", "no warp comes to the line in any batch"),
    (
        Reason::Equivalent,
        "equivalent",
        "wherever a lane comes to the statement, it does what the unmutated one does: shown by running both",
    ),
    (
        Reason::SameBits,
        "same bits",
        "it does something else, but no output bit depends on it and no check sees harm; not shown to be harmless",
    ),
    (Reason::WithinBound, "within the bound", "other bits, but no further off than the bound"),
];

/// The whole page.
pub(crate) fn page(
    benches: &[Bench],
    judged: &[Judged],
    nvrtc: impl std::fmt::Debug,
    each: usize,
) -> String {
    let all = Tally::of(judged.iter());
    let refused = judged.iter().filter(|one| refused(one)).count();
    let reached = all.mutants - all.survived(Reason::NotReached);
    let apart = reached - all.survived(Reason::Equivalent);
    let mut page = format!(
        "# Mutants on the simulated GPU\n\n\
         Written by `cargo run --release -p bytec-tests --bin mutants -- --write`, with NVRTC {nvrtc:?} for sm_80.\n\n\
         Each mutant is the PTX of a real kernel with one statement taken out or changed. It runs on bytec-sim with \
         every check on, three times until something sees it: a ragged batch in buffers that end with its last row; the \
         batch with one sample and a tail of NaN; a sample alone. It is killed if the simulator faults, or a number is \
         further from the unmutated kernel's than twice the rounding of the largest number to the element type (2e-6 of \
         it in f32), or an access meets a bank conflict, or the bytes written change. Tests hold the unmutated kernels \
         against f64; here they ran with no fault and no conflict, and gave each sample the same bits in all three.\n\n\
         Barriers, fences, waits, commits, copies and dropped predicates are complete; of the other classes at most \
         {each} mutants of each kernel are made, evenly spread over its text.{}\n\n\
         **{} of {} killed: {}.** Of the {reached} whose line a warp comes to: {:.1} %. \
         Of the {apart} of these that are not shown to be equivalent: {:.1} %; the aim is 95 %.\n\n",
        if refused > 0 {
            format!(" {refused} more were no PTX that the simulator takes, and count nowhere.")
        } else {
            String::new()
        },
        all.killed,
        all.mutants,
        all.rate(),
        100.0 * all.killed as f64 / reached as f64,
        100.0 * all.killed as f64 / apart as f64,
    );
    page += "## By class\n\nIdle mutants are those not reached, or shown to be equivalent.\n\n| class | mutants | killed | rate | idle | of the others | by |\n|---|---:|---:|---:|---:|---:|---|\n";
    for (class, _) in CLASSES {
        page += &Tally::of(judged.iter().filter(|one| one.mutant.class == class)).row(class);
    }
    page += "\n## By kernel\n\n| kernel | mutants | killed | rate | idle | of the others | by |\n|---|---:|---:|---:|---:|---:|---|\n";
    for (nth, bench) in benches.iter().enumerate() {
        page += &Tally::of(judged.iter().filter(|one| one.bench == nth)).row(bench.case.name);
    }
    page += "\n## Survivors\n\nThe reasons are found by the program, from what the mutant did.\n\n";
    for (reason, name, meaning) in REASONS {
        let _ = writeln!(page, "- {name}: {} ({meaning})", all.survived(reason));
    }
    for (nth, bench) in benches.iter().enumerate() {
        let lines: Vec<_> = bench.ptx.lines().collect();
        let mut rows = String::new();
        for one in judged.iter().filter(|one| one.bench == nth) {
            let Verdict::Survived(reason) = one.verdict else { continue };
            let name =
                REASONS.iter().find(|(own, ..)| *own == reason).map_or("", |(_, name, _)| name);
            let was = tidy(lines[one.mutant.line - 1]);
            let is = match tidy(&one.mutant.text) {
                gone if gone.is_empty() => "gone".to_owned(),
                text => format!("`{text}`"),
            };
            let (class, line) = (one.mutant.class, one.mutant.line);
            let _ = writeln!(rows, "| {class} | {line} | `{was}` | {is} | {name} |");
        }
        if !rows.is_empty() {
            let heads = "| class | line | was | is | reason |\n|---|---:|---|---|---|";
            let _ = write!(page, "\n### {}\n\n{heads}\n{rows}", bench.case.name);
        }
    }
    page
}

/// A line of PTX for a cell of a table.
fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
