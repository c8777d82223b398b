//! The page: kill rates by class and by kernel, and every survivor.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Judged;
use super::bench::{BITS, Bench, Reason, Verdict};
use super::mutate::CLASSES;

/// Counts of some mutants.
#[derive(Default)]
struct Tally {
    mutants: usize,
    killed: usize,
    checks: BTreeMap<&'static str, usize>,
    reasons: BTreeMap<&'static str, usize>,
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
                Verdict::Survived(reason) => {
                    *tally.reasons.entry(name(reason)).or_default() += 1;
                }
            }
        }
        tally
    }

    fn row(&self, name: &str) -> String {
        if self.mutants == 0 {
            return format!("| {name} | 0 | | | | | | these kernels have none |\n");
        }
        let mut checks: Vec<_> = self.checks.iter().filter(|(check, _)| **check != BITS).collect();
        checks.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        let checks: Vec<_> =
            checks.into_iter().map(|(check, count)| format!("{check} {count}")).collect();
        let (mutants, killed, bits, idle) = (self.mutants, self.killed, self.bits(), self.idle());
        let apart = match self.apart() {
            0 => String::new(),
            apart => percent(killed, apart),
        };
        let (rate, checks) = (percent(killed, mutants), checks.join(", "));
        format!(
            "| {name} | {mutants} | {} | {bits} | {rate} | {idle} | {apart} | {checks} |\n",
            killed - bits
        )
    }

    /// Killed by nothing but a comparison with the recorded bits.
    fn bits(&self) -> usize {
        self.checks.get(BITS).copied().unwrap_or(0)
    }

    /// Not reached, or shown to be equivalent.
    fn idle(&self) -> usize {
        self.survived(NOT_REACHED) + self.survived(EQUIVALENT)
    }

    fn apart(&self) -> usize {
        self.mutants - self.idle()
    }

    fn survived(&self, reason: &str) -> usize {
        self.reasons.get(reason).copied().unwrap_or(0)
    }
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}

/// Whether the text is no longer PTX that the simulator takes; such mutants count nowhere.
fn refused(judged: &Judged) -> bool {
    judged.verdict == Verdict::Killed("refused")
}

const NOT_REACHED: &str = "not reached";
const EQUIVALENT: &str = "equivalent";
const EXPLAINED: &str = "explained";
const SAME_BITS: &str = "same bits";

/// What the page calls a reason.
fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::NotReached => NOT_REACHED,
        Reason::Equivalent => EQUIVALENT,
        Reason::Explained(_) => EXPLAINED,
        Reason::SameBits => SAME_BITS,
    }
}

const REASONS: [(&str, &str); 4] = [
    (NOT_REACHED, "no warp comes to the line in any batch"),
    (
        EQUIVALENT,
        "shown by running the kernel beside a shadow of itself with the mutant's statement: in every batch, each branch, \
         address and stored value that depends on the statement has the same bits, and so has each f32 before it is rounded",
    ),
    (
        EXPLAINED,
        "it does something else that changes nothing, or nothing that these batches show, for the reason that the row gives; it counts as a survivor",
    ),
    (SAME_BITS, "it does something else, but no output bit depends on it and no check sees harm"),
];

/// The whole page of the kernels of an architecture; `None` if there are none.
pub(crate) fn page(
    benches: &[Bench],
    judged: &[Judged],
    nvrtc: impl std::fmt::Debug,
    each: usize,
    arch: &str,
) -> Option<String> {
    let own = |one: &&Judged| benches[one.bench].arch == arch;
    let judged: Vec<_> = judged.iter().filter(own).collect();
    if judged.is_empty() {
        return None;
    }
    let all = Tally::of(judged.iter().copied());
    let refused = judged.iter().filter(|one| refused(one)).count();
    let reached = all.mutants - all.survived(NOT_REACHED);
    let mut page = format!(
        "# Mutants on the simulated GPU\n\n\
         Written by `cargo run --release -p bytec-tests --bin mutants -- --write`, with NVRTC {nvrtc:?} for {arch}.\n\n\
         Each mutant is the PTX of a real kernel with one statement taken out or changed. It runs on bytec-sim with \
         every check on, four times until something sees it: a ragged batch in buffers that end with its last row; the \
         batch with one sample and a tail of NaN; a sample alone; and a batch of the sizes and numbers at which a \
         kernel's parts end. It is killed if\n\n\
         - the simulator faults, an access meets a bank conflict, or the bytes written change; or\n\
         - a number is further from f64 than a bound that is made for that number alone, of the rounding of each \
         operation that it comes from (*numbers* below); or, where all this sees nothing,\n\
         - an output has another bit than recorded in `tests/mutants/bits.txt`. A test holds the unmutated kernels to \
         these bits, as it holds them to the bounds; the page counts these kills apart.\n\n\
         The unmutated kernels ran with no fault and no conflict, within the bounds, and gave each sample the same bits \
         in the first three batches.\n\n\
         Barriers, fences, waits, commits, copies, what is done with mbarriers, descriptors, ranks and multicasts, and dropped \
         predicates are complete; of the other classes at most \
         {each} mutants of each kernel are made, evenly spread over its text.{}\n\n\
         **{} of {} killed: {}.** Of the {reached} whose line a warp comes to: {}. \
         Of the {} of these that are not shown to be equivalent: **{}**, {} without the recorded bits; the aim is 95 %.\n\n",
        if refused > 0 {
            format!(" {refused} more were no PTX that the simulator takes, and count nowhere.")
        } else {
            String::new()
        },
        all.killed,
        all.mutants,
        percent(all.killed, all.mutants),
        percent(all.killed, reached),
        all.apart(),
        percent(all.killed, all.apart()),
        percent(all.killed - all.bits(), all.apart()),
    );
    let heads = "mutants | by checks and numbers | by recorded bits only | rate | idle | of the others | checks |\n|---|---:|---:|---:|---:|---:|---:|---|\n";
    let _ = write!(
        page,
        "## By class\n\nIdle mutants are those not reached, or shown to be equivalent.\n\n| class | {heads}"
    );
    for (class, _) in CLASSES {
        page +=
            &Tally::of(judged.iter().copied().filter(|one| one.mutant.class == class)).row(class);
    }
    let _ = write!(page, "\n## By kernel\n\n| kernel | {heads}");
    let own = |(_, bench): &(usize, &Bench)| bench.arch == arch;
    for (nth, bench) in benches.iter().enumerate().filter(own) {
        page += &Tally::of(judged.iter().copied().filter(|one| one.bench == nth)).row(bench.name);
    }
    page += "\n## Survivors\n\n";
    for (name, meaning) in REASONS {
        let _ = writeln!(page, "- {name}: {} ({meaning})", all.survived(name));
    }
    for (nth, bench) in benches.iter().enumerate() {
        let lines: Vec<_> = bench.ptx.lines().collect();
        let mut rows = String::new();
        for one in judged.iter().filter(|one| one.bench == nth) {
            let Verdict::Survived(reason) = one.verdict else { continue };
            let why = match reason {
                Reason::Explained(why) => why,
                reason => name(reason),
            };
            let was = tidy(lines[one.mutant.line - 1]);
            let is = match tidy(&one.mutant.text) {
                gone if gone.is_empty() => "gone".to_owned(),
                text => format!("`{text}`"),
            };
            let (class, line) = (one.mutant.class, one.mutant.line);
            let cuda = tidy(bench.cuda(line));
            let _ = writeln!(rows, "| {class} | {line} | `{was}` | {is} | `{cuda}` | {why} |");
        }
        if !rows.is_empty() {
            let heads = "| class | line | was | is | of | reason |\n|---|---:|---|---|---|---|";
            let _ = write!(page, "\n### {}\n\n{heads}\n{rows}", bench.name);
        }
    }
    Some(page)
}

/// A line of PTX or CUDA for a cell of a table.
fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
