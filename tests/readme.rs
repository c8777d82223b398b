//! Every command of the README works as it stands there.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use bytec_tests::{minilm, nvrtc, program};

/// Commands that this test doesn't run, and who does.
const RUN_ELSEWHERE: &[(&str, &str)] =
    &[("./quickstart.sh", ".ci/run"), ("cargo test --workspace", "whoever runs this test")];

/// A fenced block: the language after the fence, and its lines.
struct Block {
    language: String,
    lines: Vec<String>,
}

fn blocks() -> Vec<Block> {
    let path = bytec_tests::root().join("README.md");
    let text = fs::read_to_string(path).expect("the README is there");
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), lines: Vec::new() });
            }
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the last block ends");
    blocks
}

fn commands() -> Vec<String> {
    let shell = blocks().into_iter().filter(|block| block.language == "sh");
    shell.flat_map(|block| block.lines).filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    // Rust blocks are compiled as tests of the examples' documentation; text is what a command prints.
    let checked = ["sh", "text", "rust", "rust,no_run"];
    for block in blocks() {
        assert!(checked.contains(&block.language.as_str()), "```{}", block.language);
    }
    for (command, by) in RUN_ELSEWHERE {
        assert!(commands().iter().any(|line| line == command), "{command}, run by {by}");
    }
    let run = |line: &String| line.starts_with("bytec ");
    let known = |line: &String| RUN_ELSEWHERE.iter().any(|(command, _)| command == line);
    let unknown: Vec<_> =
        commands().into_iter().filter(|line| !run(line) && !known(line)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The commands run in order, in a folder where the names that they use stand for the fetched model and the workspace's
/// own files, so that what they write is theirs.
#[test]
fn every_bytec_command_works() {
    let model = match minilm::fetch() {
        Ok(model) => model,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "MiniLM can't be fetched: {why:#}");
            skipped(&format!("{why:#}"));
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join(".cache")).expect("a new folder");
    symlink(&model, folder.path().join(".cache/all-MiniLM-L6-v2")).expect("a new link");
    symlink(bytec_tests::root().join("tests"), folder.path().join("tests")).expect("a new link");
    let gpu = nvrtc::nvrtc().is_some();
    if gpu {
        let fetched = bytec_tests::root().join(".cache/nvrtc");
        symlink(fetched, folder.path().join(".cache/nvrtc")).expect("a new link");
    }
    let programs = program::path().parent().expect("the program is in a folder").to_owned();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&inherited)))
            .expect("the folders' names can be joined");
    let mut wrong = Vec::new();
    let mut printed = String::new();
    let wanted =
        |line: &&String| line.starts_with("bytec ") && (gpu || !line.contains("-gpu.plan"));
    for line in commands().iter().filter(wanted) {
        let output = Command::new("sh")
            .args(["-c", line])
            .env("PATH", &path)
            .current_dir(folder.path())
            .output()
            .expect("the shell starts");
        printed += &String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            wrong.push(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for block in blocks().into_iter().filter(|block| block.language == "text") {
        let example = block.lines.join("\n");
        assert!(printed.contains(&example), "no command prints this any more:\n{example}");
    }
    let made = |name: &str| folder.path().join(".cache").join(name).exists();
    assert!(made("minilm.plan"), "the README compiles the plan that it runs");
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was not tested")]
fn skipped(why: &str) {
    eprintln!("skipped: the README's commands need MiniLM, which can't be fetched: {why}");
}
