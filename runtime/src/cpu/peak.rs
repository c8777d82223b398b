//! What the processor could do at best, for holding measured rates against.

use std::hint::black_box;
use std::marker::PhantomData;

use super::gemm::{self, Left, PANEL, Pairs, Quads, Singles, Words};
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

/// Words that a matrix unit goes through in a call, and for how many rounds of the loop on vectors a call stands.
const DEPTH: usize = 1 << 12;

/// Lets each thread do `rounds` rounds of independent multiply-adds on registers alone, or as many products of tiles as
/// take a matrix unit about as long, and says how many multiplications and additions that were.
pub fn multiply_adds(isa: Isa, products: Products, threads: &Threads, rounds: usize) -> u64 {
    let count = threads.count();
    let (mut scratch, mut out) = (vec![(); count], vec![0.0; count]);
    let cut = Cut { rows: Bands::Every { rows: count, step: 1 }, columns: 1 };
    threads.blocks(&mut scratch, &mut out, 1, cut, |(), block| {
        let done = match products {
            Products::F32 => isa.run(Loop { rounds, words: PhantomData::<Singles> }),
            Products::Bf16 => isa.run_dots(Loop { rounds, words: PhantomData::<Pairs> }),
            Products::Int8 => isa.run_quads(Loop { rounds, words: PhantomData::<Quads> }),
        };
        for row in block.rows.clone() {
            block.row(row).fill(done as f32);
        }
    });
    let done: f64 = out.iter().copied().map(f64::from).sum();
    2 * done as u64
}

/// The loop; gives how many multiplications it did.
struct Loop<W> {
    rounds: usize,
    words: PhantomData<W>,
}

impl<W: Words> Body for Loop<W> {
    type Output = usize;

    #[inline(always)]
    fn run<V: Simd>(self) -> usize {
        if V::UNIT.and_then(W::by).is_some() {
            return self.by_tiles::<V>();
        }
        // Sums grow by a number that neither vanishes nor overflows; the compiler knows neither factor.
        let (a, b) = (black_box(V::splat(0.5)), black_box(V::splat(1e-3)));
        let mut sums = [V::zero(); SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = match W::HELD {
                    1 => a.fma(b, *sum),
                    2 => a.dot(b, *sum),
                    _ => a.quads(b, *sum),
                };
            }
        }
        black_box(sums);
        self.rounds * SUMS * V::LANES * W::HELD
    }
}

impl<W: Words> Loop<W> {
    /// All rows of a factor are the same one, so that they stay in the first-level cache.
    #[inline(always)]
    fn by_tiles<V: Simd>(self) -> usize {
        let rows = gemm::most_rows::<V, W>();
        // Each a pair of ones.
        let data = &black_box([f32::from_bits(0x3f80_3f80); DEPTH])[..];
        let mut sums = [0.0; gemm::MOST_ROWS * PANEL];
        let calls = self.rounds.div_ceil(DEPTH);
        for _ in 0..calls {
            let left = Left::Rows { data, stride: 0 };
            gemm::multiply_by::<V, W>(left, &data[..PANEL], 0, rows, DEPTH, &mut sums);
            black_box(&mut sums);
        }
        calls * rows * PANEL * DEPTH * W::HELD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_of_all_lanes_and_threads() {
        for isa in Isa::available().into_iter().chain([Isa::emulated_amx()]) {
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
                    let each = match isa.has_amx() && held > 1 {
                        true => 32 * 32 * 4096,
                        false => 12 * 10 * lanes,
                    };
                    let expected = 2 * each * held * count as u64;
                    let found = multiply_adds(isa, products, &threads, 10);
                    assert_eq!(found, expected, "{isa:?}, {products:?}, {count} threads");
                }
            }
        }
    }
}
