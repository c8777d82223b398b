//! Global allocations. Blocks run on several threads, so the words are atomics used without
//! ordering: two blocks that touch one word in one launch are a fault anyway.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Bytes in a page of undo copies and of race shadows.
pub(crate) const PAGE: u64 = 4096;

/// One allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    words: Vec<AtomicU32>,
    /// One bit a byte: was it ever written.
    written: Vec<AtomicU32>,
    /// Marked ranges, in order, apart from each other.
    pub(crate) marks: Vec<Range<u64>>,
}

impl Allocation {
    pub(crate) fn new(name: String, bytes: u64) -> Self {
        let zeros = |count: u64| (0..count).map(|_| AtomicU32::new(0)).collect();
        Self {
            name,
            bytes,
            words: zeros(bytes.div_ceil(4)),
            written: zeros(bytes.div_ceil(32)),
            marks: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn word(&self, offset: u64) -> u32 {
        self.words[(offset / 4) as usize].load(Relaxed)
    }

    /// Reads 1, 2, 4 or 8 bytes at an aligned offset.
    #[inline]
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> u64 {
        let word = u64::from(self.word(offset));
        match bytes {
            8 => word | u64::from(self.word(offset + 4)) << 32,
            4 => word,
            _ => (word >> (offset % 4 * 8)) & ((1 << (bytes * 8)) - 1),
        }
    }

    /// Writes 1, 2, 4 or 8 bytes at an aligned offset.
    #[inline]
    pub(crate) fn write(&self, offset: u64, bytes: u64, value: u64) {
        let word = &self.words[(offset / 4) as usize];
        match bytes {
            8 => {
                word.store(value as u32, Relaxed);
                self.words[(offset / 4 + 1) as usize].store((value >> 32) as u32, Relaxed);
            }
            4 => word.store(value as u32, Relaxed),
            _ => {
                let shift = offset % 4 * 8;
                let mask = ((1u64 << (bytes * 8)) - 1) << shift;
                let new = (value << shift) & mask;
                // Neighbours in the word may belong to another block.
                let _ = word.fetch_update(Relaxed, Relaxed, |old| {
                    Some((old & !(mask as u32)) | new as u32)
                });
            }
        }
    }

    /// Replaces a word by a function of it, in one step; the old word.
    pub(crate) fn update(&self, offset: u64, f: impl Fn(u32) -> u32) -> u32 {
        let word = &self.words[(offset / 4) as usize];
        let mut old = word.load(Relaxed);
        loop {
            match word.compare_exchange_weak(old, f(old), Relaxed, Relaxed) {
                Ok(old) => return old,
                Err(found) => old = found,
            }
        }
    }

    /// Whether all of up to 32 aligned bytes were written.
    pub(crate) fn is_written(&self, offset: u64, bytes: u64) -> bool {
        let bits = self.written[(offset / 32) as usize].load(Relaxed);
        let mask = byte_mask(offset, bytes);
        bits & mask == mask
    }

    /// Notes that up to 32 aligned bytes were written.
    #[inline]
    pub(crate) fn set_written(&self, offset: u64, bytes: u64) {
        let cell = &self.written[(offset / 32) as usize];
        let mask = byte_mask(offset, bytes);
        if cell.load(Relaxed) & mask != mask {
            cell.fetch_or(mask, Relaxed);
        }
    }

    /// Forgets that a range was ever written.
    pub(crate) fn forget(&self, range: Range<u64>) {
        for offset in range {
            self.written[(offset / 32) as usize].fetch_and(!(1 << (offset % 32)), Relaxed);
        }
    }

    pub(crate) fn is_marked(&self, offset: u64, bytes: u64) -> bool {
        let end = offset + bytes;
        let first = self.marks.partition_point(|mark| mark.end <= offset);
        self.marks.get(first).is_some_and(|mark| mark.start < end)
    }

    pub(crate) fn upload(&self, offset: u64, data: &[u8]) {
        for (at, byte) in (offset..).zip(data) {
            if at % 4 == 0 && (at - offset + 4) as usize <= data.len() {
                let start = (at - offset) as usize;
                let word = [data[start], data[start + 1], data[start + 2], data[start + 3]];
                self.write(at, 4, u64::from(u32::from_le_bytes(word)));
                self.set_written(at, 4);
            } else if at % 4 == 0
                || at < offset.next_multiple_of(4)
                || at >= (offset + data.len() as u64) / 4 * 4
            {
                self.write(at, 1, u64::from(*byte));
                self.set_written(at, 1);
            }
        }
    }

    pub(crate) fn download(&self, range: Range<u64>) -> Vec<u8> {
        range.map(|at| (self.word(at) >> (at % 4 * 8)) as u8).collect()
    }

    /// The first byte of a range that was never written.
    pub(crate) fn first_unwritten(&self, range: Range<u64>) -> Option<u64> {
        range.into_iter().find(|at| !self.is_written(*at, 1))
    }
}

fn byte_mask(offset: u64, bytes: u64) -> u32 {
    ((((1u64 << bytes) - 1) << (offset % 32)) & 0xffff_ffff) as u32
}

/// Copies of pages as they were before a launch first wrote to them.
#[derive(Debug)]
pub(crate) struct Undo {
    /// For each allocation, for each page.
    pages: Vec<Vec<OnceLock<Box<Saved>>>>,
}

#[derive(Debug)]
struct Saved {
    words: Vec<u32>,
    written: Vec<u32>,
}

impl Undo {
    pub(crate) fn new<'a>(allocations: impl Iterator<Item = Option<&'a Allocation>>) -> Self {
        let pages = allocations
            .map(|allocation| {
                let pages = allocation.map_or(0, |allocation| allocation.bytes.div_ceil(PAGE));
                (0..pages).map(|_| OnceLock::new()).collect()
            })
            .collect();
        Self { pages }
    }

    /// Keeps the page of an offset, unless it is kept already. Comes before every write, so no
    /// thread changes a page that another one is keeping.
    pub(crate) fn keep(&self, index: usize, allocation: &Allocation, offset: u64) {
        let page = offset / PAGE;
        self.pages[index][page as usize].get_or_init(|| {
            let words = (page * PAGE / 4) as usize;
            let written = (page * PAGE / 32) as usize;
            let copy = |cells: &[AtomicU32], start: usize, count: usize| {
                cells[start..cells.len().min(start + count)]
                    .iter()
                    .map(|w| w.load(Relaxed))
                    .collect()
            };
            Box::new(Saved {
                words: copy(&allocation.words, words, PAGE as usize / 4),
                written: copy(&allocation.written, written, PAGE as usize / 32),
            })
        });
    }

    /// Puts every kept page back.
    pub(crate) fn restore(self, allocations: &[Option<Allocation>]) {
        for (allocation, pages) in allocations.iter().zip(self.pages) {
            let Some(allocation) = allocation else { continue };
            for (page, saved) in pages.into_iter().enumerate() {
                let Some(saved) = saved.into_inner() else { continue };
                let start = page * PAGE as usize;
                for (cell, word) in allocation.words[start / 4..].iter().zip(saved.words) {
                    cell.store(word, Relaxed);
                }
                for (cell, word) in allocation.written[start / 32..].iter().zip(saved.written) {
                    cell.store(word, Relaxed);
                }
            }
        }
    }
}
