//! Which keys a mask lets queries see.

use std::ops::Range;

use bytec_plan::attention::Band;

/// A mask, as rows before and after a query's own.
#[derive(Clone, Copy)]
pub(super) struct Window {
    before: usize,
    after: usize,
}

impl Window {
    pub(super) fn new(mask: Band) -> Window {
        let limit = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        Window { before: limit(mask.before), after: limit(mask.after) }
    }

    /// The keys that at least one of these queries sees, of `keys`; all of them without a mask.
    #[inline(always)]
    pub(super) fn keys(self, queries: Range<usize>, keys: usize) -> Range<usize> {
        let first = queries.start.saturating_sub(self.before).min(keys);
        let end = queries.end.saturating_add(self.after).min(keys);
        first..end.max(first)
    }

    /// True if every one of these queries sees the key.
    #[inline(always)]
    pub(super) fn open(self, queries: &Range<usize>, key: usize) -> bool {
        self.sees(queries.start, key) && self.sees(queries.end - 1, key)
    }

    /// True if the query sees the key.
    #[inline(always)]
    pub(super) fn sees(self, query: usize, key: usize) -> bool {
        query.saturating_sub(key) <= self.before && key.saturating_sub(query) <= self.after
    }

    /// True if there is no limit.
    #[inline(always)]
    pub(super) fn is_all(self) -> bool {
        self.before == usize::MAX && self.after == usize::MAX
    }
}
