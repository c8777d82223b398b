//! Loads and stores: where an address points, whether it may, and what it holds.

use super::Cluster;
use super::bulk::extend;
use super::warp::{Warp, lanes};
use crate::device::Buffer;
use crate::fault::{AccessKind, FaultKind, Place, Trap};
use crate::inst::{Access, Address, Space};
use crate::memory::shadow::{Seen, Who};
use crate::memory::shared::read_le;
use crate::memory::{
    CONST_WINDOW, LOCAL_WINDOW, OFFSET_BITS, PARAM_WINDOW, SHARED_WINDOW, WINDOW_MASK, banks,
};
use crate::profile::Traffic;

/// Where one lane's address points.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Global { index: usize, offset: u64 },
    Shared { block: usize, offset: u64 },
    Local(u64),
    Param(u64),
    Const(u64),
}

pub(super) type Step<T> = Result<T, Box<Trap>>;

/// The window that a space has in generic addresses.
pub(super) fn window(space: Space) -> u64 {
    match space {
        Space::Shared | Space::Cluster => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Const => CONST_WINDOW,
        Space::Param => PARAM_WINDOW,
        Space::Generic | Space::Global => 0,
    }
}

/// An address operand's value in a lane.
pub(super) fn address(warp: &Warp, address: Address, lane: usize) -> u64 {
    let base = if address.wide {
        warp.wide[address.base as usize][lane]
    } else {
        u64::from(warp.narrow[address.base as usize][lane])
    };
    base.wrapping_add_signed(address.offset)
}

/// One lane's access on its way through the checks.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    pub(super) lane: usize,
    pub(super) access: AccessKind,
    /// Bytes that are touched.
    pub(super) bytes: u64,
    /// What the address must be a multiple of.
    pub(super) align: u64,
}

/// Who accesses memory: a warp, or an agent at a clock that it has set to work.
#[derive(Clone, Copy)]
pub(super) struct By {
    pub(super) warp: u32,
    pub(super) agent: Option<(u32, u32)>,
    /// Reads see only what a proxy fence has shown to the async proxy.
    pub(super) proxy: bool,
}

impl By {
    fn who<'a>(self, lane: usize, known: &'a [Vec<Seen>], fenced: &'a [Vec<Seen>]) -> Who<'a> {
        let warp = self.warp as usize;
        let mut who = Who::lane(self.warp, lane as u32, &known[warp]);
        if let Some((agent, clock)) = self.agent {
            (who.agent, who.clock) = (agent, clock);
        }
        who.fenced = self.proxy.then_some(&fenced[warp]);
        who
    }
}

impl Cluster<'_> {
    /// Resolves an address and checks bounds and alignment.
    pub(super) fn resolve(
        &self,
        space: Space,
        address: u64,
        reach: Reach,
        local: usize,
    ) -> Step<Target> {
        let space = match space {
            Space::Generic => match address & WINDOW_MASK {
                SHARED_WINDOW => Space::Cluster,
                LOCAL_WINDOW => Space::Local,
                CONST_WINDOW => Space::Const,
                PARAM_WINDOW => Space::Param,
                _ => Space::Global,
            },
            named => named,
        };
        let own = address & !WINDOW_MASK;
        let Reach { access, bytes, align, .. } = reach;
        let (target, size) = match space {
            Space::Shared => {
                let block = self.block;
                (Target::Shared { block, offset: own }, self.shared_bytes())
            }
            Space::Cluster => (self.within_cluster(own, reach)?, self.shared_bytes()),
            Space::Local => (Target::Local(own), local as u64),
            Space::Param => (Target::Param(own), self.launch.params.len() as u64),
            Space::Const => (Target::Const(own), self.launch.constants.len() as u64),
            Space::Global | Space::Generic => {
                let index = (address >> OFFSET_BITS) as usize;
                let offset = address & ((1 << OFFSET_BITS) - 1);
                match self.launch.allocations.get(index) {
                    Some(Some(allocation)) => (Target::Global { index, offset }, allocation.bytes),
                    _ => {
                        let kind = FaultKind::Unallocated { access, bytes };
                        return Err(Trap::at(kind, reach.lane as u32, Place::Nowhere(address)));
                    }
                }
            }
        };
        let offset = target.offset();
        if offset.checked_add(bytes).is_none_or(|end| end > size) {
            return Err(self.trap(FaultKind::OutOfBounds { access, bytes }, reach.lane, target));
        }
        // Sizes are powers of two.
        if offset & (align - 1) != 0 {
            let kind = FaultKind::Misaligned { access, bytes: align };
            return Err(self.trap(kind, reach.lane, target));
        }
        Ok(target)
    }

    pub(super) fn trap(&self, kind: FaultKind, lane: usize, target: Target) -> Box<Trap> {
        Trap::at(kind, lane as u32, self.place(target))
    }

    fn place(&self, target: Target) -> Place {
        match target {
            Target::Shared { block, offset } if block == self.block => Place::Shared(offset),
            Target::Shared { block, offset } => Place::Peer { rank: block as u32, offset },
            Target::Local(offset) => Place::Local(offset),
            Target::Param(offset) => Place::Param(offset),
            Target::Const(offset) => Place::Const(offset),
            Target::Global { index, offset } => match self.launch.allocations.get(index) {
                Some(Some(allocation)) => {
                    Place::Global { name: allocation.name.clone(), offset, bytes: allocation.bytes }
                }
                _ => Place::Nowhere((index as u64) << OFFSET_BITS | offset),
            },
        }
    }

    /// The checks of one lane's read or write of global or shared memory.
    pub(super) fn check(&mut self, warp: u32, target: Target, reach: Reach) -> Step<()> {
        self.check_by(By { warp, agent: None, proxy: false }, target, reach)
    }

    /// The same of an access by an agent that a lane has set to work.
    pub(super) fn check_by(&mut self, by: By, target: Target, reach: Reach) -> Step<()> {
        let checks = self.launch.checks;
        let Reach { lane, access, bytes, .. } = reach;
        let who = by.who(lane, &self.known, &self.fenced);
        let uninitialised = FaultKind::Uninitialised { bytes };
        let reads = access != AccessKind::Write;
        let failed = match target {
            Target::Shared { block, offset } if self.mbarrier_in(block, offset, bytes) => {
                Some(FaultKind::MbarrierAccess { access })
            }
            Target::Shared { block, offset } => {
                let shared = &mut self.blocks[block].shared;
                let race = match (checks.races, access) {
                    (false, _) => Ok(()),
                    (true, AccessKind::Read) => shared.shadow.read(offset, bytes, who),
                    (true, AccessKind::Write) => shared.shadow.write(offset, bytes, who),
                    (true, AccessKind::Atomic) => shared.shadow.atomic(offset, bytes, who),
                };
                let unwritten = reads && checks.uninitialised && !shared.is_written(offset, bytes);
                race.err().or(unwritten.then_some(uninitialised))
            }
            Target::Global { index, offset } => {
                let written = |allocations: &[Option<_>]| match &allocations[index] {
                    Some(allocation) => {
                        let allocation: &crate::memory::global::Allocation = allocation;
                        allocation.is_written(offset, bytes)
                    }
                    None => true,
                };
                let race = if checks.races { self.touch(index, offset, by, reach) } else { None };
                let unwritten = reads && checks.uninitialised && !written(self.launch.allocations);
                race.or(unwritten.then_some(uninitialised))
            }
            Target::Local(_) | Target::Param(_) | Target::Const(_) => None,
        };
        match failed {
            None => Ok(()),
            Some(kind) => Err(self.trap(self.named(kind), lane, target)),
        }
    }

    fn touch(&mut self, index: usize, offset: u64, by: By, reach: Reach) -> Option<FaultKind> {
        let page_bytes = crate::memory::global::PAGE;
        let key = (index as u32, (offset / page_bytes) as u32);
        if let Some(ahead) = self.launch.ahead
            && self.waited[by.warp as usize] >> reach.lane & 1 == 0
            && let Some(other) = ahead.conflict(key, offset % page_bytes, reach.bytes, reach.access)
        {
            return Some(FaultKind::Overlap { access: reach.access, other });
        }
        let merged = self.launch.in_order.then_some(&*self.launch.merged);
        let page = self.pages.page(key, merged);
        let offset = offset % page_bytes;
        let Reach { lane, access, bytes, .. } = reach;
        if page.touch(offset, bytes, access) {
            return Some(FaultKind::BlockRace { access });
        }
        if access != AccessKind::Read
            && let Some(copy) = page.source(offset, bytes)
        {
            let (owner_warp, owner_lane) = (copy.warp, copy.lane);
            return Some(FaultKind::AsyncSource { access, owner_warp, owner_lane });
        }
        let who = by.who(lane, &self.known, &self.fenced);
        match access {
            AccessKind::Read => page.shadow.read(offset, bytes, who),
            AccessKind::Write => page.shadow.write(offset, bytes, who),
            AccessKind::Atomic => page.shadow.atomic(offset, bytes, who),
        }
        .err()
    }

    /// Reads up to 8 bytes that the checks have passed.
    pub(super) fn fetch(
        &self,
        warp: &Warp,
        lane: usize,
        target: Target,
        at: u64,
        bytes: u64,
    ) -> u64 {
        let slice = |data: &[u8], offset: u64| {
            let start = (offset + at) as usize;
            read_le(&data[start..start + bytes as usize])
        };
        match target {
            Target::Global { index, offset } => match &self.launch.allocations[index] {
                Some(allocation) => allocation.read(offset + at, bytes),
                None => 0,
            },
            Target::Shared { block, offset } => self.blocks[block].shared.read(offset + at, bytes),
            Target::Local(offset) => slice(&warp.local, offset + self.local_start(lane)),
            Target::Param(offset) => slice(self.launch.params, offset),
            Target::Const(offset) => slice(self.launch.constants, offset),
        }
    }

    pub(super) fn local_start(&self, lane: usize) -> u64 {
        lane as u64 * u64::from(self.launch.program.local_bytes)
    }

    /// Writes up to 8 bytes that the checks have passed.
    pub(super) fn put(
        &mut self,
        warp: &mut Warp,
        lane: usize,
        target: Target,
        at: u64,
        bytes: u64,
        value: u64,
    ) {
        match target {
            Target::Global { index, offset } => {
                if let Some(allocation) = &self.launch.allocations[index] {
                    if let Some(undo) = &self.launch.undo {
                        undo.keep(index, allocation, offset + at);
                    }
                    allocation.write(offset + at, bytes, value);
                    allocation.set_written(offset + at, bytes);
                }
            }
            Target::Shared { block, offset } => {
                let shared = &mut self.blocks[block].shared;
                shared.write(offset + at, bytes, value);
                shared.set_written(offset + at, bytes);
            }
            Target::Local(offset) => {
                let start = (offset + at + self.local_start(lane)) as usize;
                let end = start + bytes as usize;
                warp.local[start..end].copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
                warp.local_written[start..end].fill(true);
            }
            // Decoding refuses stores to these, and generic ones are refused before.
            Target::Param(_) | Target::Const(_) => {}
        }
    }

    pub(super) fn load<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        load: &Access,
    ) -> Step<()> {
        let each = load.ty.bytes();
        let bytes = each * load.elements.len() as u64;
        let signed = load.ty.is_signed();
        if CHECK && load.constant && self.launch.ahead.is_some() {
            self.check_constant(warp, mask, load, bytes)?;
        }
        if !(CHECK && self.launch.tracked)
            && let Some(bulk) = self.bulk(warp, mask, load.space, load.address, bytes)
        {
            return self.load_bulk::<CHECK>(warp, load, &bulk);
        }
        let mut traffic = Requests::new(bytes);
        let uniform = matches!(load.space, Space::Param);
        for lane in lanes(mask) {
            let reach = Reach { lane, access: AccessKind::Read, bytes, align: bytes };
            let address = address(warp, load.address, lane);
            let target =
                self.resolve(load.space, address, reach, self.launch.program.local_bytes as usize)?;
            traffic.note(lane, address, target);
            if CHECK && !uniform {
                self.check(warp.index, target, reach)?;
                self.check_local(warp, target, reach)?;
            }
            for (at, element) in load.elements.iter().enumerate() {
                let Some(col) = element.col else { continue };
                let value = self.fetch(warp, lane, target, at as u64 * each, each);
                let value = if signed { extend(value, each) } else { value };
                if element.wide {
                    warp.wide[col as usize][lane] = value;
                } else {
                    warp.narrow[col as usize][lane] = value as u32;
                }
                if CHECK && self.launch.tracked {
                    self.load_taint(warp, load, lane, target, (at as u64 * each, each), *element);
                }
            }
        }
        traffic.count(self, mask, false);
        Ok(())
    }

    /// What is read as constant must not have been written by a launch that may have run while this kernel did.
    fn check_constant(&self, warp: &Warp, mask: u32, load: &Access, bytes: u64) -> Step<()> {
        let Some(ahead) = self.launch.ahead.filter(|_| self.launch.checks.races) else {
            return Ok(());
        };
        let page_bytes = crate::memory::global::PAGE;
        for lane in lanes(mask) {
            let reach = Reach { lane, access: AccessKind::Read, bytes, align: bytes };
            let target = self.resolve(load.space, address(warp, load.address, lane), reach, 0)?;
            let Target::Global { index, offset } = target else { continue };
            let key = (index as u32, (offset / page_bytes) as u32);
            if ahead.conflict(key, offset % page_bytes, bytes, AccessKind::Read).is_some() {
                return Err(self.trap(FaultKind::Constant { bytes }, lane, target));
            }
        }
        Ok(())
    }

    fn check_local(&self, warp: &Warp, target: Target, reach: Reach) -> Step<()> {
        let Target::Local(offset) = target else { return Ok(()) };
        let start = (offset + self.local_start(reach.lane)) as usize;
        let written = warp.local_written[start..start + reach.bytes as usize].iter().all(|w| *w);
        if written || !self.launch.checks.uninitialised {
            return Ok(());
        }
        Err(self.trap(FaultKind::Uninitialised { bytes: reach.bytes }, reach.lane, target))
    }

    pub(super) fn store<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        store: &Access,
    ) -> Step<()> {
        let each = store.ty.bytes();
        let bytes = each * store.elements.len() as u64;
        if !CHECK && let Some(bulk) = self.bulk(warp, mask, store.space, store.address, bytes) {
            self.store_bulk(warp, store, &bulk);
            return Ok(());
        }
        let mut traffic = Requests::new(bytes);
        let mut targets = [None; 32];
        let mut highest = None;
        for lane in lanes(mask) {
            let reach = Reach { lane, access: AccessKind::Write, bytes, align: bytes };
            let address = address(warp, store.address, lane);
            let target = self.resolve(
                store.space,
                address,
                reach,
                self.launch.program.local_bytes as usize,
            )?;
            if matches!(target, Target::Param(_) | Target::Const(_)) {
                let access = AccessKind::Write;
                return Err(self.trap(FaultKind::OutOfBounds { access, bytes }, lane, target));
            }
            traffic.note(lane, address, target);
            targets[lane] = Some(target);
            if CHECK {
                // A second lane that writes the same value to the same place adds nothing.
                if !self.same_place(warp, store, &targets, highest, lane, target)? {
                    self.check(warp.index, target, reach)?;
                }
                highest = highest.max(Some(target.key()));
                if self.launch.tracked {
                    self.store_taint(warp, store, lane, target)?;
                }
            }
            for (at, element) in store.elements.iter().enumerate() {
                let Some(col) = element.col else { continue };
                let value = if element.wide {
                    warp.wide[col as usize][lane]
                } else {
                    u64::from(warp.narrow[col as usize][lane])
                };
                self.put(warp, lane, target, at as u64 * each, each, value);
            }
        }
        traffic.count(self, mask, true);
        Ok(())
    }

    /// Two lanes of a store may write one place if they write the same; whether they do.
    fn same_place(
        &self,
        warp: &Warp,
        store: &Access,
        targets: &[Option<Target>; 32],
        highest: Option<(u8, u64)>,
        lane: usize,
        target: Target,
    ) -> Step<bool> {
        let key = target.key();
        // Lanes mostly go upward, and then none before can be at the same place.
        if highest.is_none_or(|highest| highest < key) {
            return Ok(false);
        }
        let value = |lane: usize, element: &crate::inst::Element| {
            element.col.map(|col| match element.wide {
                true => warp.wide[col as usize][lane],
                false => u64::from(warp.narrow[col as usize][lane]),
            })
        };
        let mut repeated = false;
        for (other, at) in targets[..lane].iter().enumerate() {
            let same = at.is_some_and(|at| at.key() == key && key.0 != 2);
            if same && store.elements.iter().any(|e| value(lane, e) != value(other, e)) {
                let kind = FaultKind::StoreConflict { other_lane: other as u32 };
                return Err(self.trap(kind, lane, target));
            }
            repeated |= same;
        }
        Ok(repeated)
    }
}

impl Target {
    pub(super) fn offset(self) -> u64 {
        match self {
            Target::Global { offset, .. }
            | Target::Shared { offset, .. }
            | Target::Local(offset)
            | Target::Param(offset)
            | Target::Const(offset) => offset,
        }
    }

    /// The block in whose shared memory it lies.
    pub(super) fn block(self) -> usize {
        match self {
            Target::Shared { block, .. } => block,
            _ => 0,
        }
    }

    /// Kind and place; local memory is another one in each lane.
    fn key(self) -> (u8, u64) {
        match self {
            Target::Global { index, offset } => (0, (index as u64) << OFFSET_BITS | offset),
            Target::Shared { block, offset } => (1, (block as u64) << OFFSET_BITS | offset),
            Target::Local(offset) => (2, offset),
            Target::Param(offset) => (3, offset),
            Target::Const(offset) => (4, offset),
        }
    }
}

/// The lanes' addresses of one request, for the profile.
pub(super) struct Requests {
    pub(super) bytes: u64,
    pub(super) addresses: [u64; 32],
    /// What is to be added to addresses of global memory.
    pub(super) base: u64,
    /// The lanes that touch global memory.
    pub(super) global: u32,
    /// The lanes that touch shared memory.
    pub(super) shared: u32,
}

impl Requests {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, addresses: [0; 32], base: 0, global: 0, shared: 0 }
    }

    pub(super) fn note(&mut self, lane: usize, address: u64, target: Target) {
        match target {
            Target::Global { .. } => {
                self.addresses[lane] = address;
                self.global |= 1 << lane;
            }
            Target::Shared { offset, .. } => {
                self.addresses[lane] = offset;
                self.shared |= 1 << lane;
            }
            Target::Local(_) | Target::Param(_) | Target::Const(_) => {}
        }
    }

    /// Of these lanes' accesses to global memory.
    fn traffic(&self, lanes: u32) -> Traffic {
        Traffic {
            requests: 1,
            bytes: u64::from(lanes.count_ones()) * self.bytes,
            sectors: banks::sectors(&self.addresses, lanes),
        }
    }

    pub(super) fn count(&self, cta: &mut Cluster<'_>, mask: u32, write: bool) {
        let profile = &mut cta.profile;
        let global = self.global & mask;
        if global != 0 {
            let traffic = self.traffic(global);
            if write { &mut profile.global_writes } else { &mut profile.global_reads }
                .add(&traffic);
            let buffer = |lane: usize| Buffer::at(self.base + self.addresses[lane]).0;
            let mut left = global;
            while left != 0 {
                let first = buffer(left.trailing_zeros() as usize);
                let own = lanes(left).filter(|lane| buffer(*lane) == first);
                let own = own.fold(0, |own, lane| own | 1 << lane);
                left &= !own;
                let counts = profile.buffers.entry(first).or_default();
                if write { &mut counts.writes } else { &mut counts.reads }.add(&if own == global {
                    traffic
                } else {
                    self.traffic(own)
                });
            }
        }
        let shared = self.shared & mask;
        if shared != 0 {
            let traffic =
                if write { &mut profile.shared_writes } else { &mut profile.shared_reads };
            traffic.requests += 1;
            traffic.bytes += u64::from(shared.count_ones()) * self.bytes;
            profile.extra_wavefronts += banks::extra(&self.addresses, shared, self.bytes);
        }
    }
}
