//! Instructions in which the lanes of a warp exchange values.

use super::form::{Decoded, Form};
use super::memory::atom_op;
use crate::inst::{AtomOp, Class, Op, Shfl, ShflMode, Ty, VoteMode};
use crate::parse::ParseError;
use crate::parse::syntax::Operand;

impl Form<'_, '_, '_> {
    pub(super) fn warp(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "shfl" => self.shfl(),
            "vote" => self.vote(),
            "match" => self.match_lanes(),
            "redux" => self.redux(),
            "activemask" => self.active_mask(),
            "elect" => self.elect(),
            _ => return None,
        })
    }

    fn sync(&mut self) -> Result<(), ParseError> {
        let sync = self.opcode.take("sync");
        self.require(sync, "only the `.sync` form exists since sm_70")
    }

    fn shfl(&mut self) -> Decoded {
        self.sync()?;
        let mode = self.opcode.take_if(|part| {
            Some(match part {
                "up" => ShflMode::Up,
                "down" => ShflMode::Down,
                "bfly" => ShflMode::Bfly,
                "idx" => ShflMode::Idx,
                _ => return None,
            })
        });
        let mode = mode.ok_or_else(|| self.unknown("it names no mode"))?;
        let ty = self.ty()?;
        self.require(ty == Ty::B32, "shfl takes .b32")?;
        self.count(5..=5)?;
        let (d, in_range) = match self.operand(0)? {
            Operand::Pair(d, p) => {
                let d = self.target_of(&Operand::Name(d, 0), 0, false)?;
                (d, self.pred_target(p, 0)?)
            }
            _ => (self.target(0, ty)?, None),
        };
        let (a, b) = (self.source(1, ty)?, self.source(2, ty)?);
        let (c, members) = (self.source(3, ty)?, self.source(4, ty)?);
        Ok((Op::Shfl(Shfl { mode, d, in_range, a, b, c, members }), Class::Warp))
    }

    fn vote(&mut self) -> Decoded {
        self.sync()?;
        let mode = self.opcode.take_if(|part| {
            Some(match part {
                "all" => VoteMode::All,
                "any" => VoteMode::Any,
                "uni" => VoteMode::Uni,
                "ballot" => VoteMode::Ballot,
                _ => return None,
            })
        });
        let mode = mode.ok_or_else(|| self.unknown("it names no mode"))?;
        let ty = self.ty()?;
        let wanted = if mode == VoteMode::Ballot { Ty::B32 } else { Ty::Pred };
        self.require(ty == wanted, "ballot gives .b32, the other votes .pred")?;
        self.count(3..=3)?;
        let d = if mode == VoteMode::Ballot {
            self.target(0, Ty::B32)?
        } else {
            self.whole_pred_target(0)?
        };
        let (p, negated) = self.pred(1)?;
        Ok((Op::Vote { mode, d, p, negated, members: self.source(2, Ty::B32)? }, Class::Warp))
    }

    fn match_lanes(&mut self) -> Decoded {
        let all = self.opcode.take("all");
        let known = all || self.opcode.take("any");
        self.require(known, "match needs `.any` or `.all`")?;
        self.sync()?;
        let ty = self.ty()?;
        self.require(matches!(ty, Ty::B32 | Ty::B64), "match takes .b32 and .b64")?;
        self.count(3..=3)?;
        let (d, pred) = match self.operand(0)? {
            Operand::Pair(d, p) if all => {
                let d = self.target_of(&Operand::Name(d, 0), 0, false)?;
                (d, self.pred_target(p, 0)?)
            }
            _ => (self.target(0, Ty::B32)?, None),
        };
        let a = self.source(1, ty)?;
        let members = self.source(2, Ty::B32)?;
        let wide = ty.is_wide();
        let op = if all {
            Op::MatchAll { wide, d, all: pred, a, members }
        } else {
            Op::MatchAny { wide, d, a, members }
        };
        Ok((op, Class::Warp))
    }

    fn redux(&mut self) -> Decoded {
        self.sync()?;
        let op = self.opcode.take_if(|part| {
            atom_op(part)
                .filter(|op| !matches!(op, AtomOp::Exch | AtomOp::Inc | AtomOp::Dec | AtomOp::Cas))
        });
        let op = op.ok_or_else(|| self.unknown("it names no operation"))?;
        let ty = self.ty()?;
        self.require(matches!(ty, Ty::U32 | Ty::S32 | Ty::B32), "redux takes 32-bit integers")?;
        self.count(3..=3)?;
        let d = self.target(0, ty)?;
        let (a, members) = (self.source(1, ty)?, self.source(2, Ty::B32)?);
        Ok((Op::Redux { op, ty, d, a, members }, Class::Warp))
    }

    fn elect(&mut self) -> Decoded {
        self.sync()?;
        self.count(2..=2)?;
        let (d, leader) = match self.operand(0)? {
            Operand::Pair("_", p) => (None, self.pred_target(p, 0)?),
            Operand::Pair(d, p) => {
                let d = self.target_of(&Operand::Name(d, 0), 0, false)?;
                (Some(d), self.pred_target(p, 0)?)
            }
            _ => (None, None),
        };
        let leader = leader.ok_or_else(|| self.wrong_operand(0, "a register|predicate pair"))?;
        Ok((Op::Elect { d, leader, members: self.source(1, Ty::B32)? }, Class::Warp))
    }

    fn active_mask(&mut self) -> Decoded {
        let ty = self.ty()?;
        self.require(ty == Ty::B32, "activemask gives .b32")?;
        self.count(1..=1)?;
        Ok((Op::ActiveMask { d: self.target(0, ty)? }, Class::Warp))
    }
}
