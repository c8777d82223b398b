//! From a traced model to a graph file.

use std::io::Write;
use std::path::Path;

use bytec_trace::{LiftError, LiftOptions, Lifted, lift};

use crate::options::Options;
use crate::trace::Traced;

/// The graph of one sample: no batch, no padding, no mask.
///
/// # Errors
/// Every op that mixes samples, and every op that has no counterpart in a graph.
pub fn graph(traced: &Traced, options: &Options) -> Result<Lifted, LiftError> {
    let defaults =
        options.inputs.iter().filter_map(|input| Some((input.name.clone(), input.default?)));
    lift(&traced.trace, &LiftOptions { defaults: defaults.collect(), ..LiftOptions::default() })
}

/// Writes a file whole or not at all.
///
/// # Errors
/// If the path is a folder, or its folder is not there or can't be written in.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
