//! Loads, stores, atomics and asynchronous copies.

use super::form::{Decoded, Form};
use crate::inst::{
    Access, Atom, AtomOp, Class, CpAsync, Far, Guard, Op, PeerCopy, Space, StoreAsync, Transfer, Ty,
};
use crate::parse::ParseError;
use crate::parse::syntax::{Entity, File, Operand};

impl Form<'_, '_, '_> {
    pub(super) fn memory(&mut self) -> Option<Decoded> {
        Some(match self.opcode.base {
            "ld" | "ldu" => self.access(true),
            "st" => self.store(),
            "atom" => self.atom(true),
            "red" => self.atom(false),
            "cp" => self.copy()?,
            "prefetch" | "prefetchu" | "discard" | "applypriority" => self.hint(),
            _ => return None,
        })
    }

    /// Cache hints and scopes say how, not what.
    fn hints(&mut self) {
        while self
            .opcode
            .take_if(|part| {
                let scope = matches!(part, "cta" | "cluster" | "gpu" | "sys");
                let order = matches!(part, "weak" | "relaxed" | "acquire" | "release" | "volatile");
                let cache = matches!(
                    part,
                    "nc" | "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "acq_rel"
                );
                let level = part.starts_with("L1::") || part.starts_with("L2::");
                (scope || order || cache || level).then_some(())
            })
            .is_some()
        {}
    }

    fn hint(&mut self) -> Decoded {
        if self.opcode.take("tensormap") {
            self.opcode.space();
            self.count(1..=1)?;
            self.address(0)?;
            return Ok((Op::Nop, Class::Control));
        }
        self.opcode.space();
        self.hints();
        for level in ["L1", "L2"] {
            self.opcode.take(level);
        }
        self.count(1..=2)?;
        self.address(0)?;
        Ok((Op::Nop, Class::Control))
    }

    fn store(&mut self) -> Decoded {
        if self.opcode.take("async") { self.store_async() } else { self.access(false) }
    }

    fn access(&mut self, load: bool) -> Decoded {
        let constant = load && self.opcode.take("nc");
        self.hints();
        let space = self.opcode.space();
        let count = if self.opcode.take("v2") {
            2
        } else if self.opcode.take("v4") {
            4
        } else {
            1 + 7 * usize::from(self.opcode.take("v8"))
        };
        let ty = self.ty()?;
        self.require(
            ty.file().is_some() && ty.bytes() > 0,
            "memory holds 8 to 64 bits an element",
        )?;
        self.require(ty.bytes() * count as u64 <= 32, "an access has at most 32 bytes")?;
        self.count(2..=2)?;
        let address = self.address(usize::from(load))?;
        let elements = self.elements(usize::from(!load), ty, count, load)?;
        let class = match (space, load) {
            (Space::Global | Space::Generic, true) => Class::LoadGlobal,
            (Space::Global | Space::Generic, false) => Class::StoreGlobal,
            (Space::Shared | Space::Cluster, true) => Class::LoadShared,
            (Space::Shared | Space::Cluster, false) => Class::StoreShared,
            (Space::Local, _) => Class::Local,
            (Space::Param | Space::Const, true) => Class::Constant,
            (Space::Param | Space::Const, false) => {
                return Err(self.unknown("parameters and constants are read-only"));
            }
        };
        let access = Access { space, ty, elements, address, constant };
        Ok((if load { Op::Load(access) } else { Op::Store(access) }, class))
    }

    fn atom(&mut self, returns: bool) -> Decoded {
        self.hints();
        let space = self.opcode.space();
        self.require(
            matches!(space, Space::Global | Space::Shared | Space::Cluster | Space::Generic),
            "atomics are in global and shared memory",
        )?;
        let op = self.opcode.take_if(atom_op);
        let op = op.ok_or_else(|| self.unknown("it names no operation"))?;
        let ty = self.ty()?;
        self.require(
            !ty.is_float() && matches!(ty.bytes(), 4 | 8),
            "atomics on floats depend on the order of blocks, so none is modelled",
        )?;
        self.require(returns || !matches!(op, AtomOp::Exch | AtomOp::Cas), "red gives no result")?;
        let first = usize::from(returns);
        let count = first + 2 + usize::from(op == AtomOp::Cas);
        self.count(count..=count)?;
        let target = if returns && !matches!(self.operand(0)?, Operand::Name("_", 0)) {
            Some(self.target(0, ty)?)
        } else {
            None
        };
        let address = self.address(first)?;
        let b = self.source(first + 1, ty)?;
        let c = if op == AtomOp::Cas { self.source(first + 2, ty)? } else { b };
        Ok((Op::Atom(Atom { op, space, ty, target, address, b, c }), Class::Atomic))
    }

    fn copy(&mut self) -> Option<Decoded> {
        if !self.opcode.take("async") {
            return None;
        }
        if self.opcode.take("bulk") {
            return Some(self.cp_bulk());
        }
        Some(self.cp_async())
    }

    fn cp_bulk(&mut self) -> Decoded {
        if self.opcode.take("commit_group") {
            self.count(0..=0)?;
            return Ok((Op::TransferCommit, Class::AsyncCopy));
        }
        if self.opcode.take("wait_group") {
            let reads = self.opcode.take("read");
            self.count(1..=1)?;
            let pending = self.literal(0, 1 << 20)? as u32;
            return Ok((Op::TransferWait { pending, reads }, Class::AsyncCopy));
        }
        let rank = if self.opcode.take("tensor") {
            let ranks = ["1d", "2d", "3d", "4d", "5d"].into_iter().zip(1..);
            let rank =
                ranks.into_iter().find_map(|(name, rank)| self.opcode.take(name).then_some(rank));
            self.opcode.take("tile");
            rank.ok_or_else(|| self.unknown("it needs `.1d` to `.5d`"))?
        } else {
            0
        };
        let hint = self.opcode.take("L2::cache_hint");
        // The spaces stand in the order of target and source.
        let first = self.opcode.take_if(|part| {
            Some(match part {
                "shared::cluster" => Space::Cluster,
                "shared" | "shared::cta" => Space::Shared,
                "global" => Space::Global,
                _ => return None,
            })
        });
        let second = self.opcode.space();
        let load = match (first, second) {
            (Some(Space::Shared | Space::Cluster), Space::Global) => true,
            (Some(Space::Global), Space::Shared) => false,
            (Some(Space::Cluster), Space::Shared) if rank == 0 && !hint => return self.peer_copy(),
            _ => return Err(self.unknown("it copies between global and shared memory")),
        };
        let ends =
            self.opcode.take(if load { "mbarrier::complete_tx::bytes" } else { "bulk_group" });
        self.require(ends, "loads complete on an mbarrier, stores belong to groups")?;
        let multicast = self.opcode.take("multicast::cluster");
        self.require(load || !multicast, "only loads go to several blocks")?;
        let optional = usize::from(hint) + usize::from(multicast);
        let operands = 2 + usize::from(rank == 0) + usize::from(load) + optional;
        self.count(operands..=operands)?;
        let (near, far) = (usize::from(!load), usize::from(load));
        let shared = self.address(near)?;
        let far = if rank > 0 {
            let (map, coordinates) = self.tensor(far, rank)?;
            Far::Tensor { map, coordinates }
        } else {
            Far::Bytes { address: self.address(far)?, bytes: self.source(2, Ty::U32)? }
        };
        let at = 2 + usize::from(rank == 0);
        let mbarrier = if load { Some(self.address(at)?) } else { None };
        let multicast = if multicast { Some(self.source(at + 1, Ty::B16)?) } else { None };
        if hint {
            self.source(operands - 1, Ty::B64)?;
        }
        Ok((Op::Transfer(Transfer { far, shared, mbarrier, multicast }), Class::AsyncCopy))
    }

    /// `cp.async.bulk` from the own shared memory to that of another block.
    fn peer_copy(&mut self) -> Decoded {
        let ends = self.opcode.take("mbarrier::complete_tx::bytes");
        self.require(ends, "copies to shared memory complete on an mbarrier")?;
        self.count(4..=4)?;
        let (to, from) = (self.address(0)?, self.address(1)?);
        let bytes = self.source(2, Ty::U32)?;
        let mbarrier = self.address(3)?;
        Ok((Op::PeerCopy(PeerCopy { to, from, bytes, mbarrier }), Class::AsyncCopy))
    }

    /// `st.async`, its first modifier taken.
    fn store_async(&mut self) -> Decoded {
        self.hints();
        let ends = self.opcode.take("mbarrier::complete_tx::bytes");
        let space = self.opcode.space();
        self.require(
            ends && space == Space::Cluster,
            "it stores to `.shared::cluster` and completes on an mbarrier",
        )?;
        let vectors = [("v2", 2), ("v4", 4)];
        let count = vectors.into_iter().find_map(|(name, n)| self.opcode.take(name).then_some(n));
        let count = count.unwrap_or(1);
        let ty = self.ty()?;
        self.require(matches!(ty.bytes(), 4 | 8), "its elements have 32 or 64 bits")?;
        self.require(ty.bytes() * count as u64 <= 16, "a store has at most 16 bytes")?;
        self.count(3..=3)?;
        let address = self.address(0)?;
        let elements = self.elements(1, ty, count, false)?;
        let mbarrier = self.address(2)?;
        let store = Access { space, ty, elements, address, constant: false };
        Ok((Op::StoreAsync(Box::new(StoreAsync { store, mbarrier })), Class::AsyncCopy))
    }

    fn cp_async(&mut self) -> Decoded {
        if self.opcode.take("commit_group") {
            self.count(0..=0)?;
            return Ok((Op::CpCommit, Class::AsyncCopy));
        }
        if self.opcode.take("wait_all") {
            self.count(0..=0)?;
            return Ok((Op::CpWaitAll, Class::AsyncCopy));
        }
        if self.opcode.take("wait_group") {
            self.count(1..=1)?;
            let pending = self.literal(0, 1 << 20)? as u32;
            return Ok((Op::CpWait { pending }, Class::AsyncCopy));
        }
        let l2_only = self.opcode.take("cg");
        let known = l2_only || self.opcode.take("ca");
        self.require(known, "the simulator knows `.ca` and `.cg`")?;
        self.hints();
        let to = self.opcode.take("shared") || self.opcode.take("shared::cta");
        let from = self.opcode.take("global");
        self.require(to && from, "it copies from global to shared memory")?;
        self.count(3..=4)?;
        let shared = self.address(0)?;
        let global = self.address(1)?;
        let bytes = self.literal(2, 16)? as u32;
        self.require(matches!(bytes, 4 | 8 | 16), "it copies 4, 8 or 16 bytes")?;
        self.require(!l2_only || bytes == 16, "`.cg` copies 16 bytes")?;
        let (mut source_bytes, mut ignore) = (None, None);
        if self.operands() == 4 {
            match self.operand(3)? {
                Operand::Name(name, 0)
                    if matches!(self.find(name), Ok(Entity::Register { file: File::Pred, .. })) =>
                {
                    let (pred, negated) = self.pred(3)?;
                    ignore = Some(Guard { pred, negated });
                }
                Operand::Not(_) => {
                    let (pred, negated) = self.pred(3)?;
                    ignore = Some(Guard { pred, negated });
                }
                _ => source_bytes = Some(self.source(3, Ty::U32)?),
            }
        }
        let copy = CpAsync { shared, global, bytes, source_bytes, ignore };
        Ok((Op::CpAsync(copy), Class::AsyncCopy))
    }
}

/// The operation of an atomic or of `redux`.
pub(super) fn atom_op(part: &str) -> Option<AtomOp> {
    Some(match part {
        "add" => AtomOp::Add,
        "min" => AtomOp::Min,
        "max" => AtomOp::Max,
        "and" => AtomOp::And,
        "or" => AtomOp::Or,
        "xor" => AtomOp::Xor,
        "exch" => AtomOp::Exch,
        "inc" => AtomOp::Inc,
        "dec" => AtomOp::Dec,
        "cas" => AtomOp::Cas,
        _ => return None,
    })
}

impl Form<'_, '_, '_> {
    /// Fails unless the address operand is a plain one; used where offsets are not taken.
    pub(super) fn label(&self, index: usize) -> Result<u32, ParseError> {
        match self.operand(index)? {
            Operand::Name(name, 0) => match self.find(name)? {
                Entity::Label { pc } => Ok(pc),
                _ => Err(self.wrong_operand(index, "a label")),
            },
            _ => Err(self.wrong_operand(index, "a label")),
        }
    }
}
