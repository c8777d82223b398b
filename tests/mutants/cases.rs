//! The kernels that mutants are made of, each with batches for it.

use bytec_compiler::cost::attention::Lengths;
use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Renderer, Site, Source};
use bytec_plan::attention::{Bias, Pairs};
use bytec_plan::kernel::{BinaryFn, Broadcast, IdSource, Instr, Kernel, PoolKind, UnaryFn, Up};
use half::f16;

use super::inputs::{self, numbers};
use super::moves;

/// An operand of a kernel, for a batch.
#[derive(Clone)]
pub(crate) enum Operand {
    /// One row of so many columns for each packed row; the matrix says where they lie in a buffer.
    Rows(Vec<f64>, usize, Matrix),
    /// The same for each packed row of keys.
    Keys(Vec<f64>, usize, Matrix),
    /// One dense row of so many columns for each sample.
    Samples(Vec<f64>, usize),
    /// A weight.
    Weight(Vec<f64>),
    /// A weight of f32, whatever the kernel's type.
    Floats(Vec<f64>),
    /// One id for each packed row.
    Ids(Vec<i32>),
    /// A weight of whole numbers.
    Index(Vec<i32>),
}

impl Operand {
    /// Its numbers; of ids none.
    pub(crate) fn data(&self) -> &[f64] {
        match self {
            Self::Rows(data, ..)
            | Self::Keys(data, ..)
            | Self::Samples(data, _)
            | Self::Weight(data)
            | Self::Floats(data) => data,
            Self::Ids(_) | Self::Index(_) => &[],
        }
    }

    fn data_mut(&mut self) -> &mut [f64] {
        match self {
            Self::Rows(data, ..)
            | Self::Keys(data, ..)
            | Self::Samples(data, _)
            | Self::Weight(data)
            | Self::Floats(data) => data,
            Self::Ids(_) | Self::Index(_) => &mut [],
        }
    }
}

/// A kernel and a batch for it.
#[derive(Clone)]
pub(crate) struct Case {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// What it computes.
    pub(crate) kernel: Kernel,
    /// The architecture that it is compiled for.
    pub(crate) arch: Arch,
    /// The element type.
    pub(crate) dtype: Float,
    /// What the kernel is given; every number is one of the element type.
    pub(crate) operands: Vec<Operand>,
    /// Columns of the output.
    pub(crate) width: usize,
    /// Rows of the output of each sample.
    pub(crate) given: Vec<usize>,
    /// Rows of the samples.
    pub(crate) lengths: Vec<usize>,
    /// Rows of the samples of another count: keys, or what is joined; their rows where there is none.
    pub(crate) keys: Vec<usize>,
    /// The most rows that samples may have, by which tiles are chosen.
    pub(crate) longest: u64,
}

impl Case {
    pub(crate) fn new(
        name: &'static str,
        dtype: Float,
        kernel: Kernel,
        operands: Vec<Operand>,
        width: usize,
        lengths: Vec<usize>,
    ) -> Self {
        let (arch, longest) = (Arch::SM_80, 512);
        let (given, keys) = (lengths.clone(), lengths.clone());
        let mut case =
            Self { name, kernel, arch, dtype, operands, width, given, lengths, keys, longest };
        for operand in &mut case.operands {
            let dtype = if matches!(operand, Operand::Floats(_)) { Float::F32 } else { dtype };
            operand.data_mut().iter_mut().for_each(|x| *x = round(dtype, *x));
        }
        case
    }

    /// The kernel as CUDA.
    pub(crate) fn source(&self) -> anyhow::Result<Source> {
        let operands: Vec<_> = self
            .operands
            .iter()
            .enumerate()
            .map(|(nth, operand)| match (operand, &self.kernel) {
                (Operand::Rows(_, _, matrix) | Operand::Keys(_, _, matrix), _) => *matrix,
                (_, Kernel::Linear { k, .. } | Kernel::LinearLayerNorm { k, .. }) if nth == 1 => {
                    Matrix::dense(*k)
                }
                _ => Matrix::dense(self.width as u32),
            })
            .collect();
        let output = Matrix::dense(self.width as u32);
        let site = Site { kernel: &self.kernel, dtype: self.dtype, operands: &operands, output };
        let mut renderer = Renderer::for_arch(self.arch)?;
        if renderer.render_with_up(&site)?.is_some() {
            return Ok(renderer.into_sources().remove(0));
        }
        let (queries, keys) = (self.longest, self.longest);
        renderer.render_for(&site, Lengths { queries, keys, alike: false })?;
        Ok(renderer.into_sources().remove(0))
    }

    /// The packed rows of a sample.
    pub(crate) fn rows(&self, sample: usize) -> std::ops::Range<usize> {
        let first: usize = self.lengths[..sample].iter().sum();
        first..first + self.lengths[sample]
    }

    /// The packed keys of a sample.
    pub(crate) fn keys_of(&self, sample: usize) -> std::ops::Range<usize> {
        let first: usize = self.keys[..sample].iter().sum();
        first..first + self.keys[sample]
    }

    /// The output's rows of a sample.
    pub(crate) fn output(&self, sample: usize) -> std::ops::Range<usize> {
        let first: usize = self.given[..sample].iter().sum();
        first..first + self.given[sample]
    }

    /// One sample as a batch of its own.
    pub(crate) fn alone(&self, sample: usize) -> Self {
        let (rows, keys) = (self.rows(sample), self.keys_of(sample));
        let mut case = self.clone();
        (case.lengths, case.keys) = (vec![rows.len()], vec![keys.len()]);
        case.given = vec![self.given[sample]];
        for operand in &mut case.operands {
            let (own, data, width) = match operand {
                Operand::Rows(data, width, _) => (rows.clone(), data, *width),
                Operand::Keys(data, width, _) => (keys.clone(), data, *width),
                Operand::Samples(data, width) => (sample..sample + 1, data, *width),
                Operand::Ids(ids) => {
                    *ids = ids[rows.clone()].to_vec();
                    continue;
                }
                Operand::Weight(_) | Operand::Floats(_) | Operand::Index(_) => continue,
            };
            *data = data[own.start * width..own.end * width].to_vec();
        }
        case
    }

    /// The batch with every number of one sample NaN.
    pub(crate) fn beside_nan(&self, sample: usize) -> Self {
        let (rows, keys) = (self.rows(sample), self.keys_of(sample));
        let mut case = self.clone();
        for operand in &mut case.operands {
            let (own, width) = match operand {
                Operand::Rows(_, width, _) => (rows.clone(), *width),
                Operand::Keys(_, width, _) => (keys.clone(), *width),
                Operand::Samples(_, width) => (sample..sample + 1, *width),
                Operand::Ids(_) | Operand::Index(_) | Operand::Weight(_) | Operand::Floats(_) => {
                    continue;
                }
            };
            operand.data_mut()[own.start * width..own.end * width].fill(f64::NAN);
        }
        case
    }
}

/// The nearest number of the type.
fn round(dtype: Float, x: f64) -> f64 {
    if dtype == Float::F32 { f64::from(x as f32) } else { f16::from_f64(x).to_f64() }
}

/// Whether a batch has the numbers and sizes that models have, or those at which a kernel's parts end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inputs {
    Usual,
    Special,
}

use Inputs::{Special, Usual};

fn dense(rows: usize, width: usize, seed: u64) -> Operand {
    Operand::Rows(numbers(rows * width, seed, 1.0), width, Matrix::dense(width as u32))
}

pub(crate) fn weight(count: usize, seed: u64) -> Operand {
    Operand::Weight(numbers(count, seed, 1.0))
}

fn linear(name: &'static str, dtype: Float, n: usize, k: usize, inputs: Inputs) -> Case {
    let epilogue = vec![UnaryFn::GeluErf];
    let kernel = Kernel::Linear { n: n as u32, k: k as u32, bias: true, epilogue };
    let matrix = Matrix { column: k as u64, stride: 3 * k as u64 };
    let (lengths, x, weights, bias) = match inputs {
        Usual => {
            let x = numbers(73 * k, 1, 1.0);
            let weights = numbers(n * k, 2, (k as f64).sqrt().recip());
            (vec![33, 1, 39], x, weights, numbers(n, 3, 1.0))
        }
        // Each output is one input, so that every thread's function meets the numbers that tell most.
        Special => {
            let weights = (0..n * k).map(|at| f64::from(u8::from(at / k % k == at % k)));
            // Where a block stays for several tiles of 128 rows, so many that its ring goes round more often than an
            // mbarrier takes arrivals.
            let rows = match k {
                0..=200 => 170,
                201..=1000 => 2500,
                _ => 300,
            };
            (vec![rows], inputs::for_gelu(dtype, rows * k), weights.collect(), vec![0.0; n])
        }
    };
    let operands =
        vec![Operand::Rows(x, k, matrix), Operand::Weight(weights), Operand::Weight(bias)];
    Case::new(name, dtype, kernel, operands, n, lengths)
}

/// A linear with its norm, whose rows lie in several blocks, the last of which has fewer columns.
fn linear_norm(name: &'static str, dtype: Float, n: usize, k: usize, inputs: Inputs) -> Case {
    let kernel =
        Kernel::LinearLayerNorm { n: n as u32, k: k as u32, bias: true, eps: 1e-5, up: None };
    // Several tiles of 128 rows, each with places of its own for what blocks send each other.
    let lengths = if inputs == Usual { vec![33, 1, 39] } else { vec![650] };
    let rows: usize = lengths.iter().sum();
    let mut residual = numbers(rows * n, 5, 1.0);
    if inputs == Special {
        inputs::shift_rows(&mut residual, n);
    }
    let matrix = Matrix { column: k as u64, stride: 3 * k as u64 };
    let operands = vec![
        Operand::Rows(numbers(rows * k, 1, 1.0), k, matrix),
        Operand::Weight(numbers(n * k, 2, (k as f64).sqrt().recip())),
        weight(n, 3),
        Operand::Rows(residual, n, Matrix::dense(n as u32)),
        weight(n, 6),
        weight(n, 7),
    ];
    Case { arch: Arch::SM_90A, ..Case::new(name, dtype, kernel, operands, n, lengths) }
}

/// Two linears and the norm in one launch: rounds of tiles by turns, the last of them with a tile past the last column, and
/// then columns that lie in several blocks.
fn feed_forward(name: &'static str, dtype: Float, inputs: Inputs) -> Case {
    let (n, hidden, k) = (128, 200, 72);
    let up = Some(Up { k: k as u32, bias: true, epilogue: vec![UnaryFn::GeluErf] });
    let (columns, width) = (n as u32, hidden as u32);
    let kernel = Kernel::LinearLayerNorm { n: columns, k: width, bias: true, eps: 1e-5, up };
    // Several tiles of 128 rows.
    let lengths = if inputs == Usual { vec![33, 1, 39] } else { vec![650] };
    let rows: usize = lengths.iter().sum();
    let mut residual = numbers(rows * n, 5, 1.0);
    if inputs == Special {
        inputs::shift_rows(&mut residual, n);
    }
    let shrunk =
        |n: usize, k: usize, seed| Operand::Weight(numbers(n * k, seed, (k as f64).sqrt().recip()));
    let matrix = Matrix { column: k as u64, stride: 3 * k as u64 };
    let operands = vec![
        // What the launch itself writes, and reads nowhere before.
        Operand::Rows(vec![f64::NAN; rows * hidden], hidden, Matrix::dense(width)),
        shrunk(n, hidden, 2),
        weight(n, 3),
        Operand::Rows(residual, n, Matrix::dense(columns)),
        weight(n, 6),
        weight(n, 7),
        Operand::Rows(numbers(rows * k, 1, 1.0), k, matrix),
        shrunk(hidden, k, 8),
        weight(hidden, 9),
    ];
    Case { arch: Arch::SM_90A, ..Case::new(name, dtype, kernel, operands, n, lengths) }
}

fn attention(name: &'static str, dtype: Float, head_size: usize, inputs: Inputs) -> Case {
    let special = inputs::for_attention(64, &[(70, 197), (16, 134)]);
    attention_of(name, dtype, head_size, inputs, (special, 64))
}

/// Attention on warpgroups, whose tiles have so many keys where samples may have so many rows.
fn attention_wgmma(
    name: &'static str,
    head_size: usize,
    (tile, longest): (usize, u64),
    inputs: Inputs,
) -> Case {
    // Many turns of two warpgroups; a ring that goes round more often than an mbarrier takes arrivals; and two whole
    // tiles of masked keys.
    let lengths = [(100, 4 * tile + 9), (1, 17 * tile + 5), (70, 197), (16, 2 * tile + 6)];
    let special = (inputs::for_attention(tile, &lengths), 2 * tile);
    let case = attention_of(name, Float::F16, head_size, inputs, special);
    Case { arch: Arch::SM_90A, longest, ..case }
}

/// Attention, with the lengths of the special batch, and how many keys of its last sample are masked.
fn attention_of(
    name: &'static str,
    dtype: Float,
    head_size: usize,
    inputs: Inputs,
    (special, masked): ((Vec<usize>, Vec<usize>), usize),
) -> Case {
    let width = 2 * head_size;
    let scale = (head_size as f64).sqrt().recip() as f32;
    let kernel = Kernel::attention(2, head_size as u32, scale);
    let (queries, keys) = match inputs {
        Usual => (vec![104, 17, 40], vec![104, 17, 40]),
        Special => special,
    };
    let (rows, packed): (usize, usize) = (queries.iter().sum(), keys.iter().sum());
    let matrix = |n| Matrix { column: n * width as u64, stride: 3 * width as u64 };
    let mut q = numbers(rows * width, 0, 1.0);
    let mut k = numbers(packed * width, 1, 1.0);
    let mut v = numbers(packed * width, 2, 1.0);
    if inputs == Special {
        let lengths = (&queries[..], &keys[..]);
        inputs::mask_keys(&mut q, [&mut k, &mut v], (head_size, masked), lengths);
    }
    let operands = vec![
        Operand::Rows(q, width, matrix(0)),
        Operand::Keys(k, width, matrix(1)),
        Operand::Keys(v, width, matrix(2)),
    ];
    Case { keys, ..Case::new(name, dtype, kernel, operands, width, queries) }
}

/// The farthest distance that has a row of its own, short of those that the samples have.
const REACH: i32 = 70;

/// Attention with rows by distance on warpgroups, where two distances share a row.
fn by_distance(name: &'static str, dtype: Float, head_size: usize, inputs: Inputs) -> Case {
    let mut case = attention(name, dtype, head_size, inputs);
    let Kernel::Attention { bias, .. } = &mut case.kernel else { return case };
    *bias = Bias::Disentangled { reach: REACH as u32, c2p: true, p2c: true };
    case.operands.push(Operand::Index((0..=2 * REACH).map(|at| at / 2).collect()));
    for seed in [3, 4] {
        let mut rows = numbers((REACH as usize + 1) * case.width, seed, 1.0);
        // Of one sign where keys of the special batch are -infinity.
        rows.chunks_exact_mut(head_size).for_each(|row| row[0] = row[0].abs() + 0.5);
        rows.iter_mut().for_each(|x| *x = round(dtype, *x));
        case.operands.push(Operand::Weight(rows));
    }
    Case { arch: Arch::SM_90A, ..case }
}

/// Lengths of samples for kernels whose rows know nothing of each other.
pub(crate) fn lengths(inputs: Inputs, rows: usize) -> Vec<usize> {
    match inputs {
        Usual => vec![5, 1, 0, 13, 33],
        Special => vec![rows / 3, 0, rows / 2, 7, rows - rows / 3 - rows / 2 - 7],
    }
}

fn norm(name: &'static str, dtype: Float, width: usize, inputs: Inputs) -> Case {
    let kernel = Kernel::LayerNorm { width: width as u32, eps: 1e-5, residual: true };
    let matrix = Matrix { column: 4, stride: 3 * width as u64 + 4 };
    let lengths = lengths(inputs, 67);
    let rows = lengths.iter().sum();
    let mut x = numbers(rows * width, 1, 1.0);
    if inputs == Special {
        inputs::shift_rows(&mut x, width);
    }
    let x = Operand::Rows(x, width, matrix);
    let operands = vec![x, dense(rows, width, 2), weight(width, 3), weight(width, 4)];
    Case::new(name, dtype, kernel, operands, width, lengths)
}

fn rms_norm(name: &'static str, dtype: Float, width: usize, inputs: Inputs) -> Case {
    let kernel = Kernel::RmsNorm { width: width as u32, eps: 1e-5 };
    let (x, lengths) = rows_to_norm(width, inputs);
    Case::new(name, dtype, kernel, vec![x, weight(width, 3)], width, lengths)
}

fn l2_normalize(name: &'static str, dtype: Float, width: usize, inputs: Inputs) -> Case {
    let kernel = Kernel::L2Normalize { width: width as u32, eps: 1e-12 };
    let (x, lengths) = rows_to_norm(width, inputs);
    Case::new(name, dtype, kernel, vec![x], width, lengths)
}

/// Rows of a view, of which the special batch's first is nothing but zeros.
fn rows_to_norm(width: usize, inputs: Inputs) -> (Operand, Vec<usize>) {
    let matrix = Matrix { column: 4, stride: 3 * width as u64 + 4 };
    let lengths = lengths(inputs, 67);
    let mut x = numbers(lengths.iter().sum::<usize>() * width, 1, 1.0);
    if inputs == Special {
        inputs::shift_rows(&mut x, width);
        x[..width].fill(0.0);
    }
    (Operand::Rows(x, width, matrix), lengths)
}

fn embed(inputs: Inputs) -> Case {
    let (width, words) = (200, 11);
    let sources = vec![IdSource::Input, IdSource::Position { start: 2 }];
    let kernel = Kernel::Embed { sources, width: width as u32, eps: Some(1e-5) };
    let lengths = lengths(inputs, 67);
    let ids = (0..lengths.iter().sum::<usize>()).map(|row| (row * 7 % words) as i32).collect();
    let places = 2 + lengths.iter().max().copied().unwrap_or(0);
    let operands = vec![
        weight(words * width, 1),
        Operand::Ids(ids),
        weight(places * width, 2),
        weight(width, 3),
        weight(width, 4),
    ];
    Case::new("embed f16", Float::F16, kernel, operands, width, lengths)
}

fn softmax(name: &'static str, dtype: Float, width: usize, inputs: Inputs) -> Case {
    let kernel = Kernel::Softmax { width: width as u32 };
    let lengths = lengths(inputs, if dtype == Float::F32 { 67 } else { 603 });
    let rows: usize = lengths.iter().sum();
    let x = match inputs {
        Usual => numbers(rows * width, 1, 1.0),
        Special => inputs::for_softmax(rows, width),
    };
    let x = Operand::Rows(x, width, Matrix::dense(width as u32));
    Case::new(name, dtype, kernel, vec![x], width, lengths)
}

fn pool(name: &'static str, pooling: PoolKind, normalize: Option<f32>, inputs: Inputs) -> Case {
    let width = 600;
    let kernel = Kernel::Pool { pooling, width: width as u32, normalize };
    // One sample is long enough for every part of an unrolled loop.
    let (lengths, x) = match inputs {
        Usual => (vec![5, 1, 2, 300, 13], numbers(321 * width, 1, 1.0)),
        Special => (vec![4, 65, 0, 3, 67], inputs::for_pool(139, width)),
    };
    let operands = vec![Operand::Rows(x, width, Matrix::dense(width as u32))];
    let given = vec![1; lengths.len()];
    Case { given, ..Case::new(name, Float::F16, kernel, operands, width, lengths) }
}

fn pointwise(inputs: Inputs) -> Case {
    let width = 40;
    let operands = [Broadcast::Full, Broadcast::Row, Broadcast::Scalar, Broadcast::Sample];
    let body = vec![
        Instr::Operand(0),
        Instr::Operand(1),
        Instr::Binary(BinaryFn::Add, 0, 1),
        Instr::Operand(2),
        Instr::Binary(BinaryFn::Mul, 2, 3),
        Instr::Operand(3),
        Instr::Binary(BinaryFn::Sub, 4, 5),
        Instr::Unary(UnaryFn::Sigmoid, 6),
    ];
    let kernel = Kernel::Pointwise { width: width as u32, operands: operands.to_vec(), body };
    let matrix = Matrix { column: 2 * width as u64, stride: 3 * width as u64 };
    let lengths = lengths(inputs, 2999);
    let mut x = numbers(lengths.iter().sum::<usize>() * width, 1, 1.0);
    if inputs == Special {
        inputs::spread(&mut x);
    }
    let operands = vec![
        Operand::Rows(x, width, matrix),
        weight(width, 2),
        weight(1, 3),
        Operand::Samples(numbers(lengths.len() * width, 4, 1.0), width),
    ];
    Case::new("pointwise f16", Float::F16, kernel, operands, width, lengths)
}

/// Every kernel that mutants are made of, with its usual batch and its special one.
pub(crate) fn all() -> Vec<[Case; 2]> {
    let (f16, f32) = (Float::F16, Float::F32);
    let of = |inputs| {
        [
            linear("linear f16", f16, 136, 136, inputs),
            linear("linear f16, odd", f16, 30, 21, inputs),
            linear("linear f32", f32, 72, 76, inputs),
            attention("attention f16", f16, 24, inputs),
            attention("attention f16, odd", f16, 5, inputs),
            attention("attention f32", f32, 16, inputs),
            norm("layer_norm f16", f16, 200, inputs),
            norm("layer_norm f32, wide", f32, 1100, inputs),
            rms_norm("rms_norm f16", f16, 200, inputs),
            rms_norm("rms_norm f32, wide", f32, 1100, inputs),
            l2_normalize("l2_normalize f16, wide", f16, 1100, inputs),
            embed(inputs),
            softmax("softmax f16", f16, 200, inputs),
            softmax("softmax f32, wide", f32, 1100, inputs),
            pool("pool mean f16", PoolKind::Mean, Some(1e-12), inputs),
            pool("pool max f16", PoolKind::Max, None, inputs),
            pointwise(inputs),
            moves::rotary("rotary f16", f16, (3, 24), (Pairs::Half, 16), inputs),
            moves::rotary("rotary f32, neighbours", f32, (2, 10), (Pairs::Interleaved, 10), inputs),
            moves::permute_rows(inputs),
            moves::permute_samples(inputs),
            moves::concat(inputs),
            moves::join(inputs),
            moves::unfold(inputs),
            // More rounds through the ring than an mbarrier takes arrivals, so that a count that is one too low is a
            // round ahead; the last step is there in part.
            Case { arch: Arch::SM_90A, ..linear("linear f16, wgmma", f16, 72, 2312, inputs) },
            // So short that the function takes longer than the products: warpgroups take turns.
            Case {
                arch: Arch::SM_90A,
                ..linear("linear f16, wgmma by turns", f16, 136, 264, inputs)
            },
            attention_wgmma("attention f16, wgmma", 48, (64, 512), inputs),
            // Of samples so long that two warpgroups share tiles of 128 keys, and ask for products by turns.
            attention_wgmma("attention f16, wgmma by turns", 64, (128, 8192), inputs),
            by_distance("attention f16, wgmma, by distance", f16, 16, inputs),
            linear_norm("linear and norm f16, wgmma", f16, 312, 72, inputs),
            feed_forward("two linears and norm f16, wgmma", f16, inputs),
        ]
    };
    of(Usual).into_iter().zip(of(Special)).map(|(usual, special)| [usual, special]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The case that is there for the turns of warpgroups takes them.
    #[test]
    fn warpgroups_of_attention_take_turns() {
        let case = attention_wgmma("attention", 64, (128, 8192), Usual);
        let text = case.source().expect("it renders").text;
        for line in ["kBeside = true;", "kGroups = 2;", "kTileKeys = 128;"] {
            assert!(text.contains(line), "{line}");
        }
    }
}
