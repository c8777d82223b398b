//! Who last read and wrote each piece of memory, in vector time.
//!
//! A block keeps one clock a warp. A warp's own clock moves on at every barrier and warp-wide
//! synchronisation, and a barrier tells every warp the others' clocks. An earlier access is ordered
//! before the current one if its warp's clock then is below what the current warp knows of it, or if
//! the same lane did both.
//!
//! Pieces are 4 bytes until something smaller is accessed, then single bytes.

use crate::fault::{AccessKind, FaultKind};

/// Marks a write whose cp.async has not been waited for.
const PENDING: u32 = (1 << 22) - 1;
/// A lane number that stands for several lanes.
const SEVERAL: u32 = 32;

/// The warp and lane that access memory, and what their warp knows.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) warp: u32,
    pub(crate) lane: u32,
    /// For each warp, events with a lower clock are known to have happened.
    pub(crate) known: &'a [u32],
}

impl Who<'_> {
    fn clock(&self) -> u32 {
        self.known[self.warp as usize]
    }

    fn sees_write(&self, stamp: u32) -> bool {
        let (clock, warp, lane) = (stamp >> 10, stamp >> 5 & 31, stamp & 31);
        let own = warp == self.warp && lane == self.lane && clock != PENDING;
        own || clock < self.known[warp as usize]
    }
}

/// The shadow of one piece of memory.
#[derive(Debug)]
pub(crate) struct Shadow {
    bytes: usize,
    /// Bytes of a piece, as a power of two: 2 or 0.
    piece_log2: u32,
    /// clock << 10 | warp << 5 | lane of the last write; 0 before any. Empty until one happens.
    writes: Vec<u32>,
    /// For each warp: clock << 6 | lane of its last read.
    reads: Vec<Vec<u32>>,
    /// The same of its last atomic operation; atomics never race with each other.
    atomics: Vec<Vec<u32>>,
}

impl Shadow {
    pub(crate) fn new(bytes: usize, warps: usize) -> Self {
        let none = vec![Vec::new(); warps];
        Self { bytes, piece_log2: 2, writes: Vec::new(), reads: none.clone(), atomics: none }
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
            }
        }
        unordered(&self.atomics, &span, who, AccessKind::Read, AccessKind::Atomic)?;
        let pieces = self.pieces();
        note(&mut self.reads[who.warp as usize], pieces, span, who);
        Ok(())
    }

    /// Notes a write; fails if a read or a write is not ordered before it.
    pub(crate) fn write(&mut self, offset: u64, bytes: u64, who: Who<'_>) -> Result<(), FaultKind> {
        let stamp = who.clock() << 10 | who.warp << 5 | who.lane;
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
        note(&mut self.atomics[who.warp as usize], pieces, span, who);
        Ok(())
    }

    /// Notes that an asynchronous copy owns the memory from now on.
    pub(crate) fn own(&mut self, offset: u64, bytes: u64, who: Who<'_>) -> Result<(), FaultKind> {
        let stamp = PENDING << 10 | who.warp << 5 | who.lane;
        self.stamp(offset, bytes, who, stamp, AccessKind::Write)
    }

    /// The copy's owner waited: its write happened now.
    pub(crate) fn release(&mut self, offset: u64, bytes: u64, who: Who<'_>) {
        let span = self.span(offset, bytes);
        let stamp = who.clock() << 10 | who.warp << 5 | who.lane;
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

/// Writes a warp's stamp over a span of its column.
fn note(column: &mut Vec<u32>, pieces: usize, span: std::ops::Range<usize>, who: Who<'_>) {
    if column.is_empty() {
        column.resize(pieces, 0);
    }
    let stamp = who.clock() << 6 | who.lane;
    for cell in &mut column[span] {
        let mixed = *cell >> 6 == who.clock() && *cell != stamp;
        *cell = if mixed { who.clock() << 6 | SEVERAL } else { stamp };
    }
}

/// Fails if a stamp in any warp's column is not ordered before the current access.
fn unordered(
    columns: &[Vec<u32>],
    span: &std::ops::Range<usize>,
    who: Who<'_>,
    access: AccessKind,
    other: AccessKind,
) -> Result<(), FaultKind> {
    for (warp, column) in columns.iter().enumerate() {
        let Some(cells) = column.get(span.clone()) else { continue };
        let known = who.known[warp];
        for cell in cells {
            let own = warp as u32 == who.warp && cell & 63 == who.lane;
            if cell >> 6 >= known && *cell != 0 && !own {
                let (other_warp, other_lane) = (warp as u32, cell & 63);
                return Err(FaultKind::Race { access, other, other_warp, other_lane });
            }
        }
    }
    Ok(())
}

fn conflict(access: AccessKind, stamp: u32) -> FaultKind {
    let (clock, warp, lane) = (stamp >> 10, stamp >> 5 & 31, stamp & 31);
    if clock == PENDING {
        FaultKind::AsyncConflict { access, owner_warp: warp, owner_lane: lane }
    } else {
        let other = AccessKind::Write;
        FaultKind::Race { access, other, other_warp: warp, other_lane: lane }
    }
}

/// The highest clock that fits a stamp beside [`PENDING`].
pub(crate) const LAST_CLOCK: u32 = PENDING - 1;
