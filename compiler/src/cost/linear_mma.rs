//! Linear layers of the kernel for every GPU, by `mma.sync` and `cp.async`, or by fma in f32: which tile, and what it
//! takes on an A100.
//!
//! A block makes one tile. Where registers and shared memory have room for several blocks, one computes in half of the
//! other's waits; so each resource of a multiprocessor is busy for all its blocks, and no block is done before its own
//! steps are.
//! A step is 64 bytes of each row: it waits at a barrier and for what it reads of shared memory, and its copies were
//! asked for as many steps before as there are stages but one.
//!
//! No choice here changes a result's bits: each number is one sum in ascending k, whatever the tile.

use std::fmt;

use super::functions::instructions;
use super::linear::{Estimate, Layer};

/// Bytes of a row of a tile in shared memory: 16 products of four-byte numbers, 32 of two-byte ones.
pub const TILE_BYTES: u32 = 64;
/// Bytes of shared memory that a block can have on every GPU that the kernel serves: 86 and 89 have the least.
pub const MOST_SHARED: u32 = 99 << 10;

/// Multiprocessors of an A100.
const MULTIPROCESSORS: u64 = 108;
/// Products of two-byte numbers that a multiprocessor's tensor cores do in a cycle.
const PRODUCTS: u64 = 1024;
/// Operations on f32 of single threads that a multiprocessor does in a cycle.
const LANES: u64 = 64;
/// Bytes that a multiprocessor's shared memory gives or takes in a cycle.
const SHARED: u64 = 128;
/// Bytes that a multiprocessor gets from the second-level cache in a cycle, when all ask at once.
const CACHE: u64 = 40;
/// Bytes that a multiprocessor writes to the second-level cache in a cycle.
const WRITES: u64 = 64;
/// Bytes that the device's memory gives or takes in a cycle.
const MEMORY: u64 = 1100;
/// Bytes of a multiprocessor's shared memory, of which each block takes 1024 for itself.
const ALL_SHARED: u64 = 164 << 10;
/// Registers of a multiprocessor.
const REGISTERS: u64 = 65_536;
/// Registers of a thread beside its sums and what it multiplies.
const OTHER_REGISTERS: u32 = 56;
/// The most registers of a thread that leave room for what the compiler needs: at 220, GELU in f32 spills.
const MOST_REGISTERS: u32 = 216;

/// Cycles from a launch to a block's first products, and from one block to the next.
const START: u64 = 1000;
/// Cycles of a step that wait for the barrier and for shared memory.
const STALL: u64 = 60;
/// Cycles from asking for a copy to its end.
const FETCH: u64 = 800;
/// Cycles of an epilogue that wait for something.
const LATENCY: u64 = 500;
/// Instructions for a number of the result beside its functions: the bias, rounding, two ways through shared memory.
const PASSING: u64 = 4;
/// Batches that a choice is made for: 2 to these powers tokens.
const TOKENS: std::ops::RangeInclusive<u32> = 12..=16;

/// The part of the result that a block makes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows of the result.
    pub rows: u32,
    /// Columns of the result.
    pub columns: u32,
    /// Warps along the rows.
    pub warp_rows: u32,
    /// Warps along the columns.
    pub warp_columns: u32,
    /// Pairs of tiles that shared memory holds.
    pub stages: u32,
    /// Bytes of a number, 2 or 4.
    pub bytes: u32,
}

impl Tile {
    /// The tile that costs least over batches of 4,096 to 65,536 tokens, each weighed by what it would take at the peak.
    pub fn best(layer: &Layer, bytes: u32) -> Self {
        let most = layer.n.next_multiple_of(16).min(256);
        let whole = layer.k.div_ceil(TILE_BYTES / bytes).clamp(2, 4);
        let mut best = None;
        for rows in [64, 128] {
            for columns in (16..=most).step_by(16) {
                for (warp_rows, warp_columns) in [(4, 1), (2, 2), (2, 4), (4, 2)] {
                    for stages in 2..=whole {
                        let tile = Self { rows, columns, warp_rows, warp_columns, stages, bytes };
                        if !tile.fits() {
                            continue;
                        }
                        // Of equal ones the least, which does least in vain where rows end, that copies and reads
                        // least, and has most copies under way.
                        let moved = [tile.pair_bytes(), tile.read_bytes(), tile.threads()];
                        let key = (tile.cost(layer), rows * columns, moved, whole - stages);
                        if best.is_none_or(|(least, _)| key < least) {
                            best = Some((key, tile));
                        }
                    }
                }
            }
        }
        let least = Self { rows: 64, columns: 16, warp_rows: 4, warp_columns: 1, stages: 2, bytes };
        best.map_or(least, |(_, tile)| tile)
    }

    /// How much more than at the peak batches take, in millionths, added.
    fn cost(self, layer: &Layer) -> u128 {
        TOKENS
            .map(|log2| {
                let peak = self.peak(layer, 1 << log2).max(1);
                u128::from(self.estimate(layer, 1 << log2).cycles) * 1_000_000 / peak
            })
            .sum()
    }

    /// Whether warps have whole parts of it, and registers and shared memory room.
    fn fits(self) -> bool {
        let Self { rows, columns, warp_rows, warp_columns, stages, bytes } = self;
        let whole =
            rows.is_multiple_of(16 * warp_rows) && columns.is_multiple_of(16 * warp_columns);
        // Results of two-byte numbers go through the ring.
        let result = if bytes == 2 { rows * columns * 2 } else { 0 };
        let ring = stages * self.pair_bytes();
        whole && self.registers() <= MOST_REGISTERS && ring <= MOST_SHARED && result <= ring
    }

    /// Threads of a block.
    pub fn threads(self) -> u32 {
        self.warp_rows * self.warp_columns * 32
    }

    /// Bytes of a pair of tiles.
    pub fn pair_bytes(self) -> u32 {
        (self.rows + self.columns) * TILE_BYTES
    }

    /// Bytes that all warps read of shared memory for a step: each its rows and its columns, in f32 for the lanes that
    /// share them anew.
    fn read_bytes(self) -> u32 {
        let (rows, columns) = (self.rows / self.warp_rows, self.columns / self.warp_columns);
        let read = match self.bytes {
            2 => (rows + columns) * TILE_BYTES,
            _ => (rows / 4 + columns / 8) * 512 * (TILE_BYTES / 16),
        };
        read * self.warp_rows * self.warp_columns
    }

    /// Registers of a thread, about.
    fn registers(self) -> u32 {
        let (rows, columns) = (self.rows / self.warp_rows, self.columns / self.warp_columns);
        let sums = rows * columns / 32;
        let factors = if self.bytes == 2 { (rows + columns) / 4 } else { columns / 2 + 4 };
        sums + factors + OTHER_REGISTERS
    }

    /// Blocks that a multiprocessor of an A100 has at a time.
    fn resident(self) -> u64 {
        let shared = u64::from(self.stages * self.pair_bytes()) + 1024;
        let registers = u64::from(self.registers().next_multiple_of(8) * self.threads());
        (ALL_SHARED / shared).min(REGISTERS / registers).max(1)
    }

    /// Cycles that all multiprocessors take for the products alone.
    fn peak(self, layer: &Layer, tokens: u64) -> u128 {
        let rate = if self.bytes == 2 { PRODUCTS } else { LANES };
        u128::from(tokens) * u128::from(layer.n) * u128::from(layer.k)
            / u128::from(rate * MULTIPROCESSORS)
    }

    /// What a layer takes for so many tokens, at least one, with this tile.
    pub fn estimate(self, layer: &Layer, tokens: u64) -> Estimate {
        let (n, k) = (u64::from(layer.n), u64::from(layer.k));
        let (rows, columns) = (u64::from(self.rows), u64::from(self.columns));
        let depth = u64::from(TILE_BYTES / self.bytes);
        let steps = k.div_ceil(depth);

        let rate = if self.bytes == 2 { PRODUCTS } else { LANES };
        let copied = u64::from(self.pair_bytes());
        let arithmetic = rows * columns * depth / rate;
        let shared = (copied + u64::from(self.read_bytes())) / SHARED;
        let copies = copied / CACHE;
        let alone = (arithmetic.max(shared) + STALL)
            .max(copies)
            .max(FETCH / u64::from(self.stages.max(2) - 1));

        let numbers = rows * columns;
        let functions: u64 = layer.epilogue.iter().map(|&f| instructions(f)).sum();
        let lanes = numbers * (PASSING + functions) / LANES;
        let written = (numbers * u64::from(self.bytes) / WRITES)
            .max(numbers * 2 * u64::from(self.bytes) / SHARED);
        let epilogue = lanes.max(written);
        let chain = START + steps * alone + LATENCY + epilogue;
        // Other blocks fill half of a step's waits. In f32 products and functions are done by the same lanes.
        let products = steps * (arithmetic + STALL / 2);
        let busy = match self.bytes {
            2 => products.max(lanes),
            _ => products + lanes,
        };
        let busy = busy.max(steps * shared + written).max(steps * copies);

        // So many blocks side by side, as often as they are full, and the rest.
        let together = |blocks: u64| u128::from(chain.max(blocks * busy));
        let tiles = u128::from(tokens.div_ceil(rows)) * u128::from(n.div_ceil(columns));
        let resident = self.resident();
        let full = tiles / u128::from(MULTIPROCESSORS * resident);
        let rest = tiles % u128::from(MULTIPROCESSORS * resident);
        let rest = u64::try_from(rest.div_ceil(MULTIPROCESSORS.into())).unwrap_or(resident);
        let mut cycles = full * together(resident);
        if rest > 0 {
            cycles += together(rest);
        }
        let (t, n, k) = (u128::from(tokens), u128::from(n), u128::from(k));
        let memory = (t * k + n * k + t * n) * u128::from(self.bytes) / u128::from(MEMORY);
        let cycles = cycles.max(memory);
        let narrow = |x: u128| u64::try_from(x).unwrap_or(u64::MAX);
        Estimate {
            waves: narrow(tiles.div_ceil(MULTIPROCESSORS.into())),
            cycles: narrow(cycles),
            share: narrow(self.peak(layer, tokens) * 1000 / cycles.max(1)),
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, columns, warp_rows, warp_columns, .. } = self;
        write!(f, "{rows} x {columns} by {warp_rows} x {warp_columns} warps")
    }
}

#[cfg(test)]
mod tests {
    use bytec_plan::kernel::UnaryFn;

    use super::{Layer, MOST_SHARED, Tile};

    fn layer(n: u32, k: u32, gelu: bool) -> Layer {
        Layer { n, k, epilogue: if gelu { vec![UnaryFn::GeluErf] } else { Vec::new() } }
    }

    #[test]
    fn tiles_suit_the_layers_of_models() {
        let best = |n, k, gelu, bytes| {
            let tile = Tile::best(&layer(n, k, gelu), bytes);
            format!("{n} x {k}: {tile}, {} stages, {} blocks", tile.stages, tile.resident())
        };
        let found = [
            best(2, 768, false, 2),
            best(48, 48, false, 2),
            best(144, 48, false, 2),
            best(384, 384, false, 2),
            best(768, 768, false, 2),
            best(3072, 768, true, 2),
            best(768, 3072, false, 2),
            best(4096, 1024, true, 2),
            best(48, 48, false, 4),
            best(768, 768, false, 4),
            best(3072, 768, true, 4),
        ];
        let expected = [
            "2 x 768: 64 x 16 by 4 x 1 warps, 4 stages, 7 blocks",
            "48 x 48: 128 x 16 by 4 x 1 warps, 2 stages, 5 blocks",
            "144 x 48: 64 x 48 by 4 x 1 warps, 2 stages, 5 blocks",
            "384 x 384: 128 x 80 by 4 x 1 warps, 4 stages, 3 blocks",
            "768 x 768: 128 x 80 by 4 x 1 warps, 4 stages, 3 blocks",
            "3072 x 768: 128 x 96 by 2 x 2 warps, 4 stages, 2 blocks",
            "768 x 3072: 128 x 80 by 4 x 1 warps, 4 stages, 3 blocks",
            "4096 x 1024: 128 x 128 by 2 x 2 warps, 4 stages, 2 blocks",
            "48 x 48: 64 x 48 by 4 x 1 warps, 3 stages, 4 blocks",
            "768 x 768: 64 x 96 by 2 x 2 warps, 4 stages, 3 blocks",
            "3072 x 768: 64 x 96 by 4 x 2 warps, 4 stages, 2 blocks",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn any_size_has_a_tile_that_fits_and_an_estimate() {
        for (n, k) in [(1, 1), (65, 1 << 24), (1 << 24, 64), (1 << 24, 1 << 24), (30522, 768)] {
            for (gelu, bytes) in [(false, 2), (true, 2), (false, 4), (true, 4)] {
                let layer = layer(n, k, gelu);
                let tile = Tile::best(&layer, bytes);
                assert!(tile.fits(), "{tile}");
                assert!(tile.stages * tile.pair_bytes() <= MOST_SHARED && tile.threads() <= 256);
                for tokens in [1, 4096, u64::from(u32::MAX)] {
                    let estimate = tile.estimate(&layer, tokens);
                    assert!(estimate.waves >= 1 && estimate.share <= 1000, "{estimate:?}");
                }
            }
        }
    }

    #[test]
    fn larger_batches_come_nearer_to_the_peak() {
        for bytes in [2, 4] {
            let layer = layer(768, 3072, false);
            let tile = Tile::best(&layer, bytes);
            let shares = [512, 4096, 65536].map(|tokens| tile.estimate(&layer, tokens).share);
            assert!(shares.is_sorted() && shares[2] <= 1000, "{bytes} bytes: {shares:?}");
        }
    }
}
