//! BLAKE3 of a plan's sections, the large ones by several threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

/// Bytes of a leaf, a whole subtree of BLAKE3's: a power of two, and some tenths of a millisecond of hashing.
const LEAF: usize = 2 << 20;

/// The BLAKE3 hash of bytes. Those of more than one leaf are shared out among as many threads as the machine has
/// processors, or as many as the system gives.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    if bytes.len() <= LEAF {
        return *blake3::hash(bytes).as_bytes();
    }
    let processors = thread::available_parallelism().map_or(1, usize::from);
    hash_by(bytes, processors.min(bytes.len().div_ceil(LEAF)))
}

/// As [`hash`], of more than one leaf, by so many threads.
fn hash_by(bytes: &[u8], threads: usize) -> [u8; 32] {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done: Vec<(usize, ChainingValue)> = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(leaf) = bytes.chunks(LEAF).nth(at) else { return done };
            let offset = (at * LEAF) as u64;
            let hasher = &mut Hasher::new();
            done.push((at, hasher.set_input_offset(offset).update(leaf).finalize_non_root()));
        }
    };
    let mut leaves = vec![[0; 32]; bytes.len().div_ceil(LEAF)];
    thread::scope(|scope| {
        // This thread does what is left if no other can be had.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).map_while(start).collect();
        let own = std::iter::once(work());
        let theirs = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        for (at, value) in own.chain(theirs).flatten() {
            leaves[at] = value;
        }
    });
    let (left, right) = leaves.split_at(left_of(leaves.len()));
    *merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes()
}

/// The value of a subtree of these leaves.
fn merged(leaves: &[ChainingValue]) -> ChainingValue {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(left_of(leaves.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// Leaves of the left side of a subtree of more than one: the largest power of two that leaves some for the right.
fn left_of(leaves: usize) -> usize {
    leaves.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::{LEAF, hash, hash_by};

    #[test]
    fn threads_give_the_hash_of_one() {
        let bytes: Vec<u8> =
            (0..7 * LEAF as u32 + 9).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sizes =
            [0, 1, LEAF - 1, LEAF, LEAF + 1, 2 * LEAF, 3 * LEAF + 1024, 5 * LEAF, bytes.len()];
        for size in sizes {
            let bytes = &bytes[..size];
            let expected = *blake3::hash(bytes).as_bytes();
            assert_eq!(hash(bytes), expected, "{size}");
            if size > LEAF {
                for threads in [1, 3] {
                    assert_eq!(hash_by(bytes, threads), expected, "{size}, {threads} threads");
                }
            }
        }
    }
}
