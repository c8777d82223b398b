//! Statements to instructions: names become columns, modifiers become enums.
//!
//! Constants and special registers get columns of their own after the declared registers, filled
//! before a block starts, so that every operand is a column.

mod arith;
mod barrier;
mod control;
mod convert;
mod float;
mod form;
mod matrix;
mod memory;
mod opcode;
mod warp;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::inst::{Class, Col, Inst, Op};
use crate::parse::syntax::{Entity, Param, RawKernel, VarSpace};
use crate::parse::{ParseError, ParseErrorKind};
use form::Form;

/// A special register that kernels of this kind read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    DynamicSharedBytes,
    TotalSharedBytes,
    ClusterCtaid(u8),
    ClusterNctaid(u8),
    Clusterid(u8),
    Nclusterid(u8),
    ClusterCtarank,
    ClusterNctarank,
}

impl Special {
    fn parse(name: &str) -> Option<Self> {
        let axis = |rest: &str| match rest {
            "x" => Some(0),
            "y" => Some(1),
            "z" => Some(2),
            _ => None,
        };
        if let Some((base, rest)) = name.split_once('.') {
            let axis = axis(rest)?;
            return match base {
                "%tid" => Some(Special::Tid(axis)),
                "%ntid" => Some(Special::Ntid(axis)),
                "%ctaid" => Some(Special::Ctaid(axis)),
                "%nctaid" => Some(Special::Nctaid(axis)),
                "%cluster_ctaid" => Some(Special::ClusterCtaid(axis)),
                "%cluster_nctaid" => Some(Special::ClusterNctaid(axis)),
                "%clusterid" => Some(Special::Clusterid(axis)),
                "%nclusterid" => Some(Special::Nclusterid(axis)),
                _ => None,
            };
        }
        match name {
            "%laneid" => Some(Special::LaneId),
            "%warpid" => Some(Special::WarpId),
            "%nwarpid" => Some(Special::NWarpId),
            "%lanemask_eq" => Some(Special::LaneMaskEq),
            "%lanemask_lt" => Some(Special::LaneMaskLt),
            "%lanemask_le" => Some(Special::LaneMaskLe),
            "%lanemask_gt" => Some(Special::LaneMaskGt),
            "%lanemask_ge" => Some(Special::LaneMaskGe),
            "%dynamic_smem_size" => Some(Special::DynamicSharedBytes),
            "%total_smem_size" => Some(Special::TotalSharedBytes),
            "%cluster_ctarank" => Some(Special::ClusterCtarank),
            "%cluster_nctarank" => Some(Special::ClusterNctarank),
            _ => None,
        }
    }
}

/// A 64-bit constant: known now, or once the module's globals have an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WideConst {
    Bits(u64),
    Global { variable: usize, offset: i64 },
}

/// A decoded kernel.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: u32,
    pub(crate) required_threads: Option<[u32; 3]>,
    pub(crate) max_threads: Option<u32>,
    /// Blocks of a cluster along each axis.
    pub(crate) cluster: [u32; 3],
    pub(crate) code: Vec<Inst>,
    /// (file number, line) of `.loc`.
    pub(crate) places: Vec<(u32, u32)>,
    /// Names of `.file`, by their numbers.
    pub(crate) files: Arc<BTreeMap<u32, String>>,
    /// Whether it has products of warpgroups.
    pub(crate) wgmma: bool,
    /// Columns of 32 bits that are registers; constants come after them.
    pub(crate) narrow_registers: u32,
    pub(crate) narrow: u32,
    pub(crate) wide: u32,
    pub(crate) preds: u32,
    pub(crate) narrow_consts: Vec<(u32, Col)>,
    pub(crate) wide_consts: Vec<(WideConst, Col)>,
    pub(crate) specials: Vec<(Special, Col)>,
    /// Where dynamic shared memory begins; the static part is before it.
    pub(crate) dynamic_at: u32,
    pub(crate) local_bytes: u32,
}

impl Program {
    /// The source file of a number.
    pub(crate) fn file(&self, number: u32) -> String {
        self.files.get(&number).cloned().unwrap_or_else(|| format!("file {number}"))
    }
}

/// Decodes a kernel.
pub(crate) fn decode(
    raw: RawKernel<'_>,
    files: &Arc<BTreeMap<u32, String>>,
) -> Result<Program, ParseError> {
    let dynamic_at = raw.shared_bytes.next_multiple_of(raw.dynamic_align.max(1)) as u32;
    let mut decoder = Decoder {
        narrow: raw.narrow,
        wide: raw.wide,
        narrow_consts: BTreeMap::new(),
        wide_consts: BTreeMap::new(),
        specials: BTreeMap::new(),
        dynamic_at,
        raw: &raw,
    };
    let mut code = Vec::with_capacity(raw.statements.len() + 1);
    for statement in &raw.statements {
        code.push(Form::new(&mut decoder, statement).decode()?);
    }
    // Falling off the end of a kernel returns.
    code.push(Inst {
        guard: None,
        op: Op::Exit,
        class: Class::Control,
        sources: Box::default(),
        targets: Box::default(),
        line: raw.statements.last().map_or(0, |statement| statement.line),
        place: None,
    });
    let Decoder { narrow, wide, narrow_consts, wide_consts, specials, .. } = decoder;
    Ok(Program {
        name: raw.name.to_owned(),
        param_bytes: raw.param_bytes,
        required_threads: raw.required_threads,
        max_threads: raw.max_threads,
        cluster: raw.cluster,
        wgmma: code.iter().any(|inst| matches!(inst.op, Op::Wgmma(_))),
        narrow_registers: raw.narrow,
        code,
        narrow,
        wide,
        preds: raw.preds,
        narrow_consts: narrow_consts.into_iter().collect(),
        wide_consts: wide_consts.into_iter().collect(),
        specials: specials.into_iter().collect(),
        dynamic_at,
        local_bytes: raw.local_bytes as u32,
        files: Arc::clone(files),
        places: raw.places,
        params: raw.params,
    })
}

/// What decoding a kernel gathers.
pub(crate) struct Decoder<'a, 'k> {
    narrow: u32,
    wide: u32,
    narrow_consts: BTreeMap<u32, Col>,
    wide_consts: BTreeMap<WideConst, Col>,
    specials: BTreeMap<Special, Col>,
    dynamic_at: u32,
    raw: &'k RawKernel<'a>,
}

impl Decoder<'_, '_> {
    fn narrow_const(&mut self, value: u32) -> Col {
        *self.narrow_consts.entry(value).or_insert_with(|| {
            self.narrow += 1;
            self.narrow - 1
        })
    }

    fn wide_const(&mut self, value: WideConst) -> Col {
        *self.wide_consts.entry(value).or_insert_with(|| {
            self.wide += 1;
            self.wide - 1
        })
    }

    fn special(&mut self, special: Special) -> Col {
        *self.specials.entry(special).or_insert_with(|| {
            self.narrow += 1;
            self.narrow - 1
        })
    }

    /// What a name stands for, from the innermost scope outward.
    fn find(&self, scope: usize, name: &str, line: u32) -> Result<Entity, ParseError> {
        let mut scope = Some(scope);
        while let Some(index) = scope {
            if let Some(entity) = self.raw.scopes[index].find(name) {
                return Ok(entity);
            }
            scope = self.raw.scopes[index].parent;
        }
        Err(ParseError::new(line, ParseErrorKind::Undeclared(name.to_owned())))
    }

    /// The address of a variable within its space, or the constant that a launch fills in.
    fn variable(&self, space: VarSpace, offset: u64, extra: i64) -> WideConst {
        match space {
            VarSpace::Global => WideConst::Global { variable: offset as usize, offset: extra },
            VarSpace::SharedDynamic => {
                WideConst::Bits(u64::from(self.dynamic_at).wrapping_add_signed(extra))
            }
            VarSpace::Shared | VarSpace::Local | VarSpace::Param | VarSpace::Const => {
                WideConst::Bits(offset.wrapping_add_signed(extra))
            }
        }
    }
}
