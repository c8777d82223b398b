//! Integer and bit instructions, comparisons and selections.

use super::form::{Decoded, Form};
use crate::inst::{Bool, Class, Combine, Compare, Int1, Int2, Int3, Op, PrmtMode, Test, Ty};
use crate::parse::ParseError;
use crate::parse::syntax::Operand;

impl Form<'_, '_, '_> {
    /// Instructions that are integer or float by their type.
    pub(super) fn either(&mut self) -> Option<Decoded> {
        let float =
            self.opcode.text.rsplit('.').next().and_then(Ty::parse).is_some_and(Ty::is_float);
        if float { self.float() } else { self.integer() }
    }

    pub(super) fn integer(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "neg" => self.int1(Int1::Neg),
            "abs" => self.int1(Int1::Abs),
            "not" => self.not(),
            "popc" => self.int1(Int1::Popc),
            "clz" => self.int1(Int1::Clz),
            "brev" => self.int1(Int1::Brev),
            "cnot" => self.int1(Int1::Cnot),
            "bfind" => {
                let shift_amount = self.opcode.take("shiftamt");
                self.int1(Int1::Bfind { shift_amount })
            }
            "add" => self.saturating(Int2::Add, Int2::AddSat),
            "sub" => self.saturating(Int2::Sub, Int2::SubSat),
            "mul" => self.multiply(),
            "div" => self.int2(Int2::Div),
            "rem" => self.int2(Int2::Rem),
            "min" => self.int2(Int2::Min),
            "max" => self.int2(Int2::Max),
            "and" => self.logic(Int2::And, Bool::And),
            "or" => self.logic(Int2::Or, Bool::Or),
            "xor" => self.logic(Int2::Xor, Bool::Xor),
            "shl" => self.shift(Int2::Shl),
            "shr" => self.shift(Int2::Shr),
            "mad" => self.mad(),
            "sad" => self.int3(Int3::Sad),
            "bfe" => self.bfe(),
            "bfi" => self.bfi(),
            "lop3" => self.lop3(),
            "prmt" => self.prmt(),
            "shf" => self.funnel(),
            "dp4a" => self.dp4a(),
            _ => return None,
        })
    }

    fn int_ty(&mut self) -> Result<Ty, ParseError> {
        let ty = self.ty()?;
        self.require(
            matches!(ty.bytes(), 2 | 4 | 8) && !ty.is_float(),
            "integer instructions take types of 16, 32 and 64 bits",
        )?;
        Ok(ty)
    }

    fn int1(&mut self, op: Int1) -> Decoded {
        let ty = self.int_ty()?;
        self.count(2..=2)?;
        let narrow = matches!(op, Int1::Popc | Int1::Clz | Int1::Bfind { .. });
        let d = self.target(0, if narrow { Ty::U32 } else { ty })?;
        Ok((Op::Int1 { op, ty, d, a: self.source(1, ty)? }, Class::Integer))
    }

    fn int2(&mut self, op: Int2) -> Decoded {
        let ty = self.int_ty()?;
        self.int2_of(op, ty)
    }

    fn int2_of(&mut self, op: Int2, ty: Ty) -> Decoded {
        self.count(3..=3)?;
        let d = self.target(0, ty)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        Ok((Op::Int2 { op, ty, d, a, b }, Class::Integer))
    }

    fn saturating(&mut self, plain: Int2, saturated: Int2) -> Decoded {
        let sat = self.opcode.take("sat");
        let ty = self.int_ty()?;
        self.require(!sat || ty == Ty::S32, "`.sat` is for .s32")?;
        self.int2_of(if sat { saturated } else { plain }, ty)
    }

    fn widened(&self, ty: Ty) -> Result<Ty, ParseError> {
        Ok(match ty {
            Ty::U16 => Ty::U32,
            Ty::S16 => Ty::S32,
            Ty::U32 => Ty::U64,
            Ty::S32 => Ty::S64,
            _ => return Err(self.unknown("`.wide` takes 16- and 32-bit integers")),
        })
    }

    fn multiply(&mut self) -> Decoded {
        let op = self.half_of_product()?;
        let ty = self.int_ty()?;
        self.count(3..=3)?;
        let result = if op == Int2::MulWide { self.widened(ty)? } else { ty };
        let d = self.target(0, result)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        Ok((Op::Int2 { op, ty, d, a, b }, Class::Integer))
    }

    fn half_of_product(&mut self) -> Result<Int2, ParseError> {
        for (name, op) in [("lo", Int2::MulLo), ("hi", Int2::MulHi), ("wide", Int2::MulWide)] {
            if self.opcode.take(name) {
                return Ok(op);
            }
        }
        Err(self.unknown("an integer product needs `.lo`, `.hi` or `.wide`"))
    }

    fn mad(&mut self) -> Decoded {
        if self.opcode.text.ends_with(".f32") || self.opcode.text.ends_with(".f64") {
            return self.fma();
        }
        let op = self.half_of_product()?;
        let ty = self.int_ty()?;
        self.count(4..=4)?;
        let (op, result) = match op {
            Int2::MulLo => (Int3::MadLo, ty),
            Int2::MulHi => (Int3::MadHi, ty),
            _ => (Int3::MadWide, self.widened(ty)?),
        };
        let d = self.target(0, result)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        Ok((Op::Int3 { op, ty, d, a, b, c: self.source(3, result)? }, Class::Integer))
    }

    fn int3(&mut self, op: Int3) -> Decoded {
        let ty = self.int_ty()?;
        self.int3_of(op, ty, ty)
    }

    fn int3_of(&mut self, op: Int3, ty: Ty, third: Ty) -> Decoded {
        self.count(4..=4)?;
        let d = self.target(0, ty)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        Ok((Op::Int3 { op, ty, d, a, b, c: self.source(3, third)? }, Class::Integer))
    }

    fn not(&mut self) -> Decoded {
        if !self.opcode.take("pred") {
            return self.int1(Int1::Not);
        }
        self.count(2..=2)?;
        let d = self.whole_pred_target(0)?;
        let (a, negated) = self.pred(1)?;
        Ok((if negated { Op::PredMov { d, a } } else { Op::PredNot { d, a } }, Class::Compare))
    }

    /// A predicate that must be kept.
    pub(super) fn whole_pred_target(&mut self, index: usize) -> Result<u32, ParseError> {
        match self.operand(index)? {
            Operand::Name(name, 0) => self.pred_target(name, index)?,
            _ => None,
        }
        .ok_or_else(|| self.wrong_operand(index, "a predicate"))
    }

    fn logic(&mut self, op: Int2, pred: Bool) -> Decoded {
        if !self.opcode.take("pred") {
            return self.int2(op);
        }
        self.count(3..=3)?;
        let d = self.whole_pred_target(0)?;
        let ((a, a_not), (b, b_not)) = (self.pred(1)?, self.pred(2)?);
        self.require(!a_not && !b_not, "negated predicates are not modelled here")?;
        Ok((Op::PredLogic { op: pred, d, a, b }, Class::Compare))
    }

    fn shift(&mut self, op: Int2) -> Decoded {
        let ty = self.int_ty()?;
        self.count(3..=3)?;
        let d = self.target(0, ty)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, Ty::U32)?);
        Ok((Op::Int2 { op, ty, d, a, b }, Class::Integer))
    }

    fn bfe(&mut self) -> Decoded {
        let ty = self.int_ty()?;
        self.count(4..=4)?;
        self.require(ty.bytes() >= 4, "bfe takes 32 and 64 bits")?;
        let d = self.target(0, ty)?;
        let (a, b, c) = (self.source(1, ty)?, self.source(2, Ty::U32)?, self.source(3, Ty::U32)?);
        Ok((Op::Int3 { op: Int3::Bfe, ty, d, a, b, c }, Class::Integer))
    }

    fn bfi(&mut self) -> Decoded {
        let ty = self.int_ty()?;
        self.count(5..=5)?;
        self.require(ty.bytes() >= 4, "bfi takes 32 and 64 bits")?;
        let d = self.target(0, ty)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        let (at, len) = (self.source(3, Ty::U32)?, self.source(4, Ty::U32)?);
        Ok((Op::Bfi { wide: ty.is_wide(), d, a, b, at, len }, Class::Integer))
    }

    fn lop3(&mut self) -> Decoded {
        let ty = self.ty()?;
        self.require(ty == Ty::B32, "lop3 takes .b32")?;
        self.count(5..=5)?;
        let table = self.literal(4, 255)? as u8;
        let d = self.target(0, ty)?;
        let (a, b, c) = (self.source(1, ty)?, self.source(2, ty)?, self.source(3, ty)?);
        Ok((Op::Int3 { op: Int3::Lop3(table), ty, d, a, b, c }, Class::Integer))
    }

    fn prmt(&mut self) -> Decoded {
        let mode = self.opcode.take_if(|part| {
            Some(match part {
                "f4e" => PrmtMode::F4e,
                "b4e" => PrmtMode::B4e,
                "rc8" => PrmtMode::Rc8,
                "ecl" => PrmtMode::Ecl,
                "ecr" => PrmtMode::Ecr,
                "rc16" => PrmtMode::Rc16,
                _ => return None,
            })
        });
        let ty = self.ty()?;
        self.require(ty == Ty::B32, "prmt takes .b32")?;
        self.int3_of(Int3::Prmt(mode.unwrap_or(PrmtMode::Default)), ty, ty)
    }

    fn funnel(&mut self) -> Decoded {
        let left = self.opcode.take("l");
        let known = left || self.opcode.take("r");
        self.require(known, "shf needs `.l` or `.r`")?;
        let wrap = self.opcode.take("wrap");
        let known = wrap || self.opcode.take("clamp");
        self.require(known, "shf needs `.wrap` or `.clamp`")?;
        let ty = self.ty()?;
        self.require(ty == Ty::B32, "shf takes .b32")?;
        self.int3_of(Int3::Shf { left, wrap }, ty, ty)
    }

    fn dp4a(&mut self) -> Decoded {
        let types = (self.ty()?, self.ty()?);
        let signed = |ty| match ty {
            Ty::S32 => Some(true),
            Ty::U32 => Some(false),
            _ => None,
        };
        let (Some(a_signed), Some(b_signed)) = (signed(types.0), signed(types.1)) else {
            return Err(self.unknown("dp4a takes .s32 and .u32"));
        };
        let ty = if a_signed || b_signed { Ty::S32 } else { Ty::U32 };
        self.int3_of(Int3::Dp4a { a_signed, b_signed }, ty, ty)
    }

    pub(super) fn compare(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "setp" => self.setp(),
            "set" => self.set(),
            "selp" => self.selp(),
            "slct" => self.slct(),
            "testp" => self.testp(),
            _ => return None,
        })
    }

    fn comparison(&mut self) -> Result<Compare, ParseError> {
        let found = self.opcode.take_if(|part| {
            Some(match part {
                "eq" => Compare::Eq,
                "ne" => Compare::Ne,
                "lt" | "lo" => Compare::Lt,
                "le" | "ls" => Compare::Le,
                "gt" | "hi" => Compare::Gt,
                "ge" | "hs" => Compare::Ge,
                "equ" => Compare::Equ,
                "neu" => Compare::Neu,
                "ltu" => Compare::Ltu,
                "leu" => Compare::Leu,
                "gtu" => Compare::Gtu,
                "geu" => Compare::Geu,
                "num" => Compare::Num,
                "nan" => Compare::Nan,
                _ => return None,
            })
        });
        found.ok_or_else(|| self.unknown("it names no comparison"))
    }

    fn comparable(&mut self, compare: Compare) -> Result<Ty, ParseError> {
        let ty = self.ty()?;
        let plain = matches!(
            compare,
            Compare::Eq | Compare::Ne | Compare::Lt | Compare::Le | Compare::Gt | Compare::Ge
        );
        self.require(
            matches!(ty.bytes(), 2 | 4 | 8) && !ty.is_packed() && ty != Ty::Tf32,
            "comparisons take scalars of 16, 32 and 64 bits",
        )?;
        self.require(plain || ty.is_float(), "unordered comparisons are for floats")?;
        Ok(ty)
    }

    fn setp(&mut self) -> Decoded {
        let compare = self.comparison()?;
        let op = self.opcode.take_if(|part| {
            Some(match part {
                "and" => Bool::And,
                "or" => Bool::Or,
                "xor" => Bool::Xor,
                _ => return None,
            })
        });
        let ftz = self.opcode.take("ftz");
        let ty = self.comparable(compare)?;
        let count = 3 + usize::from(op.is_some());
        self.count(count..=count)?;
        let (d, other) = match self.operand(0)? {
            Operand::Pair(first, second) => {
                let d = self.pred_target(first, 0)?;
                let other = self.pred_target(second, 0)?;
                (d.ok_or_else(|| self.wrong_operand(0, "two predicates"))?, other)
            }
            _ => (self.whole_pred_target(0)?, None),
        };
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        let combine = match op {
            None => None,
            Some(op) => {
                let (pred, negated) = self.pred(3)?;
                Some(Combine { op, pred, negated })
            }
        };
        Ok((Op::Setp { compare, ty, ftz, combine, d, other, a, b }, Class::Compare))
    }

    fn set(&mut self) -> Decoded {
        let compare = self.comparison()?;
        let ftz = self.opcode.take("ftz");
        let to = self.ty()?;
        self.require(matches!(to, Ty::U32 | Ty::S32 | Ty::F32), "set gives .u32, .s32 or .f32")?;
        let ty = self.comparable(compare)?;
        self.count(3..=3)?;
        let d = self.target(0, to)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        Ok((Op::Set { compare, to, ty, ftz, d, a, b }, Class::Compare))
    }

    fn selp(&mut self) -> Decoded {
        let ty = self.ty()?;
        self.require(matches!(ty.bytes(), 2 | 4 | 8), "selp takes 16, 32 and 64 bits")?;
        self.count(4..=4)?;
        let d = self.target(0, ty)?;
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        let (p, negated) = self.pred(3)?;
        Ok((Op::Selp { wide: ty.is_wide(), d, a, b, p, negated }, Class::Compare))
    }

    fn slct(&mut self) -> Decoded {
        let ftz = self.opcode.take("ftz");
        let (ty, by) = (self.ty()?, self.ty()?);
        self.require(matches!(by, Ty::S32 | Ty::F32), "slct selects by .s32 or .f32")?;
        self.require(matches!(ty.bytes(), 2 | 4 | 8), "slct takes 16, 32 and 64 bits")?;
        self.count(4..=4)?;
        let d = self.target(0, ty)?;
        let (a, b, c) = (self.source(1, ty)?, self.source(2, ty)?, self.source(3, by)?);
        let float = by == Ty::F32;
        Ok((Op::Slct { wide: ty.is_wide(), float, ftz, d, a, b, c }, Class::Compare))
    }

    fn testp(&mut self) -> Decoded {
        let test = self.opcode.take_if(|part| {
            Some(match part {
                "finite" => Test::Finite,
                "infinite" => Test::Infinite,
                "number" => Test::Number,
                "notanumber" => Test::NotANumber,
                "normal" => Test::Normal,
                "subnormal" => Test::Subnormal,
                _ => return None,
            })
        });
        let test = test.ok_or_else(|| self.unknown("it names no test"))?;
        let ty = self.ty()?;
        self.require(matches!(ty, Ty::F32 | Ty::F64), "testp takes .f32 and .f64")?;
        self.count(2..=2)?;
        let d = self.whole_pred_target(0)?;
        Ok((Op::Testp { test, wide: ty.is_wide(), d, a: self.source(1, ty)? }, Class::Compare))
    }
}
