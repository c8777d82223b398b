//! Who last read and wrote each piece of memory, in vector time.
//!
//! A block keeps one clock for each *agent*: its warps, and whatever reads and writes beside them, such as the copies
//! that complete on an mbarrier or the products of a warpgroup. A warp's own clock moves on at every barrier and
//! warp-wide synchronisation, and a barrier tells every warp the others' clocks. An earlier access is ordered
//! before the current one if its agent's clock then is below what the current warp knows of it, or if
//! the same lane did both.
//!
//! Pieces are 4 bytes until something smaller is accessed, then single bytes.

use crate::fault::{AccessKind, FaultKind};

/// Marks a write whose cp.async has not been waited for.
const PENDING: u32 = (1 << 18) - 1;
/// A lane number that stands for several lanes.
pub(crate) const SEVERAL: u32 = 32;

/// What is known of an agent: that all it did before a clock has happened, and at that clock what some of its lanes
/// did. The clock is in the high half, the lanes in the low one.
pub(crate) type Seen = u64;

/// All that an agent did before a clock.
pub(crate) fn before(clock: u32) -> Seen {
    u64::from(clock) << 32
}

/// What was done at a clock by some lanes, and all that their agent did before.
pub(crate) fn lanes_at(seen: Seen, lanes: u32) -> Seen {
    seen | u64::from(lanes)
}

/// The clock up to which all is known.
pub(crate) fn clock_of(seen: Seen) -> u32 {
    (seen >> 32) as u32
}

/// Adds what `other` knows, agent by agent.
pub(crate) fn learn(known: &mut Vec<Seen>, other: &[Seen]) {
    if known.len() < other.len() {
        known.resize(other.len(), 0);
    }
    for (own, other) in known.iter_mut().zip(other) {
        *own = match clock_of(*own) == clock_of(*other) {
            true => *own | *other,
            false => (*own).max(*other),
        };
    }
}

/// Keeps of what is known what `other` knows too.
pub(crate) fn common(known: &mut Vec<Seen>, other: &[Seen]) {
    known.truncate(other.len());
    for (own, other) in known.iter_mut().zip(other) {
        *own = match clock_of(*own) == clock_of(*other) {
            true => *own & *other,
            false => (*own).min(*other),
        };
    }
}

/// Who accesses memory, and what its warp knows.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    /// The warp and the lane that ask for it. What the same lane did before is ordered before it.
    pub(crate) warp: u32,
    pub(crate) lane: u32,
    /// For each agent, what is known to have happened.
    pub(crate) known: &'a [Seen],
    /// Who does it, and when: the warp itself, or an agent that works on beside it.
    pub(crate) agent: u32,
    pub(crate) clock: u32,
    /// For reads through the async proxy: for each warp the writes that a proxy fence has made visible to it.
    pub(crate) fenced: Option<&'a [Seen]>,
}

impl<'a> Who<'a> {
    /// A lane of a warp.
    pub(crate) fn lane(warp: u32, lane: u32, known: &'a [Seen]) -> Self {
        let clock = known.get(warp as usize).map_or(0, |seen| clock_of(*seen));
        Self { warp, lane, known, agent: warp, clock, fenced: None }
    }

    fn knows(known: &[Seen], agent: u32, clock: u32, lane: u32) -> bool {
        let seen = known.get(agent as usize).copied().unwrap_or(0);
        let known = clock_of(seen);
        clock < known || (clock == known && lane < 32 && seen >> lane & 1 == 1)
    }

    fn sees_write(&self, stamp: u32) -> bool {
        let (clock, agent, lane) = parts(stamp);
        let own = agent == self.warp && lane == self.lane && clock != PENDING;
        stamp == 0 || own || Self::knows(self.known, agent, clock, lane)
    }

    /// Whether the async proxy sees a write that this one sees.
    fn passes(&self, stamp: u32) -> bool {
        let Some(fenced) = self.fenced else { return true };
        let (clock, agent, lane) = parts(stamp);
        stamp == 0 || agent as usize >= fenced.len() || Self::knows(fenced, agent, clock, lane)
    }

    fn stamp(&self, clock: u32) -> u32 {
        clock << 14 | self.agent << 6 | self.lane
    }
}

/// Clock, agent and lane of a write's stamp.
fn parts(stamp: u32) -> (u32, u32, u32) {
    (stamp >> 14, stamp >> 6 & 0xff, stamp & 63)
}

/// The most agents that stamps tell apart.
pub(crate) const AGENTS: usize = 256;

/// The shadow of one piece of memory.
#[derive(Debug)]
pub(crate) struct Shadow {
    bytes: usize,
    /// Bytes of a piece, as a power of two: 2 or 0.
    piece_log2: u32,
    /// clock << 14 | agent << 6 | lane of the last write; 0 before any. Empty until one happens.
    writes: Vec<u32>,
    /// For each agent: clock << 6 | lane of its last read.
    reads: Vec<Vec<u32>>,
    /// The same of its last atomic operation; atomics never race with each other.
    atomics: Vec<Vec<u32>>,
}

impl Shadow {
    pub(crate) fn new(bytes: usize) -> Self {
        let (writes, reads, atomics) = (Vec::new(), Vec::new(), Vec::new());
        Self { bytes, piece_log2: 2, writes, reads, atomics }
    }

    fn pieces(&self) -> usize {
        self.bytes.div_ceil(1 << self.piece_log2)
    }

    fn span(&mut self, offset: u64, bytes: u64) -> std::ops::Range<usize> {
        if self.piece_log2 == 2 && (bytes < 4 || !offset.is_multiple_of(4)) {
            self.refine();
        }
        let first = (offset >> self.piece_log2) as usize;
        first..((offset + bytes - 1) >> self.piece_log2) as usize + 1
    }

    fn refine(&mut self) {
        let spread = |cells: &mut Vec<u32>| {
            *cells = cells.iter().flat_map(|cell| [*cell; 4]).collect();
        };
        spread(&mut self.writes);
        self.reads.iter_mut().for_each(spread);
        self.atomics.iter_mut().for_each(spread);
        self.piece_log2 = 0;
    }

    /// Notes a read; fails if a write is not ordered before it.
    pub(crate) fn read(&mut self, offset: u64, bytes: u64, who: Who<'_>) -> Result<(), FaultKind> {
        let span = self.span(offset, bytes);
        if !self.writes.is_empty() {
            for stamp in &self.writes[span.clone()] {
                if !who.sees_write(*stamp) {
                    return Err(conflict(AccessKind::Read, *stamp));
                }
                if !who.passes(*stamp) {
                    let (_, other_warp, other_lane) = parts(*stamp);
                    return Err(FaultKind::ProxyFence { other_warp, other_lane });
                }
            }
        }
        unordered(&self.atomics, &span, who, AccessKind::Read, AccessKind::Atomic)?;
        let pieces = self.pieces();
        note(&mut self.reads, pieces, span, who);
        Ok(())
    }

    /// Notes a write; fails if a read or a write is not ordered before it.
    pub(crate) fn write(&mut self, offset: u64, bytes: u64, who: Who<'_>) -> Result<(), FaultKind> {
        let stamp = who.stamp(who.clock);
        self.stamp(offset, bytes, who, stamp, AccessKind::Write)
    }

    /// Notes an atomic operation; fails if a plain access is not ordered before it.
    pub(crate) fn atomic(
        &mut self,
        offset: u64,
        bytes: u64,
        who: Who<'_>,
    ) -> Result<(), FaultKind> {
        let span = self.span(offset, bytes);
        if !self.writes.is_empty() {
            for stamp in &self.writes[span.clone()] {
                if !who.sees_write(*stamp) {
                    return Err(conflict(AccessKind::Atomic, *stamp));
                }
            }
        }
        unordered(&self.reads, &span, who, AccessKind::Atomic, AccessKind::Read)?;
        let pieces = self.pieces();
        note(&mut self.atomics, pieces, span, who);
        Ok(())
    }

    /// Notes that an asynchronous copy owns the memory from now on.
    pub(crate) fn own(&mut self, offset: u64, bytes: u64, who: Who<'_>) -> Result<(), FaultKind> {
        let stamp = who.stamp(PENDING);
        self.stamp(offset, bytes, who, stamp, AccessKind::Write)
    }

    /// The first access that is not known to have happened: its place, kind, agent and lane. Atomic operations count
    /// at some places alone.
    pub(crate) fn late(
        &self,
        known: &[Seen],
        counts: impl Fn(u64) -> bool,
    ) -> Option<(u64, AccessKind, u32, u32)> {
        let place = |at: usize| (at as u64) << self.piece_log2;
        let late = |agent: u32, clock: u32, lane: u32| !Who::knows(known, agent, clock, lane);
        let write = self.writes.iter().enumerate().find_map(|(at, stamp)| {
            let (clock, agent, lane) = parts(*stamp);
            let unseen = *stamp != 0 && late(agent, clock, lane);
            unseen.then(|| (place(at), AccessKind::Write, agent, lane))
        });
        let column = |columns: &[Vec<u32>], kind: AccessKind| {
            columns.iter().enumerate().find_map(|(agent, column)| {
                let agent = agent as u32;
                let mut cells = column.iter().enumerate().filter(|(at, cell)| {
                    let unseen = **cell != 0 && late(agent, *cell >> 6, *cell & 63);
                    unseen && (kind == AccessKind::Read || counts(place(*at)))
                });
                cells.next().map(|(at, cell)| (place(at), kind, agent, cell & 63))
            })
        };
        write
            .or_else(|| column(&self.atomics, AccessKind::Atomic))
            .or_else(|| column(&self.reads, AccessKind::Read))
    }

    /// The copy's owner waited: its write happened now.
    pub(crate) fn release(&mut self, offset: u64, bytes: u64, who: Who<'_>) {
        let span = self.span(offset, bytes);
        let stamp = who.stamp(who.clock);
        if let Some(cells) = self.writes.get_mut(span) {
            cells.fill(stamp);
        }
    }

    fn stamp(
        &mut self,
        offset: u64,
        bytes: u64,
        who: Who<'_>,
        stamp: u32,
        access: AccessKind,
    ) -> Result<(), FaultKind> {
        let span = self.span(offset, bytes);
        unordered(&self.reads, &span, who, access, AccessKind::Read)?;
        unordered(&self.atomics, &span, who, access, AccessKind::Atomic)?;
        let pieces = self.pieces();
        if self.writes.is_empty() {
            self.writes.resize(pieces, 0);
        }
        for cell in &mut self.writes[span] {
            if !who.sees_write(*cell) {
                return Err(conflict(access, *cell));
            }
            *cell = stamp;
        }
        Ok(())
    }
}

/// Writes an agent's stamp over a span of its column.
fn note(columns: &mut Vec<Vec<u32>>, pieces: usize, span: std::ops::Range<usize>, who: Who<'_>) {
    let agent = who.agent as usize;
    if columns.len() <= agent {
        columns.resize_with(agent + 1, Vec::new);
    }
    let column = &mut columns[agent];
    if column.is_empty() {
        column.resize(pieces, 0);
    }
    let stamp = who.clock << 6 | who.lane;
    for cell in &mut column[span] {
        let mixed = *cell >> 6 == who.clock && *cell != stamp;
        *cell = if mixed { who.clock << 6 | SEVERAL } else { stamp };
    }
}

/// Fails if a stamp in any agent's column is not ordered before the current access.
fn unordered(
    columns: &[Vec<u32>],
    span: &std::ops::Range<usize>,
    who: Who<'_>,
    access: AccessKind,
    other: AccessKind,
) -> Result<(), FaultKind> {
    for (agent, column) in columns.iter().enumerate() {
        let Some(cells) = column.get(span.clone()) else { continue };
        let agent = agent as u32;
        let known = who.known.get(agent as usize).map_or(0, |seen| clock_of(*seen));
        for cell in cells {
            let own = agent == who.warp && cell & 63 == who.lane;
            let late = cell >> 6 >= known && *cell != 0 && !own;
            if late && !Who::knows(who.known, agent, cell >> 6, cell & 63) {
                let (other_warp, other_lane) = (agent, cell & 63);
                return Err(FaultKind::Race { access, other, other_warp, other_lane });
            }
        }
    }
    Ok(())
}

fn conflict(access: AccessKind, stamp: u32) -> FaultKind {
    let (clock, warp, lane) = parts(stamp);
    if clock == PENDING {
        FaultKind::AsyncConflict { access, owner_warp: warp, owner_lane: lane }
    } else {
        let other = AccessKind::Write;
        FaultKind::Race { access, other, other_warp: warp, other_lane: lane }
    }
}

/// The highest clock that fits a stamp beside [`PENDING`].
pub(crate) const LAST_CLOCK: u32 = PENDING - 1;
