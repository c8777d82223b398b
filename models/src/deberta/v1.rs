//! DeBERTa: queries, keys and values side by side in one matrix, head by head, and a row for every distance.

use bytec_ir::buckets::Buckets;
use bytec_ir::builder::Built;
use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;

use super::{FIELDS, Parts, heads};
use crate::bert;
use crate::encoder::{Encoder, Head, architectures, build};
use crate::heads::{question_answering, rows, token_classification};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError};

/// The family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "deberta",
    model_types: &["deberta"],
    summary: "DeBERTa encoders (He et al. 2020), every head of transformers, and sentence embeddings",
    architectures: architectures::<Deberta>,
    build: build::<Deberta>,
};

/// The sizes of a DeBERTa.
#[derive(Clone, Debug, PartialEq)]
pub struct Deberta(Parts);

impl AsRef<Parts> for Deberta {
    fn as_ref(&self) -> &Parts {
        &self.0
    }
}

impl Encoder for Deberta {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["DebertaModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = FIELDS;
    const MORE_FIELDS: &'static [&'static str] = &["talking_head"];
    const PREFIX: &'static str = "deberta";
    const WORDS: &'static str = bert::WORDS;

    fn read(config: &Config) -> Result<Self, FieldError> {
        if config.flag("talking_head", false)? {
            let help = "attention across heads isn't built";
            return Err(config.refusal("talking_head", "false", help));
        }
        Parts::read(config, |furthest| Ok(Buckets::Clip { span: furthest as u32 })).map(Self)
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let mut x = self.0.embeddings(net, &base.child("embeddings"))?;
        let table = self.0.terms.map(|terms| self.0.distances(net, base, &terms));
        for i in 0..self.0.layers {
            let at = base.child(&format!("encoder.layer.{i}"));
            let attention = at.child("attention.self");
            let qkv = self.qkv(net, &attention, x)?;
            let tables = self.tables(net, &attention, table)?;
            let attended = self.0.attend(net, &attention, qkv, &tables)?;
            x = self.0.rest_of_layer(net, &at, attended, x)?;
        }
        Ok(x)
    }

    fn width(&self) -> u64 {
        self.0.hidden
    }

    fn words(&self) -> [u64; 2] {
        [self.0.vocab, self.0.narrow]
    }

    fn tied(&self) -> bool {
        self.0.tied
    }

    fn segments(&self) -> bool {
        self.0.types > 0
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.0.positions, "max_position_embeddings"))
    }
}

impl Deberta {
    /// Queries and values with a bias, keys without. Rows of `in_proj` are `[query; key; value]` of each head in turn.
    fn qkv(
        &self,
        net: &mut Net<'_>,
        at: &Module,
        x: NodeId,
    ) -> Result<[NodeId; 3], bytec_ir::builder::BuildError> {
        let (width, heads) = (self.0.hidden, self.0.heads);
        let packed = at.child("in_proj");
        let matrix = net.weight(&[packed.tensor("weight")], &[3 * width, width]);
        let shape = [heads, 3, width / heads, width].map(Dim::from).to_vec();
        let by_head =
            net.builder.op(packed.child("by_head").name(), Op::Reshape { shape }, &[matrix])?;
        let mut made = [x; 3];
        let parts = [("query", Some("q_bias")), ("key", None), ("value", Some("v_bias"))];
        for (index, (value, (part, bias))) in made.iter_mut().zip(parts).enumerate() {
            let at_part = at.child(part);
            let op = Op::Select { axis: 1, index };
            let own = net.builder.op(at_part.child("heads").name(), op, &[by_head])?;
            let shape = [width, width].map(Dim::from).to_vec();
            let name = at_part.child("matrix");
            let own = net.builder.op(name.name(), Op::Reshape { shape }, &[own])?;
            let bias = bias.map(|bias| net.weight(&[at.tensor(bias)], &[width]));
            *value = net.builder.linear(at_part.name(), x, own, bias)?;
        }
        Ok(made)
    }

    /// The projections of the table of distances that the terms need: made of weights alone.
    fn tables(
        &self,
        net: &mut Net<'_>,
        at: &Module,
        table: Option<NodeId>,
    ) -> Result<Vec<NodeId>, bytec_ir::builder::BuildError> {
        let (Some(table), Some(terms)) = (table, self.0.terms) else { return Ok(Vec::new()) };
        let width = self.0.hidden;
        let mut made = Vec::new();
        if terms.c2p {
            made.push(net.linear_without_bias(&at.child("pos_proj"), table, width, width)?);
        }
        if terms.p2c {
            made.push(net.linear(&at.child("pos_q_proj"), table, width, width)?);
        }
        Ok(made)
    }
}

const HEADS: &[Head<Deberta>] = &[
    Head { architecture: "DebertaModel", build: rows },
    Head {
        architecture: "DebertaForSequenceClassification",
        build: heads::sequence_classification,
    },
    Head { architecture: "DebertaForTokenClassification", build: token_classification },
    Head { architecture: "DebertaForMaskedLM", build: heads::masked_lm },
    Head { architecture: "DebertaForQuestionAnswering", build: question_answering },
];
