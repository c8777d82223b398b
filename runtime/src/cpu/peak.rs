//! What the processor could do at best, for holding measured rates against.

use std::hint::black_box;

use super::isa::{Body, Isa, Simd};
use super::threads::{Bands, Cut, Threads};

/// Sums that are in flight at once: enough to cover the latency of an fma on every unit, few enough for the registers.
const SUMS: usize = 12;

/// Lets each thread do `rounds` rounds of independent fused multiply-adds of f32 on registers alone, and says how many
/// multiplications and additions that were.
pub fn multiply_adds(isa: Isa, threads: &Threads, rounds: usize) -> u64 {
    let count = threads.count();
    let (mut scratch, mut out) = (vec![(); count], vec![0.0; count]);
    let cut = Cut { rows: Bands::Every { rows: count, step: 1 }, columns: 1 };
    threads.blocks(&mut scratch, &mut out, 1, cut, |(), block| {
        let lanes = isa.run(Loop { rounds });
        for row in block.rows.clone() {
            block.row(row).fill(lanes as f32);
        }
    });
    let lanes: f32 = out.iter().sum();
    2 * (SUMS * rounds) as u64 * lanes as u64
}

/// The loop; gives the lanes of a vector.
struct Loop {
    rounds: usize,
}

impl Body for Loop {
    type Output = usize;

    #[inline(always)]
    fn run<V: Simd>(self) -> usize {
        // Sums grow by a number that neither vanishes nor overflows; the compiler knows neither factor.
        let (a, b) = (black_box(V::splat(0.5)), black_box(V::splat(1e-3)));
        let mut sums = [V::zero(); SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = a.fma(b, *sum);
            }
        }
        black_box(sums);
        V::LANES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_of_all_lanes_and_threads() {
        for isa in Isa::available() {
            let lanes = match isa.name() {
                "avx512" => 16,
                "avx2" => 8,
                _ => 4,
            };
            for count in [1, 3] {
                let threads = Threads::new(Some(count)).unwrap();
                let expected = 2 * 12 * 10 * lanes * count as u64;
                assert_eq!(multiply_adds(isa, &threads, 10), expected, "{isa:?}, {count} threads");
            }
        }
    }
}
