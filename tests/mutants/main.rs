//! Mutants of the real kernels' PTX on the simulated GPU: how many its checks and the numbers see.
//!
//! `cargo run --release -p bytec-tests --bin mutants` prints the table; `--write` puts it into docs/sim-mutants.md.
//! `--each N` makes at most so many mutants of a class of a kernel, where the class allows; a word picks kernels by name.

mod bench;
mod cases;
mod mutate;
mod probe;
mod report;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytec_tests::nvrtc::nvrtc;

use bench::{Bench, Verdict};
use mutate::{CLASSES, Mutant};

/// Mutants of a class of a kernel, where there are more and the class does not ask for all.
const EACH: usize = 60;

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
    let (mut write, mut each, mut name) = (false, EACH, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--write" => write = true,
            "--each" => each = words.next().context("--each takes a number")?.parse()?,
            _ => name = Some(word),
        }
    }
    let nvrtc = nvrtc().context("mutants are made of what NVRTC gives")?;
    let mut benches = Vec::new();
    for case in cases::all() {
        if name.as_ref().is_none_or(|name| case.name.contains(name.as_str())) {
            let name = case.name;
            benches.push(Bench::new(case, nvrtc).with_context(|| name.to_owned())?);
        }
    }
    let mut judged = Vec::new();
    for bench in 0..benches.len() {
        let started = std::time::Instant::now();
        let verdicts = judge(&benches, bench, each);
        let name = benches[bench].case.name;
        eprintln!("{name}: {} mutants in {:.1?}", verdicts.len(), started.elapsed());
        judged.extend(verdicts);
    }
    let page = report::page(&benches, &judged, nvrtc.version(), each);
    if write {
        let path = bytec_tests::root().join("docs/sim-mutants.md");
        std::fs::create_dir_all(path.with_file_name(""))?;
        std::fs::write(path, page)?;
    } else {
        println!("{page}");
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
    use super::*;

    /// A few mutants of each class of a GEMM and of a kernel with shuffles and barriers: some of each class are seen.
    #[test]
    fn mutants_of_every_class_are_killed() {
        let Some(nvrtc) = nvrtc() else { return };
        let names = ["linear f16", "attention f16", "softmax f32, wide"];
        let cases = cases::all().into_iter().filter(|case| names.contains(&case.name));
        let benches: Vec<_> =
            cases.map(|case| Bench::new(case, nvrtc).expect("it is clean")).collect();
        assert_eq!(benches.len(), names.len());
        let mut made: std::collections::BTreeMap<&str, (usize, usize)> = CLASSES
            .iter()
            .filter(|(class, _)| *class != "fence removed")
            .map(|(class, _)| (*class, (0, 0)))
            .collect();
        for bench in &benches {
            let mutants = mutate::mutants(&bench.ptx);
            for (class, (count, killed)) in &mut made {
                let own: Vec<_> = mutants.iter().filter(|mutant| mutant.class == *class).collect();
                for nth in 0..own.len().min(5) {
                    let verdict = bench.judge(own[nth * own.len() / own.len().min(5)]);
                    assert_ne!(verdict, Verdict::Killed("simulator panicked"), "{:?}", own[nth]);
                    assert_ne!(verdict, Verdict::Killed("refused"), "{:?}", own[nth]);
                    *count += 1;
                    *killed += usize::from(matches!(verdict, Verdict::Killed(_)));
                }
            }
        }
        for (class, (count, killed)) in made {
            assert!(killed * 3 >= count && killed > 0, "{class}: {killed} of {count} are killed");
        }
    }
}
