//! The parsed text before instructions are decoded: kernels, declarations, raw statements.

use std::collections::BTreeMap;

use crate::inst::Ty;

/// Which register file a register lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// One bit a lane.
    Pred,
    /// 8, 16 and 32 bits a lane, zero-extended to 32.
    Narrow,
    /// 64 bits a lane.
    Wide,
}

/// State space of a declared variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VarSpace {
    Shared,
    SharedDynamic,
    Local,
    Param,
    Global,
    Const,
}

/// A thing that a name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entity {
    Register {
        file: File,
        index: u32,
        ty: Ty,
    },
    /// A variable: its offset within its space, or its number among the module's globals.
    Variable {
        space: VarSpace,
        offset: u64,
    },
    Label {
        pc: u32,
    },
}

/// One lexical scope of a function body.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) parent: Option<usize>,
    pub(crate) names: BTreeMap<&'a str, Entity>,
    /// Families `%r<9>`: how many, and the first of them.
    pub(crate) families: BTreeMap<&'a str, (u32, Entity)>,
}

impl Scope<'_> {
    /// What a name stands for in this scope alone.
    pub(crate) fn find(&self, name: &str) -> Option<Entity> {
        if let Some(entity) = self.names.get(name) {
            return Some(*entity);
        }
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        // Register families may end in digits themselves, so every split is tried.
        (1..=digits).find_map(|width| {
            let (family, number) = name.split_at(name.len() - width);
            let canonical = number == "0" || !number.starts_with('0');
            let number: u32 = number.parse().ok().filter(|_| canonical)?;
            match self.families.get(family)? {
                (count, Entity::Register { file, index, ty }) if number < *count => {
                    Some(Entity::Register { file: *file, index: index + number, ty: *ty })
                }
                _ => None,
            }
        })
    }
}

/// An operand as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand<'a> {
    /// A register, label, symbol or special register; with an offset if one is written.
    Name(&'a str, i64),
    /// `!%p`.
    Not(&'a str),
    /// An integer; negative ones in two's complement.
    Int(i128),
    /// `0f..`: the bits of an f32.
    F32(u32),
    /// `0d..`: the bits of an f64.
    F64(u64),
    /// `{..}`.
    Vector(Vec<Operand<'a>>),
    /// `[base+offset]`.
    Address(Box<Operand<'a>>, i64),
    /// `[map, {x, y}]`.
    Tensor(Box<Operand<'a>>, Vec<Operand<'a>>),
    /// `a|b`.
    Pair(&'a str, &'a str),
}

impl Operand<'_> {
    /// The operand's kind in words.
    pub(crate) fn show(&self) -> String {
        match self {
            Operand::Name(name, 0) => format!("`{name}`"),
            Operand::Name(name, offset) => format!("`{name}+{offset}`"),
            Operand::Not(name) => format!("`!{name}`"),
            Operand::Int(value) => value.to_string(),
            Operand::F32(bits) => format!("0f{bits:08X}"),
            Operand::F64(bits) => format!("0d{bits:016X}"),
            Operand::Vector(items) => format!("a vector of {}", items.len()),
            Operand::Address(..) => "an address".to_owned(),
            Operand::Tensor(_, coordinates) => {
                format!("a place in a tensor by {} coordinates", coordinates.len())
            }
            Operand::Pair(a, b) => format!("`{a}|{b}`"),
        }
    }
}

/// One instruction as written.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) line: u32,
    pub(crate) scope: usize,
    /// Index into the body's source places, if a `.loc` came before.
    pub(crate) place: Option<u32>,
    pub(crate) guard: Option<(&'a str, bool)>,
    pub(crate) opcode: &'a str,
    pub(crate) operands: Vec<Operand<'a>>,
}

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in the PTX.
    pub name: String,
    /// Byte offset in the parameter block.
    pub offset: u32,
    /// Its size in bytes.
    pub bytes: u32,
}

/// A kernel before decoding.
#[derive(Debug)]
pub(crate) struct RawKernel<'a> {
    pub(crate) name: &'a str,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: u32,
    pub(crate) required_threads: Option<[u32; 3]>,
    pub(crate) max_threads: Option<u32>,
    /// Blocks of a cluster along each axis.
    pub(crate) cluster: [u32; 3],
    pub(crate) scopes: Vec<Scope<'a>>,
    pub(crate) statements: Vec<Statement<'a>>,
    pub(crate) places: Vec<(u32, u32)>,
    pub(crate) narrow: u32,
    pub(crate) wide: u32,
    pub(crate) preds: u32,
    pub(crate) shared_bytes: u64,
    pub(crate) dynamic_align: u64,
    pub(crate) local_bytes: u64,
}

/// A `.global` or `.const` variable of a module.
#[derive(Clone, Debug)]
pub(crate) struct GlobalVar {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// The initial bytes; a variable without initialiser begins as zeros.
    pub(crate) init: Vec<u8>,
}
