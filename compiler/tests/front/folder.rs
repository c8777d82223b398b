//! Model folders made for a test.

use std::fs;
use std::path::{Path, PathBuf};

use bytec_compiler::front::{self, FrontError, FrontOptions, Loaded};
use bytec_models::tiny::{TinyBert, TinyCheckpoint};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder that is removed at the end of the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The folder of a tiny checkpoint: its config and its weights.
    pub(crate) fn of(checkpoint: &TinyCheckpoint) -> Self {
        let folder = Self::empty();
        folder.write("config.json", checkpoint.config_json());
        folder.write("model.safetensors", checkpoint.safetensors());
        folder
    }

    /// A tiny sentence-transformers folder; `pooling` is the content of `1_Pooling/config.json`.
    pub(crate) fn sentence(pooling: &Value) -> Self {
        let folder = Self::of(&TinyBert::default().checkpoint());
        folder.modules(&["Transformer", "Pooling", "Normalize"]);
        folder.json("1_Pooling/config.json", pooling);
        folder
    }

    /// Writes `modules.json` with these classes under the names before version 5.4.
    pub(crate) fn modules(&self, classes: &[&str]) {
        let item = |(i, class): (usize, &&str)| {
            let path = if i == 0 { String::new() } else { format!("{i}_{class}") };
            json!({"idx": i, "name": i.to_string(), "path": path, "type": format!("sentence_transformers.models.{class}")})
        };
        self.json("modules.json", &classes.iter().enumerate().map(item).collect());
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let file = self.file(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    pub(crate) fn json(&self, name: &str, value: &Value) {
        self.write(name, value.to_string());
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    pub(crate) fn load(&self, options: &FrontOptions) -> Result<Loaded, FrontError> {
        front::load(self.path(), options)
    }

    /// The error's text, the folder's own path written as `DIR`.
    pub(crate) fn error(&self, options: &FrontOptions) -> String {
        self.error_at("", options)
    }

    /// As [`Folder::error`], for a path inside the folder.
    pub(crate) fn error_at(&self, path: &str, options: &FrontOptions) -> String {
        let path = if path.is_empty() { self.path().to_owned() } else { self.file(path) };
        match front::load(&path, options) {
            Ok(loaded) => panic!("expected an error, loaded {}", loaded.architecture),
            Err(error) => error.to_string().replace(&self.path().display().to_string(), "DIR"),
        }
    }
}

/// Options with these fields set.
pub(crate) fn set(fields: &[(&str, &str)]) -> FrontOptions {
    let set = fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
    FrontOptions { set: set.collect(), ..FrontOptions::default() }
}

/// Options with an architecture.
pub(crate) fn architecture(name: &str) -> FrontOptions {
    FrontOptions { architecture: Some(name.to_owned()), ..FrontOptions::default() }
}
