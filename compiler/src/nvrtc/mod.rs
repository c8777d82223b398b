//! CUDA text -> machine code and PTX, through NVRTC: no GPU, no driver, no toolkit.
//!
//! [`search`] looks for the library where the caller says, [`Nvrtc::open`] loads it, and [`Nvrtc::compile`] compiles
//! kernels on the current thread pool. The same texts and NVRTC give the same bytes, whatever the threads and the cache.

mod arch;
mod cache;
mod error;
mod ffi;
mod log;
mod search;

use std::ffi::CString;
use std::path::PathBuf;

use rayon::prelude::*;

pub use arch::{Arch, ArchError};
pub use cache::Cache;
pub use error::NvrtcError;
pub use log::{Diagnostic, Severity, Usage};
pub use search::{INSTALL, Library, Outcome, PINNED, Search, Tried, search};

use crate::render::Source;
use cache::Entry;
use ffi::Program;

/// A loaded NVRTC. A process has one: the first that is opened stays.
#[derive(Clone, Debug)]
pub struct Nvrtc {
    library: PathBuf,
    version: String,
}

/// A compiled kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The PTX.
    pub ptx: String,
    /// The machine code; none for `compute_` architectures.
    pub cubin: Option<Vec<u8>>,
    /// What the kernel takes; none for `compute_` architectures.
    pub usage: Option<Usage>,
    /// Warnings, C75xx messages of ptxas among them.
    pub warnings: Vec<Diagnostic>,
    /// Whether it came from the cache.
    pub cached: bool,
}

impl Compiled {
    /// What makes the kernel unfit to ship, one line each: spills, and warnings.
    pub fn defects(&self) -> Vec<String> {
        let spills = self.usage.iter().filter(|usage| usage.spill_stores + usage.spill_loads > 0);
        let spills = spills
            .map(|u| format!("spills {} bytes and reads {} back", u.spill_stores, u.spill_loads));
        spills.chain(self.warnings.iter().map(ToString::to_string)).collect()
    }
}

impl Nvrtc {
    /// Loads a library and has it compile an empty kernel.
    ///
    /// # Errors
    /// [`NvrtcError::Load`] if it does not load, [`NvrtcError::Version`] if another one answers, [`NvrtcError::Call`] if
    /// it does not work, as without its built-ins.
    pub fn open(library: &Library) -> Result<Self, NvrtcError> {
        for path in library.builtins.iter().chain([&library.nvrtc]) {
            let wrong = |e: libloading::Error| NvrtcError::Load {
                path: path.clone(),
                reason: e.to_string(),
            };
            // Not every system's loader says so itself.
            if !path.is_file() {
                return Err(NvrtcError::Load {
                    path: path.clone(),
                    reason: "no such file".to_owned(),
                });
            }
            ffi::preload(path).map_err(wrong)?;
        }
        if !ffi::present() {
            let reason = "it is loaded, but not found under a name of NVRTC's".to_owned();
            return Err(NvrtcError::Load { path: library.nvrtc.clone(), reason });
        }
        let (major, minor) = ffi::version().map_err(|code| call("say its version", code, ""))?;
        let found = (major.unsigned_abs(), minor.unsigned_abs());
        if let Some(expected) = library.version().filter(|expected| *expected != found) {
            return Err(NvrtcError::Version { path: library.nvrtc.clone(), expected, found });
        }
        let empty = CString::from(c"extern \"C\" __global__ void empty() {}");
        let (entry, outcome) = run(&empty, c"/empty.cu", Arch::COMPUTE_80)?;
        outcome.map_err(|code| call("compile an empty kernel", code, &entry.log))?;
        // The PTX's header names the full version: `// Cuda compilation tools, release 13.0, V13.0.88`.
        let full = entry.ptx.lines().find_map(|line| line.split_once(", V"));
        let version =
            full.map_or_else(|| format!("{major}.{minor}"), |(_, full)| full.trim().to_owned());
        Ok(Self { library: library.nvrtc.clone(), version })
    }

    /// The version that answers, such as `13.0.88`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file that was chosen.
    pub fn library(&self) -> &std::path::Path {
        &self.library
    }

    /// Compiles kernels on the current thread pool. `done` is called after each, from any thread, with its index.
    ///
    /// # Errors
    /// The error of the first kernel, in the given order, that does not compile; or the cache can't be written.
    pub fn compile(
        &self,
        units: &[(&Source, Arch)],
        cache: Option<&Cache>,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Compiled>, NvrtcError> {
        let compiled: Vec<_> = units
            .par_iter()
            .enumerate()
            .map(|(index, (source, arch))| {
                let compiled = self.compile_one(source, *arch, cache);
                done(index);
                compiled
            })
            .collect();
        compiled.into_iter().collect()
    }

    fn compile_one(
        &self,
        source: &Source,
        arch: Arch,
        cache: Option<&Cache>,
    ) -> Result<Compiled, NvrtcError> {
        // A relative name would be put into the code below the working directory's.
        let name = format!("/{}.cu", source.symbol);
        let key = self.key(&source.text, &name, arch);
        let hit = cache.and_then(|cache| cache.get(&key));
        let cached = hit.is_some();
        let entry = match hit {
            Some(entry) => entry,
            None => {
                let c = |text: &str| {
                    CString::new(text).map_err(|_| NvrtcError::Compile {
                        symbol: source.symbol.clone(),
                        arch,
                        diagnostics: Vec::new(),
                        log: "the text holds a NUL character".to_owned(),
                    })
                };
                let (entry, outcome) = run(&c(&source.text)?, &c(&name)?, arch)?;
                outcome.map_err(|code| match code {
                    ffi::Code::NVRTC_ERROR_COMPILATION => NvrtcError::Compile {
                        symbol: source.symbol.clone(),
                        arch,
                        diagnostics: log::diagnostics(&entry.log, &name, &source.places),
                        log: entry.log.clone(),
                    },
                    code => call("compile", code, &entry.log),
                })?;
                if let Some(cache) = cache {
                    cache.put(&key, &entry)?;
                }
                entry
            }
        };
        Ok(Compiled {
            usage: log::usage(&entry.log),
            warnings: log::diagnostics(&entry.log, &name, &source.places),
            ptx: entry.ptx,
            cubin: arch.is_real().then_some(entry.cubin),
            cached,
        })
    }

    /// The hash of all that the result depends on.
    fn key(&self, text: &str, name: &str, arch: Arch) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let options = options(arch);
        let parts = [self.version.as_str(), name, text];
        for part in parts.into_iter().chain(options.iter().map(String::as_str)) {
            // With its length, no part can be taken for the end of another.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize()
    }
}

/// NVRTC's options. Contraction is off: where a template means an fma, it says so.
fn options(arch: Arch) -> Vec<String> {
    let mut options = vec![
        format!("--gpu-architecture={arch}"),
        "--std=c++17".to_owned(),
        "--fmad=false".to_owned(),
        "--generate-line-info".to_owned(),
    ];
    if arch.is_real() {
        options.push("--ptxas-options=-v".to_owned());
    }
    options
}

/// Compiles one text: what came of it, and whether it compiled. An entry of a text that did not has a log only.
fn run(
    text: &std::ffi::CStr,
    name: &std::ffi::CStr,
    arch: Arch,
) -> Result<(Entry, Result<(), ffi::Code>), NvrtcError> {
    let failed = |doing| move |code| call(doing, code, "");
    let program = Program::new(text, name).map_err(failed("take a text"))?;
    let options = options(arch).into_iter().map(|option| {
        CString::new(option).expect("options are made of names and numbers, without NUL")
    });
    let outcome = program.compile(&options.collect::<Vec<_>>());
    let log = program.log().map_err(failed("give its log"))?;
    let mut entry = Entry { ptx: String::new(), cubin: Vec::new(), log };
    if outcome.is_ok() {
        entry.ptx = program.ptx().map_err(failed("give the PTX"))?;
        if arch.is_real() {
            entry.cubin = program.cubin().map_err(failed("give the cubin"))?;
        }
    }
    Ok((entry, outcome))
}

fn call(doing: &'static str, code: ffi::Code, log: &str) -> NvrtcError {
    NvrtcError::Call { doing, code: format!("{code:?}"), log: log.to_owned() }
}
