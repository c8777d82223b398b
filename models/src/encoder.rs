//! What encoders of texts and images have in common around their forward pass: the base model's prefix, the choice of a head, sentence
//! embeddings, and the result.

use bytec_ir::attrs::{PoolKind, Real, ReduceFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;
use serde_json::Value;

use crate::net::{Module, Net};
use crate::{
    Checkpoint, Config, Dense, FieldError, Model, ModelError, Pooling, Request, Step, TextInputs,
    Tied,
};
use crate::{keys, layers};

/// The smallest L2 norm divided by, as `torch.nn.functional.normalize` has it.
const SMALLEST_NORM: f64 = 1e-12;

/// A family of encoders. The value itself holds the sizes of one model.
pub trait Encoder: Sized + 'static {
    /// The family's name.
    const NAME: &'static str;
    /// The bare encoders, by their names in a config; the first is named in help.
    const BASES: &'static [&'static str];
    /// Every architecture, the bare encoders included.
    const HEADS: &'static [Head<Self>];
    /// The config fields that are read.
    const FIELDS: &'static [&'static str];
    /// More of them, beside those that a part shared with other families reads.
    const MORE_FIELDS: &'static [&'static str] = &[];
    /// Config fields of this family that have no effect on the forward pass.
    const IDLE: &'static [&'static str] = &[];
    /// What `auto_map` may name: code that checkpoints bring and that this family is.
    const CODE: &'static [&'static str] = &[];
    /// The prefix that the base model's tensors may carry, without a dot.
    const PREFIX: &'static str;
    /// The word table's module inside the base model; empty in families that read no text.
    const WORDS: &'static str = "";
    /// The module inside the base model whose weight every checkpoint has, so that its name tells the prefix.
    const FIRST: &'static str = Self::WORDS;

    /// Reads the fields, and refuses what this family doesn't build.
    ///
    /// # Errors
    /// The first field that is missing, of the wrong type, out of range, or asks for what isn't built.
    fn read(config: &Config) -> Result<Self, FieldError>;

    /// `last_hidden_state`, f32 `[rows, width]`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built;

    /// Width of a row of the result.
    fn width(&self) -> u64;

    /// Extents of the word table; zeros in families that read no text.
    fn words(&self) -> [u64; 2] {
        [0, 0]
    }

    /// Whether the word table is also the output matrix of a language model.
    fn tied(&self) -> bool {
        false
    }

    /// Whether there are segments, so that a tokenizer's segment ids are of use.
    fn segments(&self) -> bool {
        false
    }

    /// The most tokens that the model can take, and the config field that says so; `None` if it reads no text.
    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        None
    }

    /// Tensors of the base model that its forward pass has no use for by design.
    fn leftovers(base: &Module) -> Vec<String> {
        let embeddings = base.child("embeddings");
        ["position_ids", "token_type_ids"].map(|name| embeddings.tensor(name)).into()
    }
}

/// One architecture of a family.
#[derive(Debug)]
pub struct Head<E: 'static> {
    /// Its name in a config.
    pub architecture: &'static str,
    /// Adds it to a built encoder.
    pub build: fn(&mut Draft<'_, E>) -> Result<(), ModelError>,
}

/// A model under construction: the encoder is built, and a head may follow.
#[derive(Debug)]
pub struct Draft<'c, E> {
    /// The graph and the checkpoint.
    pub net: Net<'c>,
    /// The sizes.
    pub encoder: E,
    /// All fields of the config.
    pub fields: &'c Config,
    /// The base model's module.
    pub base: Module,
    /// The encoder's result, f32 `[L, width]`.
    pub last: NodeId,
    /// Class names.
    pub labels: Vec<String>,
    /// Tensors left out by design.
    pub ignored: Vec<String>,
    /// Tensors that have to be equal.
    pub tied: Vec<Tied>,
    /// Anything else worth knowing.
    pub notes: Vec<String>,
}

/// The names of a family's architectures.
pub fn architectures<E: Encoder>() -> Vec<&'static str> {
    E::HEADS.iter().map(|head| head.architecture).collect()
}

/// Builds a model of the family.
///
/// # Errors
/// Every way in which the config, the checkpoint and the request don't fit.
pub fn build<E: Encoder>(
    fields: &Config,
    checkpoint: &Checkpoint,
    request: &Request,
) -> Result<Model, ModelError> {
    let encoder = E::read(fields)?;
    let known = keys::Known { read: &[E::FIELDS, E::MORE_FIELDS], idle: E::IDLE, code: E::CODE };
    let ignored_fields = known.check(fields)?;
    let head = head::<E>(fields, request)?;
    let base = Module::base(prefix::<E>(checkpoint)?);
    let mut net = Net::new(checkpoint);
    let last = encoder.encode(&mut net, &base)?;
    let ignored = E::leftovers(&base);
    let mut draft = Draft {
        net,
        encoder,
        fields,
        base,
        last,
        labels: Vec::new(),
        ignored,
        tied: Vec::new(),
        notes: Vec::new(),
    };
    match &request.pooling {
        Some(pooling) => sentence_embedding(&mut draft, pooling)?,
        None => (head.build)(&mut draft)?,
    }
    let (builder, aliases) = draft.net.finish()?;
    let text = draft.encoder.most_tokens().map(|(max_tokens, from)| TextInputs {
        ids: layers::IDS.to_owned(),
        type_ids: draft.encoder.segments().then(|| layers::TYPE_IDS.to_owned()),
        max_tokens,
        max_tokens_from: from.to_owned(),
    });
    Ok(Model {
        graph: builder.finish(),
        family: E::NAME,
        architecture: head.architecture.to_owned(),
        labels: draft.labels,
        text,
        width: draft.encoder.width(),
        aliases,
        ignored: draft.ignored,
        ignored_fields,
        tied: draft.tied,
        notes: draft.notes,
    })
}

/// The head that the request or the config names; a bare encoder if a sentence embedding is wanted.
fn head<E: Encoder>(fields: &Config, request: &Request) -> Result<&'static Head<E>, ModelError> {
    const FIELD: &str = "architectures";
    let is_base = |name: &str| E::BASES.contains(&name);
    let in_config = match fields.get(FIELD).and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::String(name)]) => Some(name.as_str()),
        _ => None,
    };
    let (file, name) = match (&request.architecture, &request.pooling) {
        (Some(name), Some(pooling)) if !is_base(name) => {
            return Err(ModelError::PoolingWithHead {
                architecture: name.clone(),
                pooling: pooling.names(),
            });
        }
        (Some(name), _) => ("--architecture", name.as_str()),
        (None, Some(_)) => {
            let named = in_config.filter(|name| is_base(name));
            (fields.file(), named.unwrap_or(E::BASES[0]))
        }
        (None, None) => match in_config {
            Some(name) => (fields.file(), name),
            None => {
                let help = format!("pass --architecture {}", E::BASES[0]);
                return Err(fields.refusal(FIELD, "a list of one name", help).into());
            }
        },
    };
    E::HEADS.iter().find(|head| head.architecture == name).ok_or_else(|| {
        ModelError::UnknownArchitecture {
            file: file.to_owned(),
            found: name.to_owned(),
            known: architectures::<E>().join(", "),
        }
    })
}

/// The prefix of the base model's tensors, by where its first one is.
fn prefix<E: Encoder>(checkpoint: &Checkpoint) -> Result<&'static str, ModelError> {
    let first = format!("{}.weight", E::FIRST);
    let prefixed = format!("{}.{first}", E::PREFIX);
    match (checkpoint.holds(&first), checkpoint.holds(&prefixed)) {
        (true, true) => Err(ModelError::TwoModels {
            file: checkpoint.file().to_owned(),
            first,
            second: prefixed,
        }),
        (false, true) => Ok(E::PREFIX),
        (true, false) => Ok(""),
        (false, false) => {
            match checkpoint.names().find(|name| name.ends_with(&format!(".{first}"))) {
                Some(other) => Err(ModelError::Prefix {
                    file: checkpoint.file().to_owned(),
                    found: other.to_owned(),
                    expected: first,
                    prefix: E::PREFIX.to_owned(),
                }),
                // Without any such tensor, those that are missing are reported one by one.
                None => Ok(""),
            }
        }
    }
}

/// The encoder's rows pooled into `embedding`, beside `last_hidden_state`. The file's own pooler isn't built.
fn sentence_embedding<E: Encoder>(
    draft: &mut Draft<'_, E>,
    pooling: &Pooling,
) -> Result<(), ModelError> {
    draft.net.builder.output("last_hidden_state", draft.last);
    let mut row = pooled(draft, &pooling.kinds)?;
    let mut width = draft.encoder.width() * pooling.kinds.len() as u64;
    for step in &pooling.steps {
        row = match step {
            Step::Normalize => {
                let op = Op::L2Normalize { eps: Real(SMALLEST_NORM) };
                draft.net.builder.op("embedding.normalized", op, &[row])?
            }
            Step::Dense(layer) => {
                if layer.inputs != width {
                    return Err(FieldError {
                        file: layer.config.clone(),
                        field: "in_features".to_owned(),
                        expected: format!("{width}, the width of what comes before"),
                        found: layer.inputs.to_string(),
                        help: "correct the file".to_owned(),
                    }
                    .into());
                }
                width = layer.outputs;
                dense(&mut draft.net, layer, row)?
            }
        };
    }
    draft.net.builder.output("embedding", row);
    Ok(())
}

fn dense(net: &mut Net<'_>, layer: &Dense, x: NodeId) -> Built {
    let help = format!("it belongs to the module of {}", layer.config);
    let name = |parameter| format!("{}.linear.{parameter}", layer.prefix);
    let shape = [layer.outputs, layer.inputs];
    let weight = net.weight_or(&[name("weight")], &shape, Some(&help));
    let bias = layer.bias.then(|| net.weight_or(&[name("bias")], &shape[..1], Some(&help)));
    let product = net.builder.linear("embedding.dense", x, weight, bias)?;
    match layer.function {
        Some(function) => net.builder.unary("embedding.dense.act", function, product),
        None => Ok(product),
    }
}

/// What each way makes of the rows, side by side.
fn pooled<E>(draft: &mut Draft<'_, E>, kinds: &[PoolKind]) -> Built {
    const NAME: &str = "embedding.pooled";
    if let [kind] = kinds {
        return pool(draft, NAME, *kind);
    }
    let one = |kind: &PoolKind| pool(draft, &format!("embedding.{}", kind.name()), *kind);
    let rows = kinds.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    draft.net.builder.op(NAME, Op::Concat { axis: 0 }, &rows)
}

fn pool<E>(draft: &mut Draft<'_, E>, name: &str, kind: PoolKind) -> Built {
    let (builder, last) = (&mut draft.net.builder, draft.last);
    match kind {
        PoolKind::Mean => builder.reduce(name, ReduceFn::Mean, last, 0),
        PoolKind::Max => builder.reduce(name, ReduceFn::Max, last, 0),
        PoolKind::Cls => builder.op(name, Op::Select { axis: 0, index: 0 }, &[last]),
        // These need the number of rows, which no simpler op knows.
        PoolKind::MeanSqrtLen | PoolKind::WeightedMean | PoolKind::Last => {
            builder.op(name, Op::Pool { kind, normalize: None }, &[last])
        }
    }
}
