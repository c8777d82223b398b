//! `bytec verify`, and runs on devices: the interpreter, and a GPU where there is none.

use std::path::Path;
use std::process::{Output, Stdio};

use bytec_compiler::nvrtc::INSTALL;
use bytec_tests::golden::Case;
use bytec_tests::tensors::{self, Tensor};
use bytec_tests::{nvrtc, program};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

use super::running::write_samples;
use super::{Place, json, printed, said};

const CASE: &str = "bert_seqcls/base";

/// A folder with the case's plan for the CPU and the devices of `more`, its samples and their results.
pub(super) fn place(more: &str) -> Place {
    let case = Case::load(CASE).expect("a golden case");
    let place = Place { folder: tempfile::tempdir().expect("a temporary folder") };
    for name in ["inputs.safetensors", "outputs.safetensors"] {
        place.write(name, &std::fs::read(case.folder.join(name)).expect("a file of the case"));
    }
    // Reference data holds the results of layers too.
    write_reference(&place, "outputs.safetensors", "outputs.safetensors", |key, _, _| {
        key.ends_with(".logits")
    });
    let model = case.folder.to_str().expect("the path is UTF-8");
    let target = format!("cpu{more}");
    let folder = nvrtc::nvrtc().and_then(|nvrtc| nvrtc.library().parent());
    let folder = folder.unwrap_or(Path::new("none")).to_str().expect("the path is UTF-8");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli_kernels");
    let cache = cache.to_str().expect("the path is UTF-8");
    let compiled = ["compile", model, "-o", "a.plan", "--target", &target];
    place.good(&[&compiled[..], &["--nvrtc", folder, "--kernel-cache", cache]].concat());
    place
}

pub(super) fn verify(place: &Place, plan: &str, more: &[&str]) -> Output {
    let verify = ["verify", plan, "--inputs", "inputs.safetensors"];
    let command = &mut place.command(&[&verify[..], more].concat());
    command.output().expect("the program starts")
}

/// Writes the results of a file without those that `change` takes out, and with the values that it changes.
fn write_reference(
    place: &Place,
    from: &str,
    name: &str,
    mut change: impl FnMut(&mut String, &mut Vec<f32>, &mut Vec<usize>) -> bool,
) {
    let bytes = std::fs::read(place.path(from)).expect("the results are there");
    let file = SafeTensors::deserialize(&bytes).expect("a file of tensors");
    let mut kept = Vec::new();
    for (mut key, view) in file.tensors() {
        let mut values: Vec<f32> =
            view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        let mut shape = view.shape().to_vec();
        if change(&mut key, &mut values, &mut shape) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            kept.push((key, shape, bytes));
        }
    }
    let views = kept.iter().map(|(key, shape, bytes)| {
        (key, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("the shape fits"))
    });
    place.write(name, &safetensors::serialize(views, None).expect("a file of tensors"));
}

#[test]
fn results_on_the_cpu_are_those_of_the_reference() {
    let place = place("");
    let output = verify(&place, "a.plan", &["--reference", "outputs.safetensors"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "");
    let text = printed(&output);
    assert!(text.contains("samples, packed and alone, against outputs.safetensors\n"), "{text}");
    assert!(text.contains("cpu     forward for cpu in f32  same bits  "), "{text}");
    // Without a reference the first device is one, and there is no other.
    let output = verify(&place, "a.plan", &["--max-batch-tokens", "200", "--threads", "2"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = printed(&output);
    assert!(text.contains("against cpu\n") && text.contains("same bits  -        -"), "{text}");
}

#[test]
fn results_that_are_off_are_a_mismatch_with_their_place() {
    let place = place("");
    let (mut output, mut changed) = (String::new(), String::new());
    write_reference(&place, "outputs.safetensors", "off", |key, values, _| {
        if key.starts_with("1.") && output.is_empty() {
            values[0] += 0.5;
            output = key.trim_start_matches("1.").to_owned();
            changed = format!("expected {} at sample 1, element 0, found ", values[0]);
        }
        true
    });
    let found = verify(&place, "a.plan", &["--reference", "off", "--json"]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    let message = said(&found);
    assert!(
        message.starts_with(&format!("error: output `{output}` on cpu: {changed}")),
        "{message}"
    );
    let findings = json(&found);
    assert_eq!((&findings["passed"], &findings["against"]), (&false.into(), &"off".into()));
    let result = of(&findings, &output, "cpu");
    assert_eq!((&result["passed"], &result["tolerance"]), (&false.into(), &1e-5.into()));
    let worst = &result["errors"]["worst"];
    assert_eq!((&worst["sample"], &worst["index"]), (&"1".into(), &0.into()));
    let error = result["errors"]["max_abs"].as_f64().expect("a number");
    assert!((error - 0.5).abs() < 1e-4, "{error}");
    // Whoever reads the table may have enough; the verdict stands.
    let arguments = ["verify", "a.plan", "--inputs", "inputs.safetensors", "--reference", "off"];
    let mut command = place.command(&arguments);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    // As far as the user allows, it is none.
    assert!(verify(&place, "a.plan", &["--reference", "off", "--tolerance", "1"]).status.success());

    write_reference(&place, "outputs.safetensors", "nan", |_, values, _| {
        values[0] = f32::NAN;
        true
    });
    let found = verify(&place, "a.plan", &["--reference", "nan", "--tolerance", "1"]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    assert!(said(&found).contains("expected NaN at sample 0, element 0"), "{}", said(&found));
}

/// The finding for an output on a device.
fn of<'a>(findings: &'a Value, output: &str, device: &str) -> &'a Value {
    let results = findings["results"].as_array().expect("a list of results");
    let is = |result: &&Value| result["output"] == output && result["device"] == device;
    results.iter().find(is).unwrap_or_else(|| panic!("no {output} on {device}: {findings}"))
}

#[test]
fn a_reference_may_leave_things_out() {
    let place = Place::new();
    write_samples(&place);
    place.good(&["run", "a.plan", "--inputs", "in.safetensors", "-o", "all"]);
    let check = |reference: &str| {
        let verify = ["verify", "a.plan", "--inputs", "in.safetensors", "--reference", reference];
        let text = printed(&place.good(&verify));
        (json(&place.good(&[&verify[..], &["--json"]].concat())), text)
    };
    let (findings, _) = check("all");
    let none = serde_json::json!({"outputs": [], "samples": [], "tensors": [], "not_in_inputs": [],
            "not_in_plan": []});
    assert_eq!(findings["left_out"], none);
    assert_eq!(of(&findings, "embedding", "cpu")["compared"], 12);

    write_reference(&place, "all", "some", |key, _, _| {
        !key.starts_with("3.") && !key.starts_with("10.") && key != "5.embedding"
    });
    let (findings, text) = check("some");
    assert_eq!(
        findings["left_out"],
        serde_json::json!({
            "outputs": [], "samples": ["3", "10"], "tensors": ["5.embedding"], "not_in_inputs": [],
            "not_in_plan": [],
        })
    );
    assert_eq!(of(&findings, "embedding", "cpu")["compared"], 9);
    assert_eq!(of(&findings, "last_hidden_state", "cpu")["compared"], 10);
    assert!(text.contains("\nnot in some, so not compared: sample 3, 10\n"), "{text}");
    assert!(text.contains("\nnot in some, so not compared: 5.embedding\n"), "{text}");

    write_reference(&place, "all", "one", |key, _, _| key.ends_with(".embedding"));
    let (findings, text) = check("one");
    assert_eq!(findings["left_out"]["outputs"], serde_json::json!(["last_hidden_state"]));
    let left = of(&findings, "last_hidden_state", "cpu");
    assert_eq!((&left["compared"], &left["errors"]), (&0.into(), &Value::Null));
    assert!(text.contains("\nnot in one, so not compared: output last_hidden_state\n"), "{text}");
    // A mismatch in what is there is one.
    write_reference(&place, "one", "off", |_, values, _| {
        values[0] += 1.0;
        true
    });
    let off = ["verify", "a.plan", "--inputs", "in.safetensors", "--reference", "off"];
    let output = place.command(&off).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));

    // Texts are samples by their place, and the file may have more.
    let texts = ["verify", "a.plan", "--text", "the cat", "--text", "a mat"];
    let text = printed(&place.good(&texts));
    assert!(text.starts_with("2 samples, packed and alone, against cpu\n"), "{text}");
    let output = place.command(&[&texts[..], &["--reference", "all", "--json"]].concat()).output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(2), "other rows: {}", said(&output));
    assert!(said(&output).contains("all: 0.last_hidden_state: expected shape [4, 24] as on cpu"));
}

#[test]
fn a_reference_may_hold_what_the_plan_keeps_to_itself() {
    let place = place("");
    let case = Case::load(CASE).expect("a golden case");
    let layers =
        std::fs::read(case.folder.join("outputs.safetensors")).expect("a file of the case");
    place.write("layers", &layers);
    let output = verify(&place, "a.plan", &["--reference", "layers", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let findings = json(&output);
    let hidden = serde_json::json!(["hidden.0", "hidden.1", "hidden.2", "hidden.3"]);
    assert_eq!(findings["left_out"]["not_in_plan"], hidden);
}

#[test]
fn a_reference_that_does_not_fit_is_bad_input() {
    let place = place("");
    let from = "outputs.safetensors";
    write_reference(&place, from, "shape", |_, _, shape| {
        shape.insert(0, 1);
        true
    });
    for (file, part) in [
        ("shape", "expected shape ["),
        (
            "inputs.safetensors",
            "expected outputs of the plan, out of logits, found input_ids, token_type_ids",
        ),
    ] {
        let output = verify(&place, "a.plan", &["--reference", file]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let message = said(&output);
        assert!(message.starts_with(&format!("error: {file}: ")), "{message}");
        assert!(message.contains(part), "{message}");
    }
    // Samples that nobody ran are no reference for those that were.
    write_reference(&place, from, "other", |key, _, _| {
        let first = key == "0.logits";
        "77.logits".clone_into(key);
        first
    });
    let output = verify(&place, "a.plan", &["--reference", "other"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let part = "other: expected results of some sample of the inputs (0, 1, 2, 3, 4, 5, 6, 7 and 3 more), found those of 77";
    assert!(said(&output).contains(part), "{}", said(&output));
    for tolerance in ["-1", "NaN", "2", "a"] {
        let output = verify(&place, "a.plan", &[&format!("--tolerance={tolerance}")]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
}

#[test]
fn the_interpreter_agrees_with_the_cpu_and_the_reference() {
    if nvrtc::nvrtc().is_none() {
        return;
    }
    let place = place(",sm_80:f32");
    let output = verify(&place, "a.plan", &["--reference", "outputs.safetensors", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let findings = json(&output);
    for result in findings["results"].as_array().expect("a list of results") {
        let output = result["output"].as_str().expect("a name");
        for device in ["cpu", "sim:sm_80"] {
            assert_eq!(of(&findings, output, device)["alone_differs_at"], Value::Null);
        }
    }
    let only = printed(&verify(&place, "a.plan", &["--devices", "sim"]));
    assert!(only.contains("against sim:sm_80\n") && !only.contains("for cpu"), "{only}");

    let run = |device: &str, more: &[&str]| {
        let run = ["run", "a.plan", "--inputs", "inputs.safetensors", "-o", device, "--device"];
        place.good(&[&run[..], &[device], more].concat())
    };
    run("cpu", &[]);
    let profile = said(&run("sim", &["--profile"]));
    assert!(profile.starts_with("kernel ") && profile.contains("\nall "), "{profile}");
    let [cpu, sim] =
        ["cpu", "sim"].map(|file| tensors::read(&place.path(file)).expect("a file of samples"));
    assert!(cpu.keys().eq(sim.keys()));
    for (sample, outputs) in &cpu {
        for (name, expected) in outputs {
            let (found, shape) = floats(&sim[sample][name]);
            let (expected, expected_shape) = floats(expected);
            assert_eq!(shape, expected_shape);
            let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close, "sample {sample}, {name}: {found:?}, {expected:?}");
        }
    }
}

fn floats(tensor: &Tensor) -> (&[f32], &[u64]) {
    match tensor {
        Tensor::F32(values, shape) => (values, shape),
        Tensor::I64(..) => panic!("expected floats"),
    }
}

#[test]
fn what_this_machine_lacks_is_said() {
    let place = Place::new();
    let fails = |arguments: &[&str], code: i32, part: &str| {
        let output = place.command(arguments).output().expect("the program starts");
        let message = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains(part), "{arguments:?}: {message}");
    };
    fails(&["run", "a.plan", "--text", "a", "--profile"], 2, "--profile: expected --device sim");
    fails(&["run", "a.plan", "--text", "a", "--device", "sim"], 3, "found forward for cpu");
    let compile = ["compile", "model", "-o", "b.plan", "--target", "sm_80", "--nvrtc", "/nowhere"];
    fails(&compile, 3, INSTALL);
    assert!(!place.path("b.plan").exists());
    let findings = json(&program::bytec(["doctor", "--json"]));
    if findings["gpu"]["problem"].is_string() {
        let part = "can't use the device: ";
        fails(&["run", "a.plan", "--text", "a", "--device", "cuda"], 3, part);
    }
}
