//! A warp's way through the code: branches, returns, and where its parts meet again.

use super::Cluster;
use super::warp::{Part, Waiting, Warp};
use crate::fault::{Fault, FaultKind, Trap};
use crate::inst::{Inst, Mbarriers, Op};

/// Why a warp gives up its turn.
pub(super) enum Stop {
    /// All lanes have returned.
    Done,
    /// All lanes that could go on wait for an mbarrier.
    Polling,
    /// It goes on, after the others.
    Turn,
    /// At a product of its warpgroup.
    Warpgroup { pc: u32 },
    /// At a barrier, with the place of its instruction.
    Barrier { id: usize, count: Option<u32>, pc: u32 },
}

/// What an instruction of control asks for.
enum Flow {
    Next,
    /// The part is back in the list, or gone.
    Leave,
    Stop(Stop),
}

impl Cluster<'_> {
    /// Runs a warp to its next barrier or its end.
    pub(super) fn run_warp<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
    ) -> Result<Stop, Box<Fault>> {
        loop {
            if warp.parts.is_empty() {
                return Ok(Stop::Done);
            }
            let Some(at) = warp.parts.iter().position(|part| part.waiting == Waiting::No) else {
                let polls =
                    |part: &Part| matches!(part.waiting, Waiting::Mbarrier(_) | Waiting::Cluster);
                if warp.parts.iter().any(polls) {
                    return Ok(Stop::Polling);
                }
                return Err(self.divergent(warp));
            };
            let mut part = warp.parts.remove(at);
            // Other parts ahead: this one stops where the next of them is.
            let limit = warp.parts.get(at).map_or(u32::MAX, |next| next.pc);
            if let Some(stop) = self.run_part::<CHECK>(warp, &mut part, limit)? {
                return Ok(stop);
            }
        }
    }

    fn run_part<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        part: &mut Part,
        limit: u32,
    ) -> Result<Option<Stop>, Box<Fault>> {
        let program = self.launch.program;
        loop {
            let pc = part.pc;
            if pc >= limit {
                join(warp, *part);
                return Ok(None);
            }
            let inst = &program.code[pc as usize];
            self.counts[pc as usize] += 1;
            let mask = match inst.guard {
                None => part.mask,
                Some(guard) => {
                    let held = warp.preds[guard.pred as usize];
                    part.mask & if guard.negated { !held } else { held }
                }
            };
            part.pc += 1;
            if mask == 0 {
                continue;
            }
            if CHECK
                && program.wgmma
                && self.launch.checks.races
                && let Err(trap) = super::wgmma::registers(warp, inst)
            {
                return Err(self.fault(*trap, warp.index, pc));
            }
            if inst.op.is_control() {
                match self.control(warp, part, mask, inst) {
                    Ok(Flow::Next) => {}
                    Ok(Flow::Leave) => return Ok(None),
                    Ok(Flow::Stop(stop)) => {
                        join(warp, *part);
                        return Ok(Some(stop));
                    }
                    Err(trap) => return Err(self.fault(*trap, warp.index, pc)),
                }
                continue;
            }
            if mask != u32::MAX && inst.op.is_matrix() {
                match gathered(warp, part, mask, pc, u32::MAX) {
                    Some(Err(trap)) => return Err(self.fault(*trap, warp.index, pc)),
                    _ => return Ok(None),
                }
            }
            if CHECK && self.launch.tracked {
                self.guard_taint =
                    inst.guard.map_or(0, |guard| warp.pred_taint[guard.pred as usize]);
                super::taint::propagate(warp, inst, mask);
            }
            if let Err(trap) = self.step::<CHECK>(warp, mask, &inst.op) {
                return Err(self.fault(*trap, warp.index, pc));
            }
        }
    }

    /// Instructions that move a part, or for which lanes have to come together first.
    fn control(
        &mut self,
        warp: &mut Warp,
        part: &mut Part,
        mask: u32,
        inst: &Inst,
    ) -> Result<Flow, Box<Trap>> {
        let pc = part.pc - 1;
        match &inst.op {
            Op::Bra { target } => {
                self.branches += 1;
                if let Some(kind) = self.endless() {
                    return Err(Trap::new(kind));
                }
                let stay = part.mask & !mask;
                if stay != 0 {
                    join(warp, Part { pc: part.pc, mask: stay, waiting: Waiting::No });
                } else if warp.parts.is_empty() {
                    part.pc = *target;
                    return Ok(Flow::Next);
                }
                join(warp, Part { pc: *target, mask, waiting: Waiting::No });
                Ok(Flow::Leave)
            }
            Op::Exit => {
                if self.launch.checks.races {
                    self.transfers_ended(warp, mask)?;
                    let unwaited = mask & !self.waited[warp.index as usize];
                    if self.launch.ahead.is_some() && unwaited != 0 {
                        return Err(Trap::new(FaultKind::Unwaited { lanes: unwaited }));
                    }
                }
                warp.live &= !mask;
                self.last_exit = pc;
                self.cluster_leave(warp.index, mask);
                part.mask &= !mask;
                // Whoever waited for these lanes may look again.
                for other in &mut warp.parts {
                    other.waiting = Waiting::No;
                }
                if part.mask != 0 {
                    join(warp, *part);
                }
                Ok(Flow::Leave)
            }
            Op::Trap => Err(Trap::new(FaultKind::Trap)),
            Op::BarSync { id, count } => {
                if let Some(flow) = together(warp, part, mask, pc, warp.live) {
                    return flow;
                }
                let lane = mask.trailing_zeros() as usize & 31;
                let id = warp.narrow[*id as usize][lane] as usize;
                let count = count.map(|count| warp.narrow[count as usize][lane]);
                Ok(Flow::Stop(Stop::Barrier { id, count, pc }))
            }
            Op::BarArrive { id, count } => {
                if let Some(flow) = together(warp, part, mask, pc, warp.live) {
                    return flow;
                }
                let lane = mask.trailing_zeros() as usize & 31;
                let id = warp.narrow[*id as usize][lane] as usize;
                let count = warp.narrow[*count as usize][lane];
                self.arrive_only(warp.index as usize, id, count)?;
                Ok(Flow::Next)
            }
            Op::ClusterArrive { release, aligned } => {
                if *aligned && let Some(flow) = together(warp, part, mask, pc, warp.live) {
                    return flow;
                }
                self.cluster_arrive(warp, mask, *release)?;
                Ok(Flow::Next)
            }
            Op::ClusterWait { aligned } => {
                if *aligned && let Some(flow) = together(warp, part, mask, pc, warp.live) {
                    return flow;
                }
                if self.cluster_wait(warp, mask)? {
                    return Ok(Flow::Next);
                }
                // The lanes look at this place again, once something has changed; it counts once.
                self.counts[pc as usize] -= 1;
                if part.mask != mask {
                    let rest = part.mask & !mask;
                    join(warp, Part { pc: part.pc, mask: rest, waiting: Waiting::No });
                }
                warp.looked = warp.looked.min(self.changes);
                join(warp, Part { pc, mask, waiting: Waiting::Cluster });
                Ok(Flow::Leave)
            }
            Op::Wgmma(_) | Op::WgmmaFence | Op::WgmmaCommit | Op::WgmmaWait { .. } => {
                if let Some(flow) = gathered(warp, part, mask, pc, u32::MAX) {
                    return flow;
                }
                if matches!(inst.op, Op::Wgmma(_)) {
                    return Ok(Flow::Stop(Stop::Warpgroup { pc }));
                }
                self.products(warp, &inst.op)?;
                Ok(Flow::Next)
            }
            Op::Mbarrier(op) => {
                let Mbarriers::Wait { blocking, done, phase } = op.kind else {
                    self.mbarrier(warp, mask, op)?;
                    return Ok(Flow::Next);
                };
                // It may say no for no reason, and each wait begins with a no, so that one whose answer does not matter is
                // found out.
                if blocking && !warp.doubted.contains(&pc) {
                    warp.doubted.push(pc);
                    warp.set_pred(mask, done, 0);
                    return Ok(Flow::Next);
                }
                match self.wait(warp, mask, op, phase)? {
                    Some(offset) if blocking => {
                        if part.mask != mask {
                            // The guarded lanes wait apart from the others.
                            let rest = part.mask & !mask;
                            join(warp, Part { pc: part.pc, mask: rest, waiting: Waiting::No });
                        }
                        // It goes on with a no, once something has changed.
                        warp.set_pred(mask, done, 0);
                        warp.looked = warp.looked.min(self.changes);
                        let waiting = Waiting::Mbarrier(offset);
                        join(warp, Part { pc: part.pc, mask, waiting });
                        Ok(Flow::Leave)
                    }
                    missing => {
                        warp.doubted.retain(|doubted| *doubted != pc);
                        let bits = if missing.is_none() { u32::MAX } else { 0 };
                        warp.set_pred(mask, done, bits);
                        if self.launch.tracked {
                            super::taint::propagate(warp, inst, mask);
                        }
                        Ok(if missing.is_none() { Flow::Next } else { Flow::Stop(Stop::Turn) })
                    }
                }
            }
            op => {
                let needed = match op.members() {
                    None => warp.live,
                    Some(col) => named_members(warp, col, mask)?,
                };
                if let Some(flow) = gathered(warp, part, mask, pc, needed) {
                    return flow;
                }
                if self.launch.tracked {
                    super::taint::propagate(warp, inst, mask);
                }
                self.warp_wide(warp, mask, op);
                if self.launch.checks.any() {
                    self.tick(warp.index);
                }
                Ok(Flow::Next)
            }
        }
    }

    /// Every part waits for lanes that don't come.
    fn divergent(&self, warp: &Warp) -> Box<Fault> {
        let part = warp.parts[0];
        let kind = match part.waiting {
            Waiting::Members(members) => FaultKind::MissingLanes { members, found: part.mask },
            Waiting::Lanes | Waiting::No | Waiting::Mbarrier(_) | Waiting::Cluster => {
                FaultKind::DivergentBarrier { expected: warp.live, found: part.mask }
            }
        };
        self.fault(Trap { kind, lane: None, address: None }, warp.index, part.pc)
    }
}

/// All lanes of a mask name members, and each is one of them.
fn named_members(warp: &Warp, col: u32, mask: u32) -> Result<u32, Box<Trap>> {
    let mut needed = 0;
    for lane in super::warp::lanes(mask) {
        let members = warp.narrow[col as usize][lane];
        if members >> lane & 1 == 0 {
            return Err(Trap::lane(FaultKind::NotAMember { members }, lane as u32));
        }
        needed |= members;
    }
    Ok(needed & warp.live)
}

/// None if all live lanes are at the barrier; else the part waits, or never can.
fn together(
    warp: &mut Warp,
    part: &Part,
    mask: u32,
    pc: u32,
    live: u32,
) -> Option<Result<Flow, Box<Trap>>> {
    if mask == live {
        return None;
    }
    if mask != part.mask {
        let kind = FaultKind::DivergentBarrier { expected: live, found: mask };
        return Some(Err(Trap::new(kind)));
    }
    join(warp, Part { pc, mask, waiting: Waiting::Lanes });
    Some(Ok(Flow::Leave))
}

/// None if all members are here; else the part waits, or never can.
fn gathered(
    warp: &mut Warp,
    part: &Part,
    mask: u32,
    pc: u32,
    needed: u32,
) -> Option<Result<Flow, Box<Trap>>> {
    let missing = needed & !mask;
    if missing == 0 {
        return None;
    }
    if missing & part.mask != 0 {
        let kind = FaultKind::MissingLanes { members: needed, found: mask };
        return Some(Err(Trap::new(kind)));
    }
    join(warp, Part { pc, mask: part.mask, waiting: Waiting::Members(needed) });
    Some(Ok(Flow::Leave))
}

/// Puts a part back; with one at the same place it becomes one.
fn join(warp: &mut Warp, part: Part) {
    match warp.parts.binary_search_by_key(&part.pc, |other| other.pc) {
        Ok(at) => {
            warp.parts[at].mask |= part.mask;
            warp.parts[at].waiting = Waiting::No;
        }
        Err(at) => warp.parts.insert(at, part),
    }
}

impl Op {
    /// Whether an instruction moves lanes, or needs them together.
    pub(super) fn is_control(&self) -> bool {
        matches!(
            self,
            Op::Bra { .. }
                | Op::Exit
                | Op::Trap
                | Op::BarSync { .. }
                | Op::BarArrive { .. }
                | Op::BarWarp { .. }
                | Op::ClusterArrive { .. }
                | Op::ClusterWait { .. }
                | Op::Mbarrier(_)
                | Op::Wgmma(_)
                | Op::WgmmaFence
                | Op::WgmmaCommit
                | Op::WgmmaWait { .. }
                | Op::Elect { .. }
                | Op::Shfl(_)
                | Op::Vote { .. }
                | Op::MatchAny { .. }
                | Op::MatchAll { .. }
                | Op::Redux { .. }
        )
    }

    /// Whether an instruction takes all 32 lanes as one.
    fn is_matrix(&self) -> bool {
        matches!(
            self,
            Op::Mma(_) | Op::LdMatrix { .. } | Op::StMatrix { .. } | Op::MovMatrix { .. }
        )
    }

    /// The column with the member mask; none where all live lanes are meant.
    fn members(&self) -> Option<u32> {
        match self {
            Op::BarWarp { members }
            | Op::Vote { members, .. }
            | Op::Elect { members, .. }
            | Op::MatchAny { members, .. }
            | Op::MatchAll { members, .. }
            | Op::Redux { members, .. } => Some(*members),
            Op::Shfl(shfl) => Some(shfl.members),
            _ => None,
        }
    }
}
