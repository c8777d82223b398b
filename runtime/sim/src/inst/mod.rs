//! Decoded instructions: closed enums with operands already resolved to columns of the register
//! files, so that the executor looks at no text.

mod class;
mod hopper;
mod op;
mod ty;

pub use class::Class;
pub(crate) use hopper::*;
pub(crate) use op::*;
pub(crate) use ty::Ty;

/// Index of a column in a register file: 32 lanes of one register, or of one constant.
pub(crate) type Col = u32;

/// A column together with the file it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// 32 bits a lane.
    Narrow(Col),
    /// 64 bits a lane.
    Wide(Col),
    /// One bit a lane.
    Pred(Col),
}

/// `@p` or `@!p`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub(crate) pred: Col,
    pub(crate) negated: bool,
}

/// One instruction.
#[derive(Debug)]
pub(crate) struct Inst {
    pub(crate) guard: Option<Guard>,
    pub(crate) op: Op,
    pub(crate) class: Class,
    /// What it reads and writes, for the taint rules that hold for any instruction.
    pub(crate) sources: Box<[Slot]>,
    pub(crate) targets: Box<[Slot]>,
    /// Line in the PTX text.
    pub(crate) line: u32,
    /// Index into the kernel's source places.
    pub(crate) place: Option<u32>,
}
