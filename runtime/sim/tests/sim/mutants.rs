//! The GEMM with one statement taken out: every barrier, wait and commit of it matters.

use bytec_sim::{Arg, Device, Fault, FaultKind, Module};

use crate::support::{noise, upload_f16};

const GEMM: &str = include_str!("../fixtures/gemm.ptx");

fn run(text: &str) -> Result<(), Box<Fault>> {
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let (m, n, k) = (72usize, 64usize, 160usize);
    let mut device = Device::sm_80();
    let a = upload_f16(&mut device, "a", &noise(m * k, 1));
    let b = upload_f16(&mut device, "b", &noise(n * k, 2));
    let c = device.alloc("c", (m * n * 4) as u64).expect("it is small");
    let pointers = [a, b, c].map(|buffer| Arg::Pointer(buffer, 0));
    let sizes = [m, n, k].map(|size| Arg::I32(size as i32));
    let args: Vec<Arg> = pointers.into_iter().chain(sizes).collect();
    let kernel = module.kernel("gemm").expect("it is there");
    device.launch(kernel, [1, 2, 1], [128, 1, 1], 0, &args).map(|_| ())
}

/// The text without its n-th line that begins with a word.
fn without(word: &str, n: usize) -> Option<String> {
    let found = GEMM.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(word));
    let at = found.map(|(at, _)| at).nth(n)?;
    let kept = GEMM.lines().enumerate().filter(|(other, _)| *other != at);
    Some(kept.map(|(_, line)| line).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_whole_kernel_is_clean() {
    run(GEMM).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn every_barrier_wait_and_commit_matters() {
    for (word, least) in [("bar.sync", 2), ("cp.async.wait_group", 2), ("cp.async.commit_group", 2)]
    {
        let mutants: Vec<String> = (0..).map_while(|n| without(word, n)).collect();
        assert!(mutants.len() >= least, "{word}");
        for (n, mutant) in mutants.iter().enumerate() {
            let fault = run(mutant).expect_err(&format!("{word} number {n} can go"));
            let race = matches!(
                fault.kind,
                FaultKind::Race { .. }
                    | FaultKind::AsyncConflict { .. }
                    | FaultKind::Uninitialised { .. }
            );
            assert!(race, "{word} number {n}: {fault}");
            assert!(fault.cuda.is_some_and(|(file, _)| file == "gemm.cu"), "{word} number {n}");
        }
    }
}

#[test]
fn a_group_too_many_in_flight_is_seen() {
    let mutant = GEMM.replace("cp.async.wait_group 1;", "cp.async.wait_group 2;");
    assert_ne!(mutant, GEMM);
    let fault = run(&mutant).expect_err("one group is read before it is there");
    assert!(matches!(fault.kind, FaultKind::AsyncConflict { .. }), "{fault}");
}
