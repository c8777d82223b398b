//! Why some mutants that do something else are not seen: explanations, each with where it holds.
//!
//! They still count as survivors.

use super::mutate::Mutant;

/// A class of mutants, a part of the CUDA line that its statement comes from, a part of the statement or of what it
/// becomes; and why.
const EXPLAINED: [(&str, &str, &str, &str); 28] = [
    ("barrier removed", "__syncwarp();", "", ALIGNED),
    ("barrier removed", "asm volatile(", "barrier.cluster.wait", EXCHANGED),
    ("barrier removed", "bar.sync %0, %1;", "bar.sync", WAITED),
    ("predicate negated", "if (group == 0)", "", SWAPPED),
    ("bound off by one", "if (group == 0)", "", SWAPPED),
    ("predicate dropped", "if (group == 0)", "", ONE_BARRIER),
    ("bound off by one", "const bool ragged", "", WHOLE_TILE),
    ("integer constant off by one", "const int tiles_down", "shl.b32", NO_ROWS),
    ("predicate negated", "if (lane == 0)", "", ALL_LANES),
    ("bound off by one", "if (lane == 0)", "", ALL_LANES),
    ("predicate dropped", "key < keys;", "", NO_KEYS),
    ("bound off by one", "key < keys;", "", NO_KEYS),
    ("bound off by one", "if (key + kTileKeys < keys)", "", EMPTY_TILE),
    ("bound off by one", "const bool valid", "", ONE_ROW_MORE),
    ("bound off by one", "const unsigned row = kEven", "", ONE_ROW_MORE),
    ("lanes or mask of a shuffle changed", "__shfl_xor_sync", ", 19, ", OTHER_ORDER),
    ("lanes or mask of a shuffle changed", "__shfl_xor_sync", ", 11, ", OTHER_ORDER),
    ("lanes or mask of a shuffle changed", "__shfl_xor_sync", ", 7, ", OTHER_ORDER),
    ("bound off by one", "const int warp_row", "", IDLE_WARP),
    ("store to shared memory removed", "st.shared.u32", "", PAST_THE_HEAD),
    ("integer constant off by one", "cvt.rn.f16x2.f32", "shr.u32", PAST_THE_HEAD),
    ("integer constant off by one", "float power_of_two(int n)", "add.s32", ONE_UNIT),
    ("fma made a product or a sum", "p = fmaf(p, r, ", "", COEFFICIENT),
    ("fma made a product or a sum", "small = fmaf(small, s, ", "", COEFFICIENT),
    ("fma made a product or a sum", "large = fmaf(large, t, ", "", COEFFICIENT),
    ("selection made unconditional", "t < 0.93f ? small : large", "", COEFFICIENT),
    ("integer constant off by one", "const int half = n >> 1", "shr.s32", HALVES),
    ("integer constant off by one", "power_of_two(half)", "shr.s32", HALVES),
];

const ALIGNED: &str =
    "an aligned barrier comes after it, which the simulator lets wait for the warp's lanes";
const EXCHANGED: &str =
    "each block has waited before, at mbarriers, for all that the others send it";
const WAITED: &str =
    "each warp has waited itself for the last product that reads what is written behind it";
const SWAPPED: &str = "the two warpgroups exchange the numbers of their barriers";
const ONE_BARRIER: &str =
    "both warpgroups use one barrier, and here neither comes while warps of the other wait there";
const WHOLE_TILE: &str =
    "a tile that is whole goes the way of one that is not, in which nothing is cleared";
const NO_ROWS: &str = "tiles past the last have no rows that are stored";
const ALL_LANES: &str = "all lanes of the warp hold the same sum, so any of them may write it";
const NO_KEYS: &str =
    "without keys the result is NaN: 0 times 1/0, whether or not a tile of masked keys was added";
const EMPTY_TILE: &str =
    "one tile more is filled with zeros or weighed as masked, which changes no sum";
const ONE_ROW_MORE: &str = "one row past the end is read into the tile, whose result is masked or not stored; a fault \
     only where a buffer ends between these very rows";
const OTHER_ORDER: &str = "with the other steps it still reaches every lane: the same numbers in another order, here with the same bits";
const IDLE_WARP: &str =
    "a warp whose first row is one past the last computes rows that are not stored";
const PAST_THE_HEAD: &str =
    "it is about columns past the last, which the tile has and nobody reads";
const ONE_UNIT: &str = "the f32 changes by one unit, 1/8192 of one of the f16 that it is rounded to: not seen in these batches";
const COEFFICIENT: &str = "the f32 changes by less than a unit of the f16 that it is rounded to: not seen in these batches";
const HALVES: &str = "any split of n in two whose powers are normal numbers gives the same product";

/// The explanation for a mutant of a statement, which comes from a line of CUDA, if there is one.
pub(crate) fn explained(cuda: &str, own: &str, mutant: &Mutant) -> Option<&'static str> {
    let mut explained = EXPLAINED.iter().filter(|(class, from, text, _)| {
        let has = own.contains(text) || mutant.text.contains(text);
        mutant.class == *class && cuda.contains(from) && has
    });
    explained.next().map(|(.., why)| *why)
}

/// The line of CUDA that a line of PTX comes from.
pub(crate) fn cuda_line(ptx: &str, line: usize) -> Option<usize> {
    let before: Vec<_> = ptx.lines().take(line).collect();
    let place = before.iter().rev().find_map(|line| line.trim_start().strip_prefix(".loc"))?;
    place.split_whitespace().nth(1)?.parse().ok()
}
