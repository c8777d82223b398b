//! Which bits of which registers depend on marked ranges of memory.
//!
//! Moves, selections, bit logic and shifts are followed bit by bit, so a masked-away half of
//! a register is clean again. Any other instruction with a marked bit in a source marks its whole
//! result. Control flow is not followed: what a branch on a marked predicate decides is not marked.

use super::Cluster;
use super::access::{Step, Target};
use super::matrix;
use super::shuffle;
use super::warp::{Warp, lanes};
use crate::fault::FaultKind;
use crate::inst::{Access, Address, Atom, Bool, Element, Inst, Int2, Int3, Op, Slot};

impl Warp {
    fn taint(&self, slot: Slot, lane: usize) -> u64 {
        match slot {
            Slot::Narrow(col) => u64::from(self.narrow_taint[col as usize][lane]),
            Slot::Wide(col) => self.wide_taint[col as usize][lane],
            Slot::Pred(col) => u64::from(self.pred_taint[col as usize] >> lane & 1),
        }
    }

    fn set_taint(&mut self, slot: Slot, lane: usize, bits: u64) {
        match slot {
            Slot::Narrow(col) => self.narrow_taint[col as usize][lane] = bits as u32,
            Slot::Wide(col) => self.wide_taint[col as usize][lane] = bits,
            Slot::Pred(col) => {
                let cell = &mut self.pred_taint[col as usize];
                *cell = (*cell & !(1 << lane)) | u32::from(bits & 1 != 0) << lane;
            }
        }
    }

    fn column_is_clean(&self, slot: Slot) -> bool {
        match slot {
            Slot::Narrow(col) => self.narrow_taint[col as usize].iter().all(|bits| *bits == 0),
            Slot::Wide(col) => self.wide_taint[col as usize].iter().all(|bits| *bits == 0),
            Slot::Pred(col) => self.pred_taint[col as usize] == 0,
        }
    }

    fn address_taint(&self, address: Address, lane: usize) -> bool {
        let slot = if address.wide { Slot::Wide(address.base) } else { Slot::Narrow(address.base) };
        self.taint(slot, lane) != 0
    }
}

/// Marks the targets of an instruction from its sources, before it runs. Loads, `ldmatrix` and
/// stores do it on their own.
pub(super) fn propagate(warp: &mut Warp, inst: &Inst, mask: u32) {
    match &inst.op {
        Op::Load(_) | Op::Store(_) | Op::Atom(_) | Op::CpAsync(_) => return,
        Op::LdMatrix { .. } | Op::StMatrix { .. } | Op::StoreAsync(_) => return,
        Op::Transfer(_) | Op::Wgmma(_) => return,
        _ => {}
    }
    if inst.sources.iter().all(|slot| warp.column_is_clean(*slot)) {
        for target in &inst.targets {
            for lane in lanes(mask) {
                warp.set_taint(*target, lane, 0);
            }
        }
        return;
    }
    match &inst.op {
        Op::Mma(mma) => return matrix::mma_taint(warp, mma),
        Op::MovMatrix { d, a } => {
            let moved = matrix::transpose(&warp.narrow_taint[*a as usize]);
            warp.narrow_taint[*d as usize] = moved;
            return;
        }
        Op::Shfl(shfl) => {
            let (from, _) = shuffle::sources(warp, shfl, mask);
            let before = warp.narrow_taint[shfl.a as usize];
            for lane in lanes(mask) {
                let chosen = warp.taint(Slot::Narrow(shfl.b), lane) != 0;
                let bits = if chosen { u32::MAX } else { before[from[lane]] };
                warp.narrow_taint[shfl.d as usize][lane] = bits;
            }
            return;
        }
        Op::Elect { .. } => {}
        Op::Vote { .. } | Op::MatchAny { .. } | Op::MatchAll { .. } | Op::Redux { .. } => {
            for target in &inst.targets {
                for lane in lanes(mask) {
                    warp.set_taint(*target, lane, u64::MAX);
                }
            }
            return;
        }
        _ => {}
    }
    for lane in lanes(mask) {
        apply(warp, inst, lane);
    }
}

fn apply(warp: &mut Warp, inst: &Inst, lane: usize) {
    let guarded = inst.guard.is_some_and(|guard| warp.taint(Slot::Pred(guard.pred), lane) != 0);
    if guarded {
        for target in &inst.targets {
            warp.set_taint(*target, lane, u64::MAX);
        }
        return;
    }
    if let Op::Unpack { bits, parts, wide, a } = &inst.op {
        let source = warp.taint(slot(*wide, *a), lane);
        for (at, part) in parts.iter().enumerate() {
            let Some(part) = part else { continue };
            let own = source >> (at as u32 * bits) & (u64::MAX >> (64 - bits));
            warp.set_taint(Slot::Narrow(*part), lane, own);
        }
        return;
    }
    let result = exact(warp, &inst.op, lane).unwrap_or_else(|| {
        let any = inst.sources.iter().any(|slot| warp.taint(*slot, lane) != 0);
        if any { u64::MAX } else { 0 }
    });
    for target in &inst.targets {
        warp.set_taint(*target, lane, result);
    }
}

fn slot(wide: bool, col: u32) -> Slot {
    if wide { Slot::Wide(col) } else { Slot::Narrow(col) }
}

/// The marked bits of a result, for the operations that are followed bit by bit.
fn exact(warp: &Warp, op: &Op, lane: usize) -> Option<u64> {
    let both = |wide: bool, col: u32| {
        (warp.value(slot(wide, col), lane), warp.taint(slot(wide, col), lane))
    };
    Some(match op {
        Op::Mov { wide, a, .. } => both(*wide, *a).1,
        Op::PredMov { a, .. } | Op::PredNot { a, .. } => warp.taint(Slot::Pred(*a), lane),
        Op::PredLogic { op, a, b, .. } => {
            let pred =
                |col: u32| (warp.value(Slot::Pred(col), lane), warp.taint(Slot::Pred(col), lane));
            let (a, b) = (pred(*a), pred(*b));
            match op {
                Bool::And => and(a, b),
                Bool::Or => or(a, b),
                Bool::Xor => a.1 | b.1,
            }
        }
        Op::Pack { bits, parts, .. } => parts
            .iter()
            .enumerate()
            .fold(0, |sum, (at, part)| sum | both(false, *part).1 << (at as u32 * bits)),
        Op::Int2 { op: Int2::And, ty, a, b, .. } => {
            and(both(ty.is_wide(), *a), both(ty.is_wide(), *b))
        }
        Op::Int2 { op: Int2::Or, ty, a, b, .. } => {
            or(both(ty.is_wide(), *a), both(ty.is_wide(), *b))
        }
        Op::Int2 { op: Int2::Xor, ty, a, b, .. } => {
            both(ty.is_wide(), *a).1 | both(ty.is_wide(), *b).1
        }
        Op::Int2 { op: op @ (Int2::Shl | Int2::Shr), ty, a, b, .. } => {
            let amount = both(false, *b);
            if amount.1 != 0 {
                return None;
            }
            let (_, taint) = both(ty.is_wide(), *a);
            let amount = amount.0 as u32;
            let top = 1u64 << (ty.bits() - 1);
            match op {
                Int2::Shl => taint.checked_shl(amount).unwrap_or(0),
                _ if ty.is_signed() && taint & top != 0 => return None,
                _ => taint.checked_shr(amount).unwrap_or(0),
            }
        }
        Op::Int3 { op: Int3::Prmt(mode), a, b, c, .. } => {
            let selectors = both(false, *c);
            if selectors.1 != 0 {
                return None;
            }
            let (x, y) = (both(false, *a).1 as u32, both(false, *b).1 as u32);
            u64::from(super::int::prmt(x, y, selectors.0 as u32, *mode))
        }
        Op::Selp { wide, a, b, p, negated, .. } => {
            if warp.taint(Slot::Pred(*p), lane) != 0 {
                return None;
            }
            let first = (warp.value(Slot::Pred(*p), lane) == 1) != *negated;
            both(*wide, if first { *a } else { *b }).1
        }
        Op::Convert { convert, a, .. } if convert.to.is_integer() && convert.from.is_integer() => {
            let (_, taint) = both(convert.from.is_wide(), *a);
            let narrowing = convert.to.bits() <= convert.from.bits() && !convert.sat;
            if narrowing || (taint == 0) {
                taint & (u64::MAX >> (64 - convert.to.bits()))
            } else {
                return None;
            }
        }
        Op::ConvertPair { a, b, .. } => {
            let half = |col: u32| if both(false, col).1 != 0 { 0xffff } else { 0 };
            half(*a) << 16 | half(*b)
        }
        _ => return None,
    })
}

/// A bit of `a & b` depends on a marked one unless the other side is a clean zero.
fn and(a: (u64, u64), b: (u64, u64)) -> u64 {
    (a.1 & b.1) | (a.1 & b.0) | (b.1 & a.0)
}

fn or(a: (u64, u64), b: (u64, u64)) -> u64 {
    (a.1 & b.1) | (a.1 & !b.0) | (b.1 & !a.0)
}

impl Cluster<'_> {
    /// One bit for each byte of a global range that is marked.
    pub(super) fn marked_bytes(&self, target: Target, bytes: u64) -> u32 {
        let Target::Global { index, offset } = target else { return 0 };
        let Some(allocation) = &self.launch.allocations[index] else { return 0 };
        if allocation.marks.is_empty() {
            return 0;
        }
        (0..bytes).fold(0, |sum, at| sum | u32::from(allocation.is_marked(offset + at, 1)) << at)
    }

    pub(super) fn load_taint(
        &self,
        warp: &mut Warp,
        load: &Access,
        lane: usize,
        target: Target,
        (at, bytes): (u64, u64),
        element: Element,
    ) {
        let Some(col) = element.col else { return };
        let gather = |taint: &[u8], start: u64| {
            let start = (start + at) as usize;
            crate::memory::shared::read_le(&taint[start..start + bytes as usize])
        };
        let bits = match target {
            Target::Global { .. } => {
                let marked = self.marked_bytes(target, at + bytes) >> at;
                if marked != 0 { u64::MAX } else { 0 }
            }
            Target::Shared { block, offset } => gather(&self.blocks[block].shared.taint, offset),
            Target::Local(offset) => gather(&warp.local_taint, offset + self.local_start(lane)),
            Target::Param(_) | Target::Const(_) => 0,
        };
        let all = warp.address_taint(load.address, lane)
            || self.guard_taint >> lane & 1 == 1
            || (load.ty.is_signed() && bits != 0);
        warp.set_taint(slot(element.wide, col), lane, if all { u64::MAX } else { bits });
    }

    pub(super) fn store_taint(
        &mut self,
        warp: &mut Warp,
        store: &Access,
        lane: usize,
        target: Target,
    ) -> Step<()> {
        let each = store.ty.bytes();
        let guarded = self.guard_taint >> lane & 1 == 1;
        let addressed = warp.address_taint(store.address, lane);
        for (at, element) in store.elements.iter().enumerate() {
            let Some(col) = element.col else { continue };
            let at = at as u64 * each;
            let own = warp.taint(slot(element.wide, col), lane) & (u64::MAX >> (64 - each * 8));
            let bits = if guarded || addressed { u64::MAX } else { own };
            match target {
                Target::Global { .. } => {
                    let marked = self.marked_bytes(target, at + each) >> at;
                    let all_marked = marked.count_ones() as u64 == each;
                    if bits != 0 && !all_marked {
                        let what = match (guarded, addressed) {
                            (true, _) => "its store's predicate",
                            (_, true) => "its store's address",
                            _ => "its value",
                        };
                        return Err(self.trap(FaultKind::Taint { what }, lane, target));
                    }
                }
                Target::Shared { block, offset } => {
                    let start = (offset + at) as usize;
                    let bytes = &bits.to_le_bytes()[..each as usize];
                    let taint = &mut self.blocks[block].shared.taint;
                    taint[start..start + each as usize].copy_from_slice(bytes);
                }
                Target::Local(offset) => {
                    let start = (offset + at + self.local_start(lane)) as usize;
                    let bytes = &bits.to_le_bytes()[..each as usize];
                    warp.local_taint[start..start + each as usize].copy_from_slice(bytes);
                }
                Target::Param(_) | Target::Const(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn atom_taint(
        &self,
        warp: &mut Warp,
        atom: &Atom,
        lane: usize,
        target: Target,
    ) -> Step<()> {
        let wide = atom.ty.is_wide();
        let value = warp.taint(slot(wide, atom.b), lane) | warp.taint(slot(wide, atom.c), lane);
        let tainted = value != 0
            || warp.address_taint(atom.address, lane)
            || self.guard_taint >> lane & 1 == 1;
        let marked = self.marked_bytes(target, atom.ty.bytes()) != 0;
        if let Some(d) = atom.target {
            warp.set_taint(slot(wide, d), lane, if marked || tainted { u64::MAX } else { 0 });
        }
        if tainted && !marked {
            return Err(self.trap(FaultKind::Taint { what: "its value" }, lane, target));
        }
        Ok(())
    }
}
