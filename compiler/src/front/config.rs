//! The model's config: found, read, and completed by options.

use std::path::Path;

use bytec_models::Config;

use super::error::FrontError;
use super::weights::Weights;
use super::{FrontOptions, json};

/// The metadata key that may hold the content of a `config.json`.
pub const METADATA_KEY: &str = "bytec.config";

/// The config: `--config`, else the file's metadata, else `config.json` beside the weights; then `--set`.
pub(super) fn find(
    folder: &Path,
    weights: &Weights,
    options: &FrontOptions,
) -> Result<Config, FrontError> {
    let beside = folder.join("config.json");
    let mut config = if let Some(file) = &options.config {
        Config::new(file.display().to_string(), json::object(file)?)
    } else if let Some(text) = weights.metadata().get(METADATA_KEY) {
        let name = format!("{}, metadata `{METADATA_KEY}`", weights.source());
        let fields = json::parse_object(&name, text.as_bytes())?;
        Config::new(name, fields)
    } else if beside.exists() {
        Config::new(beside.display().to_string(), json::object(&beside)?)
    } else {
        return Err(FrontError::NoConfig { folder: folder.to_owned() });
    };
    for (field, value) in &options.set {
        config.set(field, value);
    }
    Ok(config)
}
