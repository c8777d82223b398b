//! Where NVRTC lies. The caller names the folders; nothing here reads the environment.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::NvrtcError;

/// The version that bytec is tested with. Its PTX runs on the drivers of CUDA 13.0 and later.
pub const PINNED: &str = "13.0.88";

/// How to get it.
pub const INSTALL: &str =
    "python3 -m pip install --no-deps --target .cache/nvrtc nvidia-cuda-nvrtc==13.0.88";

/// Names of the library, the preferred one first.
const NAMES: [&str; 2] = ["libnvrtc.so.13", "libnvrtc.so.12"];

/// Where in a folder it may lie: a folder of libraries itself, a toolkit, a pip target or site-packages.
const BELOW: [&str; 6] =
    ["", "lib64", "lib", "targets/x86_64-linux/lib", "nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"];

/// An NVRTC on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// libnvrtc itself.
    pub nvrtc: PathBuf,
    /// The library of built-in functions that it opens by name while it compiles.
    pub builtins: Option<PathBuf>,
}

impl Library {
    /// Major and minor version, as the built-ins' file name says.
    pub fn version(&self) -> Option<(u32, u32)> {
        version_of_builtins(self.builtins.as_deref()?)
    }
}

/// A place that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The folder.
    pub folder: PathBuf,
    /// What is there.
    pub outcome: Outcome,
}

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is no such folder.
    NoFolder,
    /// The folder holds no NVRTC.
    NoLibrary,
    /// NVRTC is there.
    Found,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::NoFolder => "no such folder",
            Outcome::NoLibrary => "no libnvrtc.so.13 or libnvrtc.so.12",
            Outcome::Found => "found",
        })
    }
}

/// The outcome of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Every folder looked at, in order; the search ends at the first that has it.
    pub tried: Vec<Tried>,
    /// What was found.
    pub found: Option<Library>,
}

impl Search {
    /// The library.
    ///
    /// # Errors
    /// [`NvrtcError::Absent`], with every place that was tried and the line that installs it.
    pub fn library(self) -> Result<Library, NvrtcError> {
        let Self { tried, found } = self;
        found.ok_or(NvrtcError::Absent { tried })
    }
}

/// Looks for NVRTC in `folders`, in order, and in the places below them where packages and toolkits put it.
pub fn search(folders: &[PathBuf]) -> Search {
    let mut search = Search::default();
    for folder in folders {
        if !folder.is_dir() {
            search.tried.push(Tried { folder: folder.clone(), outcome: Outcome::NoFolder });
            continue;
        }
        for below in BELOW {
            let place = if below.is_empty() { folder.clone() } else { folder.join(below) };
            if !place.is_dir() {
                continue;
            }
            search.found = library_in(&place);
            let outcome = if search.found.is_some() { Outcome::Found } else { Outcome::NoLibrary };
            search.tried.push(Tried { folder: place, outcome });
            if search.found.is_some() {
                return search;
            }
        }
    }
    search
}

fn library_in(folder: &Path) -> Option<Library> {
    let nvrtc = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())?;
    let major: u32 = nvrtc.extension()?.to_str()?.parse().ok()?;
    let entries = fs::read_dir(folder).ok()?;
    let builtins = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((version_of_builtins(&path)?, path)))
        .filter(|((of, _), _)| *of == major)
        .max();
    // The loader is asked for absolute paths: relative ones it would look for elsewhere.
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Some(Library { nvrtc: absolute(nvrtc), builtins: builtins.map(|(_, path)| absolute(path)) })
}

/// The version in a name such as `libnvrtc-builtins.so.13.0`.
fn version_of_builtins(path: &Path) -> Option<(u32, u32)> {
    let version = path.file_name()?.to_str()?.strip_prefix("libnvrtc-builtins.so.")?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{Outcome, search};

    #[test]
    fn every_place_is_listed_and_the_first_hit_ends_the_search() {
        let folder = tempfile::tempdir().unwrap();
        let toolkit = folder.path().join("toolkit");
        let lib = toolkit.join("lib64");
        fs::create_dir_all(&lib).unwrap();
        for name in ["libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc-builtins.so.12.9"] {
            fs::write(lib.join(name), "").unwrap();
        }
        let absent = folder.path().join("absent");
        let result = search(&[absent.clone(), toolkit.clone(), PathBuf::from("/never/asked")]);
        let tried: Vec<_> = result.tried.iter().map(|t| (t.folder.clone(), t.outcome)).collect();
        assert_eq!(
            tried,
            [
                (absent, Outcome::NoFolder),
                (toolkit, Outcome::NoLibrary),
                (lib.clone(), Outcome::Found)
            ]
        );
        let library = result.library().unwrap();
        assert_eq!(library.nvrtc, lib.join("libnvrtc.so.13"));
        assert_eq!(library.version(), Some((13, 0)));
    }

    #[test]
    fn an_absent_library_gives_the_install_line() {
        let message = search(&["/never/there".into()]).library().unwrap_err().to_string();
        assert!(message.contains("/never/there: no such folder"), "{message}");
        assert!(message.contains(super::INSTALL), "{message}");
    }
}
