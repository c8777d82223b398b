//! Threads, and how the rows of a result are shared out among them.
//!
//! A result is cut into blocks: a band of rows by a band of columns. Each block is computed by one thread, alone; which
//! thread, and how the result is cut, cannot change a bit of it.

mod team;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use self::team::Team;
use crate::observe::ThreadSpan;

/// What a thread keeps from one of its tasks to the next.
pub trait Scratchpad: Send {
    /// Where spans of work are noted; `None` where nobody asks, and then no clock is read.
    fn spans(&mut self) -> Option<&mut Vec<ThreadSpan>> {
        None
    }
}

impl Scratchpad for () {}
impl Scratchpad for Vec<f32> {}
impl<const N: usize> Scratchpad for [f32; N] {}

/// A number of threads: the caller's own, and helpers for the rest.
///
/// Several threads may call at once. They then share the helpers, fewer the more of them there are, so that no more
/// threads work than the number says as long as no more call.
pub struct Threads {
    count: usize,
    helpers: Team,
    /// Runs that are under way.
    running: AtomicUsize,
}

impl Threads {
    /// `count` threads, or as many as the machine has if it is `None`.
    ///
    /// # Errors
    /// When the system refuses to start them.
    pub fn new(count: Option<usize>) -> io::Result<Threads> {
        let count = count
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
            .max(1);
        Ok(Threads { count, helpers: Team::new(count - 1)?, running: AtomicUsize::new(0) })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `f`, which counts as one caller however often it asks for help.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        /// Counts a run off, even if it panics.
        struct Running<'a>(&'a AtomicUsize);

        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }

        self.running.fetch_add(1, Ordering::Relaxed);
        let _running = Running(&self.running);
        f()
    }

    /// Calls `f` once for each task in `0..tasks`. A thread keeps one of `scratch` for all tasks that it takes; with
    /// fewer scratches than threads, fewer threads work.
    fn each<S: Scratchpad>(
        &self,
        scratch: &mut [S],
        tasks: usize,
        f: impl Fn(&mut S, usize) + Sync,
    ) {
        let workers = self.count.min(tasks).min(scratch.len());
        if workers == 0 {
            return;
        }
        let others = self.running.load(Ordering::Relaxed).saturating_sub(1);
        let helpers = (workers - 1).min((self.count - 1).saturating_sub(others));
        let next = AtomicUsize::new(0);
        let scratch = Scratches { first: scratch.as_mut_ptr(), borrow: PhantomData };
        self.helpers.share(helpers, &|thread| {
            // SAFETY: `share` calls with each number at most once, and none above `helpers`, which is less than the
            // scratches there are; so this one exists and nothing else refers to it.
            #[expect(unsafe_code, reason = "each thread has a scratch of its own")]
            let scratch = unsafe { scratch.of(thread) };
            let begun = scratch.spans().is_some().then(Instant::now);
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    break;
                }
                f(scratch, task);
            }
            if let (Some(begun), Some(spans)) = (begun, scratch.spans()) {
                spans.push(ThreadSpan { thread, begun, ended: Instant::now() });
            }
        });
    }

    /// Cuts the matrix `out`, of rows of `width` numbers, into blocks and calls `f` once for each.
    ///
    /// # Panics
    /// If the bands' rows do not lie in `out`, or `bands` is not ascending.
    pub(crate) fn blocks<S: Scratchpad>(
        &self,
        scratch: &mut [S],
        out: &mut [f32],
        width: usize,
        cut: Cut<'_>,
        f: impl Fn(&mut S, &mut Block<'_>) + Sync,
    ) {
        let (bands, last) = match cut.rows {
            Bands::Every { rows, step } => (rows.div_ceil(step.max(1)), rows),
            Bands::At(bounds) => {
                assert!(bounds.is_sorted(), "bands ascend");
                (bounds.len().saturating_sub(1), bounds.last().copied().unwrap_or(0))
            }
        };
        let reach = last.checked_mul(width);
        assert!(reach.is_some_and(|n| n <= out.len()), "the result holds all bands");
        let step = cut.columns.max(1);
        let column_bands = width.div_ceil(step);
        let whole = Whole { data: out.as_mut_ptr(), width, borrow: PhantomData };
        self.each(scratch, bands * column_bands, |scratch, task| {
            let band = task / column_bands;
            let rows = match cut.rows {
                Bands::Every { rows, step } => band * step..rows.min((band + 1) * step),
                Bands::At(bounds) => bounds[band]..bounds[band + 1],
            };
            let first = task % column_bands * step;
            let columns = first..width.min(first + step);
            f(scratch, &mut Block { band, rows, columns, whole: &whole });
        });
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Scratches that several threads write, each its own.
struct Scratches<'a, S> {
    first: *mut S,
    borrow: PhantomData<&'a mut [S]>,
}

// SAFETY: each thread takes one scratch for itself, and `S` may be sent to it.
#[expect(unsafe_code, reason = "scratches go to several threads")]
unsafe impl<S: Send> Sync for Scratches<'_, S> {}

impl<S> Scratches<'_, S> {
    /// The scratch of a thread.
    ///
    /// # Safety
    /// There must be that many, and no other reference to this one.
    #[expect(unsafe_code, clippy::mut_from_ref, reason = "each thread has a scratch of its own")]
    unsafe fn of(&self, thread: usize) -> &mut S {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.first.add(thread) }
    }
}

/// How a result is cut.
#[derive(Clone, Copy)]
pub(crate) struct Cut<'a> {
    /// Bands of rows.
    pub(crate) rows: Bands<'a>,
    /// Columns of a block; the last one may have fewer.
    pub(crate) columns: usize,
}

impl Cut<'_> {
    /// Whole rows, about `numbers` numbers to a block but enough blocks for all threads.
    pub(crate) fn rows(rows: usize, width: usize, numbers: usize, threads: usize) -> Cut<'static> {
        let step = (numbers / width.max(1)).min(rows.div_ceil(threads * 2)).max(1);
        Cut { rows: Bands::Every { rows, step }, columns: width }
    }
}

/// Bands of rows.
#[derive(Clone, Copy)]
pub(crate) enum Bands<'a> {
    /// `step` rows each.
    Every {
        /// All rows.
        rows: usize,
        /// Rows of a band; the last one may have fewer.
        step: usize,
    },
    /// Band `i` is rows `bounds[i]..bounds[i + 1]`.
    At(&'a [usize]),
}

/// A matrix that several threads write, each its own blocks.
struct Whole<'a> {
    data: *mut f32,
    width: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is used only by `Block::row`, and no two blocks share an element.
#[expect(unsafe_code, reason = "blocks of one matrix go to several threads")]
unsafe impl Sync for Whole<'_> {}

/// A band of rows by a band of columns, owned by one task.
pub(crate) struct Block<'a> {
    /// The number of the band of rows.
    pub(crate) band: usize,
    /// Its rows in the whole matrix.
    pub(crate) rows: Range<usize>,
    /// Its columns in the whole matrix.
    pub(crate) columns: Range<usize>,
    whole: &'a Whole<'a>,
}

impl Block<'_> {
    /// The block's part of row `row` of the whole matrix.
    ///
    /// # Panics
    /// If the row is not the block's.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row), "the row is the block's own");
        let start = row * self.whole.width + self.columns.start;
        // SAFETY: `blocks` checked that all bands lie in the matrix, that bands of rows do not overlap and that each
        // task has its own pair of bands; so these elements exist and belong to this block alone, and `&mut self`
        // keeps its rows from being borrowed twice. The matrix is borrowed mutably for as long as `blocks` runs.
        #[expect(unsafe_code, reason = "the elements of a block belong to its task alone")]
        unsafe {
            std::slice::from_raw_parts_mut(self.whole.data.add(start), self.columns.len())
        }
    }
}
