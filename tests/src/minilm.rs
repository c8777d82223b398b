//! The real MiniLM, fetched as the quickstart does.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The model's folder, which `examples/fetch_minilm.sh` fills once.
///
/// # Errors
/// The last line that the script said, such as that there is no network.
pub fn fetch() -> Result<PathBuf> {
    let script = crate::root().join("examples/fetch_minilm.sh");
    let output = Command::new("bash").arg(script).output().context("bash does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    ensure!(output.status.success(), "{last}");
    let path = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(path.trim_end()))
}
