//! DeiT (Touvron et al. 2020): ViT with a second token, which learns from a teacher.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::builder::Built;
use bytec_ir::ops::Op;

use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::labels;
use crate::net::{Module, Net};
use crate::patches::{self, Tokens};
use crate::vit::{Stack, first_token};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "deit",
    model_types: &["deit"],
    summary: "DeiT image encoders (Touvron et al. 2020), image classification with and without a teacher's token",
    architectures: architectures::<Deit>,
    build: build::<Deit>,
};

/// A DeiT encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Deit {
    /// The encoder.
    pub stack: Stack,
}

impl Encoder for Deit {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["DeiTModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = Stack::FIELDS;
    const IDLE: &'static [&'static str] = Stack::IDLE;
    const PREFIX: &'static str = "deit";
    const FIRST: &'static str = patches::PROJECTION;

    fn read(config: &Config) -> Result<Self, FieldError> {
        Ok(Self { stack: Stack::read(config)? })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let width = self.stack.attention.width;
        let placed = &["cls_token", "distillation_token"];
        self.stack.build(net, base, Tokens { width, placed, registers: 0 })
    }

    fn width(&self) -> u64 {
        self.stack.attention.width
    }

    fn leftovers(base: &Module) -> Vec<String> {
        patches::leftovers(base)
    }
}

const HEADS: &[Head<Deit>] = &[
    Head { architecture: "DeiTModel", build: |deit| deit.encoder.stack.pooler.build(deit) },
    Head { architecture: "DeiTForImageClassification", build: first_token },
    Head { architecture: "DeiTForImageClassificationWithTeacher", build: with_teacher },
];

/// `cls_logits` and `distillation_logits` `[labels]`, a linear of the first and of the second row, and `logits`, their mean.
fn with_teacher(deit: &mut Draft<'_, Deit>) -> Result<(), ModelError> {
    let width = deit.encoder.width();
    let mut both = Vec::new();
    for (index, name) in ["cls", "distillation"].into_iter().enumerate() {
        let at = Module::at(&format!("{name}_classifier"));
        deit.labels = labels::labels(deit.fields, deit.net.checkpoint, &at.tensor("weight"))?;
        let op = Op::Select { axis: 0, index };
        let row = deit.net.builder.op(at.child("token").name(), op, &[deit.last])?;
        both.push(deit.net.linear(&at, row, deit.labels.len() as u64, width)?);
    }
    let at = Module::at("logits");
    let sum = deit.net.builder.binary(at.child("sum").name(), BinaryFn::Add, both[0], both[1])?;
    let two = deit.net.builder.constant(at.child("two").name(), 2.0);
    let mean = deit.net.builder.binary(at.child("mean").name(), BinaryFn::Div, sum, two)?;
    for (name, value) in
        [("logits", mean), ("cls_logits", both[0]), ("distillation_logits", both[1])]
    {
        deit.net.builder.output(name, value);
    }
    Ok(())
}
