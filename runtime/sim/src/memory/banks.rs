//! Bank conflicts of shared memory.

/// Wavefronts that a group of words needs: the most distinct words in one of 32 banks.
pub(crate) fn wavefronts(words: impl Iterator<Item = u32> + Clone) -> u64 {
    let mut seen = 0u32;
    let mut rows = [0u32; 32];
    let mut conflict = false;
    for word in words.clone() {
        let bank = (word % 32) as usize;
        let row = word / 32;
        if seen >> bank & 1 == 1 {
            conflict |= rows[bank] != row;
        } else {
            seen |= 1 << bank;
            rows[bank] = row;
        }
    }
    if !conflict {
        return 1;
    }
    let mut distinct: Vec<u32> = words.collect();
    distinct.sort_unstable();
    distinct.dedup();
    let mut counts = [0u64; 32];
    for word in distinct {
        counts[(word % 32) as usize] += 1;
    }
    counts.into_iter().max().unwrap_or(1)
}

/// Wavefronts beyond the first of each group of one access: `bytes` for each active lane's offset.
pub(crate) fn extra(offsets: &[u64; 32], mask: u32, bytes: u64) -> u64 {
    let lanes = match bytes {
        0..=4 => 32,
        8 => 16,
        _ => 8,
    };
    let words = bytes.div_ceil(4).max(1) as u32;
    let mut extra = 0;
    for first in (0..32).step_by(lanes) {
        let group = mask >> first & (u32::MAX >> (32 - lanes));
        if group == 0 {
            continue;
        }
        if bytes == 16 && spread(&offsets[first..first + lanes], group) {
            continue;
        }
        let touched = (first..first + lanes)
            .filter(|lane| mask >> lane & 1 == 1)
            .flat_map(|lane| (0..words).map(move |word| (offsets[lane] / 4) as u32 + word));
        extra += wavefronts(touched) - 1;
    }
    extra
}

/// Whether 16-byte pieces all fall into different banks, the common case of tensor kernels.
fn spread(offsets: &[u64], group: u32) -> bool {
    let mut seen = 0u32;
    for (lane, offset) in offsets.iter().enumerate() {
        let bank = 1 << (offset / 16 % 8);
        if group >> lane & 1 == 1 {
            if seen & bank != 0 {
                return false;
            }
            seen |= bank;
        }
    }
    true
}

/// Distinct 32-byte sectors of one access, none of which crosses a sector.
pub(crate) fn sectors(addresses: &[u64; 32], mask: u32) -> u64 {
    let mut count = 0;
    let mut last = u64::MAX;
    let mut ordered = true;
    for lane in (0..32).filter(|lane| mask >> lane & 1 == 1) {
        let sector = addresses[lane] / 32;
        ordered &= last == u64::MAX || sector >= last;
        count += u64::from(sector != last);
        last = sector;
    }
    if ordered {
        return count;
    }
    let mut all: Vec<u64> =
        (0..32).filter(|lane| mask >> lane & 1 == 1).map(|lane| addresses[lane] / 32).collect();
    all.sort_unstable();
    all.dedup();
    all.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(f: impl Fn(u64) -> u64) -> [u64; 32] {
        std::array::from_fn(|lane| f(lane as u64))
    }

    #[test]
    fn conflicts_are_distinct_words_in_a_bank() {
        let all = u32::MAX;
        assert_eq!(extra(&offsets(|lane| lane * 4), all, 4), 0);
        assert_eq!(extra(&offsets(|_| 64), all, 4), 0, "a broadcast");
        assert_eq!(extra(&offsets(|lane| lane * 8), all, 4), 1, "two words a bank");
        assert_eq!(extra(&offsets(|lane| lane * 128), all, 4), 31);
        assert_eq!(extra(&offsets(|lane| lane * 128), 0b101, 4), 1);
        assert_eq!(extra(&offsets(|lane| lane * 16), all, 16), 0);
        assert_eq!(extra(&offsets(|lane| lane * 32), all, 16), 4, "one extra for each 8 lanes");
        assert_eq!(extra(&offsets(|lane| lane * 8), all, 8), 0);
    }

    #[test]
    fn sectors_are_counted_once() {
        assert_eq!(sectors(&offsets(|lane| lane * 4), u32::MAX), 4);
        assert_eq!(sectors(&offsets(|lane| (lane % 2) * 32), u32::MAX), 2);
        assert_eq!(sectors(&offsets(|lane| lane * 16), 0xff), 4);
        assert_eq!(sectors(&offsets(|lane| lane), 0), 0);
    }
}
