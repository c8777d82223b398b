//! Packs what a machine with a GPU needs, and runs it there: every kernel and model against f64, against the CPU and
//! against the simulated GPU, compute-sanitizer's tools, then timings. docs/gpu/README.md says how.
//!
//! - `gpu pack FOLDER` makes a pack of compiled cases, with what each should give.
//! - `gpu run PACK OUT --date DAY` runs it, and writes OUT/gpu.json and OUT/gpu.md. `--device sim` needs no GPU.
//! - `gpu report OUT` writes the page again, with what peer.py has measured.
//! - `gpu record OUT` puts a run's record into docs/gpu.
//! - `gpu list` writes the list of kernels there that no GPU has run as they are now.
//!
//! Exit codes: 0 all is right, 1 something is wrong or was not reached, 2 this can't be done.

mod check;
mod device;
mod findings;
mod kernels;
mod limits;
mod options;
mod pack;
mod pack_file;
mod page;
mod record;
mod run;
mod shapes;
mod stale;
mod subjects;
mod timings;
mod toolchain;
mod work;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use bytec_compiler::nvrtc::Nvrtc;

use options::{Options, Phase};
use pack_file::{Pack, read_json, write_json};
use record::Record;

/// What a worker exits with after its device has failed.
const FAILED: u8 = 3;

#[expect(clippy::print_stderr, reason = "it says why it ends")]
fn main() -> ExitCode {
    match done() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gpu: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn done() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let command = words.next().context("expected pack, run, report, record or list")?;
    let options = Options::read(words)?;
    let verdict = |record: &Record| ExitCode::from(u8::from(!record.passed()));
    match command.as_str() {
        "pack" => {
            pack_all(&options.path(0, "the folder of the pack")?, &options)?;
            Ok(ExitCode::SUCCESS)
        }
        "run" => {
            let (pack, out) = (options.path(0, "the pack")?, options.path(1, "a result folder")?);
            Ok(verdict(&run::run(&pack, &out, &options)?))
        }
        "work" => {
            let phase = Phase::named(options.words.first().map_or("", String::as_str))?;
            let (pack, out) = (options.path(1, "the pack")?, options.path(2, "a result folder")?);
            let good = work::work(phase, &pack, &out, &options)?;
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
        }
        "exercise" => {
            work::exercise(&options.path(0, "the pack")?, &options)?;
            Ok(ExitCode::SUCCESS)
        }
        "report" => {
            let out = options.path(0, "a result folder")?;
            let mut record: Record = read_json(&out.join("gpu.json"))?;
            let peer = out.join("peer.json");
            record.peer = if peer.exists() { Some(read_json(&peer)?) } else { None };
            run::write(&record, &out)?;
            Ok(verdict(&record))
        }
        "record" => {
            keep(&options.path(0, "a result folder")?, &bytec_tests::root().join("docs/gpu"))?;
            Ok(ExitCode::SUCCESS)
        }
        "list" => {
            list(&bytec_tests::root().join("docs/gpu"))?;
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("expected pack, run, report, record or list, found {other}"),
    }
}

/// Makes a pack.
#[expect(clippy::print_stdout, reason = "it takes a minute or more")]
fn pack_all(folder: &Path, options: &Options) -> Result<()> {
    let library = toolchain::nvrtc(options.nvrtc.as_deref());
    let library = library.context("expected NVRTC; examples/fetch_nvrtc.sh gets it")?;
    let nvrtc = Nvrtc::open(&library)?.version().to_owned();
    let sources = tempfile::tempdir()?;
    let cache = options.cache.clone().unwrap_or_else(|| sources.path().join("kernels"));
    let toolchain = toolchain::find(options.nvrtc.as_deref(), &cache);
    let subjects = subjects::all(sources.path(), options)?;
    ensure!(!subjects.is_empty(), "expected a case of that name, found none");
    let mut cases = Vec::new();
    for subject in &subjects {
        let name = subject.folder();
        ensure!(!cases.contains(&name), "two cases would lie in {name}");
        subject.stage(&folder.join(&name), &toolchain)?;
        println!("packed {}", subject.name);
        cases.push(name);
    }
    write_json(&folder.join("pack.json"), &Pack { commit: options.commit.clone(), nvrtc, cases })
}

/// Puts a run's record beside the others, and lists it in their README.
fn keep(out: &Path, docs: &Path) -> Result<()> {
    let record: Record = read_json(&out.join("gpu.json"))?;
    ensure!(record.device == "cuda", "expected a run on a GPU, found one on {}", record.device);
    let name = record.name();
    write_json(&docs.join(format!("{name}.json")), &record)?;
    pack_file::write_whole(&docs.join(format!("{name}.md")), page::page(&record).as_bytes())?;
    let readme = docs.join("README.md");
    let text = std::fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
    pack_file::write_whole(&readme, page::listed(&text, &record)?.as_bytes())?;
    list(docs)
}

/// Lists the kernels that no GPU has run as they are now.
fn list(docs: &Path) -> Result<()> {
    let readme = docs.join("README.md");
    let text = std::fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
    pack_file::write_whole(&readme, stale::listed(&text, docs)?.as_bytes())
}
