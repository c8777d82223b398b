//! Every simple kernel through the real NVRTC: no spills, no warnings, and the same bytes from the cache.
//!
//! `examples/fetch_nvrtc.sh` fetches NVRTC once. Where it can't be fetched, one line says so and the tests that need it
//! pass; with `CI` set they fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "resources are shown, and tests that could not run say so"
)]

mod broken;
mod cached;
mod golden;
mod kernels;
mod products;
mod sass;
mod sound;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bytec_compiler::nvrtc::{Nvrtc, search};
use bytec_compiler::render::{Float, Matrix, Renderer, Site, Source};
use bytec_plan::kernel::Kernel;

/// NVRTC, fetched and loaded once; `None` where it can't be fetched.
fn nvrtc() -> Option<&'static Nvrtc> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    match NVRTC.get_or_init(|| {
        Nvrtc::open(&search(&[fetch()?]).library().unwrap()).map_err(|e| panic!("{e}"))
    }) {
        Ok(nvrtc) => Some(nvrtc),
        Err(why) if std::env::var_os("CI").is_some() => panic!("NVRTC can't be fetched: {why}"),
        Err(why) => {
            println!("not tested, NVRTC can't be fetched: {why}");
            None
        }
    }
}

/// The folder that the script fills, or the last line of what it said.
fn fetch() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fetch_nvrtc.sh");
    let output = Command::new("bash").arg(script).output().map_err(|e| format!("bash: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    if !output.status.success() {
        return Err(last.to_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}

/// A kernel whose operands and output are all dense rows of `width`.
fn dense(kernel: &Kernel, width: u32, dtype: Float) -> Source {
    let rows = [Matrix::dense(width); 8];
    render(&Site { kernel, dtype, operands: &rows, output: rows[0] })
}

fn render(site: &Site<'_>) -> Source {
    let mut renderer = Renderer::new().unwrap();
    renderer.render(site).unwrap();
    renderer.into_sources().remove(0)
}
