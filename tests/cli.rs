//! What users see when it works.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytec_compiler::fuse::RULES;
use bytec_models::tiny::TinyBert;
use bytec_tests::{plans, program, tensors, tokenizer};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a model that pools and its plan; `bytec` runs in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        plans::write_folder(&TinyBert::default(), &place.path("model")).expect("a model folder");
        place.write("model/tokenizer.json", &tokenizer::json());
        place.good(&[
            "compile",
            "model",
            "-o",
            "a.plan",
            "--pooling",
            "mean",
            "--normalize",
            "true",
        ]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("the folder can be written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program::path());
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs a command that has to work.
    fn good(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the program starts");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        output
    }

    /// Runs a shell's line that has to work; `bytec` is `$0`.
    fn shell(&self, line: &str) -> Output {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).arg(program::path()).current_dir(self.folder.path());
        let output = shell.output().expect("the shell starts");
        assert!(output.status.success(), "{line}: {}", said(&output));
        output
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("outputs are UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("the output is JSON")
}

/// One JSON value a line.
fn lines(output: &Output) -> Vec<Value> {
    printed(output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn every_subcommand_has_help_with_examples() {
    let help = printed(&program::bytec(["--help"]));
    assert!(help.contains("Exit codes: 0 ok, 1 mismatch, 2 bad input, 3 "), "{help}");
    for command in ["compile", "run", "inspect", "list", "doctor"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let output = program::bytec([command, "--help"]);
        assert!(output.status.success());
        let examples = printed(&output);
        let (_, examples) = examples.split_once("Examples:\n").expect("the help has examples");
        assert!(examples.starts_with(&format!("  bytec {command}")), "{examples}");
    }
    let version = printed(&program::bytec(["--version"]));
    assert_eq!(version, format!("bytec {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn everything_that_a_table_declares_is_listed() {
    let tables: [(&str, Vec<&str>); 4] = [
        ("ops", bytec_ir::ops::TABLE.iter().map(|row| row.mnemonic).collect()),
        ("rules", RULES.iter().map(|rule| rule.name()).collect()),
        ("kernels", bytec_plan::kernel::KERNELS.iter().map(|(name, _)| *name).collect()),
        ("models", bytec_models::MODELS.iter().map(|family| family.name).collect()),
    ];
    for (what, names) in tables {
        let text = printed(&program::bytec(["list", what]));
        let listed = text.lines().map(|line| line.split([' ', '(']).next().unwrap_or_default());
        assert_eq!(listed.collect::<Vec<_>>(), names);
        let items = json(&program::bytec(["list", what, "--json"]));
        let items = items.as_array().expect("a list");
        assert_eq!(items.len(), names.len());
        for item in items {
            assert!(item["about"].as_str().is_some_and(|about| !about.is_empty()), "{item}");
        }
    }
}

#[test]
fn inspect_shows_the_plan_as_text_and_as_json() {
    let place = Place::new();
    let text = printed(&place.good(&["inspect", "a.plan"]));
    for part in [
        "a.plan: ",
        "  manifest ",
        "  weights ",
        "front end: safetensors",
        "  texts      cut to 32 tokens (max_position_embeddings)",
        "  embedding  Mean, L2-normalised (--pooling)",
        "ops                  before   after",
        "rules                  fired  refused",
        "program forward for cpu in f32",
        "  input   input_ids: i64[L], below 50",
        "  output  embedding: f32[24]",
        "  arena   ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for rule in RULES {
        assert!(text.contains(rule.name()), "{}\n{text}", rule.name());
    }
    let report = json(&place.good(&["inspect", "a.plan", "--json"]));
    let length = fs::metadata(place.path("a.plan")).expect("the plan is there").len();
    assert_eq!(report["bytes"], length);
    assert_eq!(report["manifest"]["report"]["rules"].as_array().map(Vec::len), Some(RULES.len()));
    assert!(report["programs"][0]["arena_bytes"].as_str().is_some_and(|bytes| bytes.contains('L')));
}

#[test]
fn doctor_says_what_runs_here() {
    let place = Place::new();
    let text = printed(&place.good(&["doctor", "a.plan"]));
    assert!(text.contains("plan   forward for cpu: runs here\n"), "{text}");
    let findings = json(&place.good(&["doctor", "--json"]));
    assert!(findings["cpu"]["threads"].as_u64().is_some_and(|threads| threads > 0));
}

#[test]
fn emit_writes_every_stage() {
    let place = Place::new();
    place.good(&["compile", "model", "-o", "b.plan", "--emit", "deep/stages"]);
    let mut names: Vec<_> = fs::read_dir(place.path("deep/stages"))
        .expect("the folder is there")
        .map(|entry| entry.expect("the entry can be read").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["1.graph.ir", "2.fused.ir", "3.schedule.txt", "5.plan.json"]);
    let read = |name: &str| fs::read_to_string(place.path("deep/stages").join(name)).expect("text");
    for graph in ["1.graph.ir", "2.fused.ir"] {
        let text = read(graph);
        assert_eq!(bytec_ir::parse(&text).expect("a graph").to_string(), text);
    }
    assert!(!read("3.schedule.txt").is_empty());
    assert!(serde_json::from_str::<Value>(&read("5.plan.json")).is_ok());
    // The emitted graph is a source of its own.
    place.good(&["compile", "model", "--graph", "deep/stages/1.graph.ir", "-o", "c.plan"]);
}

#[test]
fn texts_are_the_same_from_every_source() {
    let place = Place::new();
    let texts = ["The cat sat.", "", "a mat", "unheard cats"];
    let given = ["--text", texts[0], "--text", texts[1], "--text", texts[2], "--text", texts[3]];
    let output = place.good(&[&["run", "a.plan"], &given[..]].concat());
    assert_eq!(said(&output), "");
    let found = lines(&output);
    let tokens: Vec<_> = found.iter().map(|line| line["tokens"].as_u64()).collect();
    assert_eq!(tokens, [Some(6), Some(2), Some(4), Some(5)]);
    for (line, text) in found.iter().zip(texts) {
        assert_eq!((&line["text"], &line["cut"]), (&Value::from(text), &Value::from(0)));
        let values = line["embedding"].as_array().expect("a list of numbers");
        let squares = values.iter().filter_map(Value::as_f64).map(|x| x * x);
        assert_eq!(values.len(), 24);
        assert!((squares.sum::<f64>() - 1.0).abs() < 1e-5, "the norm is 1");
        assert!(line.get("last_hidden_state").is_none());
    }
    place.write("texts.txt", texts.join("\n").as_bytes());
    let file = place.good(&["run", "a.plan", "--text-file", "texts.txt"]);
    assert_eq!(printed(&file), printed(&output));
    // Lines as Windows ends them.
    place.write("texts.txt", format!("{}\r\n", texts.join("\r\n")).as_bytes());
    assert_eq!(
        printed(&place.good(&["run", "a.plan", "--text-file", "texts.txt"])),
        printed(&output)
    );
    let piped = place.shell("\"$0\" run a.plan --text-file - < texts.txt");
    assert_eq!(printed(&piped), printed(&output));
    let both = place.good(&["run", "a.plan", "--text", "first", "--text-file", "texts.txt"]);
    assert_eq!(lines(&both).len(), 5);
    assert_eq!(
        printed(&both).lines().skip(1).collect::<Vec<_>>(),
        printed(&output).lines().collect::<Vec<_>>()
    );
}

#[test]
fn texts_that_are_cut_are_counted() {
    let place = Place::new();
    let long = "cat ".repeat(40);
    let output = place.good(&["run", "a.plan", "--text", &long, "--text", "cat", "--text", &long]);
    let counts: Vec<_> =
        lines(&output).iter().map(|line| (line["tokens"].as_u64(), line["cut"].as_u64())).collect();
    assert_eq!(counts, [(Some(32), Some(10)), (Some(3), Some(0)), (Some(32), Some(10))]);
    let expected = "2 of 3 texts were cut to 32 tokens, 20 tokens dropped; --no-truncate refuses them instead\n";
    assert_eq!(said(&output), expected);
}

#[test]
fn heads_print_their_own_outputs() {
    let place = Place::new();
    let head = TinyBert { architecture: "BertForTokenClassification", ..TinyBert::default() };
    plans::write_folder(&head, &place.path("head")).expect("a model folder");
    place.write("head/tokenizer.json", &tokenizer::json());
    place.good(&["compile", "head", "-o", "b.plan"]);
    let line = &lines(&place.good(&["run", "b.plan", "--text", "the cats"]))[0];
    let rows = line["logits"].as_array().expect("a row for each token");
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.as_array().is_some_and(|row| row.len() == 3)));
}

/// Samples `0` to `11`, of 1 to 12 tokens, with the second segment in some.
fn write_samples(place: &Place) {
    let ids: Vec<Vec<u8>> = (1..=12i64)
        .map(|n| (0..n).flat_map(|i| ((i * 7 + n) % 50).to_le_bytes()).collect())
        .collect();
    let views = ids.iter().enumerate().flat_map(|(i, bytes)| {
        let view = |bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![i + 1], bytes)
        };
        let ids = view(bytes).expect("the shape fits");
        [(format!("{i}.input_ids"), ids)]
    });
    place.write("in.safetensors", &safetensors::serialize(views, None).expect("a file of tensors"));
}

#[test]
fn every_way_to_cut_batches_gives_the_same_file() {
    let place = Place::new();
    write_samples(&place);
    let ways: [&[&str]; 5] = [
        &[],
        &["--alone"],
        &["--max-batch-tokens", "12"],
        &["--max-batch-tokens", "18446744073709551615", "--threads", "1"],
        &["--max-batch-tokens", "30", "--threads", "3"],
    ];
    let mut files = Vec::new();
    for way in ways {
        let output = place
            .good(&[&["run", "a.plan", "--inputs", "in.safetensors", "-o", "out"], way].concat());
        assert_eq!((printed(&output), said(&output)), (String::new(), String::new()));
        files.push(fs::read(place.path("out")).expect("the outputs are there"));
    }
    assert!(files.iter().all(|file| *file == files[0]));
    let outputs = tensors::read(&place.path("out")).expect("a file of samples");
    assert_eq!(outputs.keys().copied().collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    for (sample, outputs) in outputs {
        let names: Vec<_> = outputs.keys().map(String::as_str).collect();
        assert_eq!(names, ["embedding", "last_hidden_state"]);
        let tensors::Tensor::F32(_, shape) = &outputs["last_hidden_state"] else {
            panic!("floats")
        };
        assert_eq!(*shape, [sample + 1, 24]);
    }
    place.write("texts.txt", "the cat\na mat. a mat.\n\ncats\n".as_bytes());
    let texts = |way: &[&str]| {
        printed(&place.good(&[&["run", "a.plan", "--text-file", "texts.txt"], way].concat()))
    };
    assert_eq!(texts(&["--alone"]), texts(&[]));
    assert_eq!(texts(&["--max-batch-tokens", "9"]), texts(&[]));
}

#[test]
fn compile_reports_as_json() {
    let place = Place::new();
    let output = place.good(&["compile", "model", "-o", "b.plan", "--json"]);
    assert_eq!(said(&output), "");
    let summary = json(&output);
    assert_eq!((&summary["plan"], &summary["targets"][0]), (&"b.plan".into(), &"cpu".into()));
    let length = fs::metadata(place.path("b.plan")).expect("the plan is there").len();
    assert_eq!(summary["bytes"], length);
    assert_eq!(summary["manifest"]["architecture"], "BertModel");
}

#[test]
fn progress_is_plain_lines_without_a_terminal() {
    let place = Place::new();
    let output = place.good(&["compile", "model", "-o", "b.plan"]);
    assert_eq!(printed(&output), "");
    let text = said(&output);
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text:?}");
    for (line, stage) in text.lines().zip(["read", "fuse", "schedule", "emit"]) {
        assert!(line.contains(&format!("/4] {stage}: ")), "{text}");
    }
    assert!(
        text.lines().last().is_some_and(|line| line.starts_with("b.plan: 0.1 MB for cpu, ")),
        "{text}"
    );
}

/// Whoever reads may have enough: no message, no failure.
#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    place.write("texts.txt", "the cat sat on the mat\n".repeat(2000).as_bytes());
    let cases: [&[&str]; 6] = [
        &["run", "a.plan", "--text-file", "texts.txt", "--max-batch-tokens", "64"],
        &["inspect", "a.plan"],
        &["inspect", "a.plan", "--json"],
        &["list", "ops", "--json"],
        &["doctor", "--json"],
        &["compile", "model", "-o", "b.plan", "--json"],
    ];
    for arguments in cases {
        let mut command = place.command(arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("its output is piped");
        if arguments[0] == "run" {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).expect("there is a line");
            assert!(line.starts_with("{\"text\":\"the cat"), "{line}");
        } else {
            drop(stdout);
        }
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        assert_eq!(said(&output), "", "{arguments:?}");
    }
    // Nor is a closed standard error, which only takes the reports.
    place.shell("\"$0\" compile model -o c.plan 2>&-");
    place.shell("\"$0\" compile model -o d.plan 2>/dev/full");
    let read = |name: &str| fs::read(place.path(name)).expect("the plan is there");
    assert_eq!(read("c.plan"), read("d.plan"));
}

#[test]
#[cfg(unix)]
fn outputs_follow_the_umask_links_and_pipes() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    write_samples(&place);
    let mode = |name: &str| {
        fs::metadata(place.path(name)).expect("it is there").permissions().mode() & 0o777
    };
    place.shell("umask 027; \"$0\" compile model -o b.plan --emit stages");
    place.shell("umask 027; \"$0\" run b.plan --inputs in.safetensors -o out");
    assert_eq!([mode("b.plan"), mode("out"), mode("stages/1.graph.ir")], [0o640; 3]);
    place.shell("umask 022; \"$0\" compile model -o c.plan");
    assert_eq!(mode("c.plan"), 0o644);
    // A link stays one, and what it names is replaced.
    place.write("old.plan", b"old");
    symlink(Path::new("old.plan"), place.path("link.plan")).expect("a new link");
    place.good(&["compile", "model", "-o", "link.plan"]);
    assert!(place.path("link.plan").is_symlink());
    let read = |name: &str| fs::read(place.path(name)).expect("the plan is there");
    assert_eq!(read("old.plan"), read("c.plan"));
    assert_eq!(place.shell("\"$0\" compile model -o /dev/stdout | cat").stdout, read("c.plan"));
}

#[test]
fn results_that_are_not_finite_are_null() {
    let place = Place::new();
    let mut checkpoint = TinyBert::default().checkpoint();
    let row = checkpoint.tensors.get_mut("embeddings.word_embeddings.weight").expect("it is there");
    // The row of "cat".
    row.values[5 * 24] = f32::NAN;
    place.write("model/model.safetensors", &checkpoint.safetensors());
    place.good(&["compile", "model", "-o", "b.plan", "--pooling", "mean"]);
    let found = lines(&place.good(&["run", "b.plan", "--text", "cat", "--text", "mat"]));
    let nulls = |line: &Value| {
        line["embedding"].as_array().map(|x| x.iter().filter(|x| x.is_null()).count())
    };
    assert_eq!(found.iter().map(nulls).collect::<Vec<_>>(), [Some(24), Some(0)]);
}

/// Standard input may be read as it comes.
#[test]
fn texts_come_through_a_slow_pipe() {
    let place = Place::new();
    let mut command = place.command(&["run", "a.plan", "--text-file", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input is piped");
    for part in ["the c", "at\nthe ", "mat"] {
        stdin.write_all(part.as_bytes()).expect("it reads");
        stdin.flush().expect("it reads");
    }
    drop(stdin);
    let found = lines(&child.wait_with_output().expect("it ends"));
    let texts: Vec<_> = found.iter().map(|line| line["text"].as_str()).collect();
    assert_eq!(texts, [Some("the cat"), Some("the mat")]);
}
