//! Shows long work: a bar on a terminal, plain lines elsewhere. Always on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

use bytec_compiler::{Progress, STAGES};
use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar over steps of known number, or lines.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    quiet: bool,
    stage: Option<(&'static str, Instant)>,
    count: u64,
    total: u64,
}

impl Bar {
    /// A bar of `total` steps; with `quiet`, nothing but the bar of a terminal is shown.
    pub(crate) fn new(total: u64, quiet: bool) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style)
        });
        Self { bar, quiet, stage: None, count: 0, total }
    }

    /// The bar of a compilation.
    pub(crate) fn compiling(quiet: bool) -> Self {
        Self::new(STAGES, quiet)
    }

    /// One more step is done.
    pub(crate) fn advance(&mut self, what: &str) {
        self.count += 1;
        match &self.bar {
            Some(bar) => {
                bar.set_message(what.to_owned());
                bar.inc(1);
            }
            None if !self.quiet => self.line(what),
            None => {}
        }
    }

    fn line(&self, what: &str) {
        // A closed standard error must not stop the work.
        let _ = writeln!(stderr(), "[{}/{}] {what}", self.count, self.total);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows nothing of a compilation.
pub(crate) struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &'static str) {}
    fn done(&mut self, _: String) {}
}

impl Progress for Bar {
    fn stage(&mut self, name: &'static str) {
        self.stage = Some((name, Instant::now()));
        if let Some(bar) = &self.bar {
            bar.set_message(name);
        }
    }

    fn kernel(&mut self, done: usize, total: usize, kernel: &str) {
        let what = format!("kernel {done}/{total}: {kernel}");
        match &self.bar {
            Some(bar) => {
                if done == 1 {
                    bar.inc_length(total as u64);
                }
                bar.set_message(what);
                bar.inc(1);
            }
            None if !self.quiet => {
                // A closed standard error must not stop the work.
                let _ = writeln!(stderr(), "  {what}");
            }
            None => {}
        }
    }

    fn done(&mut self, outcome: String) {
        if let Some((name, begun)) = self.stage.take() {
            self.advance(&format!("{name}: {outcome} ({:.2} s)", begun.elapsed().as_secs_f64()));
        }
    }
}
