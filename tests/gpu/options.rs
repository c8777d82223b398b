//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::shapes;

/// What a run does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Every kernel: values and bits.
    Kernels,
    /// Every model: values and bits.
    Models,
    /// compute-sanitizer's tools look on while the kernels run.
    Sanitizer,
    /// Models of real sizes against the CPU, and their times.
    Timings,
}

impl Phase {
    /// All of them.
    pub(crate) const ALL: [Phase; 4] =
        [Phase::Kernels, Phase::Models, Phase::Sanitizer, Phase::Timings];

    /// The name on the command line and in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Kernels => "kernels",
            Phase::Models => "models",
            Phase::Sanitizer => "sanitizer",
            Phase::Timings => "timings",
        }
    }

    /// The phase of this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|phase| phase.name() == name);
        found.with_context(|| {
            format!("expected a phase (kernels, models, sanitizer, timings), found {name}")
        })
    }

    /// How many seconds it may take unless the command line says otherwise. All phases together are under nine minutes.
    fn limit(self) -> u64 {
        match self {
            Phase::Kernels | Phase::Models => 90,
            Phase::Sanitizer => 160,
            Phase::Timings => 180,
        }
    }
}

/// What the command line says, for every command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `cuda` or `sim`.
    pub(crate) device: String,
    /// Phases to run.
    pub(crate) phases: Vec<Phase>,
    /// Cases whose names contain one of these; all, if there are none.
    pub(crate) only: Vec<String>,
    /// Shapes to time.
    pub(crate) shapes: Vec<String>,
    /// Targets to pack; all, if there are none.
    pub(crate) targets: Vec<String>,
    /// Where compiled kernels are kept for the next time.
    pub(crate) cache: Option<PathBuf>,
    /// The folder of NVRTC.
    pub(crate) nvrtc: Option<PathBuf>,
    /// Today.
    pub(crate) date: String,
    /// What the pack was built from.
    pub(crate) commit: String,
    /// Limits that differ from the usual ones, in seconds.
    limits: BTreeMap<Phase, u64>,
    /// What is no option.
    pub(crate) words: Vec<String>,
}

impl Options {
    /// Reads the command line after the command.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { device: "cuda".to_owned(), ..Self::default() };
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                options.words.push(word);
                continue;
            }
            let value = words.next().with_context(|| format!("{word} takes a value"))?;
            let list = || value.split(',').filter(|name| !name.is_empty());
            match word.as_str() {
                "--device" => options.device = value,
                "--phase" => options.phases = list().map(Phase::named).collect::<Result<_>>()?,
                "--only" => options.only = list().map(str::to_owned).collect(),
                "--shapes" => options.shapes = list().map(str::to_owned).collect(),
                "--targets" => options.targets = list().map(str::to_owned).collect(),
                "--cache" => options.cache = Some(value.into()),
                "--nvrtc" => options.nvrtc = Some(value.into()),
                "--date" => options.date = value,
                "--commit" => options.commit = value,
                "--limit" => {
                    let (phase, seconds) =
                        value.split_once('=').context("--limit takes PHASE=SECONDS")?;
                    options.limits.insert(Phase::named(phase)?, seconds.parse()?);
                }
                _ => bail!("unknown option {word}"),
            }
        }
        ensure!(
            ["cuda", "sim"].contains(&options.device.as_str()),
            "--device: expected cuda or sim, found {}",
            options.device
        );
        for name in &options.shapes {
            let known = shapes::NAMES.contains(&name.as_str());
            ensure!(known, "--shapes: expected some of {:?}, found {name}", shapes::NAMES);
        }
        if options.phases.is_empty() {
            options.phases = Phase::ALL.to_vec();
        }
        options.phases.sort();
        if options.shapes.is_empty() {
            // A simulated device is too slow for models of real sizes.
            let names: &[&str] =
                if options.device == "cuda" { &["minilm", "bert_base"] } else { &["tiny"] };
            options.shapes = names.iter().map(|name| (*name).to_owned()).collect();
        }
        Ok(options)
    }

    /// How many seconds a phase may take.
    pub(crate) fn limit(&self, phase: Phase) -> u64 {
        self.limits.get(&phase).copied().unwrap_or_else(|| phase.limit())
    }

    /// Whether a case of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    /// Whether a target is to be packed.
    pub(crate) fn packs(&self, target: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|packed| packed == target)
    }

    /// The path of this number among the words.
    pub(crate) fn path(&self, nth: usize, what: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(self.words.get(nth).with_context(|| format!("expected {what}"))?))
    }

    /// The options of a process that works for this one.
    pub(crate) fn for_worker(&self) -> Vec<String> {
        let mut words = vec!["--device".to_owned(), self.device.clone()];
        words.extend(["--shapes".to_owned(), self.shapes.join(",")]);
        if !self.only.is_empty() {
            words.extend(["--only".to_owned(), self.only.join(",")]);
        }
        for (name, path) in [("--nvrtc", &self.nvrtc), ("--cache", &self.cache)] {
            words
                .extend(path.iter().flat_map(|path| [name.to_owned(), path.display().to_string()]));
        }
        words
    }
}
