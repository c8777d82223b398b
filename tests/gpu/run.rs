//! A run: every phase in processes of its own and within its own limit, the record written after each.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytec_runtime::cuda::{Cuda, Driver};

use crate::findings::{self, Finding, Journal};
use crate::options::{Options, Phase};
use crate::pack_file::{Pack, write_json, write_whole};
use crate::page;
use crate::record::{FORMAT, Machine, PhaseRecord, Record, Tool};
use crate::shapes::Shape;
use crate::work::{self, journal};

/// How long one unit may take: far more than any does, but a kernel that never ends must not take the phase with it.
const UNIT: Duration = Duration::from_secs(60);

/// The tools of compute-sanitizer.
const TOOLS: [&str; 4] = ["memcheck", "racecheck", "initcheck", "synccheck"];
/// What a tool makes the program exit with when it has found something.
const FOUND: i32 = 86;

/// Runs a pack's cases and writes the record into `out`.
pub(crate) fn run(pack: &Path, out: &Path, options: &Options) -> Result<Record> {
    ensure!(!options.date.is_empty(), "--date: expected today's date, found none");
    let Pack { commit, nvrtc, .. } = Pack::read(pack)?;
    let machine = machine(options)?;
    std::fs::create_dir_all(out)?;
    for phase in Phase::ALL {
        let old = journal(phase, out);
        ensure!(!old.exists(), "{}: is of an earlier run; give another folder", old.display());
    }
    let mut record = Record {
        format: FORMAT,
        date: options.date.clone(),
        commit,
        nvrtc,
        device: options.device.clone(),
        machine,
        phases: Vec::new(),
        peer: None,
    };
    let shapes: std::collections::BTreeMap<_, _> = options
        .shapes
        .iter()
        .filter_map(|name| Some((name.clone(), Shape::named(name)?.file())))
        .collect();
    write_json(&out.join("shapes.json"), &shapes)?;
    for phase in &options.phases {
        let begun = Instant::now();
        let mut done = match phase {
            Phase::Sanitizer => sanitizer(pack, out, options)?,
            _ => journaled(*phase, pack, out, options)?,
        };
        done.seconds = begun.elapsed().as_secs_f64();
        record.phases.push(done);
        write(&record, out)?;
    }
    Ok(record)
}

/// Writes the record and its page, with what a peer has measured, if it has.
pub(crate) fn write(record: &Record, out: &Path) -> Result<()> {
    write_json(&out.join("gpu.json"), record)?;
    write_whole(&out.join("gpu.md"), page::page(record).as_bytes())
}

fn machine(options: &Options) -> Result<Machine> {
    let cpu = bytec_measure::machine::processor();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    if options.device == "sim" {
        let (gpu, arch) = ("PTX interpreter".to_owned(), "any".to_owned());
        return Ok(Machine { gpu, arch, details: Vec::new(), cpu, threads });
    }
    let cuda = Cuda::open(0)?;
    let (gpu, arch) = (cuda.name().to_owned(), cuda.arch().to_string());
    Ok(Machine { gpu, arch, details: details(), cpu, threads })
}

/// What `nvidia-smi` says, if it is there.
fn details() -> Vec<(String, String)> {
    let asked =
        ["driver_version", "memory.total", "clocks.max.sm", "clocks.max.mem", "power.limit"];
    let output = Command::new("nvidia-smi")
        .arg(format!("--query-gpu={}", asked.join(",")))
        .args(["--format=csv,noheader", "--id=0"])
        .output();
    let Ok(output) = output else { return Vec::new() };
    let said = String::from_utf8_lossy(&output.stdout);
    let values = said.lines().next().unwrap_or_default().split(", ");
    asked.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect()
}

/// A process of this program.
fn own(
    command: &str,
    phase: Option<Phase>,
    pack: &Path,
    out: &Path,
    options: &Options,
) -> Vec<String> {
    let mut words = vec![command.to_owned()];
    words.extend(phase.map(|phase| phase.name().to_owned()));
    words.extend([pack, out].map(|path| path.display().to_string()));
    words.extend(options.for_worker());
    words
}

fn program() -> Result<PathBuf> {
    std::env::current_exe().context("this program's own path")
}

/// A phase that is done unit by unit.
fn journaled(phase: Phase, pack: &Path, out: &Path, options: &Options) -> Result<PhaseRecord> {
    let units = work::units(phase, pack, options)?.len() as u64;
    let deadline = Instant::now() + Duration::from_secs(options.limit(phase));
    let path = journal(phase, out);
    let mut stopped = None;
    let mut known = 0;
    loop {
        let worker = Command::new(program()?)
            .args(own("work", Some(phase), pack, out, options))
            .stdin(Stdio::null())
            .spawn()
            .context("the worker")?;
        let ended = watch(worker, &path, deadline)?;
        let (done, open) = findings::read(&path)?;
        if let Some(unit) = open {
            let why = match &ended {
                Ended::Itself { said, .. } => format!("the process ended while it ran: {said}"),
                Ended::Hung => format!("it did not end within {} s", UNIT.as_secs()),
                Ended::Late => "it was stopped at the phase's limit".to_owned(),
            };
            // A limit that was too short says nothing about the unit.
            if !matches!(ended, Ended::Late) {
                Journal::open(&path)?.done(Finding::failed(&unit, why))?;
            }
        } else if done.len() == known && !matches!(ended, Ended::Itself { good: true, .. }) {
            stopped = Some("the worker ends before its first unit".to_owned());
            break;
        }
        match ended {
            Ended::Itself { good: true, .. } => break,
            Ended::Late => {
                stopped = Some(format!("its limit of {} s", options.limit(phase)));
                break;
            }
            Ended::Itself { good: false, .. } | Ended::Hung => known = done.len(),
        }
    }
    let (findings, _) = findings::read(&path)?;
    let name = phase.name().to_owned();
    Ok(PhaseRecord { name, seconds: 0.0, units, findings, tools: Vec::new(), stopped })
}

/// How a worker ended.
enum Ended {
    Itself { good: bool, said: String },
    Hung,
    Late,
}

/// Waits for a worker as long as its journal grows.
fn watch(mut worker: Child, journal: &Path, deadline: Instant) -> Result<Ended> {
    let length = || std::fs::metadata(journal).map_or(0, |file| file.len());
    let (mut last, mut since) = (length(), Instant::now());
    loop {
        if let Some(status) = worker.try_wait()? {
            return Ok(Ended::Itself { good: status.success(), said: status.to_string() });
        }
        if last != length() {
            (last, since) = (length(), Instant::now());
        }
        let ended = match (since.elapsed() > UNIT, Instant::now() > deadline) {
            (_, true) => Ended::Late,
            (true, _) => Ended::Hung,
            (false, false) => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        worker.kill()?;
        worker.wait()?;
        return Ok(ended);
    }
}

/// Runs the kernels under each tool of compute-sanitizer.
fn sanitizer(pack: &Path, out: &Path, options: &Options) -> Result<PhaseRecord> {
    let mut tools = Vec::new();
    let limit = Duration::from_secs(options.limit(Phase::Sanitizer) / TOOLS.len() as u64);
    let found = (options.device == "cuda").then(find_sanitizer).flatten();
    for name in TOOLS {
        let begun = Instant::now();
        let (ran, clean, said) = match &found {
            _ if options.device != "cuda" => {
                (false, false, "it looks at a GPU, and this run has none".to_owned())
            }
            None => (false, false, "compute-sanitizer is not on this machine".to_owned()),
            Some(sanitizer) => {
                let (clean, said) = look(sanitizer, name, limit, pack, out, options)?;
                (true, clean, said)
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        tools.push(Tool { name: name.to_owned(), clean, ran, said, seconds });
    }
    let (name, units) = (Phase::Sanitizer.name().to_owned(), TOOLS.len() as u64);
    Ok(PhaseRecord { name, seconds: 0.0, units, findings: Vec::new(), tools, stopped: None })
}

/// Whether a tool found nothing, and its last words.
fn look(
    sanitizer: &Path,
    tool: &str,
    limit: Duration,
    pack: &Path,
    out: &Path,
    options: &Options,
) -> Result<(bool, String)> {
    let log = out.join(format!("sanitizer-{tool}.txt"));
    let file = std::fs::File::create(&log)?;
    let mut child = Command::new(sanitizer)
        .args(["--tool", tool, "--error-exitcode", &FOUND.to_string(), "--print-limit", "20"])
        .arg(program()?)
        .args(own("exercise", None, pack, out, options))
        .stdin(Stdio::null())
        .stderr(file.try_clone()?)
        .stdout(file)
        .spawn()
        .context("compute-sanitizer")?;
    let deadline = Instant::now() + limit;
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(2)..].join("; ");
    Ok(match ended {
        None => (false, format!("stopped after {} s; {last}", limit.as_secs())),
        // Without a line that plans ran, the tool may have looked at nothing.
        Some(status) => (status.success() && said.contains("plans ran"), last),
    })
}

fn find_sanitizer() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/local/cuda/bin".into()]);
    folders.map(|folder| folder.join("compute-sanitizer")).find(|path| path.is_file())
}
