//! A linear with the residual and the LayerNorm behind it in its epilogue, on `sm_90a`: how a row is divided, and
//! whether that takes less than two kernels.
//!
//! The blocks of a cluster have the columns of the same 128 rows between them, so all tiles of a row come at the same
//! time; the warpgroups of a block share its tile. Beside the linear's work the residual is copied in, the epilogue has
//! the statistics and the scaling to do, and once for each tile the blocks wait for each other's sums.
//! Apart, the result and the residual are read again, and the sum's LayerNorm is written, by a launch of its own that
//! does nothing but move bytes.

use std::fmt;

use thiserror::Error;

use super::linear::{
    self, Estimate, LATENCY, LEAST, Layer, MEETING, MOST_SHARED, MOST_STAGES, PASSING, PIECES,
    START, TILE_K, TILE_ROWS, TOKENS,
};
use super::{CACHE, KEPT, LANES, MEMORY, MULTIPROCESSORS, PRODUCTS, SHARED, WRITES, clusters};

/// The most columns that one product has.
const MOST_COLUMNS: u32 = 256;
/// How many blocks a cluster may have: powers of two, so that each has whole patterns of eight rows of x, and no more
/// than lanes that share a row.
const BLOCKS: [u32; 3] = [1, 2, 4];
/// Instructions for a number of the result beside those of any epilogue: the residual, both statistics, the scaling.
pub(super) const NORMING: u64 = 9;
/// Cycles until the sums of a tile have gone to the other blocks, and theirs have come.
pub(super) const EXCHANGE: u64 = 1000;
/// The batch that a report speaks of.
const SHOWN: u64 = 16384;

/// How a row's columns are divided among the blocks of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Columns of a block; rows are [`TILE_ROWS`].
    pub columns: u32,
    /// Blocks that share rows.
    pub blocks: u32,
    /// Pairs of tiles that shared memory holds.
    pub stages: u32,
}

/// Why a LayerNorm stays a kernel of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unsuited {
    /// Most of a tile would be empty.
    #[error("{n} x {k}, of which one is less than {LEAST}")]
    Small {
        /// Outputs.
        n: u32,
        /// Inputs.
        k: u32,
    },
    /// No cluster has a row between its blocks.
    #[error("rows of {n} columns, and a cluster has at most {}", MOST_COLUMNS * BLOCKS[BLOCKS.len() - 1])]
    Wide {
        /// Outputs.
        n: u32,
    },
    /// The estimates are for the two kernels.
    #[error("{together} cycles in one pass for {SHOWN} rows by estimate, {apart} in two kernels")]
    Slower {
        /// Cycles of the one kernel.
        together: u64,
        /// Cycles of both.
        apart: u64,
    },
}

/// The tile of a linear with its LayerNorm, if one kernel is estimated to take less than two, over batches of 4,096 to
/// 65,536 tokens; with the cycles that one and two of them take for 16,384.
///
/// # Errors
/// Why it does not pay.
pub fn choose(n: u32, k: u32) -> Result<(Tile, [u64; 2]), Unsuited> {
    let tile = Tile::best(n, k)?;
    // Each batch counts alike, by what it would take at the tensor cores' peak.
    let weighed = |cycles: &dyn Fn(u64) -> u64| -> u128 {
        let costs = TOKENS.map(|log2| u128::from(cycles(1 << log2)) << (TOKENS.end() - log2));
        costs.sum()
    };
    let together = |tokens| tile.estimate(n, k, tokens).cycles;
    let apart = |tokens| apart(n, k, tokens);
    let shown = [together(SHOWN), apart(SHOWN)];
    if weighed(&together) < weighed(&apart) {
        Ok((tile, shown))
    } else {
        let [together, apart] = shown;
        Err(Unsuited::Slower { together, apart })
    }
}

/// Cycles of a linear and then a LayerNorm of its sum with a residual.
pub fn apart(n: u32, k: u32, tokens: u64) -> u64 {
    let layer = Layer { n, k, epilogue: Vec::new() };
    let linear = linear::Tile::best(&layer).estimate(&layer, tokens).cycles;
    // Two values are read and one is written, from the second-level cache while they fit there.
    let bytes = tokens.saturating_mul(u64::from(n) * 3 * 2);
    let rate = if bytes <= KEPT { CACHE * MULTIPROCESSORS } else { MEMORY };
    linear.saturating_add(START + bytes / rate)
}

/// Bytes in which so many blocks send each other what they have of rows, twice, and the barriers of it.
pub(super) fn exchange_bytes(blocks: u32) -> u32 {
    if blocks == 1 { 0 } else { 2 * (blocks * TILE_ROWS * 8 + 8 * 8) }
}

impl Tile {
    /// The division of rows of `n` columns into so many blocks.
    fn new(n: u32, k: u32, blocks: u32) -> Option<Self> {
        let columns = n.div_ceil(blocks).next_multiple_of(16).max(LEAST);
        if columns > MOST_COLUMNS || (blocks - 1).checked_mul(columns)? >= n {
            return None;
        }
        let tile = Self { columns, blocks, stages: 0 };
        let room = MOST_SHARED - 1024 - PIECES - tile.exchange_bytes();
        // A tile of the residual comes behind the pairs.
        let whole = k.div_ceil(TILE_K) * 2 + 2;
        let stages = (room / (tile.pair_bytes() + 16)).min(MOST_STAGES).min(whole).max(2);
        Some(Self { stages, ..tile })
    }

    /// The tile that costs least over batches of 4,096 to 65,536 tokens. One for all of them: how a row is divided is part
    /// of what gives a result its bits.
    ///
    /// # Errors
    /// Sizes that no tile suits.
    pub fn best(n: u32, k: u32) -> Result<Self, Unsuited> {
        if n.min(k) < LEAST {
            return Err(Unsuited::Small { n, k });
        }
        let cost = |tile: &Self| -> u64 {
            TOKENS.map(|log2| 1_000_000 / tile.estimate(n, k, 1 << log2).share.max(1)).sum()
        };
        // Of equal ones the one with the fewest blocks, which wait for each other least.
        let tiles = BLOCKS.into_iter().filter_map(|blocks| Self::new(n, k, blocks));
        tiles.min_by_key(|tile| (cost(tile), tile.blocks)).ok_or(Unsuited::Wide { n })
    }

    /// What the kernel takes for so many tokens, at least one, with this tile.
    pub fn estimate(self, n: u32, k: u32, tokens: u64) -> Estimate {
        let (n, k) = (u64::from(n), u64::from(k));
        let (rows, columns) = (u64::from(TILE_ROWS), u64::from(self.columns));
        let (steps, blocks) = (k.div_ceil(TILE_K.into()), u64::from(self.blocks));
        let depth = u64::from(TILE_K);

        let pair = (rows + columns) * depth * 2;
        let arithmetic = rows * columns * depth / PRODUCTS;
        let shared = (pair + (rows + 2 * columns) * depth * 2) / SHARED;
        let products = steps * arithmetic.max(shared);
        let numbers = rows * columns;
        let copies = (steps * (rows / blocks + columns) * depth * 2 + numbers * 2) / CACHE;

        let busy = (numbers * (PASSING + NORMING) / LANES)
            .max(numbers * 3 * 2 / SHARED)
            .max(numbers * 2 / WRITES);
        let epilogue = LATENCY + busy + if blocks > 1 { EXCHANGE } else { 0 };

        let waves = u128::from(tokens.div_ceil(rows)).div_ceil(u128::from(clusters(blocks)));
        let each = (products + epilogue).max(copies);
        let first = copies.max(products) + epilogue;
        let start = START + if blocks > 1 { MEETING } else { 0 };
        let block = (waves - 1) * u128::from(each) + u128::from(start + first);
        let (tokens, n, k) = (u128::from(tokens), u128::from(n), u128::from(k));
        let memory = (tokens * k + n * k + 2 * tokens * n) * 2 / u128::from(MEMORY);
        let cycles = block.max(memory);
        let peak = tokens * n * k / u128::from(PRODUCTS * MULTIPROCESSORS);
        let narrow = |x: u128| u64::try_from(x).unwrap_or(u64::MAX);
        Estimate {
            waves: narrow(waves),
            cycles: narrow(cycles),
            share: narrow(peak * 1000 / cycles.max(1)),
        }
    }

    /// Bytes of a pair of tiles.
    pub fn pair_bytes(self) -> u32 {
        (TILE_ROWS + self.columns) * TILE_K * 2
    }

    /// Bytes in which blocks send each other what they have of rows.
    pub fn exchange_bytes(self) -> u32 {
        exchange_bytes(self.blocks)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TILE_ROWS} x {}", self.columns)?;
        match self.blocks {
            1 => write!(f, ", whole rows"),
            blocks => write!(f, ", rows over clusters of {blocks}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_SHARED, PIECES, Tile, Unsuited, choose};

    #[test]
    fn clusters_hold_the_rows_of_models() {
        let best = |n, k| choose(n, k).map(|(tile, _)| tile.to_string());
        for (n, k, expected) in [
            (64, 256, "128 x 64, whole rows"),
            (128, 64, "128 x 128, whole rows"),
            (128, 512, "128 x 64, rows over clusters of 2"),
            (256, 256, "128 x 128, rows over clusters of 2"),
            (312, 312, "128 x 80, rows over clusters of 4"),
            (312, 1200, "128 x 160, rows over clusters of 2"),
            (384, 384, "128 x 96, rows over clusters of 4"),
            (384, 1536, "128 x 192, rows over clusters of 2"),
            (768, 768, "128 x 192, rows over clusters of 4"),
            (768, 3072, "128 x 192, rows over clusters of 4"),
            (1024, 1024, "128 x 256, rows over clusters of 4"),
            (1024, 4096, "128 x 256, rows over clusters of 4"),
        ] {
            assert_eq!(best(n, k).as_deref(), Ok(expected), "{n} x {k}");
        }
        assert_eq!(best(63, 64), Err(Unsuited::Small { n: 63, k: 64 }));
        assert_eq!(best(1032, 64), Err(Unsuited::Wide { n: 1032 }));
        assert_eq!(best(1 << 31, 1 << 31), Err(Unsuited::Wide { n: 1 << 31 }));
    }

    #[test]
    fn any_size_that_has_a_tile_fits() {
        for n in (64..=1024).step_by(8) {
            for k in [64, 1 << 10, u32::MAX] {
                let Ok(tile) = Tile::best(n, k) else { continue };
                let before = (tile.blocks - 1) * tile.columns;
                assert!(before < n && n <= before + tile.columns, "{n}: {tile}");
                let shared =
                    1024 + tile.stages * (tile.pair_bytes() + 16) + PIECES + tile.exchange_bytes();
                assert!(tile.stages >= 2 && shared <= MOST_SHARED, "{tile}: {shared}");
                for tokens in [1, 4096, u64::from(u32::MAX)] {
                    let estimate = tile.estimate(n, k, tokens);
                    assert!(estimate.waves >= 1 && estimate.share <= 1000, "{estimate:?}");
                }
            }
        }
    }
}
