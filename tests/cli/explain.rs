//! What `bytec explain` tells of a model and of a plan.

use bytec_compiler::fuse::RULES;

use super::{Place, json, printed, said};

#[test]
fn every_op_of_a_model_is_explained() {
    let place = Place::new();
    let model = ["explain", "model", "--pooling", "mean", "--normalize", "true"];
    let text = printed(&place.good(&model));
    for part in [
        "safetensors: ",
        " steps for cpu:f32\n",
        "\n%encoder.layer.0.attention.self.qkv = linear: ",
        " %encoder.layer.0.attention.self.query ",
        "linear_bias, merge_linears\n",
        "\nno step of their own: ",
        "\nnear misses: none\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let all = json(&place.good(&[&model[..], &["--json"]].concat()));
    let ops = all["ops"].as_array().unwrap();
    let before = json(&place.good(&["inspect", "a.plan", "--json"]));
    let counts = before["manifest"]["report"]["ops_before"].as_object().unwrap().values();
    assert_eq!(ops.len() as u64, counts.map(|count| count.as_u64().unwrap()).sum::<u64>());
    let steps: Vec<_> = all["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(steps.len(), before["programs"][0]["steps"].as_array().unwrap().len());
    for op in ops {
        // Whatever is not taken over by another op became a step, a view or a constant of its own.
        let names = op["steps"].as_array();
        assert!(names.is_none_or(|names| names.iter().all(|name| steps.contains(&name))), "{op}");
        // What repeats in later layers is counted, not said again.
        let name = op["name"].as_str().unwrap();
        let first = !name.contains("layer.") || name.contains("layer.0.");
        assert!(!first || text.contains(&format!("%{name} ")), "{op}");
        assert_ne!(op["became"], "ops", "{op}");
    }
    for step in all["steps"].as_array().unwrap() {
        assert_ne!(step["from"].as_array().map(Vec::len), Some(0), "{step}");
    }
    assert_eq!(all["rules"].as_array().map(Vec::len), Some(RULES.len()));
}

/// A plan says of every op what the model it was made of says.
#[test]
fn a_plan_is_explained_as_its_model_is() {
    let place = Place::new();
    let model = ["explain", "model", "--pooling", "mean", "--normalize", "true"];
    let text = printed(&place.good(&["explain", "a.plan"]));
    assert_eq!(text, printed(&place.good(&model)));
    assert!(
        text.contains("\n  .. and ") && text.contains(" more, from %encoder.layer.1."),
        "{text}"
    );
    let [of_plan, of_model] = [&["explain", "a.plan"][..], &model]
        .map(|arguments| json(&place.good(&[arguments, &["--json"]].concat())));
    for part in ["ops", "steps", "target"] {
        assert_eq!(of_plan["programs"][0][part], of_model[part]);
    }
    assert_eq!(of_plan["rules"], of_model["rules"]);
    let output = place.command(&["explain", "a.plan", "--pooling", "cls"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("a plan is made already"), "{}", said(&output));
}

/// A norm whose middle is needed elsewhere stays in plain ops, one of which has no kernel.
const GRAPH: &str = "bytec 1
symbol L in 1..=32
input %input_ids: i64[L]
weight @embeddings.word_embeddings.weight: f32[50, 24]
%x: f32[L, 24] = gather(@embeddings.word_embeddings.weight, %input_ids)
%squares: f32[L, 24] = binary(%x, %x) {f = mul}
%mean: f32[L] = reduce(%squares) {f = mean, axis = 1}
const %eps = 1e-6
%safe: f32[L] = binary(%mean, %eps) {f = add}
%root: f32[L] = unary(%safe) {f = sqrt}
%column: f32[L, 1] = reshape(%root) {shape = [L, 1]}
%y: f32[L, 24] = binary(%x, %column) {f = div}
output lengths = %root
output y = %y
";

#[test]
fn a_model_that_does_not_compile_is_explained_as_far_as_it_goes() {
    let place = Place::new();
    place.write("graph.bytec", GRAPH.as_bytes());
    let explain = ["explain", "model", "--graph", "graph.bytec"];
    let output = place.command(&explain).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let text = printed(&output);
    for part in
        ["as far as fusion came", "near misses: 1\n", "rms_norm", "%y: %root is an output\n"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(said(&output).contains("reduce at %mean"), "{}", said(&output));
    let output = place.command(&[&explain[..], &["--json"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(json(&output)["steps"].as_array().map(Vec::len), Some(0));
    let output = place.command(&["explain", "nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
