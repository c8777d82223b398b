//! Compiling for GPUs: what is said of kernels, plans without PTX, the GPU of this machine, and a broken driver.

use std::path::Path;
use std::process::Command;

use bytec_tests::nvrtc;

use super::{Place, json, printed, said};

/// Compiles the place's model for GPUs; `None` without NVRTC.
fn compile(place: &Place, more: &[&str]) -> Option<std::process::Output> {
    let folder = nvrtc::nvrtc()?.library().parent()?.to_str()?;
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli_kernels");
    let compile = ["compile", "model", "--pooling", "mean", "--nvrtc", folder];
    let cache = ["--kernel-cache", cache.to_str()?];
    Some(place.good(&[&compile[..], &cache, more].concat()))
}

#[test]
fn kernels_are_counted_and_their_resources_shown() {
    let place = Place::new();
    let target = ["--target", "cpu,sm_80:f16,compute_80:f32"];
    let Some(output) = compile(&place, &[&["-o", "b.plan"], &target[..]].concat()) else { return };
    let text = said(&output);
    let lines = |of: &str| text.lines().filter(|line| line.contains(of)).count();
    let (native, ptx) = (lines(" for sm_80"), lines(" for compute_80"));
    let total = native + ptx - 2;
    for done in 1..=total {
        assert_eq!(lines(&format!("  kernel {done}/{total}: ")), 1, "{text}");
    }
    assert_eq!(lines("kernels for sm_80 "), 1, "{text}");
    assert_eq!(lines("threads  registers  shared bytes spilled"), 2, "{text}");
    let output = compile(&place, &[&["-o", "c.plan", "--json"], &target[..]].concat());
    let output = output.expect("it was there before");
    assert_eq!(said(&output), "");
    let summary = json(&output);
    let kernels = summary["kernels"].as_array().expect("a list");
    assert_eq!(kernels.len(), total);
    for kernel in kernels {
        assert_eq!(
            (&kernel["warnings"], &kernel["cached"]),
            (&serde_json::json!([]), &true.into())
        );
        assert!(kernel["threads"].as_u64() >= Some(32), "{kernel}");
        if kernel["target"] == "sm_80" {
            let resources = &kernel["resources"];
            assert!(resources["registers"].as_u64() > Some(0), "{kernel}");
            assert_eq!(
                (&resources["spill_stores"], &resources["spill_loads"]),
                (&0.into(), &0.into())
            );
        } else {
            assert!(kernel["resources"].is_null(), "{kernel}");
        }
    }
    // The plan keeps what a launch takes.
    let text = printed(&place.good(&["inspect", "b.plan"]));
    assert_eq!(text.matches("threads  registers  shared bytes\n").count(), 2, "{text}");
    assert!(
        text.contains("bytes of machine code for sm_80, ") && text.contains("no machine code, ")
    );
}

#[test]
fn a_plan_without_ptx_is_smaller_and_runs_where_its_machine_code_does() {
    let place = Place::new();
    let target = ["--target", "cpu,sm_80:f16"];
    let stripped = [&["-o", "stripped.plan", "--strip-ptx"], &target[..]].concat();
    if compile(&place, &stripped).is_none() {
        return;
    }
    compile(&place, &[&["-o", "whole.plan"], &target[..]].concat());
    let bytes = |name: &str| std::fs::metadata(place.path(name)).expect("it is there").len();
    assert!(bytes("stripped.plan") < bytes("whole.plan"));
    let run = ["run", "stripped.plan", "--device", "sim", "--text", "one"];
    let output = place.command(&run).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(3));
    let text = said(&output);
    assert!(
        text.contains("no PTX for the interpreter; compile it without `--strip-ptx`"),
        "{text}"
    );
    let inspected = printed(&place.good(&["inspect", "stripped.plan"]));
    assert!(inspected.contains(", no PTX: for no later generation of GPUs, "), "{inspected}");
    assert!(!printed(&place.good(&["inspect", "whole.plan"])).contains("no PTX"));
    let examined = printed(&place.good(&["doctor", "stripped.plan"]));
    assert!(examined.contains("it has no PTX, which --device sim needs\n"), "{examined}");
    let examined = printed(&place.good(&["doctor", "whole.plan"]));
    assert!(examined.contains("; --device sim interprets it\n"), "{examined}");
    // Left to itself, `verify` takes no device that can't run the plan.
    super::running::write_samples(&place);
    place.good(&["verify", "stripped.plan", "--inputs", "in.safetensors"]);
}

#[test]
fn a_target_that_is_ptx_alone_keeps_it() {
    let place = Place::new();
    let compile = ["compile", "model", "-o", "b.plan", "--strip-ptx", "--target", "cpu,compute_80"];
    let output = place.command(&compile).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        said(&output),
        "error: --strip-ptx: expected targets with machine code, such as sm_80, found compute_80, which is PTX alone\n"
    );
}

#[test]
fn the_gpu_of_this_machine_is_a_target_where_there_is_one() {
    let place = Place::new();
    let gpu = json(&place.good(&["doctor", "--json"]))["gpu"]["architecture"].clone();
    if !gpu.is_null() {
        compile(&place, &["-o", "b.plan", "--target", "native"]);
        return;
    }
    for flag in ["--target", "--arch"] {
        let compile = ["compile", "model", "-o", "b.plan", flag, "cpu,native:bf16"];
        let output = place.command(&compile).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        let text = said(&output);
        assert!(
            text.starts_with("error: --target native: expected a GPU in this machine, found none that can be used; "),
            "{text}"
        );
    }
    assert!(!place.path("b.plan").exists());
}

/// A library of the driver's name without its functions is found before any other.
#[test]
#[cfg(target_os = "linux")]
fn a_driver_library_without_functions_is_named_as_broken() {
    let place = Place::new();
    place.write(
        "libcuda.rs",
        b"#![no_std]\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n",
    );
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut build = Command::new(rustc);
    build.args(["--crate-type", "cdylib", "-C", "panic=abort", "libcuda.rs", "-o", "libcuda.so"]);
    let built = build.current_dir(place.path("")).output().expect("rustc starts");
    assert!(built.status.success(), "{}", said(&built));
    let doctor =
        place.command(&["doctor", "--json"]).env("LD_LIBRARY_PATH", place.path("")).output();
    let output = doctor.expect("the program starts");
    assert!(output.status.success(), "{}", said(&output));
    let problem = json(&output)["gpu"]["problem"].clone();
    let expected =
        "expected a CUDA driver library with the function `cuDriverGetVersion`, found one without";
    assert!(problem.as_str().is_some_and(|text| text.starts_with(expected)), "{problem}");
}
