//! Attention: any head size, any length, queries and keys of different lengths.

use bytec_compiler::cost::attention::Lengths;
use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Site, Source};
use bytec_models::tiny::SplitMix64;
use bytec_plan::attention::Bias;
use bytec_plan::kernel::Kernel;

use super::device::{Device, Operand};
use super::numbers::{bound, decode, encode, normal, round, worst};
use super::options::Options;

/// Heads of keys and values, and of queries where they don't share one.
pub(super) const HEADS: u32 = 2;

/// Attention of [`HEADS`] heads, or of twice as many that share them.
pub(super) struct Case {
    pub(super) head_size: u32,
    scale: f32,
    options: Options,
    dtype: Float,
    /// q, k and v are columns of one buffer.
    merged: bool,
    source: Source,
}

/// One sample's queries, keys and values, each of dense rows.
#[derive(Clone)]
struct Sample {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
}

impl Case {
    fn new(head_size: u32, scale: f32, dtype: Float, merged: bool) -> Self {
        Self::with(head_size, scale, dtype, merged, Options::default())
    }

    pub(super) fn with(
        head_size: u32,
        scale: f32,
        dtype: Float,
        merged: bool,
        options: Options,
    ) -> Self {
        let lengths = Lengths::default();
        Self::for_arch((Arch::SM_80, lengths), head_size, scale, dtype, merged, options)
    }

    fn for_arch(
        (arch, lengths): (Arch, Lengths),
        head_size: u32,
        scale: f32,
        dtype: Float,
        merged: bool,
        options: Options,
    ) -> Self {
        let (mask, bias, rotary) = (options.mask, options.bias.clone(), options.rotary);
        let (heads, group) = (options.heads(), options.heads() / HEADS);
        let kernel = Kernel::Attention { heads, head_size, group, scale, mask, bias, rotary };
        let (width, shared) = (u64::from(heads * head_size), u64::from(HEADS * head_size));
        let operands = [(0, width), (width, shared), (width + shared, shared)];
        let operands = operands.map(|(column, own)| {
            if merged {
                Matrix { column, stride: width + 2 * shared }
            } else {
                Matrix { column: 0, stride: own }
            }
        });
        let output = Matrix { column: 0, stride: width };
        let site = Site { kernel: &kernel, dtype, operands: &operands, output };
        let source = super::render_for_lengths(arch, &site, lengths);
        Self { head_size, scale, options, dtype, merged, source }
    }

    fn width(&self) -> usize {
        (self.options.heads() * self.head_size) as usize
    }

    /// The columns of keys, or of values.
    fn shared(&self) -> usize {
        (HEADS * self.head_size) as usize
    }

    fn sample(&self, queries: u32, keys: u32, random: &mut SplitMix64) -> Sample {
        let (width, shared) = (self.width(), self.shared());
        let mut rows =
            |count: u32, width: usize| normal(self.dtype, random, count as usize * width);
        Sample { q: rows(queries, width), k: rows(keys, shared), v: rows(keys, shared) }
    }

    /// The output's bytes, one vector for each sample.
    fn run(&self, device: &Device, samples: &[Sample]) -> Vec<Vec<u8>> {
        self.run_profiled(device, samples).0
    }

    /// As [`run`](Self::run), and the operations of the tensor cores.
    fn run_profiled(&self, device: &Device, samples: &[Sample]) -> (Vec<Vec<u8>>, u64) {
        let (width, shared) = (self.width(), self.shared());
        let queries: Vec<_> = samples.iter().map(|s| (s.q.len() / width) as u32).collect();
        let keys: Vec<_> = samples.iter().map(|s| (s.k.len() / shared) as u32).collect();
        let packed = |of: fn(&Sample) -> &Vec<f64>| -> Vec<f64> {
            samples.iter().flat_map(|sample| of(sample).clone()).collect()
        };
        let parts = [packed(|s| &s.q), packed(|s| &s.k), packed(|s| &s.v)];
        let bytes = self.dtype.bytes() as usize;
        let (mut buffers, operands) = if self.merged {
            let rows = |n: usize| parts[n].chunks_exact(if n == 0 { width } else { shared });
            let merged: Vec<f64> = rows(0)
                .zip(rows(1))
                .zip(rows(2))
                .flat_map(|((q, k), v)| [q, k, v].concat())
                .collect();
            let columns = [0, width, width + shared];
            let operands = columns.map(|at| Operand { buffer: 0, offset: (at * bytes) as u64 });
            (vec![encode(self.dtype, &merged)], operands)
        } else {
            let buffers = parts.iter().map(|numbers| encode(self.dtype, numbers)).collect();
            (buffers, [0, 1, 2].map(|n| Operand { buffer: n, offset: 0 }))
        };
        let mut operands = operands.to_vec();
        for table in self.options.tables(self.dtype, self.head_size as usize) {
            operands.push(Operand { buffer: buffers.len(), offset: 0 });
            buffers.push(table);
        }
        let out_bytes = queries.iter().sum::<u32>() as usize * width * bytes;
        let rows: [&[u32]; 2] = [&queries, &keys];
        let (out, _, ops) = device.run_profiled(&self.source, &buffers, &operands, rows, out_bytes);
        let mut rest = &out[..];
        let split = queries.iter().map(|rows| {
            let (own, others) = rest.split_at(*rows as usize * width * bytes);
            rest = others;
            own.to_vec()
        });
        (split.collect(), ops)
    }

    /// In f64, with `round` after each op.
    fn reference(&self, sample: &Sample, round: impl Fn(f64) -> f64) -> Vec<f64> {
        let (width, shared, size) = (self.width(), self.shared(), self.head_size as usize);
        let turned = |x: &[f64], width: usize| self.options.turned(x, [width / size, size], &round);
        let (q, k) = (turned(&sample.q, width), turned(&sample.k, shared));
        let tables = self.options.rows(self.dtype, size);
        let mut out = vec![0.0; q.len()];
        for (i, (q, out)) in q.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate() {
            for head in 0..width / size {
                let columns = head * size..(head + 1) * size;
                let shared_head = head * shared / width;
                let own = shared_head * size..(shared_head + 1) * size;
                let q = &q[columns.clone()];
                let seen = (0..k.len() / shared).filter(|j| self.options.sees(i, *j));
                let scores: Vec<(usize, f64)> = seen
                    .map(|j| {
                        let k = &k[j * shared..][own.clone()];
                        let distance = i as i64 - j as i64;
                        let product = round(dot(q, k));
                        let product =
                            self.options.terms(product, head, distance, [q, k], &tables, &round);
                        let score = round(product * f64::from(self.scale));
                        (j, self.options.biased(score, head, distance, &round))
                    })
                    .collect();
                let largest = scores.iter().map(|s| s.1).fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s.1 - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for (weight, (j, _)) in weights.iter().zip(&scores) {
                    let v = &sample.v[j * shared..][own.clone()];
                    for (out, v) in out[columns.clone()].iter_mut().zip(v) {
                        *out += round(weight / total) * v;
                    }
                }
                out[columns].iter_mut().for_each(|y| *y = round(*y));
            }
        }
        out
    }

    /// Samples in one batch: near f64, and each as alone and as beside NaN.
    #[expect(clippy::print_stdout, reason = "the observed maximum is part of the evidence")]
    pub(super) fn check(&self, device: &Device, lengths: &[(u32, u32)]) {
        let mut random = SplitMix64(u64::from(self.head_size));
        let samples: Vec<_> =
            lengths.iter().map(|(q, k)| self.sample(*q, *k, &mut random)).collect();
        let batch = self.run(device, &samples);
        let symbol = &self.source.symbol;
        let (mut found, mut exact, mut rounded) = (Vec::new(), Vec::new(), Vec::new());
        for (sample, bytes) in samples.iter().zip(&batch) {
            found.extend(decode(self.dtype, bytes));
            exact.extend(self.reference(sample, |y| y));
            rounded.extend(self.reference(sample, |y| round(self.dtype, y)));
        }
        let (worst, bound) = (worst(&found, &exact), bound(self.dtype, &exact, &rounded));
        println!("{symbol}: {worst:.2e} of {bound:.2e}");
        assert!(worst <= bound, "{symbol}: {worst:e}, expected at most {bound:e}");

        for (sample, bytes) in samples.iter().zip(&batch) {
            let alone = self.run(device, std::slice::from_ref(sample));
            assert_eq!(alone[0], *bytes, "{symbol}: a sample alone has other bits");
        }
        let mut poisoned = samples;
        for sample in poisoned.iter_mut().skip(1).step_by(2) {
            for numbers in [&mut sample.q, &mut sample.k, &mut sample.v] {
                numbers.fill(f64::NAN);
            }
        }
        let beside = self.run(device, &poisoned);
        for (i, (bytes, expected)) in beside.iter().zip(&batch).enumerate() {
            if i % 2 == 0 {
                assert_eq!(bytes, expected, "{symbol}: NaN in another sample changes a sample");
            } else {
                let numbers = decode(self.dtype, bytes);
                assert!(numbers.iter().all(|y| y.is_nan()), "{symbol}: NaN does not stay NaN");
            }
        }
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Every length, then sizes at a few lengths.
fn check_sizes(dtype: Float) {
    let Some(device) = Device::get() else { return };
    let same = |lengths: &[u32]| lengths.iter().map(|l| (*l, *l)).collect::<Vec<_>>();
    Case::new(12, 0.3, dtype, true).check(device, &same(&super::LENGTHS));
    Case::new(64, 0.125, dtype, true).check(device, &same(&super::LENGTHS));
    for head_size in [1, 5, 8, 16, 24, 32, 48, 80, 128, 192, 256] {
        let scale = (head_size as f32).sqrt().recip();
        Case::new(head_size, scale, dtype, true).check(device, &same(&[17, 1, 65, 33]));
    }
}

#[test]
fn any_head_size_and_length_in_f32() {
    check_sizes(Float::F32);
}

#[test]
fn any_head_size_and_length_in_f16() {
    check_sizes(Float::F16);
}

#[test]
fn any_head_size_and_length_in_bf16() {
    check_sizes(Float::Bf16);
}

#[test]
fn keys_of_other_lengths_and_a_negative_scale() {
    let Some(device) = Device::get() else { return };
    for dtype in [Float::F32, Float::F16, Float::Bf16] {
        Case::new(16, 0.25, dtype, false).check(device, &[(5, 130), (70, 3), (33, 64)]);
        Case::new(16, -0.7, dtype, false).check(device, &[(5, 5), (70, 70), (33, 33)]);
    }
}

/// The softmax of nothing is 0 / 0.
#[test]
fn no_keys_give_nan() {
    let Some(device) = Device::get() else { return };
    for dtype in [Float::F32, Float::F16] {
        let case = Case::new(8, 1.0, dtype, false);
        let mut random = SplitMix64(5);
        let samples = [case.sample(3, 0, &mut random), case.sample(2, 4, &mut random)];
        let out = case.run(device, &samples);
        assert!(decode(dtype, &out[0]).iter().all(|y| y.is_nan()));
        assert!(decode(dtype, &out[1]).iter().all(|y| y.is_finite()));
    }
}

/// Attention on warpgroups, with `options`, of q, k and v side by side or on their own.
pub(super) fn on_warpgroups(head_size: u32, dtype: Float, merged: bool, options: Options) -> Case {
    with_tile(head_size, dtype, merged, options, Lengths::default().keys, "")
}

/// As [`on_warpgroups`], with the tile for samples of so many rows, of which the report says `tile`.
pub(super) fn with_tile(
    head_size: u32,
    dtype: Float,
    merged: bool,
    options: Options,
    longest: u64,
    tile: &str,
) -> Case {
    let scale = (head_size as f32).sqrt().recip();
    let lengths = Lengths { queries: longest, keys: longest, alike: false };
    let case = Case::for_arch((Arch::SM_90A, lengths), head_size, scale, dtype, merged, options);
    let note = case.source.note.clone().unwrap();
    assert!(note.starts_with(&format!("wgmma, tiles of {tile}")), "{note}");
    case
}

/// Every tile that lengths and heads may ask for: of one warpgroup or two, of 64 keys or 128, with products beside the
/// softmax or not.
#[test]
fn tiles_for_short_and_long_samples() {
    let Some(device) = Device::get() else { return };
    let same = |lengths: &[u32]| lengths.iter().map(|l| (*l, *l)).collect::<Vec<_>>();
    for (size, longest, tile, lengths) in [
        (64, 64, "64 queries x 64 keys, 4 blocks", &[64, 1, 66, 17][..]),
        (16, 64, "64 queries x 64 keys, products beside", &[65, 3, 130]),
        (64, 8192, "128 queries x 128 keys by turns", &[1, 63, 129, 64, 65, 300, 127]),
        (128, 8192, "128 queries x 128 keys by turns", &[200, 17]),
    ] {
        let options = Options::default();
        with_tile(size, Float::F16, true, options, longest, tile).check(device, &same(lengths));
    }
    let case = with_tile(32, Float::Bf16, false, Options::default(), 8192, "128 queries x 128");
    case.check(device, &[(130, 1000), (3, 5), (70, 64)]);
}

/// The kernel for Hopper: samples that end anywhere, then every width of a panel.
#[test]
fn heads_on_warpgroups() {
    let Some(device) = Device::get() else { return };
    let same = |lengths: &[u32]| lengths.iter().map(|l| (*l, *l)).collect::<Vec<_>>();
    let plain = |size, dtype| on_warpgroups(size, dtype, true, Options::default());
    plain(32, Float::F16).check(device, &same(&[1, 7, 63, 64, 65, 127, 128, 129]));
    plain(64, Float::Bf16).check(device, &same(&[65, 1, 129, 64]));
    for size in [8, 24, 80, 96, 128, 256] {
        let dtype = if size % 32 == 0 { Float::F16 } else { Float::Bf16 };
        plain(size, dtype).check(device, &same(&[17, 66]));
    }
}

#[test]
fn keys_of_other_lengths_on_warpgroups() {
    let Some(device) = Device::get() else { return };
    let case = on_warpgroups(32, Float::F16, false, Options::default());
    case.check(device, &[(130, 1000), (3, 5), (70, 64)]);
    let mut random = SplitMix64(5);
    let samples = [case.sample(3, 0, &mut random), case.sample(2, 4, &mut random)];
    let out = case.run(device, &samples);
    assert!(decode(Float::F16, &out[0]).iter().all(|y| y.is_nan()), "the softmax of no keys");
    assert!(decode(Float::F16, &out[1]).iter().all(|y| y.is_finite()));
}

/// By distance, queries meet each block of distances once, and keys two; both blocks are there for the first tile.
#[test]
fn products_by_distance_are_made_once() {
    let Some(device) = Device::get() else { return };
    let bias = Bias::Disentangled { reach: 300, c2p: true, p2c: true };
    let case = on_warpgroups(32, Float::F16, true, Options { bias, ..Options::default() });
    let lengths: [u32; 2] = [129, 200];
    let mut random = SplitMix64(9);
    let samples = lengths.map(|length| case.sample(length, length, &mut random));
    let (_, ops) = case.run_profiled(device, &samples);
    let tiles = lengths.map(|length| u64::from(length.div_ceil(64)));
    let products: u64 = tiles.iter().map(|tiles| tiles * (tiles * 5 + 1)).sum();
    assert_eq!(ops, products * u64::from(HEADS) * 2 * 64 * 64 * 32);
}

/// Both products of each warpgroup that has queries with each tile that has keys, and nothing else.
#[test]
fn products_on_warpgroups_are_those_of_the_tiles() {
    let Some(device) = Device::get() else { return };
    for (head_size, columns, longest, keys) in [(64, 64, 512, 64), (72, 80, 8192, 128u32)] {
        let tile = format!("128 queries x {keys} keys");
        let case = with_tile(head_size, Float::Bf16, true, Options::default(), longest, &tile);
        let lengths: [u32; 3] = [64, 129, 200];
        let mut random = SplitMix64(9);
        let samples = lengths.map(|length| case.sample(length, length, &mut random));
        let (_, ops) = case.run_profiled(device, &samples);
        let tiles = lengths.map(|length| u64::from(length.div_ceil(64) * length.div_ceil(keys)));
        let products = 2 * (2 * 64 * u64::from(keys) * columns);
        assert_eq!(ops, tiles.iter().sum::<u64>() * u64::from(HEADS) * products, "{head_size}");
    }
}
