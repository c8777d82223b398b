//! The modules of a sentence-transformers folder, in the form before version 5.4 and in the one since.

use std::path::{Component, Path, PathBuf};

use bytec_ir::attrs::PoolKind;
use bytec_models::{Config, FieldError, Pooling, Step};
use bytec_plan::manifest::PoolingSource;
use serde_json::Value;

use super::error::FrontError;
use super::{FrontOptions, PoolingChoice, dense, json};

const LIST: &str = "modules.json";
const EXPECTED: &str = "Transformer, then Pooling, then Dense and Normalize if at all";
const HELP: &str =
    "pass --pooling mean, cls, max, mean_sqrt_len_tokens, weightedmean, lasttoken or none";

/// The pooling modes that are built: both forms' names for each.
const MODES: &[(&str, &str, PoolKind)] = &[
    ("mean", "pooling_mode_mean_tokens", PoolKind::Mean),
    ("cls", "pooling_mode_cls_token", PoolKind::Cls),
    ("max", "pooling_mode_max_tokens", PoolKind::Max),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", PoolKind::MeanSqrtLen),
    ("weightedmean", "pooling_mode_weightedmean_tokens", PoolKind::WeightedMean),
    ("lasttoken", "pooling_mode_lasttoken", PoolKind::Last),
];

/// What `modules.json` lists.
#[derive(Debug)]
pub(super) struct Modules {
    file: String,
    items: Vec<Module>,
}

#[derive(Debug)]
struct Module {
    kind: String,
    /// As the list has it, relative to the list's own folder.
    path: String,
    folder: PathBuf,
}

/// A pooling and where it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pooling: Pooling,
    pub(super) from: PoolingSource,
    /// The folders of the dense modules, by the prefix of their tensors.
    pub(super) dense: Vec<(String, PathBuf)>,
    /// The pooling module's own config, when it was read.
    fields: Option<Config>,
}

impl Modules {
    /// Reads the list, if the folder has one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, FrontError> {
        let path = folder.join(LIST);
        if !path.exists() {
            return Ok(None);
        }
        let file = path.display().to_string();
        let mut items = Vec::new();
        for (i, item) in json::list(&path)?.into_iter().enumerate() {
            let Value::Object(fields) = item else {
                return Err(FrontError::Json {
                    file,
                    expected: "a list of objects",
                    found: format!("{item} at position {i}"),
                });
            };
            let name = format!("{file}, module {i}");
            let fields = Config::new(name, fields).with_help("correct the file");
            let kind = fields.text("type", "the name of a module class", "")?.to_owned();
            let inside = match fields.get("path") {
                None => "",
                Some(_) => fields.text("path", "a folder's name", "")?,
            };
            let plain = Path::new(inside).components().all(|c| matches!(c, Component::Normal(_)));
            if !plain {
                return Err(fields.error("path", "a folder inside this one", "").into());
            }
            items.push(Module { kind, path: inside.to_owned(), folder: folder.join(inside) });
        }
        Ok(Some(Self { file, items }))
    }

    /// The folder of the transformer itself.
    pub(super) fn transformer(&self, root: &Path) -> PathBuf {
        let first = self.items.first().filter(|module| module.class() == Some("Transformer"));
        first.map_or_else(|| root.to_owned(), |module| module.folder.clone())
    }

    /// The pooling module, and those that follow.
    fn chain(&self) -> Result<(Option<&Module>, &[Module]), FrontError> {
        for (index, module) in self.items.iter().enumerate() {
            let expected: &[&str] = match index {
                0 => &["Transformer"],
                1 => &["Pooling"],
                _ => &["Dense", "Normalize"],
            };
            if !module.class().is_some_and(|class| expected.contains(&class)) {
                return Err(FrontError::SentenceModule {
                    file: self.file.clone(),
                    index,
                    found: module.kind.clone(),
                    expected: EXPECTED,
                });
            }
        }
        Ok((self.items.get(1), self.items.get(2..).unwrap_or_default()))
    }
}

impl Module {
    /// The class, if it is one of sentence-transformers' own: `sentence_transformers.models.Pooling`, or
    /// `sentence_transformers.sentence_transformer.modules.pooling.Pooling`.
    fn class(&self) -> Option<&str> {
        self.kind.strip_prefix("sentence_transformers.")?.rsplit('.').next()
    }
}

/// The pooling that the options or the folder ask for.
pub(super) fn pooling(
    modules: Option<&Modules>,
    options: &FrontOptions,
) -> Result<Option<Found>, FrontError> {
    let unpooled = |found: Option<Found>| match (options.normalize, found) {
        (Some(_), None) => Err(FrontError::Options(format!(
            "--normalize needs a sentence embedding, but nothing is pooled; {HELP}"
        ))),
        (_, found) => Ok(found),
    };
    let chain = || modules.map_or(Ok((None, &[][..])), Modules::chain);
    let (kind, modules, fields) = match options.pooling {
        Some(PoolingChoice::None) => return unpooled(None),
        Some(PoolingChoice::Kind(kind)) => (kind, chain()?.1, None),
        None => match chain()? {
            (None, _) => return unpooled(None),
            (Some(module), modules) => {
                let fields = pooling_config(&module.folder)?;
                (mode(&fields)?, modules, Some(fields))
            }
        },
    };
    let mut steps = Vec::new();
    let mut dense = Vec::new();
    for module in modules {
        if module.class() == Some("Dense") {
            steps.push(Step::Dense(dense::read(&module.folder, &module.path)?));
            dense.push((module.path.clone(), module.folder.clone()));
        } else {
            steps.push(Step::Normalize);
        }
    }
    if let Some(normalize) = options.normalize {
        while steps.last() == Some(&Step::Normalize) {
            steps.pop();
        }
        steps.extend(normalize.then_some(Step::Normalize));
    }
    let asked = options.pooling.is_some() || options.normalize.is_some();
    Ok(Some(Found {
        pooling: Pooling { kind, steps },
        from: if asked { PoolingSource::Option } else { PoolingSource::Folder },
        dense,
        fields,
    }))
}

fn pooling_config(folder: &Path) -> Result<Config, FrontError> {
    let file = folder.join("config.json");
    if !file.exists() {
        return Err(FieldError {
            file: file.display().to_string(),
            field: "pooling_mode".to_owned(),
            expected: "given in this file, which modules.json asks for".to_owned(),
            found: "no such file".to_owned(),
            help: HELP.to_owned(),
        }
        .into());
    }
    Ok(Config::new(file.display().to_string(), json::object(&file)?).with_help(HELP))
}

/// The one mode that is switched on, in either form. If a file has both forms, they have to agree.
fn mode(fields: &Config) -> Result<PoolKind, FieldError> {
    const NEW: &str = "pooling_mode";
    let old = old_mode(fields)?;
    let Some(value) = fields.get(NEW) else {
        let expected = format!("one of {}, or given as one pooling_mode_.. that is true", modes());
        return old.ok_or_else(|| fields.error(NEW, expected, ""));
    };
    let name = match value {
        Value::Array(names) if names.len() == 1 => names[0].as_str(),
        other => other.as_str(),
    };
    let known = MODES.iter().find(|(mode, ..)| Some(*mode) == name).map(|(.., kind)| *kind);
    let new = known.ok_or_else(|| fields.error(NEW, format!("one of {}", modes()), ""))?;
    match old {
        Some(old) if old != new => {
            Err(fields.error(NEW, format!("{old}, as the pooling_mode_.. fields say"), ""))
        }
        _ => Ok(new),
    }
}

/// The modes, as an error lists them.
fn modes() -> String {
    MODES.iter().map(|(mode, ..)| format!("\"{mode}\"")).collect::<Vec<_>>().join(", ")
}

/// The old form: one boolean for each mode.
fn old_mode(fields: &Config) -> Result<Option<PoolKind>, FieldError> {
    let mut on = Vec::new();
    for name in fields.names().filter(|name| name.starts_with("pooling_mode_")) {
        if fields.flag(name, false)? {
            on.push(name);
        }
    }
    match on[..] {
        [] => Ok(None),
        [name] => {
            let known = MODES.iter().find(|(_, old, _)| *old == name).map(|(.., kind)| *kind);
            let expected = format!("false: only {} are built", modes());
            known.map(Some).ok_or_else(|| fields.error(name, expected, ""))
        }
        [first, second, ..] => {
            let expected =
                format!("false, since {first} is true: only one mode at a time is built");
            Err(fields.error(second, expected, ""))
        }
    }
}

impl Found {
    /// Checks the width that the pooling module was made for.
    pub(super) fn check_width(&self, width: u64) -> Result<(), FieldError> {
        let Some(fields) = &self.fields else { return Ok(()) };
        for name in ["word_embedding_dimension", "embedding_dimension"] {
            if fields.get(name).is_some_and(|value| value.as_u64() != Some(width)) {
                return Err(fields.error(name, format!("the model's width, {width}"), ""));
            }
        }
        Ok(())
    }
}
