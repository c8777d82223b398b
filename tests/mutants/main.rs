//! Mutants of the real kernels' PTX on the simulated GPU: how many its checks and the numbers see.
//!
//! `cargo run --release -p bytec-tests --bin mutants` prints the tables. `--write` puts them into docs/sim-mutants.md,
//! and for kernels of `sm_90a` into docs/sim-mutants-sm_90a.md: it judges the mutants of the kernels that have changed
//! since, or with `--all` those of all. Words pick kernels by parts of their names, `--arch sm_90a` those of one
//! architecture; the page keeps what it says of the others.
//! `--each N` makes at most so many mutants of a class of a kernel, where the class allows; `--ptx FOLDER` puts the
//! unmutated texts there, whose lines the page names.

mod bench;
mod cases;
mod inputs;
mod moves;
mod mutate;
mod oracle;
mod reasons;
mod report;
mod shadow;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use bytec_tests::nvrtc::nvrtc;

use bench::{BATCHES, Bench};
use mutate::{CLASSES, Mutant};
use report::{Judged, Section};

/// Mutants of a class of a kernel, where there are more and the class does not ask for all.
const EACH: usize = 60;

/// The pages, and whose kernels they are about.
const PAGES: [(&str, &str); 2] =
    [("sm_80", "docs/sim-mutants.md"), ("sm_90a", "docs/sim-mutants-sm_90a.md")];

/// What is asked for.
struct Asked {
    write: bool,
    all: bool,
    each: usize,
    arch: Option<String>,
    folder: Option<String>,
    names: Vec<String>,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut asked = Self {
            write: false,
            all: false,
            each: EACH,
            arch: None,
            folder: None,
            names: Vec::new(),
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--write" => asked.write = true,
                "--all" => asked.all = true,
                "--each" => {
                    asked.each = words.next().context("--each takes a number")?.parse()?;
                }
                "--arch" => {
                    asked.arch = Some(words.next().context("--arch takes sm_80 or sm_90a")?);
                }
                "--ptx" => asked.folder = Some(words.next().context("--ptx takes a folder")?),
                _ => asked.names.push(word),
            }
        }
        Ok(asked)
    }

    fn names(&self, kernel: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| kernel.contains(name.as_str()))
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "printing the table is its purpose")]
fn main() -> anyhow::Result<()> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let nvrtc = nvrtc().context("mutants are made of what NVRTC gives")?;
    for (arch, file) in PAGES {
        if asked.arch.as_ref().is_some_and(|only| only != arch) {
            continue;
        }
        let path = bytec_tests::root().join(file);
        let mut written = match std::fs::read_to_string(&path) {
            Ok(page) if asked.write => Section::read(&page).with_context(|| file.to_owned())?,
            _ => Vec::new(),
        };
        let mut sections = Vec::new();
        for case in cases::all().into_iter().filter(|case| case[0].arch.to_string() == arch) {
            let own = case[0].name;
            let before = written.iter().position(|section| section.name() == own);
            let before = before.map(|at| written.swap_remove(at));
            if !asked.names(own) {
                let kept = !asked.write || before.is_some();
                ensure!(kept, "{file} has no section of {own}: write it whole once, without names");
                sections.extend(before);
                continue;
            }
            let bench = Bench::new(case, nvrtc).with_context(|| own.to_owned())?;
            if let Some(folder) = &asked.folder {
                std::fs::write(format!("{folder}/{own}.ptx"), &bench.ptx)?;
            }
            let mutants = chosen(&bench.ptx, asked.each);
            let mark = mark(&bench, &mutants);
            match before {
                Some(section)
                    if section.is_of(own, &mark) && !asked.all && asked.names.is_empty() =>
                {
                    sections.push(section);
                }
                _ => {
                    let started = std::time::Instant::now();
                    let judged = judge(&bench, &mutants);
                    eprintln!("{own}: {} mutants in {:.1?}", judged.len(), started.elapsed());
                    sections.push(Section::new(&bench, mark, &judged));
                }
            }
            if asked.write {
                // A run that is ended early keeps what it has done.
                let known: Vec<_> = sections.iter().chain(&written).collect();
                let page = report::page(&known, nvrtc.version(), asked.each, arch)?;
                std::fs::write(&path, page)?;
            }
        }
        if !asked.write && !sections.is_empty() {
            let known: Vec<_> = sections.iter().collect();
            println!("{}", report::page(&known, nvrtc.version(), asked.each, arch)?);
        }
    }
    Ok(())
}

/// A hash of what a kernel's section is made of: its PTX, its mutants, and what it gives.
fn mark(bench: &Bench, mutants: &[Mutant]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(bench.ptx.as_bytes());
    (0..BATCHES.len()).for_each(|batch| add(bench.bytes(batch)));
    for Mutant { class, line, text } in mutants {
        add(format!("{class} {line} {text}").as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Judges a kernel's mutants, on two threads.
fn judge(bench: &Bench, mutants: &[Mutant]) -> Vec<Judged> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = bench.judge(mutant);
                    let judged = Judged { mutant: mutant.clone(), verdict };
                    done.lock().unwrap_or_else(|poison| poison.into_inner()).push(judged);
                }
            });
        }
    });
    let mut judged = done.into_inner().unwrap_or_else(|poison| poison.into_inner());
    let class = |one: &Judged| CLASSES.iter().position(|(name, _)| *name == one.mutant.class);
    judged.sort_by(|a, b| {
        (class(a), a.mutant.line, &a.mutant.text).cmp(&(class(b), b.mutant.line, &b.mutant.text))
    });
    judged
}

/// All mutants of the classes that ask for all, and so many, evenly spread, of each of the others.
fn chosen(ptx: &str, each: usize) -> Vec<Mutant> {
    let mutants = mutate::mutants(ptx);
    let mut chosen = Vec::new();
    for (class, all) in CLASSES {
        let own: Vec<_> = mutants.iter().filter(|mutant| mutant.class == class).collect();
        let count = if all { own.len() } else { own.len().min(each) };
        chosen.extend((0..count).map(|nth| own[nth * own.len() / count].clone()));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::sync::OnceLock;

    use super::bench::{Reason, Verdict};
    use super::*;

    /// A bench for every kernel, made once by two threads; `None` without NVRTC.
    fn benches() -> Option<&'static [Bench]> {
        static BENCHES: OnceLock<Vec<Bench>> = OnceLock::new();
        let nvrtc = nvrtc()?;
        Some(BENCHES.get_or_init(|| {
            let cases = cases::all();
            let bench =
                |case: &[cases::Case; 2]| Bench::new(case.clone(), nvrtc).expect("it is clean");
            let (next, made) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while let Some((at, case)) = {
                            let at = next.fetch_add(1, Ordering::Relaxed);
                            cases.get(at).map(|case| (at, case))
                        } {
                            let bench = bench(case);
                            made.lock().expect("nobody panics with it").push((at, bench));
                        }
                    });
                }
            });
            let mut made = made.into_inner().expect("nobody panics with it");
            made.sort_by_key(|(at, _)| *at);
            made.into_iter().map(|(_, bench)| bench).collect()
        }))
    }

    /// Every barrier, wait and copy of three kernels, and a few of the other classes: each of the classes that are complete
    /// is seen or known not to matter, and most of the others.
    #[test]
    fn mutants_of_every_class_are_killed() {
        let Some(benches) = benches() else { return };
        let names = ["linear f16", "attention f16", "softmax f32, wide", "linear f16, wgmma"];
        let benches: Vec<_> = benches.iter().filter(|bench| names.contains(&bench.name)).collect();
        assert_eq!(benches.len(), names.len());
        let mut classes = 0;
        for (at, (class, all)) in CLASSES.into_iter().enumerate() {
            let (mut count, mut killed) = (0, 0);
            for bench in &benches {
                let mutants = mutate::mutants(&bench.ptx);
                let own: Vec<_> = mutants.iter().filter(|mutant| mutant.class == class).collect();
                let tries = own.len().min(if at < 5 { usize::MAX } else { 3 });
                for nth in 0..tries {
                    let mutant = own[nth * own.len() / tries];
                    let verdict = bench.judge(mutant);
                    assert_ne!(verdict, Verdict::Killed("simulator panicked"), "{mutant:?}");
                    assert_ne!(verdict, Verdict::Killed("refused"), "{mutant:?}");
                    let seen = matches!(verdict, Verdict::Killed(_));
                    let idle = matches!(
                        verdict,
                        Verdict::Survived(Reason::Equivalent | Reason::Explained(_))
                    );
                    assert!(
                        seen || idle || !all || at >= 5,
                        "{}: {mutant:?}: {verdict:?}",
                        bench.name
                    );
                    count += usize::from(!idle);
                    killed += usize::from(seen);
                }
            }
            classes += usize::from(killed > 0);
            assert!(killed * 3 >= count * 2, "{class}: {killed} of {count}");
        }
        // Those of clusters are there where the cost model makes some of the linear's blocks.
        assert!(classes + 2 >= CLASSES.len(), "mutants of {classes} classes were killed");
    }

    /// Every kernel waits for the launches before it in every thread, and no wait can be left out.
    #[test]
    fn waits_for_launches_are_missed_in_every_kernel() {
        let Some(nvrtc) = nvrtc() else { return };
        for [case, _] in cases::all() {
            let bench = Bench::overlapping(case, nvrtc).expect("it is clean");
            assert!(bench.ptx.contains("griddepcontrol.launch_dependents"), "{}", bench.name);
            let mutants = mutate::mutants(&bench.ptx);
            let mut waits = 0;
            for mutant in mutants.iter().filter(|mutant| mutant.class == mutate::LAUNCHES) {
                let check = bench.check_of(&mutate::apply(&bench.ptx, mutant));
                assert_eq!(check, Some("launches that overlap"), "{}: {mutant:?}", bench.name);
                waits += 1;
            }
            assert!(waits > 0, "{}", bench.name);
        }
    }

    /// What each kernel gives for each of its batches, to the bit.
    #[test]
    fn kernels_give_the_recorded_bits() {
        let Some(benches) = benches() else { return };
        let mut found = String::new();
        for bench in benches {
            for (batch, name) in bench::BATCHES.iter().enumerate() {
                let hash = blake3::hash(bench.bytes(batch)).to_hex();
                writeln!(found, "{}, {name}: {}", bench.name, &hash[..16]).expect("strings grow");
            }
        }
        expect_test::expect_file!["bits.txt"].assert_eq(&found);
    }
}
