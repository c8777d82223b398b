//! Bad inputs through the real program: each has its exit code and a message of its own, and leaves no file behind.

mod archives;
mod configs;
mod graphs;
mod outputs;
mod plans;
mod samples;
mod scene;
mod tunes;
mod weights;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytec_tests::program;

use scene::Scene;

/// Compiles the scene's model.
const COMPILE: &str = "compile model -o out/new.plan";
/// Runs the scene's samples.
const RUN: &str = "run good.plan --inputs in.safetensors -o out/new.safetensors";

/// What surrounds the program.
#[derive(Clone, Copy)]
enum Around {
    /// Nothing unusual.
    Plain,
    /// These bytes on standard input.
    Input(&'static [u8]),
    /// Standard output is a full disk.
    FullDisk,
    /// No file may grow past a few KiB.
    SmallFiles,
}

/// One bad input: a good scene in which one thing is broken, the arguments, and what has to come of it.
struct Row {
    name: String,
    arguments: String,
    breaks: Box<dyn Fn(&Scene)>,
    around: Around,
    /// Whether it also runs with nothing where the output would go.
    fresh: bool,
    code: i32,
    says: Vec<String>,
}

impl Row {
    /// A row whose arguments are words without spaces.
    fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arguments: arguments.into(),
            breaks: Box::new(|_| {}),
            around: Around::Plain,
            fresh: false,
            code: 2,
            says: Vec::new(),
        }
    }

    fn broken(mut self, breaks: impl Fn(&Scene) + 'static) -> Self {
        self.breaks = Box::new(breaks);
        self
    }

    fn around(mut self, around: Around) -> Self {
        self.around = around;
        self
    }

    fn also_fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// The exit code, and parts of the message: the file, field, tensor or option among them.
    fn fails<S: ToString>(mut self, code: i32, says: impl IntoIterator<Item = S>) -> Self {
        self.code = code;
        self.says = says.into_iter().map(|part| part.to_string()).collect();
        self
    }

    fn run(&self, scene: &Scene) -> Output {
        let mut command = match self.around {
            Around::SmallFiles => {
                let mut shell = Command::new("sh");
                // Ignored, the signal turns into an error of the write. The unit is 512 bytes.
                let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
                shell.args(["-c", script]).arg(program::path());
                shell
            }
            _ => Command::new(program::path()),
        };
        command.args(self.arguments.split(' ')).current_dir(scene.root());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match self.around {
            Around::FullDisk => {
                command.stdout(File::create("/dev/full").expect("the device is there"));
            }
            Around::Input(_) => {
                command.stdin(Stdio::piped());
            }
            Around::Plain | Around::SmallFiles => {}
        }
        let mut child = command.spawn().expect("the program starts");
        if let (Around::Input(bytes), Some(mut stdin)) = (self.around, child.stdin.take()) {
            stdin.write_all(bytes).expect("the program reads its input");
        }
        child.wait_with_output().expect("the program ends")
    }

    /// Runs the row with files where its outputs would go, and returns the message: what is made, changed or removed
    /// shows there as well as in an empty folder.
    fn check(&self, wrong: &mut Vec<String>) -> String {
        let scene = Scene::new();
        (self.breaks)(&scene);
        let mut message = String::new();
        for occupied in [false, true] {
            if !occupied && !self.fresh {
                continue;
            }
            if occupied {
                scene.write("out/new.plan", "what stood here before");
                scene.write("out/new.safetensors", "what stood here before");
            }
            let before = files(&scene.root());
            let output = self.run(&scene);
            message = String::from_utf8_lossy(&output.stderr).into_owned();
            self.judge(&output, &message, wrong);
            if files(&scene.root()) != before {
                wrong.push(format!("{}: files were made, changed or removed", self.name));
            }
        }
        message
    }

    fn judge(&self, output: &Output, message: &str, wrong: &mut Vec<String>) {
        let mut complain = |what: String| wrong.push(format!("{}: {what}\n{message}", self.name));
        if output.status.code() != Some(self.code) {
            complain(format!("expected exit code {}, found {}", self.code, output.status));
        }
        // Stages that were passed may have been reported before.
        let last = message.lines().find(|line| !line.starts_with('['));
        if !last.is_some_and(|line| line.starts_with("error: ")) {
            complain("the message does not begin with `error: `".to_owned());
        }
        if message.contains("panicked") || message.contains(".partial") {
            complain("the message speaks of what is inside".to_owned());
        }
        for part in &self.says {
            if !message.contains(part) {
                complain(format!("the message lacks {part:?}"));
            }
        }
    }
}

/// Every file and folder below `root`, with its bytes.
fn files(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be listed") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path.clone());
                found.insert(path, None);
            } else {
                let bytes = fs::read(&path).expect("the file can be read");
                found.insert(path, Some(bytes));
            }
        }
    }
    found
}

/// A program that reports the stages it passed and the time they took says the same without them.
fn without_progress(message: &str) -> String {
    message.lines().filter(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_bad_input_has_its_own_message_and_leaves_nothing_behind() {
    let rows: Vec<_> = [
        weights::rows(),
        archives::rows(),
        configs::rows(),
        graphs::rows(),
        outputs::rows().into_iter().map(Row::also_fresh).collect(),
        plans::rows(),
        samples::rows(),
        tunes::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for row in &rows {
        let message = without_progress(&row.check(&mut wrong));
        if let Some(other) = names.insert(message.clone(), &row.name) {
            wrong.push(format!("{} and {other} have the same message\n{message}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
