//! What a compilation tells: what was unused, renamed, overridden or not finite, and which outputs a choice gives.

use std::path::Path;
use std::process::Output;

use bytec_models::tiny::{TinyBert, TinyCheckpoint};
use bytec_tests::{plans, program};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a model in `model/`.
struct Made {
    folder: TempDir,
}

impl Made {
    fn of(tiny: &TinyBert) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        plans::write_folder(tiny, &folder.path().join("model")).expect("a model folder");
        Self { folder }
    }

    /// As [`Made::of`], with the checkpoint changed.
    fn edited(tiny: &TinyBert, edit: impl FnOnce(&mut TinyCheckpoint)) -> Self {
        let made = Self::of(tiny);
        let mut checkpoint = tiny.checkpoint();
        edit(&mut checkpoint);
        made.write("model/config.json", &checkpoint.config_json());
        made.write("model/model.safetensors", &checkpoint.safetensors());
        made
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).expect("the folder can be written");
    }

    fn bytec(&self, arguments: &[&str]) -> Output {
        let place = |argument: &&str| match *argument {
            "MODEL" => self.path("model"),
            "PLAN" => self.path("new.plan"),
            other => other.to_owned(),
        };
        let output = program::bytec(arguments.iter().map(place));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn path(&self, name: &str) -> String {
        Path::display(&self.folder.path().join(name)).to_string()
    }

    /// What is said on standard error as the model is compiled.
    fn compile(&self, options: &[&str]) -> String {
        let output = self.bytec(&[&["compile", "MODEL", "-o", "PLAN"], options].concat());
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).expect("messages are UTF-8")
    }

    /// What `bytec inspect` shows of the plan that was compiled last.
    fn inspect(&self) -> String {
        let output = self.bytec(&["inspect", "PLAN"]);
        String::from_utf8(output.stdout).expect("reports are UTF-8")
    }

    fn inspect_json(&self) -> Value {
        let output = self.bytec(&["inspect", "PLAN", "--json"]);
        serde_json::from_slice(&output.stdout).expect("the report is JSON")
    }

    /// The names of the outputs and of the architecture of the plan that was compiled last.
    fn outputs(&self) -> (Vec<String>, String) {
        let report = self.inspect_json();
        let outputs = report["programs"][0]["outputs"].as_array().expect("a list of outputs");
        let names =
            outputs.iter().map(|output| output["name"].as_str().expect("a name").to_owned());
        let architecture = report["manifest"]["architecture"].as_str().expect("a name").to_owned();
        (names.collect(), architecture)
    }
}

#[test]
fn tensors_without_use_are_named() {
    let made = Made::edited(&TinyBert::default(), |checkpoint| {
        let other = checkpoint.tensors["pooler.dense.bias"].clone();
        checkpoint.tensors.insert("adapter.bias".to_owned(), other);
    });
    let line = "unused tensors: adapter.bias, pooler.dense.bias, pooler.dense.weight\n";
    assert!(made.compile(&["--pooling", "mean"]).contains(line));
    let shown = "unused     adapter.bias, pooler.dense.bias, pooler.dense.weight\n";
    assert!(made.inspect().contains(shown));
    let unused = &made.inspect_json()["manifest"]["report"]["unused_tensors"];
    assert_eq!(unused.as_array().map(Vec::len), Some(3));
}

#[test]
fn older_names_of_tensors_are_noted() {
    let made = Made::of(&TinyBert { gamma_beta: true, ..TinyBert::default() });
    let note = "10 tensors go by older names, such as embeddings.LayerNorm.gamma for embeddings.LayerNorm.weight\n";
    assert!(made.compile(&[]).contains(note));
    assert!(made.inspect().contains(&format!("note       {note}")));
}

#[test]
fn a_missing_pooler_is_noted() {
    let made = Made::of(&TinyBert { pooler: false, ..TinyBert::default() });
    assert!(made.compile(&[]).contains("the file has no pooler, so there is no pooler_output\n"));
    assert_eq!(made.outputs().0, ["last_hidden_state"]);
}

#[test]
fn weights_that_are_not_finite_are_reported_by_name() {
    let made = Made::edited(&TinyBert::default(), |checkpoint| {
        let mut poison = |name: &str, values: &[f32]| {
            let tensor = checkpoint.tensors.get_mut(name).expect("the model has the tensor");
            tensor.values[..values.len()].copy_from_slice(values);
        };
        poison("encoder.layer.1.output.dense.bias", &[f32::NAN, 1.0, f32::NEG_INFINITY]);
        poison("embeddings.LayerNorm.weight", &[f32::INFINITY]);
    });
    let warnings = "warning: embeddings.LayerNorm.weight holds 1 elements that are NaN or infinite\n\
                    warning: encoder.layer.1.output.dense.bias holds 2 elements that are NaN or infinite\n";
    assert!(made.compile(&[]).contains(warnings));
    let output = made.bytec(&["compile", "MODEL", "-o", "PLAN", "--json"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), warnings);
    let report: Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    let counts = &report["manifest"]["report"]["non_finite"];
    assert_eq!(counts["encoder.layer.1.output.dense.bias"], 2);
    assert_eq!(counts["embeddings.LayerNorm.weight"], 1);
    assert!(made.inspect().contains("encoder.layer.1.output.dense.bias: 2 elements"));
}

#[test]
fn set_supplies_and_overrides_fields() {
    let made = Made::edited(&TinyBert::default(), |checkpoint| {
        let fields = checkpoint.config.as_object_mut().expect("the config is an object");
        fields.remove("hidden_act");
        fields.insert("num_attention_heads".to_owned(), 3.into());
    });
    made.compile(&["--set", "hidden_act=relu", "--set", "num_attention_heads=6"]);
    let heads = made.inspect_json()["programs"][0]["steps"]
        .as_array()
        .expect("a list of steps")
        .iter()
        .find_map(|step| step["kernel"]["heads"].as_u64());
    assert_eq!(heads, Some(6));
}

#[test]
fn the_architecture_and_the_pooling_decide_the_outputs() {
    let head = "BertForSequenceClassification";
    let made = Made::of(&TinyBert { architecture: head, prefix: true, ..TinyBert::default() });
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&[], head, &["logits"]),
        (&["--pooling", "none"], head, &["logits"]),
        (&["--architecture", "BertModel"], "BertModel", &["last_hidden_state", "pooler_output"]),
        (&["--pooling", "mean"], "BertModel", &["last_hidden_state", "embedding"]),
        (&["--pooling", "cls"], "BertModel", &["last_hidden_state", "embedding"]),
        (
            &["--pooling", "max", "--normalize", "true"],
            "BertModel",
            &["last_hidden_state", "embedding"],
        ),
    ];
    let mut embeddings = Vec::new();
    for (options, architecture, outputs) in cases {
        made.compile(options);
        let (found, built) = made.outputs();
        assert_eq!(
            (found, built.as_str()),
            (outputs.iter().map(|name| (*name).to_owned()).collect(), *architecture),
            "{options:?}"
        );
        let text = made.inspect();
        let line = text.lines().find(|line| line.trim_start().starts_with("embedding"));
        embeddings.push(line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
        let labels = text.contains("labels     LABEL_0, LABEL_1, LABEL_2\n");
        assert_eq!(labels, *architecture == head, "{options:?}");
    }
    let expected = [
        None,
        None,
        None,
        Some("embedding Mean (--pooling)"),
        Some("embedding Cls (--pooling)"),
        Some("embedding Max, L2-normalised (--pooling)"),
    ];
    assert_eq!(embeddings, expected.map(|line| line.map(str::to_owned)));
}

/// The folder's own pooling, and the option that stands above it.
#[test]
fn the_folders_pooling_is_taken_unless_an_option_says_otherwise() {
    let made = Made::of(&TinyBert::default());
    let module = |i: usize, class: &str, path: &str| serde_json::json!({"idx": i, "type": format!("sentence_transformers.models.{class}"), "path": path});
    let list = Value::Array(vec![
        module(0, "Transformer", ""),
        module(1, "Pooling", "1_Pooling"),
        module(2, "Normalize", "2_Normalize"),
    ]);
    made.write("model/modules.json", list.to_string().as_bytes());
    std::fs::create_dir(made.folder.path().join("model/1_Pooling")).expect("a new folder");
    made.write("model/1_Pooling/config.json", br#"{"pooling_mode_cls_token": true}"#);
    made.compile(&[]);
    assert!(made.inspect().contains("embedding  Cls, L2-normalised (the folder's modules.json)\n"));
    made.compile(&["--pooling", "max"]);
    assert!(made.inspect().contains("embedding  Max, L2-normalised (--pooling)\n"));
    made.compile(&["--normalize", "false"]);
    assert!(made.inspect().contains("embedding  Cls ("));
    made.compile(&["--pooling", "none"]);
    assert_eq!(made.outputs().0, ["last_hidden_state", "pooler_output"]);
}
