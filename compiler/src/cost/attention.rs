//! Attention on the tensor cores of `sm_90a`: how many queries a block has, how many keys a tile, and what it takes.
//!
//! A warpgroup has 64 queries and goes over its keys a tile at a time. For each it does two products, and between them
//! the softmax. What its multiprocessor shares is counted for all warpgroups there: products, exponentials, which come
//! from a unit of their own that gives 16 a cycle, other instructions, shared memory, and copies from the cache; the
//! longest of them counts, and some of the others, or, if that is longer still, the way of one warpgroup through a tile, which waits for one
//! thing after the other. Where registers suffice, products run beside the softmax and make this way shorter.
//!
//! Terms of rows by distance are more products, which go through shared memory to where scores pick their own; there is
//! no room for long tiles then, and nothing runs beside the softmax.
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
/// Of products by distance beside the sums of one: their places, and those of what scores pick.
const BY_DISTANCE: u32 = 48;
/// The most columns of heads with products by distance; wider ones were seen to spill.
const MOST_BY_DISTANCE: u32 = 128;
/// The fewest tiles in a ring, two of which are in use, and the most. Terms of rows by distance need the room.
const LEAST_STAGES: u32 = 4;
const LEAST_STAGES_OF_TERMS: u32 = 3;
const MOST_STAGES: u32 = 6;
/// Bytes of shared memory for what 64 queries give with 128 distances, and for what 64 keys give with 72 each.
const NEAR: u32 = 64 * 128 * 4;
const FAR: u32 = 64 * 72 * 4;
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
/// Instructions for a score from either term: its place, a pick and a sum, and a share of what stores products and
/// brings rows.
const PER_TERM: u64 = 6;
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
    /// What rows by distance add to the scores.
    pub terms: Terms,
}

/// Terms of rows by distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Of queries with rows of keys.
    pub c2p: bool,
    /// Of keys with rows of queries.
    pub p2c: bool,
}

impl Terms {
    fn any(self) -> bool {
        self.c2p || self.p2c
    }

    /// Either number where its term is there.
    fn sum<T: std::iter::Sum>(self, c2p: T, p2c: T) -> T {
        [self.c2p.then_some(c2p), self.p2c.then_some(p2c)].into_iter().flatten().sum()
    }
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
        if head.terms.any() && columns > MOST_BY_DISTANCE {
            return None;
        }
        // The device gives registers to warps eight at a time for each thread.
        let launched = (REGISTERS / (blocks * (groups + 1) * 128)).min(255) / 8 * 8;
        let given = (launched * (groups + 1)).checked_sub(COPYING)? / groups;
        let registers = given.min(MOST_REGISTERS) / 8 * 8;
        let masking = if head.mask.is_all() { 0 } else { MASKING };
        let by_distance = if head.terms.any() { keys / 2 + BY_DISTANCE } else { 0 };
        let needed = keys / 2 + columns / 2 + OTHERS + masking + by_distance;
        let of_instruction = keys.max(columns) / 2 + OPERANDS;
        let room = (MULTIPROCESSOR_SHARED / blocks)
            .checked_sub(RESERVED + ALIGNING + BARRIERS + groups * of_group(head))?;
        let stages = (room / (tile_bytes(keys, columns) + 16)).min(MOST_STAGES);
        let least = if head.terms.any() { LEAST_STAGES_OF_TERMS } else { LEAST_STAGES };
        let fits = needed <= registers && of_instruction <= launched && stages >= least;
        let beside = needed + keys / 4 <= registers && !head.terms.any();
        fits.then_some(Self { groups, keys, blocks, beside, registers, stages })
    }

    /// All that fit. Long tiles are for two warpgroups, which bring half as much for each query. Products by distance are
    /// of as many keys as queries.
    fn all(head: &Head) -> impl Iterator<Item = Self> {
        let sizes =
            if head.terms.any() { &[(1, 64), (2, 64)][..] } else { &[(1, 64), (2, 64), (2, 128)] };
        sizes.iter().flat_map(move |&(groups, keys)| {
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
        // Keys meet two blocks of distances, of which they need one.
        let by_distance = head.terms.sum(1, 2) * scores * columns;
        let products = (2 * scores * columns + by_distance) / PRODUCTS;
        let exponentials = scores / EXPONENTIALS;
        let per_score =
            PER_SCORE + if head.biased { PER_BIAS } else { 0 } + head.terms.sum(PER_TERM, PER_TERM);
        let turning = if head.turned { tile * columns * PER_TURN / LANES } else { 0 };
        let instructions = (scores * per_score + rows * columns) / LANES + PER_TILE;
        let through = head.terms.sum(2 * scores, scores + rows * 72) * 4;
        let factors = head.terms.sum(1, 2) * (rows + tile) * columns * 2;
        let read = (((rows + tile) * columns + tile * columns) * 2 + factors + through) / SHARED;
        let copied = tile * columns * 2 * 2;
        // Each warpgroup brings its own rows by distance.
        let of_rows = head.terms.sum(1, 1) * tile * columns * 2;
        // Maxima come before the first exponential, at half the rate of other instructions; rescaled sums after the last.
        let softmax = (2 * scores + rows * columns) / LANES + exponentials;
        // Products by distance wait for their rows and for all warps, and scores for what they pick.
        let picked = if head.terms.any() { through / SHARED + 2 * LATENCY } else { 0 };
        let alone = products + softmax + picked + LATENCY;
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
                read + copied / SHARED / groups + of_rows / SHARED,
                copied / CACHE / groups + of_rows / CACHE,
            ];
            let longest = parts.into_iter().max().unwrap_or(products);
            let busy = longest + (parts.iter().sum::<u64>() - longest) / MEETING;
            let turned = turning / groups;
            let way = (alone + turned) + (steps - 1) * (after + turned);
            cycles += START + END + (steps * busy * groups * blocks).max(way);
        }
        let peak = pairs * (2 + head.terms.sum(1, 1)) * u64::from(head.size) / PRODUCTS;
        Estimate { cycles: cycles / blocks, share: peak * 1000 * blocks / cycles }
    }
}

impl Head {
    /// Of so many columns, without any option.
    #[cfg(test)]
    pub fn plain(size: u32) -> Self {
        let (mask, terms) = (Band::default(), Terms::default());
        Self { size, mask, biased: false, turned: false, terms }
    }

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

/// Bytes of what a warpgroup has for itself: its queries, and for terms of rows by distance what they give and the rows.
fn of_group(head: &Head) -> u32 {
    let rows = tile_bytes(GROUP_QUERIES, head.columns());
    rows + head.terms.sum(NEAR + rows, FAR + 2 * rows)
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
    pub fn shared(self, head: &Head) -> u32 {
        let stage = tile_bytes(self.keys, head.columns()) + 16;
        ALIGNING + BARRIERS + self.groups * of_group(head) + self.stages * stage
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
    use super::{Band, Head, Lengths, Terms, Tile};

    fn best(size: u32, longest: u64) -> String {
        let lengths = Lengths { queries: longest, keys: longest, alike: false };
        Tile::best(&Head::plain(size), lengths).unwrap().to_string()
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
                let head = Head { mask, turned, ..Head::plain(size) };
                for longest in [1, 64, 197, 512, u64::MAX] {
                    let alike = longest == 197;
                    let lengths = Lengths { queries: longest, keys: longest, alike };
                    let tile = Tile::best(&head, lengths).unwrap();
                    assert!(tile.shared(&head) <= 227 << 10, "{size}: {tile}");
                    let all = tile.blocks * (tile.shared(&head) + 1024);
                    assert!(all <= super::MULTIPROCESSOR_SHARED, "{size}: {tile}");
                    for rows in [1, 1000, u64::MAX] {
                        let estimate = tile.estimate(&head, rows, rows);
                        assert!(estimate.cycles > 0 && estimate.share <= 1000, "{estimate:?}");
                    }
                }
            }
        }
    }

    /// Heads of DeBERTa have 64 columns; those that are too wide stay with the other kernel.
    #[test]
    fn terms_of_rows_by_distance_have_tiles() {
        for (size, c2p, p2c, expected) in [
            (32, true, true, [Some((1, 2)), Some((2, 1))]),
            (64, true, true, [Some((1, 2)), Some((2, 1))]),
            (64, true, false, [Some((1, 2)), Some((2, 1))]),
            (64, false, true, [Some((1, 2)), Some((2, 1))]),
            (128, true, true, [Some((1, 1)); 2]),
            (136, true, true, [None; 2]),
        ] {
            let head = Head { terms: Terms { c2p, p2c }, ..Head::plain(size) };
            let found = [64, 8192].map(|longest| {
                let lengths = Lengths { queries: longest, keys: longest, alike: false };
                let tile = Tile::best(&head, lengths)?;
                let all = tile.blocks * (tile.shared(&head) + 1024);
                assert!(all <= super::MULTIPROCESSOR_SHARED, "{size}: {tile}");
                assert!(!tile.beside && tile.keys == 64, "{size}: {tile}");
                let plain = tile.estimate(&Head::plain(size), longest, longest);
                assert!(tile.estimate(&head, longest, longest).cycles > plain.cycles, "{tile}");
                Some((tile.groups, tile.blocks))
            });
            assert_eq!(found, expected, "{size}");
        }
    }

    /// What a mask hides is not counted.
    #[test]
    fn masks_make_long_samples_short() {
        let local = Head { mask: Band { before: Some(64), after: Some(64) }, ..Head::plain(64) };
        let causal = Head { mask: Band { before: None, after: Some(0) }, ..Head::plain(64) };
        let cycles = |head: &Head| {
            let tile = Tile::new(head, 2, 64, 1).unwrap();
            tile.estimate(head, 8192, 8192).cycles
        };
        let all = cycles(&Head::plain(64));
        assert!(cycles(&local) * 10 < all && cycles(&causal) * 10 < all * 6);
    }
}
