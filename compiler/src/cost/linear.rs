//! Linear layers on the tensor cores of `sm_90a`: which tile, and what it takes.
//!
//! A multiprocessor makes one tile after the other. For each 64 columns of k it multiplies, reads shared memory for the
//! products, and lets the next pair of tiles come; the slowest of the three counts. When the sums are there, the
//! epilogue applies the functions and writes the result. The copies run ahead of the products all the time, so that
//! only the first tile waits for them.
//!
//! Two warpgroups either share a tile ([`Turns::Together`]): both apply the epilogue at once, and nothing is multiplied
//! meanwhile. Or each has a tile of its own ([`Turns::Apart`]), and one multiplies beside the other's epilogue; but tiles
//! of half the columns bring fewer products for each byte that is copied. So functions that take long decide for the
//! second, and long rows of x for the first.
//!
//! Two blocks may be a cluster, with tiles one below the other: then each copies half of the weight's tile, to both.
//!
//! Warpgroups that share a tile multiply nothing while they write it. There finished rows may wait in shared memory, from
//! where the copy engine stores them beside the next tile's products ([`Tile::staged`]). What is left of the epilogue
//! neither waits for writes nor goes through shared memory a second time; behind the last tile the writes come on top,
//! so that a batch of one wave is better off without. The memory is the ring's otherwise, a pair of it for most tiles. The
//! pairs that remain, three and more, still hide how long one takes to come. By turns there is nothing to gain: one
//! warpgroup's writes are beside the other's products as they are, and two tiles' rows would take two pairs of six.

use std::fmt;

use bytec_plan::kernel::UnaryFn;
use serde::{Deserialize, Serialize};

use super::functions::instructions;
use super::{CACHE, KEPT, LANES, MEMORY, MULTIPROCESSORS, PRODUCTS, SHARED, WRITES, clusters};

/// Rows of every tile. Fewer would bring less for each byte of the weight.
pub const TILE_ROWS: u32 = 128;
/// Columns of x and of the weight that a pair of tiles has: 128 bytes.
pub const TILE_K: u32 = 64;
/// The narrowest tile, and the fewest outputs and inputs that are worth one.
pub const LEAST: u32 = 64;
/// Bytes of shared memory that a block can have.
pub const MOST_SHARED: u32 = 227 << 10;
/// Bytes in which warps turn their results, where they write them.
pub const PIECES: u32 = 8 * 16 * 128;
/// Bytes between two staged rows: they keep the chunks of rows that follow each other in different banks.
const GAP: u32 = 16;
/// The most pairs of tiles: more hide nothing that these don't.
pub(super) const MOST_STAGES: u32 = 6;

/// Cycles from a launch to a block's first products.
pub(super) const START: u64 = 1000;
/// Cycles more until both blocks of a cluster have begun.
pub(super) const MEETING: u64 = 500;
/// Cycles of an epilogue that wait for something.
pub(super) const LATENCY: u64 = 500;
/// Of an epilogue whose rows are staged: until the first bias is there, and the rows are handed over.
const STAGED_LATENCY: u64 = 200;
/// Instructions for a number of the result beside its functions: the bias, rounding, two ways through shared memory.
pub(super) const PASSING: u64 = 4;
/// The same with the way to the staged rows alone.
const STAGING: u64 = 3;
/// Cycles from asking for a pair of tiles until it is there.
pub(super) const COMING: u64 = 800;
/// Batches that a choice is made for: 2 to these powers tokens.
pub(super) const TOKENS: std::ops::RangeInclusive<u32> = 12..=16;

/// What is to be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Outputs.
    pub n: u32,
    /// Inputs.
    pub k: u32,
    /// Functions of the result.
    pub epilogue: Vec<UnaryFn>,
}

/// How two warpgroups share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// Each has half of the rows of one tile.
    Together,
    /// Each has a tile, and multiplies while the other writes.
    Apart,
}

/// What a block makes at a time, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Columns of the result; rows are [`TILE_ROWS`].
    pub columns: u32,
    /// Who makes it.
    pub turns: Turns,
    /// Blocks that share tiles of the weight: 1, or 2 with tiles one below the other.
    pub blocks: u32,
    /// Pairs of tiles that shared memory holds.
    pub stages: u32,
    /// Tiles of columns that are done for all rows before those beside them, so that their part of the weight stays in
    /// the cache.
    pub band: u32,
    /// Whether finished rows wait in shared memory for the copy engine, and don't leave by the threads.
    #[serde(default)]
    pub staged: bool,
}

/// What a layer takes for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Tiles that the busiest multiprocessor makes.
    pub waves: u64,
    /// Cycles.
    pub cycles: u64,
    /// How much of the time at the tensor cores' peak is in the whole, in thousandths.
    pub share: u64,
}

impl Tile {
    /// The tile of so many columns for a layer.
    fn new(layer: &Layer, columns: u32, turns: Turns, blocks: u32, staged: bool) -> Self {
        let kept = KEPT / (u64::from(layer.k) * u64::from(columns) * 2);
        let across = layer.n.div_ceil(columns);
        let band = u32::try_from(kept).unwrap_or(across).clamp(1, across);
        let tile = Self { columns, turns, blocks, stages: 0, band, staged };
        let room = MOST_SHARED - tile.shared_bytes();
        let whole = layer.k.div_ceil(TILE_K) * 2;
        let stages = (room / (tile.pair_bytes() + 16)).min(MOST_STAGES).min(whole).max(2);
        Self { stages, ..tile }
    }

    /// The tile that costs least over batches of 4,096 to 65,536 tokens, each weighed by what it would take at the
    /// tensor cores' peak. One for all of them: tile columns are part of what gives a result its bits.
    pub fn best(layer: &Layer) -> Self {
        let most = layer.n.min(256).next_multiple_of(16);
        let together = (LEAST..=most).step_by(16).map(|columns| (columns, Turns::Together));
        // Twice the rows of each warpgroup leave room for half the columns.
        let apart = (LEAST..=most.min(128)).step_by(16).map(|columns| (columns, Turns::Apart));
        let tiles = together.chain(apart).flat_map(|(columns, turns)| {
            Self::ways(layer, turns)
                .map(move |(blocks, staged)| Self::new(layer, columns, turns, blocks, staged))
        });
        let cost = |tile: &Self| -> u64 {
            let shares = TOKENS.map(|log2| tile.estimate(layer, 1 << log2).share.max(1));
            shares.map(|share| 1_000_000 / share).sum()
        };
        // Of equal ones the widest, which reads x least often.
        tiles
            .min_by_key(|tile| (cost(tile), u32::MAX - tile.columns))
            .unwrap_or_else(|| Self::new(layer, LEAST, Turns::Together, 1, false))
    }

    /// How many blocks may share tiles of the weight, and whether rows are staged.
    fn ways(layer: &Layer, turns: Turns) -> impl Iterator<Item = (u32, bool)> {
        // Copies are of multiples of 16 bytes.
        let staged = turns == Turns::Together && layer.n.is_multiple_of(8);
        let ways = [false, true].into_iter().filter(move |way| staged || !way);
        ways.flat_map(|staged| [1, 2].map(|blocks| (blocks, staged)))
    }

    /// Every tile that gives a layer the bits of the best one, which comes first: as many columns, since they are part
    /// of what gives a result its bits, and another way to share, copy or order the work.
    pub fn alike(layer: &Layer) -> Vec<Self> {
        let best = Self::best(layer);
        let mut tiles = vec![best];
        for turns in [Turns::Together, Turns::Apart] {
            // Sums of twice the rows have no room in registers.
            if turns == Turns::Apart && best.columns > 128 {
                continue;
            }
            for (blocks, staged) in Self::ways(layer, turns) {
                let new = Self::new(layer, best.columns, turns, blocks, staged);
                for stages in [new.stages, new.stages.div_ceil(2).max(2)] {
                    for band in [new.band, new.band.div_ceil(2)] {
                        tiles.push(Self { stages, band, ..new });
                    }
                }
            }
        }
        let mut distinct = Vec::new();
        tiles.retain(|tile| {
            let new = !distinct.contains(tile);
            distinct.push(*tile);
            new
        });
        tiles
    }

    /// Those of [`alike`](Self::alike) that are worth a measurement for so many tokens: none is estimated to take a
    /// quarter longer than the quickest. The best over all batches is among them, and comes first.
    pub fn kept(layer: &Layer, tokens: u64) -> Vec<Self> {
        let mut tiles = Self::alike(layer);
        let cycles = |tile: &Self| u128::from(tile.estimate(layer, tokens).cycles);
        let least = tiles.iter().map(cycles).min().unwrap_or(0);
        let best = tiles[0];
        tiles.retain(|tile| *tile == best || cycles(tile) * 4 <= least * 5);
        tiles
    }

    /// What a layer takes for so many tokens, at least one, with this tile.
    pub fn estimate(self, layer: &Layer, tokens: u64) -> Estimate {
        let (n, k) = (u64::from(layer.n), u64::from(layer.k));
        let (rows, columns) = (u64::from(TILE_ROWS), u64::from(self.columns));
        let steps = k.div_ceil(TILE_K.into());
        let depth = u64::from(TILE_K);

        // For 64 columns of k: each warpgroup reads its own rows, and both, or one twice, all columns.
        let pair = (rows + columns) * depth * 2;
        let arithmetic = rows * columns * depth / PRODUCTS;
        let shared = (pair + (rows + 2 * columns) * depth * 2) / SHARED;
        // One pair is multiplied, the others come.
        let coming = COMING / u64::from(self.stages.max(2) - 1);
        let products = steps * arithmetic.max(shared).max(coming);
        let blocks = u64::from(self.blocks);
        let copies = steps * (rows + columns / blocks) * depth * 2 / CACHE;

        let numbers = rows * columns;
        let functions: u64 = layer.epilogue.iter().map(|&f| instructions(f)).sum();
        let (through, writes) = (numbers * 2 / SHARED, numbers * 2 / WRITES);
        let (epilogue, busy, behind) = if self.staged {
            let staging = (numbers * (STAGING + functions) / LANES).max(through);
            // The copy engine's part of a tile's time, and what comes behind the last.
            (STAGED_LATENCY + staging, (steps * shared + 2 * through).max(writes), writes)
        } else {
            let busy = (numbers * (PASSING + functions) / LANES).max(2 * through).max(writes);
            (LATENCY + busy, busy, 0)
        };

        let groups = u128::from(tokens.div_ceil(rows * blocks)) * u128::from(n.div_ceil(columns));
        let waves = groups.div_ceil(u128::from(clusters(blocks)));
        let each = match self.turns {
            Turns::Together => (products + epilogue).max(busy),
            Turns::Apart => products.max((products + epilogue) / 2).max(busy),
        };
        let first = copies.max(products) + epilogue + behind;
        let start = START + MEETING * (blocks - 1);
        let block = (waves - 1) * u128::from(each.max(copies)) + u128::from(start + first);
        let (tokens, n, k) = (u128::from(tokens), u128::from(n), u128::from(k));
        let memory = (tokens * k + n * k + tokens * n) * 2 / u128::from(MEMORY);
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

    /// Bytes of shared memory: the ring, which begins at a multiple of 1024, the results, and all barriers.
    pub fn shared_bytes(self) -> u32 {
        let ring = 1024 + self.stages * (self.pair_bytes() + 16);
        // Behind the ring's barriers come those of turns, and of staged rows.
        ring + 16 + if self.staged { TILE_ROWS * (self.columns * 2 + GAP) + 32 } else { PIECES }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns = match self.turns {
            Turns::Together => "together",
            Turns::Apart => "by turns",
        };
        write!(f, "{TILE_ROWS} x {} {turns}", self.columns)?;
        if self.blocks > 1 {
            write!(f, ", in clusters of {}", self.blocks)?;
        }
        if self.staged { f.write_str(", stored beside the next") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Layer, MOST_SHARED, TILE_K, Tile, Turns, UnaryFn};

    fn layer(n: u32, k: u32, gelu: bool) -> Layer {
        Layer { n, k, epilogue: if gelu { vec![UnaryFn::GeluErf] } else { Vec::new() } }
    }

    #[test]
    fn tiles_suit_the_layers_of_models() {
        let best = |n, k, gelu| Tile::best(&layer(n, k, gelu)).to_string();
        let found = [
            best(64, 64, false),
            best(312, 312, false),
            best(384, 384, false),
            best(768, 768, false),
            best(2304, 768, false),
            best(3072, 768, true),
            best(768, 3072, false),
            best(1024, 1024, false),
            best(4096, 1024, true),
            best(1024, 4096, false),
        ];
        let expected = [
            "128 x 64 together, stored beside the next",
            "128 x 80 by turns, in clusters of 2",
            "128 x 96 by turns, in clusters of 2",
            "128 x 192 together, in clusters of 2, stored beside the next",
            "128 x 192 together, in clusters of 2, stored beside the next",
            "128 x 128 by turns, in clusters of 2",
            "128 x 192 together, in clusters of 2, stored beside the next",
            "128 x 256 together, in clusters of 2, stored beside the next",
            "128 x 128 by turns, in clusters of 2",
            "128 x 256 together, in clusters of 2, stored beside the next",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn any_size_has_a_tile_that_fits_and_an_estimate() {
        for (n, k) in [(64, 64), (65, 1 << 24), (1 << 24, 64), (1 << 24, 1 << 24), (30522, 768)] {
            for gelu in [false, true] {
                let layer = layer(n, k, gelu);
                let tile = Tile::best(&layer);
                assert!(tile.columns.is_multiple_of(16) && (64..=256).contains(&tile.columns));
                assert!(tile.turns == Turns::Together || tile.columns <= 128);
                assert!((1..=n.div_ceil(tile.columns)).contains(&tile.band));
                let shared = tile.shared_bytes();
                assert!(tile.stages >= 2 && shared <= MOST_SHARED, "{tile}: {shared}");
                assert!(tile.stages * TILE_K <= 2 * k.next_multiple_of(TILE_K));
                assert!(!tile.staged || tile.stages >= 3 || k <= TILE_K, "{tile}");
                for tokens in [1, 4096, u64::from(u32::MAX)] {
                    let estimate = tile.estimate(&layer, tokens);
                    assert!(estimate.waves >= 1 && estimate.share <= 1000, "{estimate:?}");
                }
            }
        }
    }

    #[test]
    fn tiles_worth_a_measurement_have_the_best_ones_columns_and_fit() {
        for (n, k, gelu) in
            [(64, 64, false), (768, 768, false), (3072, 768, true), (30522, 768, false)]
        {
            let layer = layer(n, k, gelu);
            let (best, alike) = (Tile::best(&layer), Tile::alike(&layer));
            assert_eq!(alike[0], best);
            for (i, tile) in alike.iter().enumerate() {
                assert!(tile.columns == best.columns && !alike[..i].contains(tile), "{tile:?}");
                let shared = tile.shared_bytes();
                assert!(tile.stages >= 2 && tile.band >= 1 && shared <= MOST_SHARED, "{tile:?}");
                assert!(!tile.staged || tile.turns == Turns::Together && n % 8 == 0, "{tile:?}");
            }
            for tokens in [1, 512, 65536, u64::from(u32::MAX)] {
                let kept = Tile::kept(&layer, tokens);
                assert_eq!(kept[0], best);
                assert!(kept.iter().all(|tile| alike.contains(tile)), "{kept:?}");
            }
        }
        // A cluster meets first, which is long beside few tokens.
        let few = Tile::kept(&layer(768, 768, false), 64);
        assert!(few.len() > 1 && few.iter().any(|tile| tile.blocks == 1), "{few:?}");
    }

    /// Where a vocabulary's weight is larger than the cache, bands of it are done one after the other.
    #[test]
    fn weights_that_fit_in_the_cache_are_one_band() {
        let tile = Tile::best(&layer(3072, 768, true));
        assert_eq!(tile.band, 3072 / tile.columns);
        let tile = Tile::best(&layer(30522, 768, false));
        assert!(u64::from(tile.band * tile.columns) * 768 * 2 <= super::KEPT);
        assert!(tile.band < 30522_u32.div_ceil(tile.columns));
    }
}
