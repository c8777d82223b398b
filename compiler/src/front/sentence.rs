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
const HELP: &str = "pass --pooling with one or several of cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken, or none";

/// The pooling modes: both forms' names for each, in the order in which the old form puts several side by side.
const MODES: &[(&str, &str, PoolKind)] = &[
    ("cls", "pooling_mode_cls_token", PoolKind::Cls),
    ("max", "pooling_mode_max_tokens", PoolKind::Max),
    ("mean", "pooling_mode_mean_tokens", PoolKind::Mean),
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
    let (kinds, modules, fields) = match &options.pooling {
        Some(PoolingChoice::None) => return unpooled(None),
        Some(PoolingChoice::Kinds(kinds)) if kinds.is_empty() => {
            let why = format!("a choice of pooling names no way to pool; {HELP}");
            return Err(FrontError::Options(why));
        }
        Some(PoolingChoice::Kinds(kinds)) => (kinds.clone(), chain()?.1, None),
        None => match chain()? {
            (None, _) => return unpooled(None),
            (Some(module), modules) => {
                let fields = pooling_config(&module.folder)?;
                (kinds(&fields)?, modules, Some(fields))
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
        pooling: Pooling { kinds, steps },
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

/// The modes that are switched on, in either form. If a file has both forms, they have to agree; the new one says the
/// order.
fn kinds(fields: &Config) -> Result<Vec<PoolKind>, FieldError> {
    const NEW: &str = "pooling_mode";
    let old = old_kinds(fields)?;
    let expected = format!("one or several of {}", modes());
    let Some(value) = fields.get(NEW) else {
        let expected = format!("{expected}, or given as pooling_mode_.. fields that are true");
        return if old.is_empty() { Err(fields.error(NEW, expected, "")) } else { Ok(old) };
    };
    let named = |name: &Value| name.as_str().and_then(kind);
    let new: Option<Vec<_>> = match value {
        Value::Array(names) => names.iter().map(named).collect(),
        name => named(name).map(|kind| vec![kind]),
    };
    let new = new.filter(|kinds| !kinds.is_empty());
    let new = new.ok_or_else(|| fields.error(NEW, expected, ""))?;
    let same = |kinds: &[PoolKind], other: &[PoolKind]| kinds.iter().all(|x| other.contains(x));
    let agrees = old.is_empty() || same(&old, &new) && same(&new, &old);
    if !agrees {
        let names: Vec<_> = old.iter().map(|kind| kind.name()).collect();
        let expected = format!("{}, as the pooling_mode_.. fields say", names.join(" and "));
        return Err(fields.error(NEW, expected, ""));
    }
    Ok(new)
}

/// The mode of this name.
pub(super) fn kind(name: &str) -> Option<PoolKind> {
    MODES.iter().find(|(mode, ..)| *mode == name).map(|(.., kind)| *kind)
}

/// The modes, as an error lists them.
pub(super) fn modes() -> String {
    MODES.iter().map(|(mode, ..)| *mode).collect::<Vec<_>>().join(", ")
}

/// The old form: one boolean for each mode. Several are put side by side in the order of [`MODES`], whatever theirs.
fn old_kinds(fields: &Config) -> Result<Vec<PoolKind>, FieldError> {
    let mut on = Vec::new();
    for name in fields.names().filter(|name| name.starts_with("pooling_mode_")) {
        if fields.flag(name, false)? {
            let known = MODES.iter().any(|(_, old, _)| *old == name);
            let expected = format!("false: only {} are built", modes());
            on.push(known.then_some(name).ok_or_else(|| fields.error(name, expected, ""))?);
        }
    }
    Ok(MODES.iter().filter(|(_, old, _)| on.contains(old)).map(|(.., kind)| *kind).collect())
}

impl Found {
    /// Checks the width of a row that the pooling module was made for.
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
