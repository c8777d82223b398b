//! Where NVRTC may lie on the machine of a run: a folder that is named, or a toolkit's.

use std::path::{Path, PathBuf};

use bytec_compiler::Toolchain;
use bytec_compiler::nvrtc::{Library, search};

/// What compiling needs, with compiled kernels kept in `cache`.
pub(crate) fn find(nvrtc: Option<&Path>, cache: &Path) -> Toolchain {
    Toolchain { nvrtc: folders(nvrtc), cache: Some(cache.to_owned()) }
}

/// NVRTC, if there is one.
pub(crate) fn nvrtc(folder: Option<&Path>) -> Option<Library> {
    search(&folders(folder)).found
}

fn folders(nvrtc: Option<&Path>) -> Vec<PathBuf> {
    match nvrtc {
        Some(folder) => vec![folder.to_owned()],
        None => ["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from).to_vec(),
    }
}
