//! The way to a GPU, tried without one: a pack of a few cases, run on the simulated device in place of a GPU.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytec_tests::{nvrtc, program};
use serde_json::Value;

fn script(script: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("bash");
    command.arg(script).args(arguments).current_dir(bytec_tests::root());
    command.env("BYTEC_GPU_PROGRAM", env!("CARGO_BIN_EXE_gpu"));
    command.env("BYTEC_GPU_TUNER", program::path());
    command.env("BYTEC_GPU_CACHE", cache());
    // How small the archive is matters where it is sent.
    command.env("XZ_OPT", "-0");
    command.output().expect("bash starts")
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("gpu_run")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn record(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("gpu.json")).expect("the run writes its record");
    serde_json::from_str(&text).expect("it is JSON")
}

fn run(pack: &Path, out: &Path, phases: &str) -> Output {
    let out = out.to_str().expect("temporary folders are UTF-8");
    let library = nvrtc::nvrtc().expect("the test has begun with it").library().to_owned();
    let nvrtc = library.parent().and_then(Path::to_str).expect("it lies in a folder");
    let cache = cache();
    let cache = cache.to_str().expect("the target folder is UTF-8");
    let arguments = [out, "--device", "sim", "--phase", phases, "--nvrtc", nvrtc, "--cache", cache];
    script(&pack.join("run.sh"), &arguments)
}

#[test]
fn a_pack_runs_and_says_what_is_wrong() {
    if nvrtc::nvrtc().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("temporary folders are UTF-8");
    let only = "linear 12 to 20,softmax 33,embed 40,beside NaN";
    let targets = "cpu:f32,sm_80:f32,sm_80:f16,sm_90a:f16";
    let arguments = [path, "--only", only, "--targets", targets];
    let packed = script(&bytec_tests::root().join("tests/gpu/pack.sh"), &arguments);
    assert!(packed.status.success(), "{}", said(&packed));
    assert!(folder.path().join("bytec-gpu.tar.xz").is_file());
    let pack = folder.path().join("bytec-gpu");

    let out = folder.path().join("result");
    let ran = run(&pack, &out, "kernels,models,sanitizer,timings");
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    let found = record(&out);
    let phases = found["phases"].as_array().expect("phases");
    let names: Vec<_> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["kernels", "models", "sanitizer", "timings"]);
    // Each case for each target.
    let units: Vec<_> = phases.iter().map(|phase| phase["units"].as_u64().unwrap()).collect();
    assert_eq!(units, [12, 4, 4, 6]);
    for (phase, units) in phases.iter().zip(&units).filter(|(phase, _)| phase["tools"].is_null()) {
        assert_eq!(phase["findings"].as_array().map(Vec::len), Some(*units as usize));
    }
    let page = std::fs::read_to_string(out.join("gpu.md")).expect("a page");
    assert!(page.contains("No GPU took part"), "{page}");
    assert!(String::from_utf8_lossy(&ran.stdout).ends_with(&page), "the run ends with its page");
    let text = said(&ran);
    // No tile of so small a linear can be chosen, and that is all that `bytec tune` finds out here.
    assert!(text.contains("expected a program with steps whose tiles can be chosen"), "{text}");

    // Where a device gives other bits than it should, or is far from what is expected, the run says so, and goes on.
    let case = pack.join("cases/softmax_33");
    std::fs::copy(case.join("sm_80-f16.safetensors"), case.join("exact.safetensors")).unwrap();
    let case = pack.join("cases/linear_12_to_20__gelu_erf");
    std::fs::copy(case.join("sm_80-f16.safetensors"), case.join("sm_80-f32.safetensors")).unwrap();
    std::fs::write(case.join("sm_90a-f16.plan"), "no plan").unwrap();
    let out = folder.path().join("wrong");
    let ran = run(&pack, &out, "kernels");
    assert_eq!(ran.status.code(), Some(1), "{}", said(&ran));
    let found = record(&out);
    let findings = found["phases"][0]["findings"].as_array().expect("findings").clone();
    let wrong: Vec<_> = findings
        .iter()
        .filter(|finding| !finding["wrong"].is_null())
        .map(|finding| (finding["unit"].as_str().unwrap(), finding["wrong"].to_string()))
        .collect();
    let expected = [
        ("linear 12 to 20, gelu_erf sm_80:f32", "differ from the simulated GPU"),
        ("linear 12 to 20, gelu_erf sm_90a:f16", "expected"),
        ("softmax 33 cpu:f32", "is past"),
        ("softmax 33 sm_80:f32", "is past"),
    ];
    assert_eq!(findings.len(), 12);
    assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
    for ((unit, why), (expected, part)) in wrong.iter().zip(expected) {
        assert_eq!(*unit, expected);
        assert!(why.contains(part), "{unit}: {why}");
    }
}
