//! One statement being decoded: its operands by position, with the checks of kind and width.

use super::opcode::Opcode;
use super::{Decoder, Special, WideConst};
use crate::inst::{Address, Class, Col, Element, Guard, Inst, Op, Slot, Ty};
use crate::parse::syntax::{Entity, File, Operand, Statement};
use crate::parse::{ParseError, ParseErrorKind};

pub(super) type Decoded = Result<(Op, Class), ParseError>;

/// A statement with what has been found of it so far.
pub(crate) struct Form<'a, 'k, 'd> {
    pub(super) decoder: &'d mut Decoder<'a, 'k>,
    pub(super) statement: &'k Statement<'a>,
    pub(super) opcode: Opcode<'a>,
    sources: Vec<Slot>,
    targets: Vec<Slot>,
}

impl<'a, 'k, 'd> Form<'a, 'k, 'd> {
    pub(crate) fn new(decoder: &'d mut Decoder<'a, 'k>, statement: &'k Statement<'a>) -> Self {
        let opcode = Opcode::new(statement.opcode);
        Self { decoder, statement, opcode, sources: Vec::new(), targets: Vec::new() }
    }

    pub(crate) fn decode(mut self) -> Result<Inst, ParseError> {
        let line = self.statement.line;
        let guard = match self.statement.guard {
            None => None,
            Some((name, negated)) => Some(Guard { pred: self.pred_named(name, 0)?, negated }),
        };
        let (op, class) = self.operation()?;
        if let Some(left) = self.opcode.left() {
            return Err(self.unknown(format!("modifier `.{left}` is unknown here")));
        }
        Ok(Inst {
            guard,
            op,
            class,
            sources: self.sources.into(),
            targets: self.targets.into(),
            line,
            place: self.statement.place,
        })
    }

    fn operation(&mut self) -> Decoded {
        let known = match self.opcode.base {
            "mov" | "cvta" | "cvt" | "mapa" | "getctarank" => self.convert(),
            "ld" | "ldu" | "st" | "atom" | "red" | "cp" | "prefetch" | "prefetchu" | "discard"
            | "applypriority" => self.memory(),
            "ldmatrix" | "stmatrix" | "movmatrix" | "mma" | "wgmma" => self.matrix(),
            "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => self.warp(),
            "bra" | "ret" | "exit" | "trap" | "bar" | "barrier" | "membar" | "fence"
            | "nanosleep" | "pmevent" | "mbarrier" | "setmaxnreg" | "griddepcontrol" => {
                self.control()
            }
            "setp" | "set" | "selp" | "slct" | "testp" => self.compare(),
            "bfe" | "bfi" | "bfind" | "brev" | "clz" | "cnot" | "dp4a" | "lop3" | "mad"
            | "mad24" | "mul24" | "not" | "or" | "and" | "popc" | "prmt" | "rem" | "sad"
            | "shf" | "shl" | "shr" | "xor" => self.integer(),
            "abs" | "add" | "div" | "max" | "min" | "mul" | "neg" | "sub" => self.either(),
            "copysign" | "cos" | "ex2" | "fma" | "lg2" | "rcp" | "rsqrt" | "sin" | "sqrt"
            | "tanh" => self.float(),
            _ => None,
        };
        known.unwrap_or_else(|| Err(self.unknown("unknown instruction")))
    }

    pub(super) fn unknown(&self, reason: impl Into<String>) -> ParseError {
        let opcode = self.opcode.text.to_owned();
        let kind = ParseErrorKind::Instruction { opcode, reason: reason.into() };
        ParseError::new(self.statement.line, kind)
    }

    fn wrong(&self, index: usize, expected: impl Into<String>, found: String) -> ParseError {
        let opcode = self.opcode.text.to_owned();
        let kind = ParseErrorKind::Operand { opcode, index, expected: expected.into(), found };
        ParseError::new(self.statement.line, kind)
    }

    /// The type modifier that the instruction must have.
    pub(super) fn ty(&mut self) -> Result<Ty, ParseError> {
        self.opcode.ty().ok_or_else(|| self.unknown("it names no type"))
    }

    /// Fails unless there are so many operands.
    pub(super) fn count(
        &self,
        expected: std::ops::RangeInclusive<usize>,
    ) -> Result<(), ParseError> {
        let found = self.statement.operands.len();
        if expected.contains(&found) {
            return Ok(());
        }
        let (low, high) = (*expected.start(), *expected.end());
        let expected = if low == high { low.to_string() } else { format!("{low} to {high}") };
        let opcode = self.opcode.text.to_owned();
        let kind = ParseErrorKind::OperandCount { opcode, expected, found };
        Err(ParseError::new(self.statement.line, kind))
    }

    pub(super) fn operands(&self) -> usize {
        self.statement.operands.len()
    }

    pub(super) fn operand(&self, index: usize) -> Result<&'k Operand<'a>, ParseError> {
        self.statement
            .operands
            .get(index)
            .ok_or_else(|| self.wrong(index, "an operand", "nothing".to_owned()))
    }

    pub(super) fn find(&self, name: &str) -> Result<Entity, ParseError> {
        self.decoder.find(self.statement.scope, name, self.statement.line)
    }

    fn pred_named(&mut self, name: &str, index: usize) -> Result<Col, ParseError> {
        match self.find(name)? {
            Entity::Register { file: File::Pred, index, .. } => {
                self.sources.push(Slot::Pred(index));
                Ok(index)
            }
            _ => Err(self.wrong(index, "a predicate", format!("`{name}`"))),
        }
    }

    /// A predicate that is read; whether it is negated.
    pub(super) fn pred(&mut self, index: usize) -> Result<(Col, bool), ParseError> {
        match self.operand(index)? {
            Operand::Name(name, 0) => Ok((self.pred_named(name, index)?, false)),
            Operand::Not(name) => Ok((self.pred_named(name, index)?, true)),
            other => Err(self.wrong(index, "a predicate", other.show())),
        }
    }

    /// A predicate that is written; `_` throws it away.
    pub(super) fn pred_target(
        &mut self,
        name: &str,
        index: usize,
    ) -> Result<Option<Col>, ParseError> {
        if name == "_" {
            return Ok(None);
        }
        match self.find(name)? {
            Entity::Register { file: File::Pred, index, .. } => {
                self.targets.push(Slot::Pred(index));
                Ok(Some(index))
            }
            _ => Err(self.wrong(index, "a predicate", format!("`{name}`"))),
        }
    }

    /// The register that is written, in the file of the type.
    pub(super) fn target(&mut self, index: usize, ty: Ty) -> Result<Col, ParseError> {
        let operand = self.operand(index)?;
        self.target_of(operand, index, ty.is_wide())
    }

    pub(super) fn target_of(
        &mut self,
        operand: &Operand<'a>,
        index: usize,
        wide: bool,
    ) -> Result<Col, ParseError> {
        let file = if wide { File::Wide } else { File::Narrow };
        let col = match operand {
            Operand::Name(name, 0) => match self.find(name)? {
                Entity::Register { file: found, index, .. } if found == file => Some(index),
                _ => None,
            },
            _ => None,
        };
        let Some(col) = col else {
            let expected = if wide { "a 64-bit register" } else { "a register of at most 32 bits" };
            return Err(self.wrong(index, expected, operand.show()));
        };
        self.targets.push(if wide { Slot::Wide(col) } else { Slot::Narrow(col) });
        Ok(col)
    }

    /// An operand that is read, in the file of the type.
    pub(super) fn source(&mut self, index: usize, ty: Ty) -> Result<Col, ParseError> {
        let operand = self.operand(index)?;
        self.source_of(operand, index, ty)
    }

    pub(super) fn source_of(
        &mut self,
        operand: &Operand<'a>,
        index: usize,
        ty: Ty,
    ) -> Result<Col, ParseError> {
        let wide = ty.is_wide();
        let col = match operand {
            Operand::Name(name, offset) => self.named_source(name, *offset, wide)?,
            Operand::Int(value) if !ty.is_float() => self.integer_source(*value, ty),
            Operand::F32(bits) if !wide => Some(self.decoder.narrow_const(*bits)),
            Operand::F64(bits) if wide => Some(self.decoder.wide_const(WideConst::Bits(*bits))),
            _ => None,
        };
        let Some(col) = col else {
            return Err(self.wrong(index, format!("a value of type .{ty}"), operand.show()));
        };
        self.sources.push(if wide { Slot::Wide(col) } else { Slot::Narrow(col) });
        Ok(col)
    }

    fn integer_source(&mut self, value: i128, ty: Ty) -> Option<Col> {
        let bits = ty.bits();
        // ptxas takes the low bits of a negative literal in any unsigned type.
        if !(-(1 << 63)..1 << bits).contains(&value) {
            return None;
        }
        let low = value as u64 & (u64::MAX >> (64 - bits));
        Some(if ty.is_wide() {
            self.decoder.wide_const(WideConst::Bits(low))
        } else {
            self.decoder.narrow_const(low as u32)
        })
    }

    fn named_source(
        &mut self,
        name: &str,
        offset: i64,
        wide: bool,
    ) -> Result<Option<Col>, ParseError> {
        if name.starts_with('%')
            && let Some(special) = Special::parse(name)
        {
            return Ok((!wide && offset == 0).then(|| self.decoder.special(special)));
        }
        if name == "WARP_SZ" {
            return Ok((!wide).then(|| self.decoder.narrow_const(32)));
        }
        Ok(match self.find(name)? {
            Entity::Register { file, index, .. } => {
                let wanted = if wide { File::Wide } else { File::Narrow };
                (file == wanted && offset == 0).then_some(index)
            }
            Entity::Variable { space, offset: start } => {
                let constant = self.decoder.variable(space, start, offset);
                match constant {
                    _ if wide => Some(self.decoder.wide_const(constant)),
                    WideConst::Bits(bits) => {
                        u32::try_from(bits).ok().map(|bits| self.decoder.narrow_const(bits))
                    }
                    WideConst::Global { .. } => None,
                }
            }
            Entity::Label { .. } => None,
        })
    }

    /// A constant of the instruction itself.
    pub(super) fn literal(&mut self, index: usize, limit: u64) -> Result<u64, ParseError> {
        match self.operand(index)? {
            Operand::Int(value) => u64::try_from(*value).ok().filter(|value| *value <= limit),
            _ => None,
        }
        .ok_or_else(|| {
            let found =
                self.statement.operands.get(index).map_or("nothing".to_owned(), Operand::show);
            self.wrong(index, format!("a constant from 0 to {limit}"), found)
        })
    }

    pub(super) fn address(&mut self, index: usize) -> Result<Address, ParseError> {
        let operand = self.operand(index)?;
        let Operand::Address(base, offset) = operand else {
            return Err(self.wrong(index, "an address in brackets", operand.show()));
        };
        self.address_of(base, *offset, index)
    }

    /// A tensor map's address, and so many coordinates.
    pub(super) fn tensor(
        &mut self,
        index: usize,
        rank: usize,
    ) -> Result<(Address, Box<[Col]>), ParseError> {
        let operand = self.operand(index)?;
        let Operand::Tensor(base, coordinates) = operand else {
            return Err(self.wrong(index, "a map and coordinates in brackets", operand.show()));
        };
        self.same_count(index, coordinates.len(), rank)?;
        let coordinates = coordinates.iter().map(|item| self.source_of(item, index, Ty::S32));
        let coordinates = coordinates.collect::<Result<_, _>>()?;
        Ok((self.address_of(base, 0, index)?, coordinates))
    }

    fn address_of(
        &mut self,
        base: &Operand<'a>,
        offset: i64,
        index: usize,
    ) -> Result<Address, ParseError> {
        let (base, wide) = match base {
            Operand::Name(name, _) => match self.find(name)? {
                Entity::Register { file: File::Wide, index, .. } => (index, true),
                Entity::Register { file: File::Narrow, index, ty: Ty::B32 | Ty::U32 | Ty::S32 } => {
                    (index, false)
                }
                Entity::Variable { space, offset: start } => {
                    let constant = self.decoder.variable(space, start, 0);
                    (self.decoder.wide_const(constant), true)
                }
                _ => {
                    let expected = "a 32- or 64-bit register or a variable as address";
                    return Err(self.wrong(index, expected, format!("`{name}`")));
                }
            },
            Operand::Int(value) => {
                let bits = u64::try_from(*value).unwrap_or(u64::MAX);
                (self.decoder.wide_const(WideConst::Bits(bits)), true)
            }
            other => return Err(self.wrong(index, "an address", other.show())),
        };
        self.sources.push(if wide { Slot::Wide(base) } else { Slot::Narrow(base) });
        Ok(Address { base, wide, offset })
    }

    /// The operands of a vector, or the one operand that stands for itself.
    pub(super) fn vector(&self, index: usize) -> Result<&'k [Operand<'a>], ParseError> {
        Ok(match self.operand(index)? {
            Operand::Vector(items) => items,
            other => std::slice::from_ref(other),
        })
    }

    /// Elements of a load or store; registers may be wider than the type.
    pub(super) fn elements(
        &mut self,
        index: usize,
        ty: Ty,
        count: usize,
        load: bool,
    ) -> Result<Box<[Element]>, ParseError> {
        let items = self.vector(index)?;
        if items.len() != count {
            let found = format!("{} elements", items.len());
            return Err(self.wrong(index, format!("{count} elements"), found));
        }
        let mut elements = Vec::with_capacity(count);
        for item in items {
            elements.push(self.element(item, index, ty, load)?);
        }
        Ok(elements.into())
    }

    fn element(
        &mut self,
        item: &Operand<'a>,
        index: usize,
        ty: Ty,
        load: bool,
    ) -> Result<Element, ParseError> {
        if let Operand::Name(name, 0) = item {
            if load && *name == "_" {
                return Ok(Element { col: None, wide: false });
            }
            if !name.starts_with("%tid")
                && let Ok(Entity::Register { file, ty: found, .. }) = self.find(name)
            {
                let wide = file == File::Wide;
                if file == File::Pred || found.bytes() < ty.bytes() {
                    return Err(self.wrong(index, format!("a register for .{ty}"), item.show()));
                }
                let col = if load {
                    self.target_of(item, index, wide)?
                } else {
                    self.source_of(item, index, if wide { Ty::B64 } else { Ty::B32 })?
                };
                return Ok(Element { col: Some(col), wide });
            }
        }
        if load {
            return Err(self.wrong(index, "a register", item.show()));
        }
        Ok(Element { col: Some(self.source_of(item, index, ty)?), wide: ty.is_wide() })
    }

    /// A vector of 32-bit registers that are written.
    pub(super) fn targets(&mut self, index: usize, count: usize) -> Result<Box<[Col]>, ParseError> {
        let items = self.vector(index)?;
        self.same_count(index, items.len(), count)?;
        items.iter().map(|item| self.target_of(item, index, false)).collect()
    }

    /// A vector of 32-bit registers that are read.
    pub(super) fn sources(&mut self, index: usize, count: usize) -> Result<Box<[Col]>, ParseError> {
        let items = self.vector(index)?;
        self.same_count(index, items.len(), count)?;
        items.iter().map(|item| self.source_of(item, index, Ty::B32)).collect()
    }

    fn same_count(&self, index: usize, found: usize, count: usize) -> Result<(), ParseError> {
        if found == count {
            return Ok(());
        }
        Err(self.wrong(index, format!("{count} registers"), format!("{found}")))
    }

    /// Fails with the reason unless a form is modelled.
    pub(super) fn require(&self, modelled: bool, reason: &str) -> Result<(), ParseError> {
        if modelled { Ok(()) } else { Err(self.unknown(reason)) }
    }

    pub(super) fn wrong_operand(&self, index: usize, expected: &str) -> ParseError {
        let found = self.statement.operands.get(index).map_or("nothing".to_owned(), Operand::show);
        self.wrong(index, expected, found)
    }
}
