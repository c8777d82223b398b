//! Mutants of the real kernels' PTX on the simulated GPU: how many its checks and the numbers see.
//!
//! `cargo run --release -p bytec-tests --bin mutants` prints the tables; `--write` puts them into docs/sim-mutants.md,
//! and for kernels of `sm_90a` into docs/sim-mutants-sm_90a.md; `--arch sm_90a` takes the kernels of one of them alone.
//! `--each N` makes at most so many mutants of a class of a kernel, where the class allows; `--ptx FOLDER` puts the
//! unmutated texts there, whose lines the page names; a word picks kernels by name.

mod bench;
mod cases;
mod inputs;
mod mutate;
mod oracle;
mod reasons;
mod report;
mod shadow;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytec_tests::nvrtc::nvrtc;

use bench::{Bench, Verdict};
use mutate::{CLASSES, Mutant};

/// Mutants of a class of a kernel, where there are more and the class does not ask for all.
const EACH: usize = 60;

/// The pages, and whose kernels they are about.
const PAGES: [(&str, &str); 2] =
    [("sm_80", "docs/sim-mutants.md"), ("sm_90a", "docs/sim-mutants-sm_90a.md")];

/// A mutant and what became of it.
pub(crate) struct Judged {
    /// The kernel, by its index.
    pub(crate) bench: usize,
    /// The change.
    pub(crate) mutant: Mutant,
    /// What became of it.
    pub(crate) verdict: Verdict,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "printing the table is its purpose")]
fn main() -> anyhow::Result<()> {
    let (mut write, mut each, mut name, mut folder, mut only) = (false, EACH, None, None, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--write" => write = true,
            "--each" => each = words.next().context("--each takes a number")?.parse()?,
            "--arch" => only = Some(words.next().context("--arch takes sm_80 or sm_90a")?),
            "--ptx" => folder = Some(words.next().context("--ptx takes a folder")?),
            _ => name = Some(word),
        }
    }
    let nvrtc = nvrtc().context("mutants are made of what NVRTC gives")?;
    let mut benches = Vec::new();
    for case in cases::all() {
        let own = case[0].name;
        let arch = case[0].arch.to_string();
        let wanted = only.as_ref().is_none_or(|only| *only == arch);
        if wanted && name.as_ref().is_none_or(|name| own.contains(name.as_str())) {
            let bench = Bench::new(case, nvrtc).with_context(|| own.to_owned())?;
            if let Some(folder) = &folder {
                std::fs::write(format!("{folder}/{own}.ptx"), &bench.ptx)?;
            }
            benches.push(bench);
        }
    }
    let mut judged = Vec::new();
    for bench in 0..benches.len() {
        let started = std::time::Instant::now();
        let verdicts = judge(&benches, bench, each);
        let name = benches[bench].name;
        eprintln!("{name}: {} mutants in {:.1?}", verdicts.len(), started.elapsed());
        judged.extend(verdicts);
    }
    for (arch, file) in PAGES {
        let Some(page) = report::page(&benches, &judged, nvrtc.version(), each, arch) else {
            continue;
        };
        if write {
            let path = bytec_tests::root().join(file);
            std::fs::create_dir_all(path.with_file_name(""))?;
            std::fs::write(path, page)?;
        } else {
            println!("{page}");
        }
    }
    Ok(())
}

/// Judges a kernel's mutants, on two threads.
fn judge(benches: &[Bench], nth: usize, each: usize) -> Vec<Judged> {
    let bench = &benches[nth];
    let mutants = chosen(&bench.ptx, each);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = bench.judge(mutant);
                    let judged = Judged { bench: nth, mutant: mutant.clone(), verdict };
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

    use super::bench::Reason;
    use super::*;

    /// Every barrier, wait and copy of three kernels, and a few of the other classes: each of the classes that are complete
    /// is seen or known not to matter, and most of the others.
    #[test]
    fn mutants_of_every_class_are_killed() {
        let Some(nvrtc) = nvrtc() else { return };
        let names = ["linear f16", "attention f16", "softmax f32, wide", "linear f16, wgmma"];
        let cases = cases::all().into_iter().filter(|case| names.contains(&case[0].name));
        let benches: Vec<_> =
            cases.map(|case| Bench::new(case, nvrtc).expect("it is clean")).collect();
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
        let Some(nvrtc) = nvrtc() else { return };
        let mut found = String::new();
        for case in cases::all() {
            let bench = Bench::new(case, nvrtc).expect("it is clean");
            for (batch, name) in bench::BATCHES.iter().enumerate() {
                let hash = blake3::hash(bench.bytes(batch)).to_hex();
                writeln!(found, "{}, {name}: {}", bench.name, &hash[..16]).expect("strings grow");
            }
        }
        expect_test::expect_file!["bits.txt"].assert_eq(&found);
    }
}
