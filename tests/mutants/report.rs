//! The page: kill rates by class and by kernel, and of each kernel what became of its mutants, with every survivor.
//!
//! A kernel's section says all that the page's tables are made of, and bears a mark of what it was made of itself. So a
//! page is written again with some sections new and the others as they are.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, ensure};

use super::bench::{BITS, Bench, Reason, Verdict};
use super::mutate::{CLASSES, Mutant};

/// A mutant and what became of it.
pub(crate) struct Judged {
    /// The change.
    pub(crate) mutant: Mutant,
    /// What became of it.
    pub(crate) verdict: Verdict,
}

/// How many mutants met which end.
#[derive(Clone, Default)]
struct Tally(BTreeMap<String, usize>);

impl Tally {
    fn add(&mut self, other: &Self) {
        for (end, count) in &other.0 {
            *self.0.entry(end.clone()).or_default() += count;
        }
    }

    fn sum<'t>(all: impl IntoIterator<Item = &'t Self>) -> Self {
        let mut sum = Self::default();
        all.into_iter().for_each(|one| sum.add(one));
        sum
    }

    fn of(&self, end: &str) -> usize {
        self.0.get(end).copied().unwrap_or(0)
    }

    /// All but those whose text is no longer PTX that the simulator takes: such mutants count nowhere.
    fn mutants(&self) -> usize {
        self.0.values().sum::<usize>() - self.of(REFUSED)
    }

    fn killed(&self) -> usize {
        self.mutants() - REASONS.iter().map(|(reason, _)| self.of(reason)).sum::<usize>()
    }

    /// Not reached, or shown to be equivalent.
    fn idle(&self) -> usize {
        self.of(NOT_REACHED) + self.of(EQUIVALENT)
    }

    fn apart(&self) -> usize {
        self.mutants() - self.idle()
    }

    /// The checks that killed, with the one that killed most first.
    fn checks(&self) -> Vec<(&str, usize)> {
        let survived = |end: &str| REASONS.iter().any(|(reason, _)| *reason == end);
        let ends = self.0.iter().map(|(end, count)| (end.as_str(), *count));
        let mut checks: Vec<_> =
            ends.filter(|(end, _)| !survived(end) && *end != REFUSED).collect();
        checks.sort_by_key(|(end, count)| (std::cmp::Reverse(*count), *end));
        checks
    }

    /// A row of the page's tables.
    fn row(&self, name: &str) -> String {
        let (mutants, killed) = (self.mutants(), self.killed());
        if mutants == 0 {
            return format!("| {name} | 0 | | | | | | these kernels have none |\n");
        }
        let (bits, idle) = (self.of(BITS), self.idle());
        let checks = self.checks().into_iter().filter(|(check, _)| *check != BITS);
        let apart = match self.apart() {
            0 => String::new(),
            apart => percent(killed, apart),
        };
        let (rate, checks) = (percent(killed, mutants), counted(checks));
        format!(
            "| {name} | {mutants} | {} | {bits} | {rate} | {idle} | {apart} | {checks} |\n",
            killed - bits
        )
    }

    /// All ends, for a row that is read again.
    fn ends(&self) -> String {
        let others = REASONS.iter().map(|(reason, _)| *reason).chain([REFUSED]);
        let others = others.map(|end| (end, self.of(end))).filter(|(_, count)| *count > 0);
        counted(self.checks().into_iter().chain(others))
    }

    /// What [`ends`](Self::ends) wrote.
    fn read(ends: &str) -> Option<Self> {
        let each = ends.split(", ").map(|end| {
            let (end, count) = end.rsplit_once(' ')?;
            Some((end.to_owned(), count.parse().ok()?))
        });
        each.collect::<Option<_>>().map(Self)
    }
}

fn counted<'e>(ends: impl Iterator<Item = (&'e str, usize)>) -> String {
    ends.map(|(end, count)| format!("{end} {count}")).collect::<Vec<_>>().join(", ")
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}

const REFUSED: &str = "refused";
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

/// A kernel's section of a page.
pub(crate) struct Section {
    name: String,
    mark: String,
    /// For each class that the kernel has mutants of, in the order of [`CLASSES`].
    classes: Vec<(String, Tally)>,
    /// Rows of a table, one for each survivor.
    survivors: String,
}

const MARK: &str = "Of mutants with the mark ";
const ENDS: &str = "| class | what became of them |\n|---|---|\n";
const SURVIVORS: &str = "| class | line | was | is | of | reason |\n|---|---:|---|---|---|---|\n";

impl Section {
    /// Of what became of a kernel's mutants.
    pub(crate) fn new(bench: &Bench, mark: String, judged: &[Judged]) -> Self {
        let lines: Vec<_> = bench.ptx.lines().collect();
        let mut classes: Vec<(String, Tally)> = Vec::new();
        let mut survivors = String::new();
        for Judged { mutant, verdict } in judged {
            if classes.last().is_none_or(|(class, _)| class != mutant.class) {
                classes.push((mutant.class.to_owned(), Tally::default()));
            }
            let end = match *verdict {
                Verdict::Killed(check) => check,
                Verdict::Survived(reason) => name(reason),
            };
            if let Some((_, Tally(ends))) = classes.last_mut() {
                *ends.entry(end.to_owned()).or_default() += 1;
            }
            let Verdict::Survived(reason) = *verdict else { continue };
            let why = match reason {
                Reason::Explained(why) => why,
                reason => name(reason),
            };
            let was = tidy(lines[mutant.line - 1]);
            let is = match tidy(&mutant.text) {
                gone if gone.is_empty() => "gone".to_owned(),
                text => format!("`{text}`"),
            };
            let (class, line, cuda) = (mutant.class, mutant.line, tidy(bench.cuda(mutant.line)));
            let _ = writeln!(survivors, "| {class} | {line} | `{was}` | {is} | `{cuda}` | {why} |");
        }
        Self { name: bench.name.to_owned(), mark, classes, survivors }
    }

    /// Whether a page's section of a kernel is of the mutants with this mark.
    pub(crate) fn is_of(&self, name: &str, mark: &str) -> bool {
        self.name == name && self.mark == mark
    }

    /// The kernel.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The sections of a page; of one without marks, which is older than they are, none.
    ///
    /// # Errors
    /// If a section has a row that this program would not write.
    pub(crate) fn read(page: &str) -> anyhow::Result<Vec<Self>> {
        if !page.contains(MARK) {
            return Ok(Vec::new());
        }
        let sections = page.split("\n### ").skip(1).map(|text| {
            let name = text.lines().next().unwrap_or_default().to_owned();
            let mut parts = text.splitn(2, SURVIVORS);
            let (head, survivors) = (parts.next().unwrap_or_default(), parts.next());
            let mark = head.lines().find_map(|line| line.strip_prefix(MARK)?.strip_suffix('.'));
            let mark = mark.with_context(|| format!("{name}: expected a line with a mark"))?;
            let rows = head.split_once(ENDS).map_or("", |(_, rows)| rows);
            let classes = rows.lines().filter(|row| !row.is_empty()).map(|row| {
                let mut cells = row.trim_matches(['|', ' ']).splitn(2, " | ");
                let (class, ends) = (cells.next()?, Tally::read(cells.next()?)?);
                let known = CLASSES.iter().any(|(known, _)| *known == class);
                known.then(|| (class.to_owned(), ends))
            });
            let classes = classes.collect::<Option<_>>();
            let classes =
                classes.with_context(|| format!("{name}: a row of classes can't be read"))?;
            let survivors = survivors.unwrap_or_default().trim_end();
            let survivors = survivors.lines().map(|row| format!("{row}\n")).collect();
            Ok(Self { name, mark: mark.to_owned(), classes, survivors })
        });
        sections.collect()
    }

    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.classes.iter().map(|(_, tally)| tally)
    }

    fn text(&self) -> String {
        let Self { name, mark, classes, survivors } = self;
        let mut text = format!("\n### {name}\n\n{MARK}{mark}.\n\n{ENDS}");
        for (class, tally) in classes {
            let _ = writeln!(text, "| {class} | {} |", tally.ends());
        }
        if !survivors.is_empty() {
            let _ = write!(text, "\n{SURVIVORS}{survivors}");
        }
        text
    }
}

/// The whole page of an architecture's kernels.
pub(crate) fn page(
    sections: &[&Section],
    nvrtc: impl std::fmt::Debug,
    each: usize,
    arch: &str,
) -> anyhow::Result<String> {
    let all = Tally::sum(sections.iter().flat_map(|section| section.tallies()));
    ensure!(all.apart() > 0, "{arch}: expected mutants, found none");
    let (mutants, killed, apart) = (all.mutants(), all.killed(), all.apart());
    let reached = mutants - all.of(NOT_REACHED);
    let mut page = format!(
        "# Mutants on the simulated GPU\n\n\
         Written by `cargo run --release -p bytec-tests --bin mutants -- --write`, with NVRTC {nvrtc:?} for {arch}. \
         It judges the mutants of kernels that have changed; `--all` those of all, and names those of some.\n\n\
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
         **{killed} of {mutants} killed: {}.** Of the {reached} whose line a warp comes to: {}. \
         Of the {apart} of these that are not shown to be equivalent: **{}**, {} without the recorded bits; the aim is 95 %.\n\n",
        match all.of(REFUSED) {
            0 => String::new(),
            refused =>
                format!(" {refused} more were no PTX that the simulator takes, and count nowhere."),
        },
        percent(killed, mutants),
        percent(killed, reached),
        percent(killed, apart),
        percent(killed - all.of(BITS), apart),
    );
    let heads = "mutants | by checks and numbers | by recorded bits only | rate | idle | of the others | checks |\n|---|---:|---:|---:|---:|---:|---:|---|\n";
    let _ = write!(
        page,
        "## By class\n\nIdle mutants are those not reached, or shown to be equivalent.\n\n| class | {heads}"
    );
    for (class, _) in CLASSES {
        let own = sections.iter().flat_map(|section| &section.classes);
        let own = own.filter(|(other, _)| other == class).map(|(_, tally)| tally);
        page += &Tally::sum(own).row(class);
    }
    let _ = write!(page, "\n## By kernel\n\n| kernel | {heads}");
    for section in sections {
        page += &Tally::sum(section.tallies()).row(&section.name);
    }
    page += "\n## Kernels, and what survived\n\n";
    for (name, meaning) in REASONS {
        let _ = writeln!(page, "- {name}: {} ({meaning})", all.of(name));
    }
    page.extend(sections.iter().map(|section| section.text()));
    Ok(page)
}

/// A line of PTX or CUDA for a cell of a table.
fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a page says is read again, and gives the same page.
    #[test]
    fn pages_are_read_as_they_were_written() {
        let tally = |ends: &str| Tally::read(ends).expect("it is as the program writes it");
        let section = |name: &str, survivors: &str| Section {
            name: name.to_owned(),
            mark: "0123456789abcdef".to_owned(),
            classes: vec![
                ("barrier removed".to_owned(), tally("race 3, never written 1")),
                (
                    "rank changed".to_owned(),
                    tally("numbers 2, recorded bits 1, equivalent 4, refused 5"),
                ),
            ],
            survivors: survivors.to_owned(),
        };
        let row = "| rank changed | 7 | `a` | gone | `b \\| c` | same bits |\n";
        let sections = [section("one", row), section("two", ""), section("three", row)];
        let write = |sections: &[Section]| {
            let sections: Vec<_> = sections.iter().collect();
            page(&sections, "13.0", 60, "sm_80").expect("there are mutants")
        };
        let page = write(&sections);
        assert!(page.contains("**21 of 33 killed: 63.6 %.**"), "{page}");
        assert!(page.contains("Of the 21 of these"), "{page}");
        assert!(page.contains(" 15 more were no PTX"), "{page}");
        let again = Section::read(&page).expect("it reads");
        assert!(again[1].is_of("two", "0123456789abcdef") && again[0].survivors == row);
        assert_eq!(write(&again), page);
        assert!(Section::read(&page.replace("race 3,", "race,")).is_err());
        assert!(Section::read(&page.replacen(MARK, "With ", 1)).is_err());
        assert!(Section::read(&page.replace(MARK, "With ")).is_ok_and(|none| none.is_empty()));
    }
}
