//! `bytec verify --steps`: the first step that goes wrong is named.

use bytec_plan::program::{Operand, Program};
use bytec_plan::reader::PlanIndex;
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{Contents, write};
use bytec_tests::nvrtc;
use serde_json::Value;

use super::verify::{place, verify};
use super::{Place, json, printed, said};

/// The step that the tests spoil.
const VALUE: &str = "encoder.layer.1.attention.output.dense";

/// Writes `a.plan` anew as `name`, after a change of the program for `sm_80` and of a copy of the weights of `VALUE`.
fn spoil(place: &Place, name: &str, change: fn(&mut Program, usize, &mut [u8])) {
    let file = std::fs::read(place.path("a.plan")).expect("the plan is there");
    let PlanIndex { manifest, mut programs, weights, modules, tokenizer, .. } =
        PlanIndex::read(&file).expect("the plan is good");
    let (mut table, mut code) = (WeightTable::new(), WeightTable::new());
    // All that was there stays where it was.
    table.add(&file[weights.clone()]);
    code.add(&file[modules]);
    let program =
        programs.iter_mut().find(|program| program.target == "sm_80").expect("it is there");
    let step = program.steps.iter().position(|step| step.name == VALUE).expect("a step");
    let Operand::Weight(weight) = program.steps[step].operands[1] else { panic!("a linear step") };
    let spec = &mut program.weights[weight as usize];
    let start = weights.start + spec.offset as usize;
    let mut bytes = file[start..start + spec.bytes as usize].to_vec();
    change(program, step, &mut bytes);
    let placed = table.add(bytes);
    let spec = &mut program.weights[weight as usize];
    (spec.offset, spec.hash) = (placed.offset, placed.hash);
    let contents = Contents {
        manifest: &manifest,
        programs: &programs,
        weights: &table,
        modules: Some(&code),
        tokenizer: tokenizer.map(|range| &file[range]),
    };
    let mut out = Vec::new();
    write(contents, &mut out).expect("memory takes all bytes");
    place.write(name, &out);
}

fn steps(findings: &Value, device: usize) -> &[Value] {
    let steps = findings["steps"]["devices"][device]["steps"].as_array();
    steps.unwrap_or_else(|| panic!("no steps: {findings}"))
}

#[test]
fn every_step_is_shown_on_one_device_alone() {
    let place = place("");
    let output = verify(&place, "a.plan", &["--steps", "--json", "--max-batch-tokens", "100"]);
    assert!(output.status.success(), "{}", said(&output));
    let findings = json(&output);
    assert_eq!(
        (&findings["passed"], &findings["steps"]["first_wrong"]),
        (&true.into(), &Value::Null)
    );
    let steps = steps(&findings, 0);
    for (i, step) in steps.iter().enumerate() {
        assert_eq!((&step["index"], &step["passed"]), (&i.into(), &true.into()));
        assert_eq!((&step["errors"], &step["alone_differs_at"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(steps[0]["value"], "embeddings.LayerNorm");
    // The same program twice gives the same values.
    let output = verify(&place, "a.plan", &["--steps", "--json", "--devices", "cpu,cpu"]);
    let findings = json(&output);
    for step in self::steps(&findings, 1) {
        assert_eq!((&step["errors"]["max_abs"], &step["passed"]), (&0.0.into(), &true.into()));
    }
    let text = printed(&verify(&place, "a.plan", &["--steps", "--devices", "cpu,cpu"]));
    for part in [
        "\nsteps on cpu, forward for cpu in f32\n    step  kernel      value ",
        "\nsteps on cpu, forward for cpu in f32, against cpu\n",
        "    24    linear      classifier ",
        "  same bits  0.00e0   0.00e0    1.0e-5   none\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn the_first_wrong_step_is_named() {
    if nvrtc::nvrtc().is_none() {
        return;
    }
    let place = place(",sm_80:f16");
    let good = verify(&place, "a.plan", &["--steps", "--json"]);
    assert!(good.status.success(), "{}", said(&good));
    let findings = json(&good);
    let found = steps(&findings, 1);
    assert_eq!(found.len(), steps(&findings, 0).len());
    assert!(
        found.iter().all(|step| step["errors"]["max_relative"].as_f64().is_some_and(|x| x < 1e-2))
    );
    assert_eq!(findings["steps"]["devices"][1]["not_matched"], Value::Array(vec![]));

    // The signs of the weights that give column 0.
    spoil(&place, "b.plan", |program, step, bytes| {
        let view = program.steps[step].operands[0];
        let Operand::View(view) = view else { panic!("a linear step reads rows") };
        bytes[..2 * view.width as usize].iter_mut().skip(1).step_by(2).for_each(|x| *x ^= 0x80);
    });
    let wrong = verify(&place, "b.plan", &["--steps", "--json"]);
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    let findings = json(&wrong);
    let steps = steps(&findings, 1);
    let first = steps.iter().position(|step| step["passed"] == false).expect("a step is wrong");
    assert_eq!(
        (&steps[first]["value"], &steps[first]["kernel"]),
        (&VALUE.into(), &"linear".into())
    );
    let worst = &steps[first]["errors"]["worst"];
    assert_eq!(worst["column"], 0);
    let named = &findings["steps"]["first_wrong"];
    assert_eq!((&named["index"], &named["value"]), (&first.into(), &VALUE.into()));
    assert_eq!(named["device"], "sim:sm_80");
    let message = said(&wrong);
    let step = format!("step {first} on sim:sm_80, linear giving `{VALUE}`: expected ");
    let at = format!(
        " as on cpu at sample {}, row {}, column 0, found ",
        worst["sample"].as_str().expect("a key"),
        worst["row"]
    );
    assert!(message.contains(&step) && message.contains(&at), "{message}");
    let text = printed(&verify(&place, "b.plan", &["--steps"]));
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("  wrong  ")).collect();
    assert!(lines[0].contains(VALUE), "{text}");
}

#[test]
fn steps_without_a_counterpart_are_listed() {
    if nvrtc::nvrtc().is_none() {
        return;
    }
    let place = place(",sm_80:f16");
    spoil(&place, "b.plan", |program, step, _| {
        let output = program.steps[step].output as usize;
        program.buffers[output].name = "renamed".to_owned();
    });
    let output = verify(&place, "b.plan", &["--steps", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let findings = json(&output);
    let lonely = findings["steps"]["devices"][1]["not_matched"].as_array().expect("a list");
    let named: Vec<_> =
        lonely.iter().map(|x| (x["device"].as_str(), x["value"].as_str())).collect();
    assert_eq!(named, [(Some("sim:sm_80"), Some("renamed")), (Some("cpu"), Some(VALUE))]);
    let index = lonely[0]["index"].as_u64().expect("a number") as usize;
    assert_eq!(steps(&findings, 1)[index]["errors"], Value::Null);
    let text = printed(&verify(&place, "b.plan", &["--steps"]));
    let line = format!("\n  not matched: step {index} of sim:sm_80, linear giving `renamed`\n");
    assert!(text.contains(&line), "{text}");
}
