//! Numbers for the special batches: those at which a kernel's parts begin and end, and those that tell most.

use bytec_compiler::render::Float;
use bytec_ir::UnaryFn;
use bytec_ir::eval::unary;
use bytec_models::tiny::SplitMix64;
use half::f16;

/// Numbers of a normal distribution.
pub(crate) fn numbers(count: usize, seed: u64, scale: f64) -> Vec<f64> {
    let mut random = SplitMix64(seed);
    (0..count).map(|_| scale * f64::from(random.normal())).collect()
}

/// Arguments of GELU: around each of its ends, far out, and of every size between.
///
/// In f16 half of them have a result that lies between two f16 numbers almost to the bit of an f32, so that the least
/// change of the f32 changes the f16.
pub(crate) fn for_gelu(dtype: Float, count: usize) -> Vec<f64> {
    let mut ends = vec![0.0, -0.0, 6e-8, -6e-8, 1e-4, -1e-4, 1000.0, -1000.0, 60_000.0, -60_000.0];
    // Where the two polynomials of erf meet, and where its argument stops to matter.
    for end in [0.93 * 2f64.sqrt(), 4.0 * 2f64.sqrt()] {
        ends.extend([-3.0, -1.0, 1.0, 3.0].map(|step| end * (1.0 + step * 1e-3)));
        ends.extend([-3.0, -1.0, 1.0, 3.0].map(|step| -end * (1.0 + step * 1e-3)));
    }
    let close = if dtype == Float::F32 { Vec::new() } else { close_to_halves() };
    let spread = numbers(count, 7, 1.5);
    let at = |nth: usize| match nth % 9 {
        0 => ends[nth / 9 % ends.len()],
        1 | 3 | 5 | 7 if !close.is_empty() => close[nth % close.len()],
        _ => spread[nth],
    };
    // The numbers' order has nothing to do with a row's length.
    (0..count).map(|nth| at(nth * 7919 % count)).collect()
}

/// All f16 whose GELU lies within four units of f32 of the middle between two f16.
fn close_to_halves() -> Vec<f64> {
    let numbers = (0..u16::MAX).map(f16::from_bits).filter(|x| x.is_finite());
    let close = numbers.map(f16::to_f64).filter(|x| {
        let y = unary(UnaryFn::GeluErf, *x);
        let unit = f64::powi(2.0, y.abs().log2().floor() as i32);
        let place = (y / unit * 1024.0).rem_euclid(1.0);
        x.abs() < 8.0 && y.abs() > 1e-4 && (place - 0.5).abs() < 4.0 / 8192.0
    });
    close.collect()
}

/// Lengths of queries and of keys: every end of a tile of so many keys that a thread can see, none at all, several tiles,
/// and what comes last. After each sample but the last comes one of a single key that no one asks.
pub(crate) fn for_attention(tile: usize, last: &[(usize, usize)]) -> (Vec<usize>, Vec<usize>) {
    let ends = (0..tile / 8).flat_map(|n| [(2, 8 * n + 3), (2, 8 * n + 6)]);
    // Where a warp has all its rows, a tile that is nearly full.
    let full = [(16, 30), (16, 62)];
    let several = [(1, 75), (1, 83), (1, 91), (1, 107), (1, 64), (20, 0)];
    let samples = ends.chain(full).chain(several).chain(last.iter().copied());
    let mut all: Vec<_> = samples.flat_map(|sample| [sample, (0, 1)]).collect();
    all.pop();
    all.into_iter().unzip()
}

/// Makes the scores of the last sample's first `masked` keys -infinity, those of the one before it large, and the samples
/// that no one asks NaN.
pub(crate) fn mask_keys(
    q: &mut [f64],
    [k, v]: [&mut [f64]; 2],
    (head_size, count): (usize, usize),
    (queries, keys): (&[usize], &[usize]),
) {
    let width = 2 * head_size;
    let rows = |lengths: &[usize], sample: usize| {
        let first: usize = lengths[..sample].iter().sum();
        first * width..(first + lengths[sample]) * width
    };
    let masked = queries.len() - 1;
    for row in q[rows(queries, masked)].chunks_exact_mut(head_size) {
        row[0] = row[0].abs() + 0.5;
    }
    for row in k[rows(keys, masked)][..count * width].chunks_exact_mut(head_size) {
        row[0] = f64::NEG_INFINITY;
    }
    q[rows(queries, masked - 2)].iter_mut().for_each(|x| *x *= 20.0);
    for unasked in (0..queries.len()).filter(|sample| queries[*sample] == 0) {
        k[rows(keys, unasked)].fill(f64::NAN);
        v[rows(keys, unasked)].fill(f64::NAN);
    }
}

/// Rows of several kinds: far from zero, all the same number, and tiny ones.
pub(crate) fn shift_rows(x: &mut [f64], width: usize) {
    for (nth, row) in x.chunks_exact_mut(width).enumerate() {
        match nth % 4 {
            0 => row.iter_mut().for_each(|x| *x += 100.0),
            1 => row.fill(3.0),
            2 => row.iter_mut().for_each(|x| *x *= 1e-3),
            _ => {}
        }
    }
}

/// Rows whose largest number, without which the others overflow, is at each place; rows that fall to where nothing is
/// left of an exponential; and rows with masked columns, one with all.
pub(crate) fn for_softmax(rows: usize, width: usize) -> Vec<f64> {
    let mut x = numbers(rows * width, 6, 1.5);
    for (nth, row) in x.chunks_exact_mut(width).enumerate() {
        match nth % 4 {
            0 => row[nth / 4 * 29 % width] = 210.0,
            1 => {
                let step = 115.0 / width as f64;
                row.iter_mut().enumerate().for_each(|(at, x)| *x = *x * 0.1 - at as f64 * step);
            }
            2 => {
                row.iter_mut().skip(nth % 5).step_by(5).for_each(|x| *x = f64::NEG_INFINITY);
                if nth == 2 {
                    row.fill(f64::NEG_INFINITY);
                }
            }
            _ => {}
        }
    }
    x
}

/// Rows of negative numbers; the first four are zeros.
pub(crate) fn for_pool(rows: usize, width: usize) -> Vec<f64> {
    let mut x = numbers(rows * width, 8, 1.0);
    x.iter_mut().for_each(|x| *x = -x.abs());
    x[..4 * width].fill(0.0);
    x
}

/// Makes some numbers so large or small that a function of them is at its end.
pub(crate) fn spread(x: &mut [f64]) {
    let far = [200.0, -200.0, 95.0, -95.0, 16.0, -16.0, f64::INFINITY, f64::NEG_INFINITY, 60_000.0];
    for (nth, x) in x.iter_mut().enumerate() {
        *x *= 3.0;
        if nth % 61 == 0 {
            *x = far[nth / 61 % far.len()];
        }
    }
}
