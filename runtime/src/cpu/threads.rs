//! Threads, and how the rows of a result are shared out among them.
//!
//! A result is cut into blocks: a band of rows by a band of columns. Each block is computed by one thread, alone; which
//! thread, and how the result is cut, cannot change a bit of it.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rayon::ThreadPool;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

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

/// A fixed number of threads.
#[derive(Debug)]
pub struct Threads {
    count: usize,
    /// None for a single thread, which is the caller's own.
    pool: Option<ThreadPool>,
}

impl Threads {
    /// `count` threads, or as many as the machine has if it is `None`.
    ///
    /// # Errors
    /// When the system refuses to start them.
    pub fn new(count: Option<usize>) -> Result<Threads, rayon::ThreadPoolBuildError> {
        let count = count
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
            .max(1);
        let pool = if count > 1 {
            let name = |i| format!("bytec-{i}");
            Some(rayon::ThreadPoolBuilder::new().num_threads(count).thread_name(name).build()?)
        } else {
            None
        };
        Ok(Threads { count, pool })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `f` on one of the threads, so that the calls within it need no hand-over.
    pub(crate) fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
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
        let next = AtomicUsize::new(0);
        let work = |scratch: &mut S| {
            let begun = scratch.spans().is_some().then(Instant::now);
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    break;
                }
                f(scratch, task);
            }
            if let (Some(begun), Some(spans)) = (begun, scratch.spans()) {
                // A single thread is the caller's own, be it one of another pool's.
                let own = self.pool.as_ref().and_then(ThreadPool::current_thread_index);
                let thread = own.unwrap_or(0);
                spans.push(ThreadSpan { thread, begun, ended: Instant::now() });
            }
        };
        match &self.pool {
            Some(pool) if workers > 1 => {
                pool.install(|| scratch[..workers].par_iter_mut().with_max_len(1).for_each(work));
            }
            _ => {
                if let Some(first) = scratch.first_mut() {
                    work(first);
                }
            }
        }
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
