//! NVRTC for tests, fetched once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bytec_compiler::Toolchain;
use bytec_compiler::nvrtc::{Nvrtc, search};

/// NVRTC, fetched and loaded once. Where it can't be fetched it is `None`, and one line says why.
///
/// # Panics
/// If it can't be fetched and `CI` is set.
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
pub fn nvrtc() -> Option<&'static Nvrtc> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    let opened = NVRTC.get_or_init(|| {
        let library = search(&[fetch()?]).library().map_err(|e| e.to_string())?;
        Nvrtc::open(&library).map_err(|e| e.to_string())
    });
    match opened {
        Ok(nvrtc) => Some(nvrtc),
        Err(why) if std::env::var_os("CI").is_some() => panic!("NVRTC can't be had: {why}"),
        Err(why) => {
            println!("not tested, NVRTC can't be had: {why}");
            None
        }
    }
}

/// What compiling for a GPU takes, with compiled kernels kept in `cache`; `None` as for [`nvrtc`].
///
/// # Panics
/// If NVRTC can't be fetched and `CI` is set.
pub fn toolchain(cache: &Path) -> Option<Toolchain> {
    let folder = nvrtc()?.library().parent()?;
    Some(Toolchain { nvrtc: vec![folder.to_owned()], cache: Some(cache.to_owned()) })
}

/// The folder that the script fills, or the last line of what it said.
fn fetch() -> Result<PathBuf, String> {
    let script = crate::root().join("examples/fetch_nvrtc.sh");
    let output = Command::new("bash").arg(script).output().map_err(|e| format!("bash: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    if !output.status.success() {
        return Err(last.to_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}
