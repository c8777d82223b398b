//! Reads a plan's index for the commands that only look at it.

use std::path::Path;

use bytec_plan::reader::PlanIndex;

use crate::failure::Failure;

/// The index of the plan at `path`, and the file's size.
pub(crate) fn read(path: &Path) -> Result<(PlanIndex, u64), Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::reading(path, &error))?;
    let index = PlanIndex::read(&bytes).map_err(|error| {
        Failure::bad_input(anyhow::Error::new(error).context(path.display().to_string()))
    })?;
    Ok((index, bytes.len() as u64))
}
