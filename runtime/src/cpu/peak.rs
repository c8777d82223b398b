//! What the processor could do at best, for holding measured rates against.

use std::hint::black_box;

use super::isa::{Body, Isa, Simd};
use super::threads::{Bands, Cut, Threads};

/// Which multiplications a loop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Fused multiply-adds of f32.
    F32,
    /// Products of pairs of bf16, by the processor's instruction for them if it has one.
    Bf16,
    /// Products of four bytes, by the processor's instruction for them or by wider ones.
    Int8,
}

/// Sums that are in flight at once: enough to cover the latency of an fma on every unit, few enough for the registers.
const SUMS: usize = 12;

/// Lets each thread do `rounds` rounds of independent multiply-adds on registers alone, and says how many
/// multiplications and additions that were.
pub fn multiply_adds(isa: Isa, products: Products, threads: &Threads, rounds: usize) -> u64 {
    let count = threads.count();
    let (mut scratch, mut out) = (vec![(); count], vec![0.0; count]);
    let cut = Cut { rows: Bands::Every { rows: count, step: 1 }, columns: 1 };
    threads.blocks(&mut scratch, &mut out, 1, cut, |(), block| {
        let lanes = match products {
            Products::F32 => isa.run(Loop::<1> { rounds }),
            Products::Bf16 => 2 * isa.run_dots(Loop::<2> { rounds }),
            Products::Int8 => 4 * isa.run_quads(Loop::<4> { rounds }),
        };
        for row in block.rows.clone() {
            block.row(row).fill(lanes as f32);
        }
    });
    let lanes: f32 = out.iter().sum();
    2 * (SUMS * rounds) as u64 * lanes as u64
}

/// The loop, of products of so many factors in the place of one number; gives the lanes of a vector.
struct Loop<const HELD: usize> {
    rounds: usize,
}

impl<const HELD: usize> Body for Loop<HELD> {
    type Output = usize;

    #[inline(always)]
    fn run<V: Simd>(self) -> usize {
        // Sums grow by a number that neither vanishes nor overflows; the compiler knows neither factor.
        let (a, b) = (black_box(V::splat(0.5)), black_box(V::splat(1e-3)));
        let mut sums = [V::zero(); SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = match HELD {
                    1 => a.fma(b, *sum),
                    2 => a.dot(b, *sum),
                    _ => a.quads(b, *sum),
                };
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
                for (products, held) in
                    [(Products::F32, 1), (Products::Bf16, 2), (Products::Int8, 4)]
                {
                    let expected = 2 * 12 * 10 * lanes * held * count as u64;
                    let found = multiply_adds(isa, products, &threads, 10);
                    assert_eq!(found, expected, "{isa:?}, {products:?}, {count} threads");
                }
            }
        }
    }
}
