//! The program: what it writes, and what it says of input that it can't use.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use bytec_trace_candle::models::ENCODERS;
use bytec_trace_candle::{MadeUp, trace};

use crate::configs::TINY;

/// Runs the program in a folder.
fn program(folder: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bytec-trace-candle"));
    Ok(command.args(arguments).current_dir(folder).output()?)
}

/// A folder with a tiny encoder's config and weights.
fn folder(name: &str) -> Result<tempfile::TempDir> {
    let (_, config, longest) =
        TINY.iter().find(|(known, ..)| *known == name).context("it has a config")?;
    let encoder = ENCODERS.iter().find(|encoder| encoder.name == name).context("it is known")?;
    let (options, build) = encoder.prepare(config, *longest)?;
    let traced = trace(build, Box::new(MadeUp), &options)?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("config.json"), config)?;
    let tensors: Vec<_> = traced.weights.iter().collect();
    safetensors::serialize_to_file(tensors, None, &folder.path().join("model.safetensors"))?;
    Ok(folder)
}

/// The text that the program writes when it is given these arguments.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_graph_is_written_for_lengths_up_to_the_one_asked_for() -> Result<()> {
    let folder = folder("t5")?;
    for flag in ["--max-tokens", "--max-length"] {
        let output = program(
            folder.path(),
            &[
                "t5",
                "--config",
                "config.json",
                "--weights",
                "model.safetensors",
                flag,
                "24",
                "-o",
                "t5.graph",
            ],
        )?;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let wrote = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(wrote.starts_with("wrote t5.graph: "), "{wrote}");
        let graph = std::fs::read_to_string(folder.path().join("t5.graph"))?;
        assert!(graph.contains("symbol S in 1..=24\n"), "{graph}");
    }
    Ok(())
}

#[test]
fn input_that_is_of_no_use_is_refused_with_what_to_do_and_nothing_is_written() -> Result<()> {
    const USUAL: &str = "--config config.json --weights model.safetensors -o out.graph";
    let folder = folder("bert")?;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    write("broken.json", "{\"vocab_size\": 60,")?;
    write("short.json", "{\"vocab_size\": 60}")?;
    let wide = std::fs::read_to_string(folder.path().join("config.json"))?;
    write("wide.json", &wide.replace("\"hidden_size\": 16", "\"hidden_size\": 32"))?;
    write("deep.json", &wide.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"))?;
    write("text.safetensors", "no tensors at all")?;
    let t5 = TINY.iter().find(|(name, ..)| *name == "t5").context("it has a config")?.1;
    write("t5.json", t5)?;
    let vit = TINY.iter().find(|(name, ..)| *name == "vit").context("it has a config")?.1;
    write("vit.json", vit)?;
    let cases: &[(&str, &str, &[&str])] = &[
        ("an unknown encoder", "gpt2 USUAL", &["gpt2", "possible values", "bert", "siglip"]),
        ("a flag that there is not", "bert USUAL --batch 3", &["--batch"]),
        ("no weights", "bert --config config.json -o out.graph", &["--weights"]),
        ("no output", "bert --config config.json --weights model.safetensors", &["--output"]),
        ("tokens that are no number", "bert USUAL --max-tokens many", &["many", "--max-tokens"]),
        ("no tokens", "bert USUAL --max-tokens 0", &["--max-tokens must be at least 1"]),
        (
            "more tokens than positions",
            "bert USUAL --max-tokens 41",
            &["--max-tokens 41", "40", "positions"],
        ),
        (
            "no end of tokens",
            "t5 --config t5.json --weights model.safetensors -o out.graph",
            &["how many tokens", "give --max-tokens"],
        ),
        (
            "tokens of an image",
            "vit --config vit.json --weights model.safetensors -o out.graph --max-tokens 4",
            &["--max-tokens", "image"],
        ),
        (
            "no config",
            "bert --config none.json --weights model.safetensors -o out.graph",
            &["none.json", "No such file"],
        ),
        (
            "a config that is no JSON",
            "bert --config broken.json --weights model.safetensors -o out.graph",
            &["broken.json", "no JSON", "line 1"],
        ),
        (
            "a config without a field",
            "bert --config short.json --weights model.safetensors -o out.graph",
            &["short.json", "bert", "missing field `hidden_size`"],
        ),
        (
            "no weights file",
            "bert --config config.json --weights none.safetensors -o out.graph",
            &["none.safetensors", "No such file"],
        ),
        (
            "weights that are none",
            "bert --config config.json --weights text.safetensors -o out.graph",
            &["text.safetensors", "no safetensors file"],
        ),
        (
            "weights given twice",
            "bert USUAL --weights model.safetensors",
            &["model.safetensors", "is in another file, too"],
        ),
        (
            "weights of another width",
            "bert --config wide.json --weights model.safetensors -o out.graph",
            &["word_embeddings.weight", "expected: [60, 32]"],
        ),
        (
            "a layer that is missing",
            "bert --config deep.json --weights model.safetensors -o out.graph",
            &["encoder.layer.2."],
        ),
        (
            "an output where no file can be",
            "bert --config config.json --weights model.safetensors -o none/out.graph",
            &["none/out.graph", "No such file"],
        ),
        (
            "an output that is a folder",
            "bert --config config.json --weights model.safetensors -o .",
            &["can't write .", "is a directory"],
        ),
    ];
    let before = names(folder.path())?;
    let mut wrong = Vec::new();
    for (what, arguments, parts) in cases {
        let arguments = arguments.replace("USUAL", USUAL);
        let output = program(folder.path(), &arguments.split(' ').collect::<Vec<_>>())?;
        let said = said(&output);
        println!("{what}: {said}");
        let fits = output.status.code() == Some(2)
            && output.stdout.is_empty()
            && said.starts_with("error: ")
            && !said.contains("panicked")
            && parts.iter().all(|part| said.contains(part));
        if !fits {
            wrong.push(format!("{what}: expected code 2 and {parts:?}, found {output:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(names(folder.path())?, before);
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>> {
    let mut names = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
