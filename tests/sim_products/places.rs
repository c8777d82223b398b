//! Kernels that go by a row's place in its sample: rotation, unfolding, joined rows and elements in another order.

use bytec_compiler::render::{Float, Matrix, Site, Source};
use bytec_models::tiny::SplitMix64;
use bytec_plan::attention::{Pairs, Rotary};
use bytec_plan::kernel::{Joined, Kernel};

use super::device::{Device, Operand};
use super::numbers::{decode, encode, normal, worst};
use super::options::turn;

const DTYPES: [Float; 3] = [Float::F32, Float::F16, Float::Bf16];
const LENGTHS: [u32; 7] = [5, 1, 0, 64, 13, 33, 9];

/// A kernel on rows of `width` numbers, which lie in a wider buffer.
struct Case {
    source: Source,
    dtype: Float,
    width: usize,
    stride: usize,
    out_width: usize,
    table: Vec<u8>,
}

impl Case {
    fn new(kernel: &Kernel, dtype: Float, width: usize, out_width: usize, table: &[f64]) -> Self {
        let stride = 2 * width + 4;
        let x = Matrix { column: 4, stride: stride as u64 };
        let operands = [x, Matrix { column: 0, stride: 1 }];
        let output = Matrix { column: 0, stride: out_width as u64 };
        let source = super::render(&Site { kernel, dtype, operands: &operands, output });
        Self { source, dtype, width, stride, out_width, table: encode(Float::F32, table) }
    }

    fn run(&self, device: &Device, samples: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let rows: Vec<_> = samples.iter().map(|x| (x.len() / self.width) as u32).collect();
        let mut whole = vec![f64::NAN; rows.iter().sum::<u32>() as usize * self.stride];
        let packed = samples.iter().flat_map(|x| x.chunks_exact(self.width));
        for (to, from) in whole.chunks_exact_mut(self.stride).zip(packed) {
            to[4..][..self.width].copy_from_slice(from);
        }
        let size = self.dtype.bytes() as usize;
        let buffers = [encode(self.dtype, &whole), self.table.clone()];
        let offsets = [4 * size as u64, 0];
        let operands = [0, 1].map(|n| Operand { buffer: n, offset: offsets[n] });
        let bytes = whole.len() / self.stride * self.out_width * size;
        let out = device.run(&self.source, &buffers, &operands, [&rows, &rows], bytes);
        let numbers = decode(self.dtype, &out);
        let mut rest = &numbers[..];
        let own = rows.iter().map(|rows| {
            let (own, others) = rest.split_at(*rows as usize * self.out_width);
            rest = others;
            own.to_vec()
        });
        own.collect()
    }

    /// Each sample as `expected` says, to the given error; and the same bits alone and beside NaN.
    fn check(&self, device: &Device, error: f64, expected: impl Fn(&[f64]) -> Vec<f64>) {
        let mut random = SplitMix64(3);
        let numbers = |rows: u32| normal(self.dtype, &mut random, rows as usize * self.width);
        let samples: Vec<_> = LENGTHS.into_iter().map(numbers).collect();
        let batch = self.run(device, &samples);
        let symbol = &self.source.symbol;
        for (x, found) in samples.iter().zip(&batch) {
            let worst = worst(found, &expected(x));
            assert!(worst <= error, "{symbol}: {worst:e}, expected at most {error:e}");
            let alone = self.run(device, std::slice::from_ref(x));
            assert_eq!(alone[0], *found, "{symbol}: a sample alone is another");
        }
        let mut poisoned = samples;
        poisoned[3].fill(f64::NAN);
        let beside = self.run(device, &poisoned);
        for sample in (0..LENGTHS.len()).filter(|sample| *sample != 3) {
            assert_eq!(beside[sample], batch[sample], "{symbol}: sample {sample} beside NaN");
        }
    }
}

#[test]
fn heads_turned_by_position() {
    let Some(device) = Device::get() else { return };
    for (pairs, head_size, dims) in
        [(Pairs::Half, 12, 12), (Pairs::Half, 9, 6), (Pairs::Interleaved, 9, 4)]
    {
        let rotary = Rotary { pairs, dims };
        let (size, half) = (head_size as usize, dims as usize / 2);
        let row = |position| {
            let turns = (0..half).map(|pair| turn(rotary, position, pair));
            let (sines, cosines): (Vec<f64>, Vec<f64>) = turns.unzip();
            [cosines, sines].concat()
        };
        let table: Vec<f64> = (0..64).flat_map(row).collect();
        for dtype in DTYPES {
            let kernel = Kernel::Rotary { heads: 3, head_size, rotary };
            let case = Case::new(&kernel, dtype, 3 * size, 3 * size, &table);
            // Half a unit in the last place of numbers from 4 to 8, and a little in f32 for the fma before it.
            let error = match dtype {
                Float::F32 => 2f64.powi(-21),
                Float::F16 => 1.01 * 2f64.powi(-9),
                Float::Bf16 => 1.01 * 2f64.powi(-6),
            };
            case.check(device, error, |x| {
                let mut out = x.to_vec();
                for (row, x) in out.chunks_exact_mut(3 * size).enumerate() {
                    for head in x.chunks_exact_mut(size) {
                        for pair in 0..half {
                            let (sine, cosine) = turn(rotary, row, pair);
                            let (a, b) = match pairs {
                                Pairs::Half => (pair, pair + half),
                                Pairs::Interleaved => (2 * pair, 2 * pair + 1),
                            };
                            let (left, right) = (head[a], head[b]);
                            head[a] = left * cosine - right * sine;
                            head[b] = right * cosine + left * sine;
                        }
                    }
                }
                out
            });
        }
    }
}

#[test]
fn neighbouring_rows_side_by_side() {
    let Some(device) = Device::get() else { return };
    for (width, size, before) in [(12, 3, 1), (5, 4, 0), (8, 2, 1), (7, 1, 0), (300, 5, 4)] {
        for dtype in DTYPES {
            let kernel = Kernel::Unfold { width, size, before };
            let width = width as usize;
            let case = Case::new(&kernel, dtype, width, width * size as usize, &[0.0]);
            case.check(device, 0.0, |x| {
                let rows = (x.len() / width) as i64;
                let taps = (0..rows).flat_map(|row| {
                    (0..i64::from(size)).map(move |tap| row + tap - i64::from(before))
                });
                taps.flat_map(|source| match source {
                    source if (0..rows).contains(&source) => {
                        x[source as usize * width..][..width].to_vec()
                    }
                    _ => vec![0.0; width],
                })
                .collect()
            });
        }
    }
}

/// Rows of shared weights before, between and behind those of samples.
#[test]
fn rows_behind_one_another() {
    let Some(device) = Device::get() else { return };
    for (width, shared) in [(12usize, [1usize, 2]), (7, [3, 1]), (40, [1, 1])] {
        let parts = vec![
            Joined::Shared { rows: shared[0] as u32 },
            Joined::Rows,
            Joined::Shared { rows: shared[1] as u32 },
        ];
        let kernel = Kernel::Join { width: width as u32, parts };
        for dtype in DTYPES {
            let x = Matrix { column: 4, stride: 2 * width as u64 + 4 };
            let dense = Matrix::dense(width as u32);
            let operands = [dense, x, dense];
            let source =
                super::render(&Site { kernel: &kernel, dtype, operands: &operands, output: dense });
            let mut random = SplitMix64(5);
            let weights = shared.map(|rows| normal(dtype, &mut random, rows * width));
            let run = |samples: &[Vec<f64>]| {
                let rows: Vec<_> = samples.iter().map(|x| (x.len() / width) as u32).collect();
                let joined: Vec<_> =
                    rows.iter().map(|rows| rows + (shared[0] + shared[1]) as u32).collect();
                let mut whole =
                    vec![f64::NAN; rows.iter().sum::<u32>() as usize * x.stride as usize];
                let packed = samples.iter().flat_map(|x| x.chunks_exact(width));
                for (to, from) in whole.chunks_exact_mut(x.stride as usize).zip(packed) {
                    to[4..][..width].copy_from_slice(from);
                }
                let buffers = [&weights[0], &whole, &weights[1]].map(|data| encode(dtype, data));
                let size = u64::from(dtype.bytes());
                let operands = [0, 1, 2]
                    .map(|n| Operand { buffer: n, offset: if n == 1 { 4 * size } else { 0 } });
                let bytes = joined.iter().sum::<u32>() as usize * width * size as usize;
                decode(dtype, &device.run(&source, &buffers, &operands, [&joined, &rows], bytes))
            };
            let samples: Vec<_> = LENGTHS
                .iter()
                .map(|rows| normal(dtype, &mut random, *rows as usize * width))
                .collect();
            let expected: Vec<Vec<f64>> =
                samples.iter().map(|x| [&weights[0][..], x, &weights[1]].concat()).collect();
            assert_eq!(run(&samples), expected.concat(), "{}", source.symbol);
            for (x, expected) in samples.iter().zip(&expected) {
                assert_eq!(run(std::slice::from_ref(x)), *expected, "{} alone", source.symbol);
            }
        }
    }
}

/// Patches of an image, transposes and parts: blocks of all a sample's rows, and blocks of one row.
#[test]
fn elements_in_another_order() {
    let Some(device) = Device::get() else { return };
    let permute = |from, to, start, axes: &[[u32; 2]]| Kernel::Permute {
        from,
        to,
        start,
        shape: axes.iter().map(|axis| axis[0]).collect(),
        strides: axes.iter().map(|axis| axis[1]).collect(),
    };
    let kernels = [
        // Patches of 8 x 4 and of 3 x 5 of images of three and two channels.
        permute([3, 320], [10, 96], 0, &[[2, 160], [5, 4], [3, 320], [8, 20], [4, 1]]),
        permute([2, 90], [6, 30], 0, &[[2, 45], [3, 5], [2, 90], [3, 15], [5, 1]]),
        // A matrix turned, in a sample and within each row.
        permute([6, 20], [20, 6], 0, &[[20, 1], [6, 20]]),
        permute([1, 24], [1, 24], 0, &[[8, 1], [3, 8]]),
        // Rows from the third on, one of them, and a row that many blocks share.
        permute([9, 16], [6, 16], 48, &[[96, 1]]),
        permute([5, 7], [1, 7], 14, &[[7, 1]]),
        permute([2, 3000], [3000, 2], 0, &[[3000, 1], [2, 3000]]),
        permute([1, 9000], [1, 9000], 0, &[[90, 1], [100, 90]]),
    ];
    for kernel in kernels {
        let Kernel::Permute { from, to, start, shape, strides } = &kernel else { continue };
        let (held, written) = (from[0] * from[1], to[0] * to[1]);
        let order: Vec<usize> = (0..written)
            .map(|at| {
                let (mut at, mut element) = (at, *start);
                for (extent, stride) in shape.iter().zip(strides).rev() {
                    element += at % extent * stride;
                    at /= extent;
                }
                element as usize
            })
            .collect();
        let blocks = if held > 2000 { 2 } else { 5 };
        for dtype in DTYPES {
            // Columns of a wider buffer, which hold NaN beside them.
            let (stride, column) = (from[1] as usize + 24, 16);
            let x = Matrix { column: column as u64, stride: stride as u64 };
            let output = Matrix::dense(to[1]);
            let source = super::render(&Site { kernel: &kernel, dtype, operands: &[x], output });
            let mut random = SplitMix64(7);
            let size = dtype.bytes() as usize;
            let run = |x: &[f64]| {
                let mut whole = vec![f64::NAN; x.len() / from[1] as usize * stride];
                for (to, from) in
                    whole.chunks_exact_mut(stride).zip(x.chunks_exact(from[1] as usize))
                {
                    to[column..][..from.len()].copy_from_slice(from);
                }
                let blocks = x.len() / held as usize;
                let rows = vec![to[0]; blocks];
                let operand = Operand { buffer: 0, offset: (column * size) as u64 };
                let bytes = blocks * written as usize * size;
                let buffers = [encode(dtype, &whole)];
                decode(dtype, &device.run(&source, &buffers, &[operand], [&rows, &rows], bytes))
            };
            let x = normal(dtype, &mut random, blocks * held as usize);
            let samples = x.chunks_exact(held as usize);
            let expected: Vec<f64> =
                samples.clone().flat_map(|x| order.iter().map(|&at| x[at])).collect();
            assert_eq!(run(&x), expected, "{}", source.symbol);
            let alone: Vec<f64> = samples.flat_map(run).collect();
            assert_eq!(alone, expected, "{} alone", source.symbol);
        }
    }
}
