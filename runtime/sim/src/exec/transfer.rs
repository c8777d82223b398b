//! Bulk copies between global and shared memory, of plain bytes and of boxes of tensors.
//!
//! As with `cp.async` the bytes move when the copy is issued, and both sides belong to the copy until somebody has seen
//! its end: a load's by a wait for its phase of the mbarrier, a store's by the issuing lane's wait for its group.

use super::Cluster;
use super::access::{By, Reach, Step, Target, address};
use super::agent::Agent;
use super::warp::{Warp, lanes};
use crate::device::Buffer;
use crate::fault::{AccessKind, FaultKind, Trap};
use crate::inst::{Far, Space, Transfer};
use crate::memory::shadow::{before, learn};
use crate::profile::Traffic;
use crate::tensor_map::{Swizzle, TensorMap};

/// Bytes that are handled at a time; a copy is a whole number of them on the side of shared memory.
const PIECE: u64 = 16;

/// Some bytes of a copy: where they lie in shared memory, and where in global memory, if they are inside the tensor.
struct Row {
    shared: u64,
    /// The first inside byte of the row, its address, and how many are inside.
    inside: Option<(u64, u64, u64)>,
    bytes: u64,
}

/// What a copy does to memory.
struct Work {
    lane: usize,
    load: bool,
    /// As which agent, at which clock, it uses global memory; and the shared memory of which blocks, as whom.
    far: (u32, u32),
    near: Vec<(usize, (u32, u32))>,
    swizzle: Swizzle,
}

impl Cluster<'_> {
    pub(super) fn transfer<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        transfer: &Transfer,
    ) -> Step<()> {
        for lane in lanes(mask) {
            let load = transfer.mbarrier.is_some();
            let (rows, bytes, swizzle) = self.rows(warp, lane, transfer)?;
            let (mut near, mut ends) = (Vec::new(), Vec::new());
            let far = match transfer.mbarrier {
                Some(from) => {
                    for target in self.completed_on(warp, lane, transfer, from)? {
                        let at = self.find_mbarrier(warp.index, lane, target)?;
                        let agent = self.copies_of(at, lane, target)?;
                        near.push((target.block(), agent));
                        ends.push((at, target));
                    }
                    // What it reads is free again when any of its phases has ended: they end with the same copy.
                    near.first().map_or((0, 0), |(_, agent)| *agent)
                }
                None => {
                    let (warp_index, lane) = (warp.index, lane as u32);
                    let clock = warp.bulk_groups[lane as usize] + 1;
                    warp.bulk_last[lane as usize] = clock;
                    let reads = self.agent(Agent::Reads { warp: warp_index, lane })?;
                    let writes = self.agent(Agent::Writes { warp: warp_index, lane })?;
                    near.push((self.block, (reads, clock)));
                    (writes, clock)
                }
            };
            let work = Work { lane, load, far, near, swizzle };
            for row in &rows {
                self.move_row::<CHECK>(warp, &work, row)?;
            }
            self.count_transfer(&rows, bytes * work.near.len() as u64, load);
            for (at, target) in ends {
                self.transact(at, -(bytes as i64), lane, target)?;
            }
        }
        Ok(())
    }

    /// The mbarriers of a copy to shared memory: that of the block it goes to, or, where it goes to several, those at
    /// the same place in each.
    fn completed_on(
        &self,
        warp: &Warp,
        lane: usize,
        transfer: &Transfer,
        from: crate::inst::Address,
    ) -> Step<Vec<Target>> {
        let reach = Reach { lane, access: AccessKind::Atomic, bytes: 8, align: 8 };
        let target = self.resolve(Space::Cluster, address(warp, from, lane), reach, 0)?;
        let to = self.resolve(
            Space::Cluster,
            address(warp, transfer.shared, lane),
            Reach { access: AccessKind::Write, bytes: 1, align: 1, ..reach },
            0,
        )?;
        let Some(col) = transfer.multicast else {
            if to.block() != target.block() {
                let text = "expected the mbarrier in the block that the copy goes to".to_owned();
                return Err(self.trap(FaultKind::Mbarrier(text), lane, target));
            }
            return Ok(vec![target]);
        };
        let chosen = warp.narrow[col as usize][lane] & 0xffff;
        let blocks = self.blocks.len() as u32;
        if chosen == 0 || chosen >> blocks != 0 {
            let rank = if chosen == 0 { blocks } else { chosen.ilog2() };
            return Err(Trap::lane(FaultKind::Rank { rank, blocks }, lane as u32));
        }
        lanes(chosen).map(|block| self.peer(block, target.offset(), reach)).collect()
    }

    /// A copy as rows that lie together on both sides, with its bytes in shared memory.
    fn rows(
        &self,
        warp: &Warp,
        lane: usize,
        transfer: &Transfer,
    ) -> Step<(Vec<Row>, u64, Swizzle)> {
        let (space, shared_access, far_access) = match transfer.mbarrier {
            Some(_) => (Space::Cluster, AccessKind::Write, AccessKind::Read),
            None => (Space::Shared, AccessKind::Read, AccessKind::Write),
        };
        let near = |bytes, align| {
            let reach = Reach { lane, access: shared_access, bytes, align };
            self.resolve(space, address(warp, transfer.shared, lane), reach, 0)
        };
        match &transfer.far {
            Far::Bytes { address: far, bytes } => {
                let bytes = u64::from(warp.narrow[*bytes as usize][lane]);
                if bytes == 0 || bytes % PIECE != 0 {
                    let kind = FaultKind::Misaligned { access: far_access, bytes: PIECE };
                    return Err(Trap::lane(kind, lane as u32));
                }
                let shared = near(bytes, PIECE)?.offset();
                let from = address(warp, *far, lane);
                let reach = Reach { lane, access: far_access, bytes, align: PIECE };
                self.resolve(Space::Global, from, reach, 0)?;
                let row = Row { shared, inside: Some((0, from, bytes)), bytes };
                Ok((vec![row], bytes, Swizzle::None))
            }
            Far::Tensor { map, coordinates } => {
                let map = self.map(warp, lane, *map)?;
                if map.extents.len() != coordinates.len() {
                    let (expected, found) = (map.extents.len(), coordinates.len());
                    let text = format!("a map of {expected} axes with {found} coordinates");
                    return Err(Trap::lane(FaultKind::TensorMap(text), lane as u32));
                }
                let at = |col: &u32| i64::from(warp.narrow[*col as usize][lane] as i32);
                let first: Vec<_> = coordinates.iter().map(at).collect();
                let shared = near(map.bytes(), 128)?.offset();
                Ok((box_rows(&map, &first, shared), map.bytes(), map.swizzle))
            }
        }
    }

    /// The tensor map at an address, in the parameters or in global memory.
    fn map(&self, warp: &Warp, lane: usize, from: crate::inst::Address) -> Step<TensorMap> {
        let reach = Reach { lane, access: AccessKind::Read, bytes: 128, align: 64 };
        let target = self.resolve(Space::Generic, address(warp, from, lane), reach, 0)?;
        let words = std::array::from_fn(|at| self.fetch(warp, lane, target, at as u64 * 8, 8));
        TensorMap::decode(&words).ok_or_else(|| {
            let text = "an address at which no tensor map lies".to_owned();
            self.trap(FaultKind::TensorMap(text), lane, target)
        })
    }

    fn move_row<const CHECK: bool>(&mut self, warp: &mut Warp, work: &Work, row: &Row) -> Step<()> {
        let Work { lane, load, ref near, .. } = *work;
        let tracked = CHECK && self.launch.tracked;
        let mut data = vec![0u8; row.bytes as usize];
        let mut taint = vec![0u8; if tracked { row.bytes as usize } else { 0 }];
        if load {
            self.far_side::<CHECK>(warp, work, row, &mut data, &mut taint)?;
        }
        let pieces = (0..row.bytes).step_by(PIECE as usize);
        for (at, (block, agent)) in pieces.flat_map(|at| near.iter().map(move |to| (at, *to))) {
            let offset = work.swizzle.apply(row.shared + at);
            let target = Target::Shared { block, offset };
            if CHECK {
                let access = if load { AccessKind::Write } else { AccessKind::Read };
                let by = By { warp: warp.index, agent: Some(agent), proxy: !load };
                // Bytes outside of a tensor are not written, and may be anything.
                let outside = row
                    .inside
                    .is_none_or(|(start, _, bytes)| at + PIECE <= start || at >= start + bytes);
                if load || !outside {
                    let reach = Reach { lane, access, bytes: PIECE, align: PIECE };
                    self.check_by(by, target, reach)?;
                }
            }
            let (start, own) = (offset as usize, at as usize..(at + PIECE) as usize);
            let place = start..start + PIECE as usize;
            let shared = &mut self.blocks[block].shared;
            if load {
                shared.data[place.clone()].copy_from_slice(&data[own.clone()]);
                shared.set_written(offset, PIECE);
            } else {
                data[own.clone()].copy_from_slice(&shared.data[place.clone()]);
            }
            if tracked && load {
                shared.taint[place].copy_from_slice(&taint[own]);
            } else if tracked {
                taint[own].copy_from_slice(&shared.taint[place]);
            }
        }
        if !load {
            self.far_side::<CHECK>(warp, work, row, &mut data, &mut taint)?;
        }
        Ok(())
    }

    /// The part of a row that lies in global memory.
    fn far_side<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        work: &Work,
        row: &Row,
        data: &mut [u8],
        taint: &mut [u8],
    ) -> Step<()> {
        let Work { lane, load, .. } = *work;
        let Some((mut at, mut from, mut left)) = row.inside else { return Ok(()) };
        let access = if load { AccessKind::Read } else { AccessKind::Write };
        while left > 0 {
            // Pieces end at multiples of 16, so none crosses a page or a word of the bitmaps.
            let bytes = left.min(PIECE - from % PIECE);
            let reach = Reach { lane, access, bytes, align: 1 };
            let target = self.resolve(Space::Global, from, reach, 0)?;
            if CHECK {
                let by = By { warp: warp.index, agent: Some(work.far), proxy: load };
                self.check_by(by, target, reach)?;
            }
            let marked = if taint.is_empty() { 0 } else { self.marked_bytes(target, bytes) };
            for byte in 0..bytes {
                let own = (at + byte) as usize;
                if load {
                    data[own] = self.fetch(warp, lane, target, byte, 1) as u8;
                    if let Some(taint) = taint.get_mut(own) {
                        *taint = if marked >> byte & 1 == 1 { 0xff } else { 0 };
                    }
                } else {
                    if taint.get(own).is_some_and(|taint| *taint != 0) && marked >> byte & 1 == 0 {
                        return Err(self.trap(
                            FaultKind::Taint { what: "its value" },
                            lane,
                            target,
                        ));
                    }
                    self.put(warp, lane, target, byte, 1, data[own].into());
                }
            }
            at += bytes;
            from += bytes;
            left -= bytes;
        }
        Ok(())
    }

    fn count_transfer(&mut self, rows: &[Row], bytes: u64, load: bool) {
        let profile = &mut self.profile;
        let mut traffic = Traffic { requests: 1, bytes: 0, sectors: 0 };
        let mut buffer = None;
        for (_, from, inside) in rows.iter().filter_map(|row| row.inside) {
            traffic.bytes += inside;
            traffic.sectors += (from + inside - 1) / 32 - from / 32 + 1;
            buffer = Some(Buffer::at(from).0);
        }
        let (far, near) = match load {
            true => (&mut profile.global_reads, &mut profile.shared_writes),
            false => (&mut profile.global_writes, &mut profile.shared_reads),
        };
        near.requests += 1;
        near.bytes += bytes;
        if let Some(buffer) = buffer {
            far.add(&traffic);
            let counts = profile.buffers.entry(buffer).or_default();
            if load { &mut counts.reads } else { &mut counts.writes }.add(&traffic);
        }
    }

    /// `cp.async.bulk.wait_group`: of each lane's groups all but the newest `pending` are done, or have read.
    pub(super) fn transfer_wait(
        &mut self,
        warp: &Warp,
        mask: u32,
        pending: u32,
        only_reads: bool,
    ) -> Step<()> {
        for lane in lanes(mask) {
            let clock = warp.bulk_groups[lane].saturating_sub(pending) + 1;
            let (index, lane) = (warp.index, lane as u32);
            let reads = [Agent::Reads { warp: index, lane }, Agent::Writes { warp: index, lane }];
            for agent in &reads[..if only_reads { 1 } else { 2 }] {
                if !self.agents.contains(agent) {
                    continue;
                }
                let number = self.agent(*agent)? as usize;
                let mut done = vec![0; number];
                done.push(before(clock));
                learn(&mut self.known[index as usize], &done);
            }
        }
        Ok(())
    }

    /// A lane returns: what its bulk copies read must not go away under them, and what they write must be written, since
    /// later launches read it.
    pub(super) fn transfers_ended(&self, warp: &Warp, mask: u32) -> Step<()> {
        for lane in lanes(mask) {
            let (index, number) = (warp.index, lane as u32);
            for (agent, access, other) in [
                (Agent::Reads { warp: index, lane: number }, AccessKind::Write, AccessKind::Read),
                (Agent::Writes { warp: index, lane: number }, AccessKind::Read, AccessKind::Write),
            ] {
                let Some(at) = self.agents.iter().position(|other| *other == agent) else {
                    continue;
                };
                let known = self.known[index as usize].get(self.known.len() + at);
                if known.copied().unwrap_or(0) < before(warp.bulk_last[lane] + 1) {
                    let owner = self.owner(agent);
                    let kind = FaultKind::Unfinished { access, other, owner };
                    return Err(Trap::lane(kind, number));
                }
            }
        }
        Ok(())
    }
}

/// The rows of a box that begins at these coordinates.
fn box_rows(map: &TensorMap, first: &[i64], shared: u64) -> Vec<Row> {
    let inner = map.inner();
    let count: u64 = map.boxes[1..].iter().map(|side| u64::from(*side)).product();
    // The inside part of every row.
    let start = (-first[0]).clamp(0, map.boxes[0].into()) as u64;
    let end = (map.extents[0] as i64 - first[0]).clamp(0, map.boxes[0].into()) as u64;
    let row = |number: u64| {
        let mut left = number;
        let mut address = Some(map.address);
        let axes = map.extents.iter().zip(&map.boxes).zip(first).skip(1).zip(&map.strides);
        for (((extent, side), first), stride) in axes {
            let side = u64::from(*side);
            let at = first + (left % side) as i64;
            left /= side;
            let inside = at >= 0 && (at as u64) < *extent;
            let step = stride.wrapping_mul(at as u64);
            address = address.filter(|_| inside).map(|address| address.wrapping_add(step));
        }
        let inside = address.filter(|_| start < end).map(|address| {
            let column = (first[0] + start as i64) as u64 * map.element;
            (start * map.element, address.wrapping_add(column), (end - start) * map.element)
        });
        Row { shared: shared + number * inner, inside, bytes: inner }
    };
    (0..count).map(row).collect()
}
