//! Accesses to global memory by one block, and their conflicts with other blocks.
//!
//! A block notes the bytes that it read, wrote or changed atomically. When it ends, its notes are
//! held against those of all blocks that ended before: whatever the order, every pair of blocks is
//! compared once. Blocks of one launch have no order, so any overlap with a plain write is a race.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::global::PAGE;
use super::shadow::{Seen, Shadow, Who};
use crate::fault::AccessKind;

const WORDS: usize = PAGE as usize / 64;

/// An allocation's number and a page within it.
pub(crate) type PageKey = (u32, u32);

/// One bit a byte of a page, for each kind of access.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    read: [u64; WORDS],
    written: [u64; WORDS],
    atomic: [u64; WORDS],
}

impl Touched {
    fn new() -> Self {
        Self { read: [0; WORDS], written: [0; WORDS], atomic: [0; WORDS] }
    }

    /// What was done to some of these bytes that conflicts with an access.
    pub(crate) fn conflict(
        &self,
        offset: u64,
        bytes: u64,
        access: AccessKind,
    ) -> Option<AccessKind> {
        let at = (offset / 64) as usize;
        let mask = (u64::MAX >> (64 - bytes)) << (offset % 64);
        let kinds = [
            (AccessKind::Write, self.written[at], true),
            (AccessKind::Atomic, self.atomic[at], access != AccessKind::Atomic),
            (AccessKind::Read, self.read[at], access != AccessKind::Read),
        ];
        let found = kinds.into_iter().find(|(_, cells, bad)| *bad && cells & mask != 0);
        found.map(|(kind, ..)| kind)
    }

    fn conflicts(&self, other: &Touched) -> bool {
        (0..WORDS).any(|at| {
            let any = other.read[at] | other.written[at] | other.atomic[at];
            let kept = other.written[at] | other.atomic[at];
            let plain = other.read[at] | other.written[at];
            self.written[at] & any != 0 || self.read[at] & kept != 0 || self.atomic[at] & plain != 0
        })
    }

    pub(crate) fn merge(&mut self, other: &Touched) {
        for at in 0..WORDS {
            self.read[at] |= other.read[at];
            self.written[at] |= other.written[at];
            self.atomic[at] |= other.atomic[at];
        }
    }
}

/// What the blocks that ended have touched.
#[derive(Debug, Default)]
pub(crate) struct Merged(Mutex<BTreeMap<PageKey, Box<Touched>>>);

impl Merged {
    fn page(&self, key: PageKey) -> Option<Box<Touched>> {
        let pages = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pages.get(&key).cloned()
    }

    /// All that is known, which is forgotten here.
    pub(crate) fn take(&self) -> BTreeMap<PageKey, Box<Touched>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Adds a block's notes; whether they conflict with another block's.
    pub(crate) fn add(&self, pages: &BlockPages) -> bool {
        let mut merged = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut conflict = false;
        for (key, index) in &pages.index {
            let own = &pages.pages[*index].own;
            match merged.get_mut(key) {
                Some(others) => {
                    conflict |= own.conflicts(others);
                    others.merge(own);
                }
                None => {
                    merged.insert(*key, Box::new(own.clone()));
                }
            }
        }
        conflict
    }
}

/// Bytes of a page that a `cp.async` in flight reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) page: PageKey,
    /// Within the page.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Who issued the copy.
    pub(crate) warp: u32,
    pub(crate) lane: u32,
}

/// One page as a block has used it.
#[derive(Debug)]
pub(crate) struct BlockPage {
    own: Touched,
    /// What earlier blocks did, where blocks run one after the other.
    others: Option<Box<Touched>>,
    pub(crate) shadow: Shadow,
    /// In order of their issue.
    sources: Vec<Source>,
}

impl BlockPage {
    /// Notes an access; whether it is known to conflict with another block's.
    pub(crate) fn touch(&mut self, offset: u64, bytes: u64, access: AccessKind) -> bool {
        let at = (offset / 64) as usize;
        let mask = (u64::MAX >> (64 - bytes)) << (offset % 64);
        let cells = match access {
            AccessKind::Read => &mut self.own.read,
            AccessKind::Write => &mut self.own.written,
            AccessKind::Atomic => &mut self.own.atomic,
        };
        cells[at] |= mask;
        let Some(others) = &self.others else { return false };
        let bad = match access {
            AccessKind::Read => others.written[at] | others.atomic[at],
            AccessKind::Write => others.read[at] | others.written[at] | others.atomic[at],
            AccessKind::Atomic => others.read[at] | others.written[at],
        };
        bad & mask != 0
    }

    /// A copy in flight that reads some of these bytes.
    pub(crate) fn source(&self, offset: u64, bytes: u64) -> Option<&Source> {
        let end = offset + bytes;
        self.sources.iter().find(|copy| copy.offset < end && offset < copy.offset + copy.bytes)
    }
}

/// The pages that a block has touched.
#[derive(Debug, Default)]
pub(crate) struct BlockPages {
    index: BTreeMap<PageKey, usize>,
    pages: Vec<BlockPage>,
    last: Option<(PageKey, usize)>,
}

impl BlockPages {
    /// The page of a key, made at its first use. With `merged`, conflicts show at once.
    pub(crate) fn page(&mut self, key: PageKey, merged: Option<&Merged>) -> &mut BlockPage {
        if let Some((last, index)) = self.last
            && last == key
        {
            return &mut self.pages[index];
        }
        let index = *self.index.entry(key).or_insert_with(|| {
            self.pages.push(BlockPage {
                own: Touched::new(),
                others: merged.and_then(|merged| merged.page(key)),
                shadow: Shadow::new(PAGE as usize),
                sources: Vec::new(),
            });
            self.pages.len() - 1
        });
        self.last = Some((key, index));
        &mut self.pages[index]
    }

    /// A copy from a page that the block has touched is in flight from now on.
    pub(crate) fn begin_copy(&mut self, source: Source) {
        if let Some(index) = self.index.get(&source.page) {
            self.pages[*index].sources.push(source);
        }
    }

    /// Its issuer has waited: it reads no more. The last read of its source was now.
    pub(crate) fn end_copy(&mut self, source: &Source, known: &[Seen]) {
        let Some(index) = self.index.get(&source.page) else { return };
        let page = &mut self.pages[*index];
        if let Some(at) = page.sources.iter().position(|other| other == source) {
            page.sources.remove(at);
        }
        let who = Who::lane(source.warp, source.lane, known);
        // Nothing was written since the issue, or that write was a fault: so this is none.
        let _ = page.shadow.read(source.offset, source.bytes, who);
    }
}
