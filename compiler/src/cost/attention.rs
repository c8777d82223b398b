//! Attention on the tensor cores of `sm_90a`: how many queries a block has, how many keys a tile, and what it takes.
//!
//! A warpgroup has 64 queries and goes over its keys a tile at a time. For each it does two products, and between them
//! the softmax. What its multiprocessor shares is counted for all warpgroups there: products, exponentials, which come
//! from a unit of their own that gives 16 a cycle, other instructions, shared memory, and copies from the cache; the
//! longest of them counts, and some of the others, or, if that is longer still, the way of one warpgroup through a tile, which waits for one
//! thing after the other. Where registers suffice, products run beside the softmax and make this way shorter.
//!
//! A block begins with a wait for its first tiles and ends with its result; other blocks of the multiprocessor work
//! meanwhile. So short samples want many small blocks, and long ones few, which share their keys, with long tiles.

use std::fmt;

use bytec_plan::attention::Band;

use super::{CACHE, EXPONENTIALS, LANES, MULTIPROCESSOR_SHARED, PRODUCTS, REGISTERS, SHARED};

/// Queries of a warpgroup.
pub const GROUP_QUERIES: u32 = 64;
/// Registers of a thread that lets tiles come.
pub const COPYING: u32 = 24;
/// The most registers of a thread that multiplies.
const MOST_REGISTERS: u32 = 240;
/// Registers beside scores, sums and weights, those of a mask, and those of an instruction beside its sums.
const OTHERS: u32 = 40;
const MASKING: u32 = 12;
const OPERANDS: u32 = 26;
/// The fewest tiles in a ring, two of which are in use, and the most.
const LEAST_STAGES: u32 = 4;
const MOST_STAGES: u32 = 6;
/// Bytes that a block has beside its queries and its ring: up to a multiple of 1024, and barriers.
const ALIGNING: u32 = 1024;
const BARRIERS: u32 = 8 * 8;
/// Bytes of shared memory that the device takes of each block.
const RESERVED: u32 = 1024;

/// Cycles from a launch to a block's first products, and from its last to the end.
const START: u64 = 1000;
const END: u64 = 500;
/// Cycles of a tile in which a warpgroup waits: for barriers, for its first products, for maxima of other lanes.
const LATENCY: u64 = 200;
/// What a multiprocessor does side by side gets in each other's way now and then: of all but the longest, one in so many
/// cycles counts as well. FlashAttention-3 reaches half of the peak with heads of 64 and two thirds with those of 128.
const MEETING: u64 = 8;
/// Instructions for a score: scaled, added, an exponential asked for, and at half the rate its maximum and rounding.
const PER_SCORE: u64 = 6;
/// More with a bias.
const PER_BIAS: u64 = 6;
/// More for a number of a key that is turned.
const PER_TURN: u64 = 6;
/// Cycles of instructions that a tile takes of any size.
const PER_TILE: u64 = 80;
/// Rows of a sample that estimates go to; longer ones are alike.
const MOST_ROWS: u64 = 1 << 16;

/// What is to be computed for a head.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its columns.
    pub size: u32,
    /// Which keys a query sees.
    pub mask: Band,
    /// Whether something is added to the scores.
    pub biased: bool,
    /// Whether keys are turned by their positions.
    pub turned: bool,
}

/// How many rows samples have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// The most queries.
    pub queries: u64,
    /// The most keys.
    pub keys: u64,
    /// Whether all samples have so many.
    pub alike: bool,
}

/// Of most models of text.
impl Default for Lengths {
    fn default() -> Self {
        Self { queries: 512, keys: 512, alike: false }
    }
}

impl Lengths {
    /// A sample of each length that a choice is made for: a quarter, a half, three quarters and all of the most.
    fn samples(self) -> impl Iterator<Item = [u64; 2]> {
        let quarters = if self.alike { 4..=4 } else { 1..=4 };
        let part = |rows: u64, quarter: u64| (rows.clamp(1, MOST_ROWS) * quarter).div_ceil(4);
        quarters.map(move |quarter| [part(self.queries, quarter), part(self.keys, quarter)])
    }
}

/// What a block has at a time, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Warpgroups of a block, of [`GROUP_QUERIES`] queries each.
    pub groups: u32,
    /// Keys.
    pub keys: u32,
    /// Blocks of a multiprocessor.
    pub blocks: u32,
    /// Whether weighted sums run beside the softmax.
    pub beside: bool,
    /// Registers of a thread that multiplies.
    pub registers: u32,
    /// Tiles of keys and of values that shared memory holds.
    pub stages: u32,
}

/// What a head takes of a multiprocessor for one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Cycles.
    pub cycles: u64,
    /// How much of them the products that are asked for take at the tensor cores' peak, in thousandths.
    pub share: u64,
}

impl Tile {
    /// The tile of so many warpgroups, keys and blocks, if it fits into registers and shared memory.
    fn new(head: &Head, groups: u32, keys: u32, blocks: u32) -> Option<Self> {
        let columns = head.columns();
        // The device gives registers to warps eight at a time for each thread.
        let launched = (REGISTERS / (blocks * (groups + 1) * 128)).min(255) / 8 * 8;
        let given = (launched * (groups + 1)).checked_sub(COPYING)? / groups;
        let registers = given.min(MOST_REGISTERS) / 8 * 8;
        let masking = if head.mask.is_all() { 0 } else { MASKING };
        let needed = keys / 2 + columns / 2 + OTHERS + masking;
        let of_instruction = keys.max(columns) / 2 + OPERANDS;
        let room = (MULTIPROCESSOR_SHARED / blocks).checked_sub(
            RESERVED + ALIGNING + BARRIERS + groups * tile_bytes(GROUP_QUERIES, columns),
        )?;
        let stages = (room / (tile_bytes(keys, columns) + 16)).min(MOST_STAGES);
        let fits = needed <= registers && of_instruction <= launched && stages >= LEAST_STAGES;
        let beside = needed + keys / 4 <= registers;
        fits.then_some(Self { groups, keys, blocks, beside, registers, stages })
    }

    /// All that fit. Long tiles are for two warpgroups, which bring half as much for each query.
    fn all(head: &Head) -> impl Iterator<Item = Self> {
        [(1, 64), (2, 64), (2, 128)].into_iter().flat_map(move |(groups, keys)| {
            (1..=4).filter_map(move |blocks| Self::new(head, groups, keys, blocks))
        })
    }

    /// The tile that takes least for samples of `lengths` together; `None` for heads that are too wide for any. One for
    /// all batches: the keys of a tile are part of what gives a result its bits.
    pub fn best(head: &Head, lengths: Lengths) -> Option<Self> {
        let cost = |tile: &Self| -> u64 {
            lengths.samples().map(|[q, k]| tile.estimate(head, q, k).cycles).sum()
        };
        Self::all(head).min_by_key(cost)
    }

    /// What a sample takes.
    pub fn estimate(self, head: &Head, queries: u64, keys: u64) -> Estimate {
        let (queries, keys) = (queries.clamp(1, MOST_ROWS), keys.clamp(1, MOST_ROWS));
        let columns = u64::from(head.columns());
        let (rows, tile) = (u64::from(GROUP_QUERIES), u64::from(self.keys));
        let (scores, blocks) = (rows * tile, u64::from(self.blocks));

        // For one warpgroup and one tile of keys.
        let products = 2 * scores * columns / PRODUCTS;
        let exponentials = scores / EXPONENTIALS;
        let per_score = PER_SCORE + if head.biased { PER_BIAS } else { 0 };
        let turning = if head.turned { tile * columns * PER_TURN / LANES } else { 0 };
        let instructions = (scores * per_score + rows * columns) / LANES + PER_TILE;
        let read = ((rows + tile) * columns + tile * columns) * 2 / SHARED;
        let copied = tile * columns * 2 * 2;
        // Maxima come before the first exponential, at half the rate of other instructions; rescaled sums after the last.
        let softmax = (2 * scores + rows * columns) / LANES + exponentials;
        let alone = products + softmax + LATENCY;
        // Where keys are turned, all warpgroups of a block meet at each tile.
        let overlapping = self.beside && !head.turned;
        let after = if overlapping { products.max(softmax) + LATENCY } else { alone };

        let per_block = rows * u64::from(self.groups);
        let (mut cycles, mut pairs) = (0u64, 0u64);
        for first in (0..queries).step_by(per_block as usize) {
            let in_block = per_block.min(queries - first);
            let groups = in_block.div_ceil(rows);
            let seen = head.seen(first, in_block, keys);
            pairs += head.pairs(first, in_block, keys);
            let steps = seen.div_ceil(tile).max(1);
            let parts = [
                products,
                exponentials,
                instructions + turning / groups,
                read + copied / SHARED / groups,
                copied / CACHE / groups,
            ];
            let longest = parts.into_iter().max().unwrap_or(products);
            let busy = longest + (parts.iter().sum::<u64>() - longest) / MEETING;
            let turned = turning / groups;
            let way = (alone + turned) + (steps - 1) * (after + turned);
            cycles += START + END + (steps * busy * groups * blocks).max(way);
        }
        let peak = pairs * 2 * u64::from(head.size) / PRODUCTS;
        Estimate { cycles: cycles / blocks, share: peak * 1000 * blocks / cycles }
    }
}

impl Head {
    /// Its columns with zeros to a multiple of 16, one product's share.
    pub fn columns(&self) -> u32 {
        self.size.next_multiple_of(16)
    }

    /// How many keys any of some queries sees.
    fn seen(&self, first: u64, queries: u64, keys: u64) -> u64 {
        let before = self.mask.before.unwrap_or(MOST_ROWS).min(MOST_ROWS);
        let after = self.mask.after.unwrap_or(MOST_ROWS).min(MOST_ROWS);
        keys.min(first + queries + after).saturating_sub(first.saturating_sub(before))
    }

    /// How many keys each of some queries sees, together; of queries that see more or fewer, as the middle one.
    fn pairs(&self, first: u64, queries: u64, keys: u64) -> u64 {
        queries * self.seen(first + queries / 2, 1, keys)
    }
}

/// Bytes of rows of a head.
pub fn tile_bytes(rows: u32, columns: u32) -> u32 {
    rows * columns * 2
}

impl Tile {
    /// Queries of a block.
    pub fn queries(self) -> u32 {
        self.groups * GROUP_QUERIES
    }

    /// What the report says of the choice.
    pub fn note(self, head: &Head, lengths: Lengths) -> String {
        let estimates: Vec<_> = lengths
            .samples()
            .map(|[queries, keys]| {
                let percent = (self.estimate(head, queries, keys).share + 5) / 10;
                let of = if queries == keys {
                    format!("{keys}")
                } else {
                    format!("{queries} by {keys}")
                };
                format!("{percent} % of the peak at {of} rows")
            })
            .collect();
        let (stages, estimates) = (self.stages, estimates.join(", "));
        format!("wgmma, tiles of {self}, {stages} stages; estimated {estimates}")
    }

    /// Bytes of shared memory of a block.
    pub fn shared(self, columns: u32) -> u32 {
        let queries = self.groups * tile_bytes(GROUP_QUERIES, columns);
        ALIGNING + BARRIERS + queries + self.stages * (tile_bytes(self.keys, columns) + 16)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { groups, keys, blocks, .. } = self;
        write!(f, "{} queries x {keys} keys", self.queries())?;
        match (self.beside, groups) {
            (true, 1) => write!(f, ", products beside the softmax")?,
            (true, _) => write!(f, " by turns")?,
            (false, _) => {}
        }
        if *blocks > 1 { write!(f, ", {blocks} blocks a multiprocessor") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Band, Head, Lengths, Tile};

    fn head(size: u32) -> Head {
        Head { size, mask: Band::default(), biased: false, turned: false }
    }

    fn best(size: u32, longest: u64) -> String {
        let lengths = Lengths { queries: longest, keys: longest, alike: false };
        Tile::best(&head(size), lengths).unwrap().to_string()
    }

    #[test]
    fn tiles_suit_heads_and_lengths() {
        let found = [
            best(32, 64),
            best(64, 64),
            best(64, 128),
            best(64, 512),
            best(64, 8192),
            best(128, 64),
            best(128, 512),
            best(128, 8192),
            best(256, 8192),
        ];
        let expected = [
            "64 queries x 64 keys, products beside the softmax, 4 blocks a multiprocessor",
            "64 queries x 64 keys, 4 blocks a multiprocessor",
            "128 queries x 64 keys, 2 blocks a multiprocessor",
            "128 queries x 64 keys, 2 blocks a multiprocessor",
            "128 queries x 128 keys by turns",
            "64 queries x 64 keys, products beside the softmax, 2 blocks a multiprocessor",
            "128 queries x 128 keys by turns",
            "128 queries x 128 keys by turns",
            "128 queries x 64 keys by turns",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_head_has_a_tile_that_fits_and_an_estimate() {
        let causal = Band { before: None, after: Some(0) };
        let local = Band { before: Some(64), after: Some(64) };
        for size in (8..=256).step_by(8) {
            for (mask, turned) in [(Band::default(), false), (causal, true), (local, true)] {
                let head = Head { mask, turned, ..head(size) };
                for longest in [1, 64, 197, 512, u64::MAX] {
                    let alike = longest == 197;
                    let lengths = Lengths { queries: longest, keys: longest, alike };
                    let tile = Tile::best(&head, lengths).unwrap();
                    assert!(tile.shared(head.columns()) <= 227 << 10, "{size}: {tile}");
                    let all = tile.blocks * (tile.shared(head.columns()) + 1024);
                    assert!(all <= super::MULTIPROCESSOR_SHARED, "{size}: {tile}");
                    for rows in [1, 1000, u64::MAX] {
                        let estimate = tile.estimate(&head, rows, rows);
                        assert!(estimate.cycles > 0 && estimate.share <= 1000, "{estimate:?}");
                    }
                }
            }
        }
    }

    /// What a mask hides is not counted.
    #[test]
    fn masks_make_long_samples_short() {
        let local = Head { mask: Band { before: Some(64), after: Some(64) }, ..head(64) };
        let causal = Head { mask: Band { before: None, after: Some(0) }, ..head(64) };
        let cycles = |head: &Head| {
            let tile = Tile::new(head, 2, 64, 1).unwrap();
            tile.estimate(head, 8192, 8192).cycles
        };
        let all = cycles(&head(64));
        assert!(cycles(&local) * 10 < all && cycles(&causal) * 10 < all * 6);
    }
}
