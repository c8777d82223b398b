//! What users see when it works.

mod bench;
mod compiling;
mod explain;
mod golden;
mod gpu;
mod running;
mod tasks;
mod tune;
mod verify;
mod verify_steps;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use bytec_compiler::fuse::RULES;
use bytec_models::tiny::TinyBert;
use bytec_tests::{plans, program, tokenizer};
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
    for command in
        ["compile", "run", "bench", "tune", "verify", "inspect", "explain", "list", "doctor"]
    {
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
