//! Which file is which in a Hugging Face folder.

use std::path::{Path, PathBuf};

use super::error::FrontError;
use super::sentence::Modules;
use super::weights::Weights;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A model's files.
#[derive(Debug)]
pub(super) struct Folder {
    /// Where the config, the tokenizer and the weights are.
    pub(super) model: PathBuf,
    /// The sentence-transformers modules, if the folder lists them.
    pub(super) modules: Option<Modules>,
    weights: PathBuf,
}

impl Folder {
    /// The files of the model at `path`: a folder, or its weights.
    pub(super) fn find(path: &Path) -> Result<Self, FrontError> {
        let read = |source| FrontError::Read { file: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read)?.is_dir() {
            let modules = Modules::read(path)?;
            let model = match &modules {
                Some(modules) => modules.transformer(path),
                None => path.to_owned(),
            };
            let weights = weights_in(&model)?;
            return Ok(Self { model, modules, weights });
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if !name.is_some_and(|name| name.ends_with(".safetensors") || is_index(&name)) {
            return Err(FrontError::NotASource { file: path.to_owned() });
        }
        let model = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { modules: Modules::read(&model)?, model, weights: path.to_owned() })
    }

    /// Opens the weights.
    pub(super) fn weights(&self) -> Result<Weights, FrontError> {
        open(&self.weights)
    }
}

/// Opens the weights in a module's own folder.
pub(super) fn open_in(folder: &Path) -> Result<Weights, FrontError> {
    open(&weights_in(folder)?)
}

fn open(file: &Path) -> Result<Weights, FrontError> {
    if is_index(&file.to_string_lossy()) { Weights::open_index(file) } else { Weights::open(file) }
}

fn is_index(name: &str) -> bool {
    name.ends_with(".safetensors.index.json")
}

fn weights_in(folder: &Path) -> Result<PathBuf, FrontError> {
    if let Some(file) =
        [SINGLE, INDEX].map(|name| folder.join(name)).into_iter().find(|file| file.exists())
    {
        return Ok(file);
    }
    let read = |source| FrontError::Read { file: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        names.push(entry.map_err(read)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let pickled = ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"];
    let help = if names.iter().any(|name| pickled.contains(&name.as_str())) {
        "convert the weights to safetensors"
    } else if names.iter().any(|name| name.ends_with(".safetensors")) {
        "pass the .safetensors file itself"
    } else {
        "fetch the model's safetensors file into the folder"
    };
    const SHOWN: usize = 8;
    let mut found = match names.len() {
        0 => "an empty folder".to_owned(),
        count => names[..count.min(SHOWN)].join(", "),
    };
    if names.len() > SHOWN {
        found.push_str(", ..");
    }
    Err(FrontError::NoWeights { folder: folder.to_owned(), found, help: help.to_owned() })
}
