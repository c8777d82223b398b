//! Files that are written, kept apart from files that are read.

use std::fs::canonicalize;
use std::path::Path;

use crate::Outcome;
use crate::failure::Failure;

/// Refuses to write over one of the files `read`, or over a file of the model in `folder`.
pub(crate) fn refuse_inputs<'p>(
    output: &Path,
    read: impl IntoIterator<Item = &'p Path>,
    folder: Option<&Path>,
) -> Outcome {
    // What isn't there yet can't be an input.
    let Ok(place) = canonicalize(output) else { return Ok(()) };
    let is_place =
        |path: &Path| canonicalize(path).is_ok_and(|path| path == place && path.is_file());
    let of_a_model = place
        .extension()
        .is_some_and(|extension| ["safetensors", "json"].iter().any(|of| extension == *of));
    let inside = folder.and_then(|folder| canonicalize(folder).ok());
    let in_folder = of_a_model && inside.is_some_and(|folder| place.starts_with(folder));
    if in_folder || read.into_iter().any(is_place) {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "-o {}: expected a file to write, found one that is read; choose another name",
            output.display()
        )));
    }
    Ok(())
}
