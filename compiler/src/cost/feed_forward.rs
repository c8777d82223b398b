//! A linear and the linear with its LayerNorm behind it in one launch, on `sm_90a`: for which batches that takes less
//! than two.
//!
//! A cluster makes 128 rows of both, in rounds of a tile of the first linear for each of its blocks, and then as one
//! kernel makes the second. The tiles are those of the two kernels, so that every number has the same bits either way,
//! and each batch may have the one that suits it.
//!
//! For each tile of rows all products follow each other; of the last round's functions, and of the LayerNorm, that lies
//! beside no products which one warpgroup is not ahead of the other by. In return there is no second launch to begin, and
//! no part of the device waits for another between the two. But only as many blocks work as there are clusters for: a
//! batch of few rows has most multiprocessors idle, which share out the first linear's columns where it is a launch of
//! its own.

use std::fmt;
use std::ops::Range;

use bytec_plan::kernel::UnaryFn;
use thiserror::Error;

use super::functions::instructions;
use super::linear::{
    self, COMING, LATENCY, LEAST, Layer, MEETING, MOST_SHARED, MOST_STAGES, PASSING, PIECES, START,
    TILE_K, TILE_ROWS,
};
use super::linear_layer_norm::{self, EXCHANGE, NORMING};
use super::{CACHE, LANES, MEMORY, PRODUCTS, SHARED, WRITES, clusters};

/// The largest batch, in rows, for which two launches may be one: beyond it a launch is nothing.
const MOST_ROWS: u64 = 1 << 16;

/// The most columns of a tile that a warpgroup has room for the sums of.
const MOST_UP_COLUMNS: u32 = 128;
/// The most arrivals of a phase of an mbarrier.
const MOST_ARRIVALS: u32 = (1 << 20) - 1;
/// Warps that make a tile of the first linear.
const WARPS: u32 = 4;

/// The two linears: `k` columns become `hidden`, and these `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Columns of the result.
    pub n: u32,
    /// Columns between the two.
    pub hidden: u32,
    /// Inputs.
    pub k: u32,
    /// Functions between the two.
    pub epilogue: Vec<UnaryFn>,
}

/// How a cluster divides the columns of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Columns of the first linear that a warpgroup makes at a time, of [`TILE_ROWS`] rows.
    pub up_columns: u32,
    /// Columns of the second that a block has.
    pub columns: u32,
    /// Blocks that share rows.
    pub blocks: u32,
    /// Pairs of tiles that shared memory holds.
    pub stages: u32,
}

/// Why two linears stay two launches for all batches.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsuited {
    /// The second is not on clusters.
    #[error(transparent)]
    Second(#[from] linear_layer_norm::Unsuited),
    /// Most of a tile of the first would be empty.
    #[error("{hidden} x {k}, of which one is less than {LEAST}")]
    Small {
        /// Outputs of the first.
        hidden: u32,
        /// Its inputs.
        k: u32,
    },
    /// An mbarrier does not count so many arrivals.
    #[error("{rounds} rounds of tiles, and a barrier counts {MOST_ARRIVALS} arrivals")]
    Long {
        /// Rounds in which a cluster makes a row of the first.
        rounds: u32,
    },
    /// The first linear's tiles are not those that a warpgroup can make alone.
    #[error(
        "tiles of {columns} columns of the first linear, of which a warpgroup makes at most {MOST_UP_COLUMNS}"
    )]
    Wide {
        /// Columns of its tile.
        columns: u32,
    },
    /// The estimates are for two launches.
    #[error("no batch of up to {MOST_ROWS} rows takes a hundredth less in one by estimate")]
    Slower,
}

impl Layers {
    fn up(&self) -> Layer {
        Layer { n: self.hidden, k: self.k, epilogue: self.epilogue.clone() }
    }

    /// Cycles of two launches for so many tokens, at least one.
    pub fn apart(&self, tokens: u64) -> Result<u64, Unsuited> {
        let (up, second) = (self.up(), linear_layer_norm::Tile::best(self.n, self.hidden)?);
        let first = linear::Tile::best(&up).estimate(&up, tokens).cycles;
        Ok(first.saturating_add(second.estimate(self.n, self.hidden, tokens).cycles))
    }

    /// The batches that are estimated to take at least a hundredth less in one launch, as ranges of rows; none is
    /// empty, they ascend, and none meets the next.
    ///
    /// Batches of a size class are launched alike, so a class is all in or all out: each of its counts of tiles weighs
    /// alike.
    ///
    /// # Errors
    /// Sizes that no tile suits, or no such batch.
    pub fn batches(&self) -> Result<Vec<Range<u64>>, Unsuited> {
        let (tile, up) = (Tile::best(self)?, self.up());
        let first = linear::Tile::best(&up);
        let second = linear_layer_norm::Tile::best(self.n, self.hidden)?;
        let mut found: Vec<Range<u64>> = Vec::new();
        let mut before = 0;
        while before < MOST_ROWS {
            let class = next_class(before);
            let tiles = before / u64::from(TILE_ROWS) + 1..=class.div_ceil(u64::from(TILE_ROWS));
            let (mut together, mut apart) = (0u128, 0u128);
            for tokens in tiles.map(|tiles| tiles * u64::from(TILE_ROWS)) {
                together += u128::from(tile.estimate(self, tokens));
                apart += u128::from(first.estimate(&up, tokens).cycles);
                apart += u128::from(second.estimate(self.n, self.hidden, tokens).cycles);
            }
            if together * 100 <= apart * 99 {
                match found.last_mut() {
                    Some(last) if last.end == before + 1 => last.end = class + 1,
                    _ => found.push(before + 1..class + 1),
                }
            }
            before = class;
        }
        if found.is_empty() { Err(Unsuited::Slower) } else { Ok(found) }
    }
}

/// The most rows of the size class behind that of so many: classes are an eighth of a power of two apart.
fn next_class(rows: u64) -> u64 {
    let bits = u64::BITS - (rows + 1).leading_zeros();
    (rows + 1).next_multiple_of(1 << bits.saturating_sub(4))
}

impl Tile {
    /// The tile of two linears, whose parts are those that each has in a launch of its own.
    ///
    /// # Errors
    /// Sizes that no tile suits.
    pub fn best(layers: &Layers) -> Result<Self, Unsuited> {
        let Layers { n, hidden, k, .. } = *layers;
        if hidden.min(k) < LEAST {
            return Err(Unsuited::Small { hidden, k });
        }
        let second = linear_layer_norm::Tile::best(n, hidden)?;
        let first = linear::Tile::best(&layers.up());
        if first.columns > MOST_UP_COLUMNS {
            return Err(Unsuited::Wide { columns: first.columns });
        }
        let (columns, blocks) = (second.columns, second.blocks);
        let tile = Self { up_columns: first.columns, columns, blocks, stages: 0 };
        let rounds = tile.rounds(hidden);
        if rounds > MOST_ARRIVALS / (WARPS * blocks) {
            return Err(Unsuited::Long { rounds });
        }
        let room = MOST_SHARED - tile.shared_bytes();
        Ok(Self { stages: (room / (tile.place_bytes() + 16)).clamp(2, MOST_STAGES), ..tile })
    }

    /// Rounds in which a cluster makes a row's columns of the first linear.
    pub fn rounds(self, hidden: u32) -> u32 {
        hidden.div_ceil(self.up_columns).div_ceil(self.blocks)
    }

    /// Cycles for so many tokens, at least one.
    pub fn estimate(self, layers: &Layers, tokens: u64) -> u64 {
        let Layers { n, hidden, k, ref epilogue } = *layers;
        let (rows, blocks) = (u64::from(TILE_ROWS), u64::from(self.blocks));
        let depth = u64::from(TILE_K);
        let steps = |k: u32| u64::from(k.div_ceil(TILE_K));
        // For 64 columns of k, as in the launches apart.
        let products = |columns: u32| {
            let columns = u64::from(columns);
            let pair = (rows + columns) * depth * 2;
            let shared = (pair + (rows + 2 * columns) * depth * 2) / SHARED;
            (rows * columns * depth / PRODUCTS).max(shared)
        };
        let copies = |columns: u32| (rows / blocks + u64::from(columns)) * depth * 2;

        let numbers = rows * u64::from(self.up_columns);
        let functions: u64 = epilogue.iter().map(|&f| instructions(f)).sum();
        let busy = (numbers * (PASSING + functions) / LANES)
            .max(2 * numbers * 2 / SHARED)
            .max(numbers * 2 / WRITES);
        let made = LATENCY + busy;
        let coming = COMING / u64::from(self.stages.max(2) - 1);
        let up = steps(k) * products(self.up_columns).max(coming);
        let round =
            up.max((up + made) / 2).max(busy).max(steps(k) * copies(self.up_columns) / CACHE);

        let numbers = rows * u64::from(self.columns);
        let exchange = if blocks > 1 { EXCHANGE } else { 0 };
        let normed = LATENCY
            + (numbers * (PASSING + NORMING) / LANES)
                .max(numbers * 3 * 2 / SHARED)
                .max(numbers * 2 / WRITES)
            + exchange;
        let down = (steps(hidden) * products(self.columns))
            .max((steps(hidden) * copies(self.columns) + numbers * 2) / CACHE);

        // A warpgroup is ahead of the other by half of the products of what the ring holds.
        let ahead = u64::from(self.stages) * products(self.columns) / 2;
        let rounds = u64::from(self.rounds(hidden));
        // After a single round there is nothing to go on with.
        let behind = if rounds > 1 { made.saturating_sub(ahead) } else { made + exchange };
        let each = rounds * round + behind + down + normed.saturating_sub(ahead);
        let waves = u128::from(tokens.div_ceil(rows)).div_ceil(u128::from(clusters(blocks)));
        let start = START + if blocks > 1 { MEETING } else { 0 };
        let block = waves * u128::from(each) + u128::from(start + normed.min(ahead));
        let (tokens, n, hidden, k) =
            (u128::from(tokens), u128::from(n), u128::from(hidden), u128::from(k));
        // What is between is written back at some time, and read while it is in the cache.
        let moved = tokens * (k + hidden + 2 * n) + hidden * (k + n);
        let cycles = block.max(moved * 2 / u128::from(MEMORY));
        u64::try_from(cycles).unwrap_or(u64::MAX)
    }

    /// Bytes of a place for a pair of tiles, of either linear.
    pub fn place_bytes(self) -> u32 {
        (TILE_ROWS + self.up_columns.max(self.columns)) * TILE_K * 2
    }

    /// Bytes of shared memory: the ring, which begins at a multiple of 1024, what warps turn and blocks send each other,
    /// and all barriers.
    pub fn shared_bytes(self) -> u32 {
        let ring = 1024 + self.stages * (self.place_bytes() + 16);
        // Behind the ring's barriers come those of turns, and of the rounds.
        ring + 32 + PIECES + linear_layer_norm::exchange_bytes(self.blocks)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TILE_ROWS} x {} and then {TILE_ROWS} x {}", self.up_columns, self.columns)?;
        match self.blocks {
            1 => write!(f, ", whole rows"),
            blocks => write!(f, ", rows over clusters of {blocks}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Layers, MOST_SHARED, Tile, UnaryFn, Unsuited, next_class};

    fn layers(n: u32, hidden: u32, gelu: bool) -> Layers {
        let epilogue = if gelu { vec![UnaryFn::GeluErf] } else { Vec::new() };
        Layers { n, hidden, k: n, epilogue }
    }

    #[test]
    fn batches_of_whole_waves_are_one_launch() {
        let batches = |n, hidden| format!("{:?}", layers(n, hidden, true).batches().unwrap());
        let base = layers(768, 3072, true);
        assert_eq!(
            Tile::best(&base).unwrap().to_string(),
            "128 x 128 and then 128 x 192, rows over clusters of 4"
        );
        assert_eq!(batches(384, 1536), "[7169..8193, 15361..16385]");
        assert_eq!(batches(768, 3072), "[3329..4097, 7681..8193]");
        assert_eq!(batches(1024, 4096), "[3585..4097]");
        // A batch of few rows has most blocks idle in the first phase.
        let tile = Tile::best(&base).unwrap();
        assert!(tile.estimate(&base, 512) > base.apart(512).unwrap());
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let why = |n, hidden, gelu| layers(n, hidden, gelu).batches().unwrap_err().to_string();
        assert_eq!(why(1032, 4096, true), "rows of 1032 columns, and a cluster has at most 1024");
        assert_eq!(why(64, 32, true), "32 x 64, of which one is less than 64");
        let small = Layers { k: 32, ..layers(64, 64, true) };
        let expected = Unsuited::Small { hidden: 64, k: 32 };
        assert_eq!(small.batches(), Err(expected));
        let long = why(64, 1 << 31, true);
        assert_eq!(long, "16777216 rounds of tiles, and a barrier counts 1048575 arrivals");
        let tiles = why(768, 3072, false);
        assert!(tiles.starts_with("tiles of 256 columns of the first linear"), "{tiles}");
    }

    #[test]
    fn any_size_that_has_a_tile_fits() {
        for n in (64..=1024).step_by(8) {
            for hidden in [64, 200, 4096, 1 << 22] {
                let layers = layers(n, hidden, true);
                let Ok(tile) = Tile::best(&layers) else { continue };
                let shared = tile.shared_bytes();
                assert!(tile.stages >= 2 && shared <= MOST_SHARED, "{tile}: {shared}");
                let before = (tile.rounds(hidden) - 1) * tile.blocks;
                assert!(
                    before.checked_mul(tile.up_columns).is_some_and(|columns| columns < hidden)
                );
                for tokens in [1, 4096, u64::from(u32::MAX)] {
                    assert!(tile.estimate(&layers, tokens) > 0);
                }
            }
        }
    }

    /// The classes are those of the runtime: four binary digits, rounded up.
    #[test]
    fn size_classes_are_an_eighth_of_a_power_of_two_apart() {
        let mut classes = vec![0];
        while classes[classes.len() - 1] < 72 {
            classes.push(next_class(classes[classes.len() - 1]));
        }
        let upper = (18..=32).step_by(2).chain((36..=64).step_by(4)).chain([72]);
        assert_eq!(classes, (0..=16).chain(upper).collect::<Vec<_>>());
    }
}
