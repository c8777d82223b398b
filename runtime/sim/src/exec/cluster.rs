//! The blocks of a cluster: how they reach each other's shared memory, the barrier that they share, and their ends.
//!
//! A launch without clusters has clusters of one block. All warps of a cluster run in turn on one thread and are
//! numbered through, block after block, so that the clocks of `memory::shadow` order them whatever block they are in.
//!
//! A block's shared memory is there for its peers from when they know that it has begun, as after a barrier of the
//! cluster or a wait for its arrival, until it returns; and it must not return before it knows that they are done.

use super::access::{Reach, Step, Target};
use super::agent::Agent;
use super::mbarrier::Mbarrier;
use super::warp::{Warp, lanes};
use super::{Cluster, barrier};
use crate::fault::{AccessKind, FaultKind, Place, Trap};
use crate::memory::RANK_BIT;
use crate::memory::shadow::{SEVERAL, Seen, clock_of, learn};
use crate::memory::shared::Shared;

/// One block.
#[derive(Debug)]
pub(super) struct Block {
    /// Its index in the grid.
    pub(super) index: [u32; 3],
    pub(super) shared: Shared,
    /// All its lanes have returned.
    returned: bool,
}

impl Block {
    pub(super) fn new(index: [u32; 3], shared: Shared) -> Self {
        Self { index, shared, returned: false }
    }
}

/// The barrier of a cluster: lanes arrive, and later wait for all others that have not returned.
#[derive(Debug)]
pub(super) struct Meeting {
    /// Phases that have ended.
    phase: u32,
    /// For each warp its lanes that have not returned, and those that have arrived in this phase.
    live: Vec<u32>,
    arrived: Vec<u32>,
    /// For each warp and lane the phase, from one, of an arrival that it has not waited for yet.
    pending: Vec<[u32; 32]>,
    /// For each warp whether it has ever waited: then all blocks have begun.
    met: Vec<bool>,
    /// What the arrivals of this phase publish, of memory and of proxy fences; and what those of the last one did.
    arriving: [Vec<Seen>; 2],
    completed: [Vec<Seen>; 2],
    /// The same of mbarriers, by block and offset, that a `fence.mbarrier_init` has shown. A relaxed arrival publishes
    /// nothing else.
    arriving_inits: Vec<(usize, u64)>,
    completed_inits: Vec<(usize, u64)>,
}

impl Meeting {
    pub(super) fn new(warps: &[Warp]) -> Self {
        Self {
            phase: 0,
            live: warps.iter().map(|warp| warp.live).collect(),
            arrived: vec![0; warps.len()],
            pending: vec![[0; 32]; warps.len()],
            met: vec![false; warps.len()],
            arriving: Default::default(),
            completed: Default::default(),
            arriving_inits: Vec::new(),
            completed_inits: Vec::new(),
        }
    }

    /// How many lanes the phase still lacks.
    pub(super) fn lacking(&self) -> u32 {
        self.live.iter().zip(&self.arrived).map(|(live, came)| (live & !came).count_ones()).sum()
    }
}

fn misused(text: &str, lane: usize) -> Box<Trap> {
    Trap::lane(FaultKind::Barrier(format!("barrier.cluster: {text}")), lane as u32)
}

impl Cluster<'_> {
    /// Bytes of each block's shared memory.
    pub(super) fn shared_bytes(&self) -> u64 {
        self.launch.shared_bytes.into()
    }

    /// The block that a warp belongs to.
    pub(super) fn block_of(&self, warp: u32) -> usize {
        warp as usize / self.warps_each
    }

    /// A warp's number within its block.
    pub(super) fn warp_in_block(&self, warp: u32) -> u32 {
        warp % self.warps_each as u32
    }

    /// The block and the place there of an address in the shared memory of the cluster.
    pub(super) fn within_cluster(&self, address: u64, reach: Reach) -> Step<Target> {
        let Reach { access, bytes, .. } = reach;
        let block = match address >> RANK_BIT {
            0 => self.block,
            rank => rank as usize - 1,
        };
        if block >= self.blocks.len() {
            let kind = FaultKind::OutOfBounds { access, bytes };
            return Err(Trap::at(kind, reach.lane as u32, Place::Nowhere(address)));
        }
        self.peer(block, address & ((1 << RANK_BIT) - 1), reach)
    }

    /// A place in a block's shared memory, if that is there.
    pub(super) fn peer(&self, block: usize, offset: u64, reach: Reach) -> Step<Target> {
        let Reach { access, lane, .. } = reach;
        let target = Target::Shared { block, offset };
        let rank = block as u32;
        if block != self.block && self.blocks[block].returned {
            return Err(self.trap(FaultKind::Returned { access, rank }, lane, target));
        }
        if block != self.block && self.launch.checks.races && !self.begun(block) {
            return Err(self.trap(FaultKind::NotBegun { access, rank }, lane, target));
        }
        Ok(target)
    }

    /// Whether the warp whose turn it is knows that a block has begun.
    fn begun(&self, block: usize) -> bool {
        let first = block * self.warps_each;
        let known = &self.known[self.warp][first..first + self.warps_each];
        self.meeting.met[self.warp] || known.iter().any(|seen| clock_of(*seen) > 1)
    }

    /// `mapa`: the address, in the shared memory of the block of a rank, of what lies there in the own block's.
    pub(super) fn map_address(&self, address: u64, rank: u32, lane: usize) -> Step<u64> {
        if rank as usize >= self.blocks.len() {
            let blocks = self.blocks.len() as u32;
            return Err(Trap::lane(FaultKind::Rank { rank, blocks }, lane as u32));
        }
        let (window, place) = (address & !0xffff_ffff, address & ((1 << RANK_BIT) - 1));
        Ok(window | u64::from(rank + 1) << RANK_BIT | place)
    }

    /// `getctarank`: the rank of the block in whose shared memory an address lies.
    pub(super) fn rank_of(&self, address: u64) -> u32 {
        match (address & 0xffff_ffff) >> RANK_BIT {
            0 => self.block as u32,
            rank => rank as u32 - 1,
        }
    }

    /// Lanes arrive at the barrier of the cluster.
    pub(super) fn cluster_arrive(&mut self, warp: &Warp, mask: u32, release: bool) -> Step<()> {
        let index = warp.index as usize;
        let phase = self.meeting.phase + 1;
        for lane in lanes(mask) {
            let pending = &mut self.meeting.pending[index][lane];
            if *pending != 0 {
                return Err(misused("expected a wait of the lane after its last arrival", lane));
            }
            *pending = phase;
        }
        let published = release.then(|| self.published(warp, mask));
        let meeting = &mut self.meeting;
        meeting.arrived[index] |= mask;
        if let Some(published) = published {
            learn(&mut meeting.arriving[0], &published);
            learn(&mut meeting.arriving[1], &self.fenced[index]);
        }
        let shown = self.mbarriers.iter().filter(|at| at.is_shown_by(warp.index));
        meeting.arriving_inits.extend(shown.map(|at| at.place()));
        self.meet();
        Ok(())
    }

    /// Whether all have come to the barrier whose arrivals these lanes wait for.
    pub(super) fn cluster_wait(&mut self, warp: &Warp, mask: u32) -> Step<bool> {
        let index = warp.index as usize;
        let meeting = &mut self.meeting;
        for lane in lanes(mask) {
            match meeting.pending[index][lane] {
                0 => return Err(misused("expected an arrival of the lane before its wait", lane)),
                pending if pending > meeting.phase => return Ok(false),
                _ => {}
            }
        }
        for lane in lanes(mask) {
            meeting.pending[index][lane] = 0;
        }
        meeting.met[index] = true;
        learn(&mut self.known[index], &meeting.completed[0]);
        learn(&mut self.fenced[index], &meeting.completed[1]);
        let shown = &meeting.completed_inits;
        for at in self.mbarriers.iter_mut().filter(|at| shown.contains(&at.place())) {
            at.learn_init(warp.index);
        }
        Ok(true)
    }

    /// Lanes return; the barrier no longer waits for them.
    pub(super) fn cluster_leave(&mut self, warp: u32, mask: u32) {
        self.meeting.live[warp as usize] &= !mask;
        self.meet();
    }

    /// Ends the barrier's phase if all lanes of the cluster that have not returned have arrived.
    fn meet(&mut self) {
        let meeting = &mut self.meeting;
        if meeting.lacking() > 0 {
            return;
        }
        meeting.phase += 1;
        meeting.arrived.fill(0);
        meeting.completed = std::mem::take(&mut meeting.arriving);
        meeting.completed_inits = std::mem::take(&mut meeting.arriving_inits);
        self.changes += 1;
    }

    /// All lanes of a block have returned: nobody may reach its shared memory any more, nor still be about to.
    pub(super) fn end_block(&mut self, block: usize) -> Step<()> {
        self.blocks[block].returned = true;
        if !self.launch.checks.races {
            return Ok(());
        }
        let own = block * self.warps_each..(block + 1) * self.warps_each;
        let mut known = Vec::new();
        for warp in own.clone() {
            learn(&mut known, &self.known[warp]);
        }
        // What the warps did themselves was before they returned.
        for warp in own {
            known[warp] = u64::MAX;
        }
        known.resize(known.len().max(self.known.len()), 0);
        let own = |at: &&Mbarrier| at.place().0 == block;
        let arrival = self.mbarriers.iter().filter(own).find_map(|at| {
            let (_, offset) = at.place();
            Some((offset, AccessKind::Atomic, at.late(&known)?, SEVERAL))
        });
        let plain = |offset| !self.mbarrier_in(block, offset, 1);
        let late = || self.blocks[block].shared.shadow.late(&known, plain);
        let Some((offset, other, agent, lane)) = arrival.or_else(late) else { return Ok(()) };
        let owner = match self.agents.get((agent as usize).wrapping_sub(self.known.len())) {
            Some(agent) => self.owner(*agent),
            None => self.lane_name(agent, lane),
        };
        let address = Some(Place::Shared(offset));
        Err(Box::new(Trap { kind: FaultKind::Outlived { other, owner }, lane: None, address }))
    }

    /// A lane of a warp, for messages.
    fn lane_name(&self, warp: u32, lane: u32) -> String {
        let lane = if lane < 32 { format!(" lane {lane}") } else { String::new() };
        format!("warp {}{lane}{}", self.warp_in_block(warp), self.of_block(self.block_of(warp)))
    }

    /// Which block of the cluster something belongs to, where there are several.
    pub(super) fn of_block(&self, block: usize) -> String {
        match self.blocks.len() {
            1 => String::new(),
            _ => format!(" of the cluster's block {block}"),
        }
    }

    /// What an agent does, for messages.
    pub(super) fn owner(&self, agent: Agent) -> String {
        match agent {
            Agent::Mbarrier { block, offset } => {
                let of = self.of_block(block);
                format!("a copy that completes on the mbarrier at shared+{offset}{of}")
            }
            Agent::Reads { warp, lane } | Agent::Writes { warp, lane } => {
                format!("a bulk copy of {}", self.lane_name(warp, lane))
            }
            Agent::Products { first } => {
                let of = self.of_block(self.block_of(first));
                format!("a wgmma of warpgroup {}{of}", self.warp_in_block(first) / 4)
            }
        }
    }

    /// A fault with the names, within their blocks, of the warps and of what works beside them.
    pub(super) fn named(&self, kind: FaultKind) -> FaultKind {
        let own = |warp| self.warp_in_block(warp);
        match kind {
            FaultKind::Race { access, other, other_warp, other_lane } => {
                let beside = (other_warp as usize).checked_sub(self.known.len());
                if let Some(agent) = beside {
                    let owner = self.agents.get(agent).map(|agent| self.owner(*agent));
                    return FaultKind::Unfinished {
                        access,
                        other,
                        owner: owner.unwrap_or_default(),
                    };
                }
                let block = self.block_of(other_warp);
                let other_warp = own(other_warp);
                if block == self.block {
                    return FaultKind::Race { access, other, other_warp, other_lane };
                }
                let other_rank = block as u32;
                FaultKind::ClusterRace { access, other, other_rank, other_warp, other_lane }
            }
            FaultKind::ProxyFence { other_warp, other_lane } => {
                FaultKind::ProxyFence { other_warp: own(other_warp), other_lane }
            }
            FaultKind::AsyncConflict { access, owner_warp, owner_lane } => {
                FaultKind::AsyncConflict { access, owner_warp: own(owner_warp), owner_lane }
            }
            FaultKind::AsyncSource { access, owner_warp, owner_lane } => {
                FaultKind::AsyncSource { access, owner_warp: own(owner_warp), owner_lane }
            }
            kind => kind,
        }
    }

    /// The numbers of a block's barriers among those of all.
    pub(super) fn barriers_of(&self, block: usize) -> std::ops::Range<usize> {
        block * barrier::EACH..(block + 1) * barrier::EACH
    }
}
