//! What NVRTC and ptxas say, as data, with lines of the text taken back to lines of the templates.

use std::fmt;

use crate::render::Place;

/// What a kernel takes, as ptxas reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of static shared memory.
    pub shared: u32,
    /// Bytes of a thread's stack.
    pub stack: u32,
    /// Bytes of registers written to the stack for want of registers.
    pub spill_stores: u32,
    /// Bytes read back.
    pub spill_loads: u32,
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The text does not compile.
    Error,
    /// It compiles, but something is odd; or ptxas says that the code will be slow.
    Warning,
}

/// A message about the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// The line of the template, where the message is about one.
    pub place: Option<Place>,
    /// What it says.
    pub message: String,
    /// The line of the text, and a caret below the column.
    pub excerpt: Vec<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        match self.place {
            Some(Place { file, line }) => write!(f, "templates/{file}:{line}: {severity}: ")?,
            None => write!(f, "{severity}: ")?,
        }
        f.write_str(&self.message)?;
        self.excerpt.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// The messages of a log about a text called `name`, whose lines come from `places`.
pub(super) fn diagnostics(log: &str, name: &str, places: &[Place]) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    // The lines after a message, up to an empty one, are the text's line and the caret.
    let mut excerpt = false;
    for line in log.lines() {
        if let Some((at, severity, message)) = about_text(line, name) {
            let place = at.checked_sub(1).and_then(|at| places.get(at)).copied();
            found.push(Diagnostic {
                severity,
                place,
                message: message.to_owned(),
                excerpt: Vec::new(),
            });
            excerpt = true;
        } else if line.trim().is_empty() {
            excerpt = false;
        } else if let Some(severity) = of_ptxas(line) {
            let message = line.trim().to_owned();
            found.push(Diagnostic { severity, place: None, message, excerpt: Vec::new() });
            excerpt = false;
        } else if excerpt && let Some(last) = found.last_mut() {
            last.excerpt.push(line.to_owned());
        }
    }
    found
}

/// Line, severity and message of `NAME(LINE): error: MESSAGE`.
fn about_text<'a>(line: &'a str, name: &str) -> Option<(usize, Severity, &'a str)> {
    let (at, rest) = line.strip_prefix(name)?.strip_prefix('(')?.split_once("): ")?;
    let at = at.parse().ok()?;
    // A number may stand between the word and the colon, such as `warning #177-D:`.
    let severity = [
        ("error", Severity::Error),
        ("catastrophic error", Severity::Error),
        ("warning", Severity::Warning),
    ]
    .into_iter()
    .find(|(word, _)| rest.starts_with(word))?
    .1;
    let (_, message) = rest.split_once(": ")?;
    Some((at, severity, message))
}

/// The severity of a line of ptxas that is not a mere report. C75xx messages say that asynchronous instructions were
/// made to wait, or that a hint was ignored: ptxas calls them information, but they are as bad as a spill.
fn of_ptxas(line: &str) -> Option<Severity> {
    let line = line.trim_start();
    if !line.starts_with("ptxas") {
        return None;
    }
    let slow = line.split("(C75").skip(1).any(|rest| {
        let code = rest.as_bytes();
        matches!(code, [a, b, b')', ..] if a.is_ascii_digit() && b.is_ascii_digit())
    });
    let kind = |word: &str| line.split([' ', ':', ';']).any(|part| part == word);
    match () {
        () if kind("error") || kind("fatal") => Some(Severity::Error),
        () if slow || kind("warning") => Some(Severity::Warning),
        () => None,
    }
}

/// What the log says of a kernel's resources; `None` if it says nothing, as for PTX alone.
pub(super) fn usage(log: &str) -> Option<Usage> {
    let mut usage = Usage::default();
    let mut reported = false;
    for line in log.lines() {
        if line.contains(" bytes spill stores") {
            // A function that was not inlined has a line of its own; all of them count.
            usage.stack = usage.stack.max(before(line, " bytes stack frame")?);
            usage.spill_stores =
                usage.spill_stores.saturating_add(before(line, " bytes spill stores")?);
            usage.spill_loads =
                usage.spill_loads.saturating_add(before(line, " bytes spill loads")?);
        } else if line.contains(": Used ") && line.contains(" registers") {
            usage.registers = before(line, " registers")?;
            usage.shared = before(line, " bytes smem").unwrap_or(0);
            reported = true;
        }
    }
    reported.then_some(usage)
}

/// The number right before `unit`.
fn before(line: &str, unit: &str) -> Option<u32> {
    line[..line.find(unit)?].split(|c: char| !c.is_ascii_digit()).next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Severity, Usage, diagnostics, usage};
    use crate::render::Place;

    #[test]
    fn messages_go_back_to_the_template() {
        let log = "x.cu(2): error: identifier \"y\" is undefined\n      float a = y;\n                ^\n\n\
                   x.cu(1): warning #177-D: variable \"a\" was declared but never referenced\n\n\
                   Remark: The warnings can be suppressed\n\n1 error detected in the compilation of \"x.cu\".\n";
        let places =
            [Place { file: "lib/a.cuh", line: 7 }, Place { file: "kernels/b.cu.tera", line: 3 }];
        let found = diagnostics(log, "x.cu", &places);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].to_string(),
            "templates/kernels/b.cu.tera:3: error: identifier \"y\" is undefined\n      float a = y;\n                ^"
        );
        assert_eq!(
            found[1].to_string(),
            "templates/lib/a.cuh:7: warning: variable \"a\" was declared but never referenced"
        );
    }

    #[test]
    fn what_ptxas_says_is_weighed() {
        let log = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized\n\
                   ptxas info    : Compiling entry function 'f' for 'sm_90a'\n\
                   ptxas warning : Stack size cannot be determined\n\
                   ptxas application ptx input, line 9; error   : Instruction 'wgmma' not supported\n\
                   ptxas fatal   : Ptx assembly aborted due to errors\n";
        let found = diagnostics(log, "x.cu", &[]);
        let severities: Vec<_> = found.iter().map(|d| d.severity).collect();
        let expected = [Severity::Warning, Severity::Warning, Severity::Error, Severity::Error];
        assert_eq!(severities, expected);
    }

    #[test]
    fn resources_are_read() {
        let log = "ptxas info    : 37 bytes gmem, 80 bytes cmem[4]\n\
                   ptxas info    : Compiling entry function 'f' for 'sm_80'\n\
                   ptxas info    : Function properties for f\n\
                   ptxas         .     24 bytes stack frame, 20 bytes spill stores, 28 bytes spill loads\n\
                   ptxas info    : Used 64 registers, used 1 barriers, 24 bytes cumulative stack size, 128 bytes smem, \
                   400 bytes cmem[0]\n";
        let expected =
            Usage { registers: 64, shared: 128, stack: 24, spill_stores: 20, spill_loads: 28 };
        assert_eq!(usage(log), Some(expected));
        assert_eq!(usage(""), None);
    }
}
