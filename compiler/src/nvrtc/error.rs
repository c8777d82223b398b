//! What can go wrong between text and code.

use std::fmt::Write as _;
use std::path::PathBuf;

use thiserror::Error;

use super::log::Diagnostic;
use super::search::{INSTALL, Tried};
use super::{Arch, PINNED};

/// Text that could not be compiled, or a compiler that could not be had.
#[derive(Debug, Error)]
pub enum NvrtcError {
    /// No folder holds NVRTC.
    #[error(
        "NVRTC, which compiles CUDA, was not found; install it with `{INSTALL}`{}",
        places(tried)
    )]
    Absent {
        /// Every place looked at.
        tried: Vec<Tried>,
    },
    /// A library does not load.
    #[error("can't load {}: {reason}; install NVRTC {PINNED} with `{INSTALL}`", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// Another library than the chosen one answers.
    #[error(
        "{} is NVRTC {}.{}, but {}.{} answers: another libnvrtc lies on the loader's path and comes first; take its \
         folder out of LD_LIBRARY_PATH, or choose that library",
        path.display(), expected.0, expected.1, found.0, found.1
    )]
    Version {
        /// The chosen file.
        path: PathBuf,
        /// Its version.
        expected: (u32, u32),
        /// That of the library that answers.
        found: (u32, u32),
    },
    /// A call failed that has nothing to do with the text.
    #[error("NVRTC can't {doing}: {code}{}", indented(log))]
    Call {
        /// What was being done.
        doing: &'static str,
        /// NVRTC's code.
        code: String,
        /// What it said; may be empty.
        log: String,
    },
    /// A text is wrong: a defect of a template.
    #[error("{symbol} does not compile for {arch}{}", findings(diagnostics, log))]
    Compile {
        /// The kernel.
        symbol: String,
        /// What for.
        arch: Arch,
        /// What is wrong, and where in the templates.
        diagnostics: Vec<Diagnostic>,
        /// All that NVRTC said.
        log: String,
    },
    /// The cache can't be used.
    #[error("can't {doing} the kernel cache {}: {source}", path.display())]
    Cache {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn places(tried: &[Tried]) -> String {
    let mut text = String::new();
    for Tried { folder, outcome } in tried {
        let _ = write!(text, "\n  {}: {outcome}", folder.display());
    }
    text
}

fn indented(log: &str) -> String {
    log.lines()
        .filter(|line| !line.trim().is_empty())
        .fold(String::new(), |text, line| text + "\n  " + line)
}

fn findings(diagnostics: &[Diagnostic], log: &str) -> String {
    if diagnostics.is_empty() {
        return indented(log);
    }
    diagnostics
        .iter()
        .fold(String::new(), |text, diagnostic| text + &indented(&diagnostic.to_string()))
}
