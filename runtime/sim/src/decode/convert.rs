//! Moves and conversions.

use super::form::{Decoded, Form};
use crate::inst::{Class, Convert, Op, Round, Space, Ty};
use crate::parse::ParseError;
use crate::parse::syntax::{Entity, File, Operand};

impl Form<'_, '_, '_> {
    pub(super) fn convert(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "mov" => self.mov(),
            "cvta" => self.cvta(),
            "cvt" => self.cvt(),
            "mapa" => self.mapa(),
            "getctarank" => self.rank_of(),
            _ => return None,
        })
    }

    fn mov(&mut self) -> Decoded {
        self.count(2..=2)?;
        if self.opcode.take("pred") {
            let d = self.whole_pred_target(0)?;
            // True is 1, or all bits.
            if let Operand::Int(value @ -1..=1) = self.operand(1)? {
                return Ok((Op::PredSet { d, value: *value != 0 }, Class::Move));
            }
            let (a, negated) = self.pred(1)?;
            let op = if negated { Op::PredNot { d, a } } else { Op::PredMov { d, a } };
            return Ok((op, Class::Move));
        }
        let ty = self.ty()?;
        self.require(ty.file().is_some() && ty.bytes() >= 2, "mov takes 16, 32 and 64 bits")?;
        let wide = ty.is_wide();
        if let Operand::Vector(items) = self.operand(0)? {
            let bits = self.part_bits(ty, items.len())?;
            let a = self.source(1, ty)?;
            let mut parts = Vec::with_capacity(items.len());
            for item in items {
                parts.push(match item {
                    Operand::Name("_", 0) => None,
                    _ => Some(self.target_of(item, 0, false)?),
                });
            }
            return Ok((Op::Unpack { wide, bits, parts: parts.into(), a }, Class::Move));
        }
        if let Operand::Vector(items) = self.operand(1)? {
            let bits = self.part_bits(ty, items.len())?;
            let part_ty = if bits == 32 { Ty::B32 } else { Ty::B16 };
            let d = self.target(0, ty)?;
            let mut parts = Vec::with_capacity(items.len());
            for item in items {
                parts.push(self.source_of(item, 1, part_ty)?);
            }
            return Ok((Op::Pack { wide, bits, d, parts: parts.into() }, Class::Move));
        }
        let d = self.target(0, ty)?;
        Ok((Op::Mov { wide, d, a: self.source(1, ty)? }, Class::Move))
    }

    fn part_bits(&self, ty: Ty, count: usize) -> Result<u32, ParseError> {
        let bits = ty.bits() / (count.max(1) as u32);
        let fits = count >= 2 && matches!(bits, 16 | 32) && bits * count as u32 == ty.bits();
        self.require(fits, "vectors are of 16- or 32-bit registers that fill the type")?;
        Ok(bits)
    }

    fn cvta(&mut self) -> Decoded {
        let to = self.opcode.take("to");
        let space = self.opcode.space();
        let ty = self.ty()?;
        self.require(space != Space::Generic, "it names no state space")?;
        self.require(matches!(ty, Ty::U64 | Ty::U32), "cvta takes .u32 and .u64")?;
        self.count(2..=2)?;
        let wide = ty.is_wide();
        let d = self.target(0, ty)?;
        let a = self.source(1, ty)?;
        let op = if to {
            Op::FromGeneric { space, wide, d, a }
        } else {
            self.require(wide, "generic addresses have 64 bits")?;
            Op::ToGeneric { space, d, a }
        };
        Ok((op, Class::Move))
    }

    /// Addresses of the cluster's shared memory, or generic ones that lie in it.
    fn cluster_address(&mut self) -> Result<Ty, ParseError> {
        let space = self.opcode.space();
        let known = matches!(space, Space::Generic | Space::Cluster);
        self.require(known, "it takes generic addresses and those of `.shared::cluster`")?;
        let ty = self.ty()?;
        self.require(matches!(ty, Ty::U64 | Ty::U32), "addresses are .u32 and .u64")?;
        self.require(ty == Ty::U64 || space == Space::Cluster, "generic addresses have 64 bits")?;
        Ok(ty)
    }

    fn mapa(&mut self) -> Decoded {
        let ty = self.cluster_address()?;
        self.count(3..=3)?;
        let (d, a) = (self.target(0, ty)?, self.source(1, ty)?);
        let rank = self.source(2, Ty::U32)?;
        Ok((Op::MapAddress { wide: ty.is_wide(), d, a, rank }, Class::Move))
    }

    fn rank_of(&mut self) -> Decoded {
        let space = self.opcode.space();
        let known = matches!(space, Space::Generic | Space::Cluster);
        self.require(known, "it takes generic addresses and those of `.shared::cluster`")?;
        let ty = self.ty()?;
        self.require(matches!(ty, Ty::U64 | Ty::U32), "it names the type of the address")?;
        self.count(2..=2)?;
        let (d, a) = (self.target(0, Ty::U32)?, self.source(1, ty)?);
        Ok((Op::RankOf { wide: ty.is_wide(), d, a }, Class::Move))
    }

    fn cvt(&mut self) -> Decoded {
        let integer_round = self.opcode.take_if(|part| {
            Some(match part {
                "rni" => Round::Nearest,
                "rzi" => Round::Zero,
                "rmi" => Round::Down,
                "rpi" => Round::Up,
                _ => return None,
            })
        });
        let float_round = self.opcode.round();
        let ftz = self.opcode.take("ftz");
        let sat = self.opcode.take("sat");
        let relu = self.opcode.take("relu");
        let (to, from) = (self.ty()?, self.ty()?);
        let pack = to.is_packed();
        self.require(from.is_float() || from.is_integer(), "cvt converts numbers")?;
        self.require(to.is_float() || to.is_integer(), "cvt converts numbers")?;
        self.require(!from.is_packed() && from != Ty::Tf32, "it converts from single values")?;
        self.require(!pack || from == Ty::F32, "packed results are made of two .f32")?;
        self.require(to != Ty::Tf32 || from == Ty::F32, "tf32 is made of .f32")?;
        let half = matches!(to, Ty::F16 | Ty::Bf16 | Ty::F16x2 | Ty::Bf16x2 | Ty::Tf32);
        self.require(!relu || half, "`.relu` is for f16, bf16 and tf32")?;
        self.require(float_round != Some(Round::Away) || to == Ty::Tf32, "`.rna` is for tf32")?;
        self.rounding_fits(to, from, float_round, integer_round)?;
        let round = float_round.or(integer_round);
        let convert = Convert { to, from, round, ftz, sat, relu };
        if pack {
            self.count(3..=3)?;
            let d = self.target(0, to)?;
            let (a, b) = (self.source(1, from)?, self.source(2, from)?);
            return Ok((Op::ConvertPair { convert, d, a, b }, Class::Convert));
        }
        self.count(2..=2)?;
        let (d, convert) = self.cvt_target(convert)?;
        let a = self.cvt_source(from)?;
        Ok((Op::Convert { convert, d, a }, Class::Convert))
    }

    /// The rounding rules of the ISA: a loss needs a modifier, and the kind has to fit.
    fn rounding_fits(
        &self,
        to: Ty,
        from: Ty,
        float: Option<Round>,
        integer: Option<Round>,
    ) -> Result<(), ParseError> {
        let digits = |ty| match ty {
            Ty::F64 => 53,
            Ty::F32 => 24,
            Ty::F16 => 11,
            Ty::Bf16 => 8,
            _ => 0,
        };
        let modelled = match (to.is_float(), from.is_float()) {
            (false, false) => float.is_none() && integer.is_none(),
            (false, true) => integer.is_some() && float.is_none(),
            (true, false) => float.is_some() && integer.is_none(),
            (true, true) if to == from => float.is_none(),
            (true, true) if digits(to) > digits(from) && (to, from) != (Ty::F16, Ty::Bf16) => {
                float.is_none() && integer.is_none()
            }
            (true, true) => float.is_some() && integer.is_none(),
        };
        self.require(modelled, "its rounding modifier does not fit its types")
    }

    /// Integers may go to a wider register; the result is extended by its own sign.
    fn cvt_target(&mut self, convert: Convert) -> Result<(u32, Convert), ParseError> {
        if let Operand::Name(name, 0) = self.operand(0)?
            && let Entity::Register { file: File::Wide, .. } = self.find(name)?
            && !convert.to.is_wide()
        {
            return Err(self.wrong_operand(0, "a register of the result's size"));
        }
        Ok((self.target(0, convert.to)?, convert))
    }

    /// The source register may be wider than the type: its low part counts.
    fn cvt_source(&mut self, from: Ty) -> Result<u32, ParseError> {
        self.source(1, from)
    }
}
