//! Where this machine keeps NVRTC and compiled kernels. Only the program looks: the compiler is told.

use std::env;
use std::path::{Path, PathBuf};

use bytec_compiler::Toolchain;

/// The folders to look in: the given one alone, or else those of the environment, of pip, and of toolkits.
pub(crate) fn find(nvrtc: Option<&Path>, cache: Option<&Path>) -> Toolchain {
    Toolchain {
        nvrtc: nvrtc.map_or_else(folders, |folder| vec![folder.to_owned()]),
        cache: cache.map(Path::to_owned).or_else(cache_folder),
    }
}

/// Every folder that may hold NVRTC, in the order in which users expect it to be found.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).collect();
    // Where `pip install --target` of the line that bytec prints puts it.
    folders.push(PathBuf::from(".cache/nvrtc"));
    for root in ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable) {
        folders.extend(site_packages(&root));
    }
    if let Some(home) = variable("HOME") {
        folders.extend(site_packages(&home.join(".local")));
    }
    folders.extend(["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from));
    folders
}

/// An environment variable that names a folder; an empty one is none.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `lib/python3.*/site-packages` below a prefix, in order of name.
fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(prefix.join("lib")) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
        })
        .map(|path| path.join("site-packages"))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

fn cache_folder() -> Option<PathBuf> {
    let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    Some(base.join("bytec/kernels"))
}
