//! Execution: one cluster of blocks at a time on one thread, its warps in turn up to their next barrier.

mod access;
mod agent;
mod barrier;
mod bulk;
mod cluster;
mod control;
mod convert;
mod copy;
mod float;
mod int;
mod matrix;
mod mbarrier;
mod remote;
mod shuffle;
mod step;
mod taint;
mod transfer;
mod warp;
mod wgmma;

use std::sync::{Arc, Mutex};

use bytec_runtime::Isa;

use crate::chain::Chain;
use crate::decode::{Program, Special, WideConst};
use crate::fault::{Fault, FaultKind, Trap};
use crate::memory::blockrace::{BlockPages, Merged};
use crate::memory::global::{Allocation, Undo};
use crate::memory::shadow::{AGENTS, LAST_CLOCK, Seen, before, clock_of, lanes_at};
use crate::memory::shared::Shared;
use crate::profile::Profile;
use agent::Agent;
use barrier::Barrier;
use cluster::{Block, Meeting};
use mbarrier::Mbarrier;
use warp::{Part, Products, Waiting, Warp};

/// Which checks a launch makes. Bounds and alignment are always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Reads of memory that was never written.
    pub uninitialised: bool,
    /// Races within a block and between blocks, and accesses to memory that `cp.async` owns.
    pub races: bool,
    /// Values from marked ranges that reach other memory.
    pub taint: bool,
}

impl Checks {
    /// All checks.
    pub const ALL: Checks = Checks { uninitialised: true, races: true, taint: true };
    /// Bounds and alignment only.
    pub const NONE: Checks = Checks { uninitialised: false, races: false, taint: false };

    pub(crate) fn any(self) -> bool {
        self.uninitialised || self.races || self.taint
    }
}

/// What all blocks of a launch share.
pub(crate) struct Launch<'l> {
    pub(crate) program: &'l Program,
    pub(crate) allocations: &'l [Option<Allocation>],
    /// Where the module's global variables lie.
    pub(crate) globals: &'l [u64],
    pub(crate) constants: &'l [u8],
    pub(crate) params: &'l [u8],
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    /// Blocks of a cluster along each axis.
    pub(crate) cluster: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) checks: Checks,
    /// Some allocation has marked ranges.
    pub(crate) tracked: bool,
    /// Copies of what a launch changes, where a fault makes it run again in order.
    pub(crate) undo: Option<Undo>,
    pub(crate) merged: Arc<Merged>,
    /// The launches that this one overlaps with, if it may.
    pub(crate) ahead: Option<&'l Chain>,
    /// Blocks run one after the other, so conflicts between them show where they happen.
    pub(crate) in_order: bool,
    /// Makes 64-bit atomics of different threads one after the other.
    pub(crate) wide_atomics: Mutex<()>,
    pub(crate) isa: Isa,
    /// Branches that a warp may take.
    pub(crate) branch_limit: u64,
}

/// What a cluster did.
pub(crate) struct Ran {
    pub(crate) profile: Profile,
    /// Warp instructions at each place in the code.
    pub(crate) counts: Vec<u64>,
    pub(crate) pages: BlockPages,
}

/// A cluster of blocks; one block, unless the kernel asks for more.
pub(crate) struct Cluster<'l> {
    pub(crate) launch: &'l Launch<'l>,
    /// By rank.
    blocks: Vec<Block>,
    /// Warps of each block.
    warps_each: usize,
    /// The block and the warp, numbered through, whose turn it is, and where one last returned.
    block: usize,
    warp: usize,
    last_exit: u32,
    meeting: Meeting,
    /// For each warp, what it knows of every warp's clock; see `memory::shadow`.
    known: Vec<Vec<Seen>>,
    /// For each warp, which writes of every warp a proxy fence has shown to the async proxy, as far as it knows.
    fenced: Vec<Vec<Seen>>,
    /// For each warp, the lanes that have waited for the launches before.
    waited: Vec<u32>,
    /// What works on beside the warps, numbered after them.
    agents: Vec<Agent>,
    mbarriers: Vec<Mbarrier>,
    /// How often an mbarrier or the cluster's barrier has changed: a warp that waits for one need not look again before.
    changes: u64,
    pages: BlockPages,
    barriers: Vec<Barrier>,
    profile: Profile,
    counts: Vec<u64>,
    branches: u64,
    /// Lanes whose guard depends on a marked range, for the instruction that runs.
    guard_taint: u32,
}

/// Runs the cluster that begins with a block to its end.
pub(crate) fn run_cluster(launch: &Launch<'_>, first: [u32; 3]) -> Result<Ran, Box<Fault>> {
    let threads: u32 = launch.block.iter().product();
    let warps_each = threads.div_ceil(32) as usize;
    let [x, y, z] = launch.cluster;
    let ranks = (0..z).flat_map(|k| (0..y).flat_map(move |j| (0..x).map(move |i| [i, j, k])));
    let blocks: Vec<Block> = ranks
        .map(|rank| {
            let shared = Shared::new(launch.shared_bytes as usize, launch.tracked);
            Block::new(std::array::from_fn(|axis| first[axis] + rank[axis]), shared)
        })
        .collect();
    let warps = warps_each * blocks.len();
    if launch.checks.races && warps > AGENTS {
        return Err(Fault::launch(&launch.program.name, FaultKind::Agents { most: AGENTS }));
    }
    let mut cluster = Cluster {
        launch,
        warps_each,
        block: 0,
        warp: 0,
        last_exit: 0,
        meeting: Meeting::new(&[]),
        known: vec![vec![before(1); warps]; warps],
        fenced: vec![vec![before(0); warps]; warps],
        waited: vec![0; warps],
        agents: Vec::new(),
        mbarriers: Vec::new(),
        changes: 0,
        pages: BlockPages::default(),
        barriers: (0..barrier::EACH * blocks.len()).map(|_| Barrier::default()).collect(),
        blocks,
        profile: Profile::default(),
        counts: vec![0; launch.program.code.len()],
        branches: 0,
        guard_taint: 0,
    };
    let mut all: Vec<Warp> =
        (0..warps as u32).map(|warp| cluster.new_warp(warp, threads)).collect();
    cluster.meeting = Meeting::new(&all);
    cluster.run(&mut all)?;
    Ok(Ran { profile: cluster.profile, counts: cluster.counts, pages: cluster.pages })
}

impl Cluster<'_> {
    fn new_warp(&self, index: u32, threads: u32) -> Warp {
        let program = self.launch.program;
        let lanes = (threads - self.warp_in_block(index) * 32).min(32);
        let live = u32::MAX >> (32 - lanes);
        let mut narrow = vec![[0; 32]; program.narrow as usize];
        let mut wide = vec![[0; 32]; program.wide as usize];
        for (value, col) in &program.narrow_consts {
            narrow[*col as usize] = [*value; 32];
        }
        for (value, col) in &program.wide_consts {
            let value = match value {
                WideConst::Bits(bits) => *bits,
                WideConst::Global { variable, offset } => {
                    self.launch.globals[*variable].wrapping_add_signed(*offset)
                }
            };
            wide[*col as usize] = [value; 32];
        }
        for (special, col) in &program.specials {
            narrow[*col as usize] =
                std::array::from_fn(|lane| self.special(*special, index, lane as u32));
        }
        let local = 32 * program.local_bytes as usize;
        let tracked = self.launch.tracked;
        let sized = |count: u32| if tracked { count as usize } else { 0 };
        Warp {
            index,
            isa: self.launch.isa,
            narrow,
            wide,
            preds: vec![0; program.preds as usize],
            live,
            parts: vec![Part { pc: 0, mask: live, waiting: Waiting::No }],
            looked: u64::MAX,
            committed: [0; 32],
            in_flight: Vec::new(),
            bulk_groups: [0; 32],
            bulk_last: [0; 32],
            doubted: Vec::new(),
            products: program.wgmma.then(|| {
                let columns = program.narrow as usize;
                Box::new(Products {
                    committed: 0,
                    done: 0,
                    sums: vec![0; columns],
                    factors: vec![0; columns],
                    fresh: vec![true; columns],
                    registers: program.narrow_registers as usize,
                })
            }),
            local: vec![0xcd; local],
            local_written: vec![false; local],
            local_taint: vec![0; if tracked { local } else { 0 }],
            narrow_taint: vec![[0; 32]; sized(program.narrow)],
            wide_taint: vec![[0; 32]; sized(program.wide)],
            pred_taint: vec![0; sized(program.preds)],
        }
    }

    fn special(&self, special: Special, warp: u32, lane: u32) -> u32 {
        let launch = self.launch;
        let rank = self.block_of(warp);
        let index = self.blocks[rank].index;
        let warp = self.warp_in_block(warp);
        let thread = warp * 32 + lane;
        let [x, y, _] = launch.block;
        match special {
            Special::Tid(0) => thread % x,
            Special::Tid(1) => thread / x % y,
            Special::Tid(_) => thread / x / y,
            Special::Ntid(axis) => launch.block[usize::from(axis)],
            Special::Ctaid(axis) => index[usize::from(axis)],
            Special::Nctaid(axis) => launch.grid[usize::from(axis)],
            Special::LaneId => lane,
            Special::WarpId => warp,
            Special::NWarpId => self.warps_each as u32,
            Special::LaneMaskEq => 1 << lane,
            Special::LaneMaskLt => (1 << lane) - 1,
            Special::LaneMaskLe => u32::MAX >> (31 - lane),
            Special::LaneMaskGt => !(u32::MAX >> (31 - lane)),
            Special::LaneMaskGe => !((1 << lane) - 1),
            Special::DynamicSharedBytes => launch.shared_bytes - launch.program.dynamic_at,
            Special::TotalSharedBytes => launch.shared_bytes,
            Special::ClusterCtaid(axis) => {
                index[usize::from(axis)] % launch.cluster[usize::from(axis)]
            }
            Special::ClusterNctaid(axis) => launch.cluster[usize::from(axis)],
            Special::Clusterid(axis) => {
                index[usize::from(axis)] / launch.cluster[usize::from(axis)]
            }
            Special::Nclusterid(axis) => {
                launch.grid[usize::from(axis)] / launch.cluster[usize::from(axis)]
            }
            Special::ClusterCtarank => rank as u32,
            Special::ClusterNctarank => self.blocks.len() as u32,
        }
    }

    /// A trap with everything that is known about where it happened.
    fn fault(&self, trap: Trap, warp: u32, pc: u32) -> Box<Fault> {
        let inst = &self.launch.program.code[pc as usize];
        let cuda = inst.place.map(|place| {
            let (file, line) = self.launch.program.places[place as usize];
            (self.launch.program.file(file), line)
        });
        Box::new(Fault {
            kernel: self.launch.program.name.clone(),
            kind: trap.kind,
            line: Some(inst.line),
            cuda,
            block: self.blocks[self.block_of(warp)].index,
            warp: self.warp_in_block(warp),
            lane: trap.lane,
            address: trap.address,
        })
    }

    /// A warp-wide synchronisation: what the warp did before is ordered before what it does after.
    fn tick(&mut self, warp: u32) {
        let own = &mut self.known[warp as usize][warp as usize];
        *own = before((clock_of(*own) + 1).min(LAST_CLOCK));
    }

    /// What a warp knows, for others to learn: some of its lanes publish what they did.
    fn published(&mut self, warp: &Warp, mask: u32) -> Vec<Seen> {
        let index = warp.index as usize;
        if mask == warp.live {
            self.tick(warp.index);
            return self.known[index].clone();
        }
        let mut known = self.known[index].clone();
        known[index] = lanes_at(known[index], mask);
        known
    }

    /// The number of an agent, which is new if nothing has used it yet.
    fn agent(&mut self, agent: Agent) -> Result<u32, Box<Trap>> {
        let warps = self.known.len();
        let known = self.agents.iter().position(|other| *other == agent);
        let at = known.unwrap_or_else(|| {
            self.agents.push(agent);
            self.agents.len() - 1
        });
        match u32::try_from(warps + at) {
            Ok(number) if warps + at < AGENTS => Ok(number),
            _ => Err(Trap::new(FaultKind::Agents { most: AGENTS })),
        }
    }

    fn endless(&self) -> Option<FaultKind> {
        let limit = self.launch.branch_limit.saturating_mul(self.blocks.len() as u64);
        (self.branches > limit).then_some(FaultKind::Endless(self.launch.branch_limit))
    }
}
