//! Every way in which an archive can be wrong.

use thiserror::Error;

use super::expr::ExprError;
use super::zip::ZipError;

/// Why an archive can't be read.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum Pt2Error {
    /// The container breaks a rule of its format.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// A zip file of another kind.
    #[error(
        "not an archive of torch.export: no member `{member}` (found {found}); export the model with torch 2.9 or later, \
         or save a checkpoint as safetensors"
    )]
    NotAnArchive {
        /// What every archive has.
        member: String,
        /// What it begins with.
        found: String,
    },
    /// A mark of the archive that isn't the one that is read.
    #[error("`{member}` is {found:?}, expected {expected:?}")]
    Mark {
        /// The member.
        member: &'static str,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// Another version of the program's format.
    #[error(
        "the program is written in version {found} of torch's export schema, expected version 8; export it with torch 2.9 or later"
    )]
    Version {
        /// The major version.
        found: u64,
    },
    /// Not one program but several, or none.
    #[error(
        "expected one program in `models/`, found {found}; export one model into an archive of its own"
    )]
    Programs {
        /// How many, and what they are called.
        found: String,
    },
    /// A member that should hold JSON of a certain form and doesn't.
    #[error("`{member}`: {problem}")]
    Json {
        /// The member.
        member: String,
        /// What was expected and found.
        problem: String,
    },
    /// A tensor that can't be had from the archive.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// Its name in the model.
        name: String,
        /// What was expected and found.
        problem: String,
    },
    /// An input or an output that no plan can have.
    #[error("{what}: {problem}")]
    Signature {
        /// Which one.
        what: String,
        /// What was expected and found.
        problem: String,
    },
    /// A symbol without usable limits.
    #[error(
        "size {symbol} of input `{input}` may be {found}, expected limits; give --max-length N, or export with torch.export.Dim(\"{symbol}\", min=1, max=N)"
    )]
    Limits {
        /// The symbol.
        symbol: String,
        /// An input that has it as an axis.
        input: String,
        /// What the archive says.
        found: String,
    },
    /// The type of a value.
    #[error("value `{value}`: {problem}")]
    Value {
        /// Its name in the graph.
        value: String,
        /// What was expected and found.
        problem: String,
    },
    /// A size that no dimension can stand for.
    #[error("value `{value}`: {problem}")]
    Size {
        /// The value's name in the graph.
        value: String,
        /// The problem.
        problem: ExprError,
    },
    /// Ops that nothing stands for, all of them.
    #[error("{}", refused(.0))]
    Ops(Vec<RefusedOp>),
    /// An op in a form that can't be read.
    #[error("{op} `{name}`{}: {problem}", place(.module))]
    Node {
        /// The op.
        op: String,
        /// Its result's name in the graph.
        name: String,
        /// The path of the module that calls it; empty if unknown.
        module: String,
        /// What was expected and found.
        problem: String,
    },
}

/// An op that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedOp {
    /// Its name.
    pub op: String,
    /// How often it is called.
    pub count: usize,
    /// The path of the first module that calls it; empty if unknown.
    pub module: String,
    /// Why it can't be read.
    pub reason: &'static str,
}

fn place(module: &str) -> String {
    if module.is_empty() { String::new() } else { format!(" in {module}") }
}

fn refused(ops: &[RefusedOp]) -> String {
    let lines = ops.iter().map(|RefusedOp { op, count, module, reason }| {
        let times = if *count == 1 { "once" } else { &format!("{count} times") };
        let first = if module.is_empty() { String::new() } else { format!(", first in {module}") };
        format!("\n  {op}, called {times}{first}: {reason}")
    });
    let lines: String = lines.collect();
    format!("the program calls ops that can't be compiled:{lines}")
}
