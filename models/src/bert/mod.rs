//! BERT (Devlin et al. 2018): the encoder, every head that transformers gives it, and sentence embeddings.

pub mod config;
pub mod encoder;
pub mod heads;
pub mod labels;

use bytec_ir::attrs::{PoolKind, Real, ReduceFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;
use serde_json::Value;

use crate::net::{Module, Net};
use crate::{Checkpoint, Config, Family, Model, ModelError, Pooling, Request, TextInputs, Tied};
use config::BertConfig;
use heads::{HEADS, Head};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "bert",
    model_types: &["bert"],
    summary: "BERT encoders (Devlin et al. 2018), every head of transformers, and sentence embeddings",
    architectures: || HEADS.iter().map(|head| head.architecture).collect(),
    build,
};

/// The smallest L2 norm divided by, as `torch.nn.functional.normalize` has it.
const SMALLEST_NORM: f64 = 1e-12;

/// A BERT under construction: the encoder is built, and a head may follow.
#[derive(Debug)]
pub struct Bert<'c> {
    /// The graph and the checkpoint.
    pub net: Net<'c>,
    /// The sizes.
    pub config: BertConfig,
    /// All fields of the config.
    pub fields: &'c Config,
    /// The base model's module.
    pub base: Module,
    /// The encoder's result, f32 `[L, hidden]`.
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

fn build(fields: &Config, checkpoint: &Checkpoint, request: &Request) -> Result<Model, ModelError> {
    let config = BertConfig::read(fields)?;
    let head = head(fields, request)?;
    let prefix = prefix(checkpoint)?;
    let base = Module::base(prefix);
    let mut net = Net::new(checkpoint);
    let last = encoder::encoder(&mut net, &base, &config)?;
    let embeddings = base.child("embeddings");
    let ignored = vec![embeddings.tensor("position_ids"), embeddings.tensor("token_type_ids")];
    let mut bert = Bert {
        net,
        config,
        fields,
        base,
        last,
        labels: Vec::new(),
        ignored,
        tied: Vec::new(),
        notes: Vec::new(),
    };
    let architecture = match (request.pooling, head) {
        (Some(pooling), _) => {
            sentence_embedding(&mut bert, pooling)?;
            heads::BASE
        }
        (None, head) => {
            (head.build)(&mut bert)?;
            head.architecture
        }
    };
    let (builder, aliases) = bert.net.finish()?;
    Ok(Model {
        graph: builder.finish(),
        family: FAMILY.name,
        architecture: architecture.to_owned(),
        labels: bert.labels,
        text: Some(TextInputs {
            ids: encoder::IDS.to_owned(),
            type_ids: Some(encoder::TYPE_IDS.to_owned()),
            max_tokens: bert.config.positions,
            max_tokens_from: "max_position_embeddings".to_owned(),
        }),
        width: bert.config.hidden,
        aliases,
        ignored: bert.ignored,
        tied: bert.tied,
        notes: bert.notes,
    })
}

/// The head that the request or the config names; the bare encoder if a sentence embedding is wanted.
fn head(fields: &Config, request: &Request) -> Result<&'static Head, ModelError> {
    const FIELD: &str = "architectures";
    let (file, name) = match (&request.architecture, request.pooling) {
        (Some(name), Some(pooling)) if name != heads::BASE => {
            return Err(ModelError::PoolingWithHead {
                architecture: name.clone(),
                pooling: pooling.kind.name().to_owned(),
            });
        }
        (_, Some(_)) => ("", heads::BASE),
        (Some(name), None) => ("--architecture", name.as_str()),
        (None, None) => match fields.get(FIELD).and_then(Value::as_array).map(Vec::as_slice) {
            Some([Value::String(name)]) => (fields.file(), name.as_str()),
            _ => {
                let help = format!("pass --architecture {}", heads::BASE);
                return Err(fields.refusal(FIELD, "a list of one name", help).into());
            }
        },
    };
    HEADS.iter().find(|head| head.architecture == name).ok_or_else(|| {
        ModelError::UnknownArchitecture {
            file: file.to_owned(),
            found: name.to_owned(),
            known: (FAMILY.architectures)().join(", "),
        }
    })
}

/// The prefix of the base model's tensors, by where the word table is.
fn prefix(checkpoint: &Checkpoint) -> Result<&'static str, ModelError> {
    const WORDS: &str = "embeddings.word_embeddings.weight";
    let prefixed = format!("bert.{WORDS}");
    match (checkpoint.holds(WORDS), checkpoint.holds(&prefixed)) {
        (true, true) => Err(ModelError::TwoModels {
            file: checkpoint.file().to_owned(),
            first: WORDS.to_owned(),
            second: prefixed,
        }),
        (false, true) => Ok("bert"),
        (true, false) => Ok(""),
        (false, false) => {
            match checkpoint.names().find(|name| name.ends_with(&format!(".{WORDS}"))) {
                Some(other) => Err(ModelError::Prefix {
                    file: checkpoint.file().to_owned(),
                    found: other.to_owned(),
                    expected: WORDS.to_owned(),
                }),
                // Without any word table, the tensors that are missing are reported one by one.
                None => Ok(""),
            }
        }
    }
}

/// The encoder's rows pooled into `embedding`, beside `last_hidden_state`. The file's own pooler isn't built.
fn sentence_embedding(bert: &mut Bert<'_>, pooling: Pooling) -> Result<(), ModelError> {
    bert.net.builder.output("last_hidden_state", bert.last);
    let mut row = pool(bert, pooling.kind)?;
    if pooling.normalize {
        let op = Op::L2Normalize { eps: Real(SMALLEST_NORM) };
        row = bert.net.builder.op("embedding.normalized", op, &[row])?;
    }
    bert.net.builder.output("embedding", row);
    Ok(())
}

fn pool(bert: &mut Bert<'_>, kind: PoolKind) -> Built {
    let name = "embedding.pooled";
    let (builder, last) = (&mut bert.net.builder, bert.last);
    match kind {
        PoolKind::Mean => builder.reduce(name, ReduceFn::Mean, last, 0),
        PoolKind::Max => builder.reduce(name, ReduceFn::Max, last, 0),
        PoolKind::Cls => builder.op(name, Op::Select { axis: 0, index: 0 }, &[last]),
    }
}
