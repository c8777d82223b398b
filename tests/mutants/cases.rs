//! The kernels that mutants are made of, each with a ragged batch for it.

use bytec_compiler::render::{Float, Matrix, Renderer, Site, Source};
use bytec_models::tiny::SplitMix64;
use bytec_plan::kernel::{BinaryFn, Broadcast, IdSource, Instr, Kernel, PoolKind, UnaryFn};

/// An operand of a kernel, for a batch.
#[derive(Clone)]
pub(crate) enum Operand {
    /// One row of so many columns for each packed row; the matrix says where they lie in a buffer.
    Rows(Vec<f64>, usize, Matrix),
    /// One dense row of so many columns for each sample.
    Samples(Vec<f64>, usize),
    /// A weight.
    Weight(Vec<f64>),
    /// One id for each packed row.
    Ids(Vec<i32>),
}

/// A kernel and a batch for it.
#[derive(Clone)]
pub(crate) struct Case {
    /// What the table calls it.
    pub(crate) name: &'static str,
    kernel: Kernel,
    /// The element type.
    pub(crate) dtype: Float,
    /// What the kernel is given.
    pub(crate) operands: Vec<Operand>,
    /// Columns of the output.
    pub(crate) width: usize,
    /// Whether the output has one row a sample, and not one for each packed row.
    pub(crate) pooled: bool,
    /// Rows of the samples.
    pub(crate) lengths: Vec<usize>,
}

impl Case {
    /// The kernel as CUDA.
    pub(crate) fn source(&self) -> anyhow::Result<Source> {
        let operands: Vec<_> = self
            .operands
            .iter()
            .enumerate()
            .map(|(nth, operand)| match (operand, &self.kernel) {
                (Operand::Rows(_, _, matrix), _) => *matrix,
                (_, Kernel::Linear { k, .. }) if nth == 1 => Matrix::dense(*k),
                _ => Matrix::dense(self.width as u32),
            })
            .collect();
        let output = Matrix::dense(self.width as u32);
        let site = Site { kernel: &self.kernel, dtype: self.dtype, operands: &operands, output };
        let mut renderer = Renderer::new()?;
        renderer.render(&site)?;
        Ok(renderer.into_sources().remove(0))
    }

    /// The packed rows of a sample.
    pub(crate) fn rows(&self, sample: usize) -> std::ops::Range<usize> {
        let first: usize = self.lengths[..sample].iter().sum();
        first..first + self.lengths[sample]
    }

    /// The output's rows of a sample.
    pub(crate) fn output(&self, sample: usize) -> std::ops::Range<usize> {
        if self.pooled { sample..sample + 1 } else { self.rows(sample) }
    }

    /// One sample as a batch of its own.
    pub(crate) fn alone(&self, sample: usize) -> Self {
        let rows = self.rows(sample);
        let mut case = self.clone();
        case.lengths = vec![rows.len()];
        for operand in &mut case.operands {
            match operand {
                Operand::Rows(data, width, _) => {
                    *data = data[rows.start * *width..rows.end * *width].to_vec();
                }
                Operand::Samples(data, width) => {
                    *data = data[sample * *width..(sample + 1) * *width].to_vec();
                }
                Operand::Ids(ids) => *ids = ids[rows.clone()].to_vec(),
                Operand::Weight(_) => {}
            }
        }
        case
    }

    /// The batch with every number of one sample NaN.
    pub(crate) fn beside_nan(&self, sample: usize) -> Self {
        let rows = self.rows(sample);
        let mut case = self.clone();
        for operand in &mut case.operands {
            match operand {
                Operand::Rows(data, width, _) => {
                    data[rows.start * *width..rows.end * *width].fill(f64::NAN);
                }
                Operand::Samples(data, width) => {
                    data[sample * *width..(sample + 1) * *width].fill(f64::NAN);
                }
                Operand::Ids(_) | Operand::Weight(_) => {}
            }
        }
        case
    }
}

fn numbers(count: usize, seed: u64, scale: f64) -> Vec<f64> {
    let mut random = SplitMix64(seed);
    (0..count).map(|_| scale * f64::from(random.normal())).collect()
}

fn dense(rows: usize, width: usize, seed: u64) -> Operand {
    Operand::Rows(numbers(rows * width, seed, 1.0), width, Matrix::dense(width as u32))
}

fn weight(count: usize, seed: u64) -> Operand {
    Operand::Weight(numbers(count, seed, 1.0))
}

fn linear(name: &'static str, dtype: Float, n: u32, k: u32) -> Case {
    let lengths = vec![33, 1, 39];
    let (columns, outs) = (k as usize, n as usize);
    let kernel = Kernel::Linear { n, k, bias: true, epilogue: vec![UnaryFn::GeluErf] };
    let matrix = Matrix { column: u64::from(k), stride: 3 * u64::from(k) };
    let x = numbers(lengths.iter().sum::<usize>() * columns, 1, 1.0);
    let weights = numbers(outs * columns, 2, f64::from(k).sqrt().recip());
    let operands =
        vec![Operand::Rows(x, columns, matrix), Operand::Weight(weights), weight(outs, 3)];
    Case { name, kernel, dtype, operands, width: outs, pooled: false, lengths }
}

fn attention(name: &'static str, dtype: Float, head_size: u32) -> Case {
    let lengths = vec![17, 70, 5];
    let width = 2 * head_size as usize;
    let kernel = Kernel::attention(2, head_size, f64::from(head_size).sqrt().recip() as f32);
    let packed: usize = lengths.iter().sum();
    let operands = (0..3).map(|n| {
        let matrix = Matrix { column: n * width as u64, stride: 3 * width as u64 };
        Operand::Rows(numbers(packed * width, n, 1.0), width, matrix)
    });
    Case { name, kernel, dtype, operands: operands.collect(), width, pooled: false, lengths }
}

/// Every kernel that mutants are made of.
pub(crate) fn all() -> Vec<Case> {
    let lengths = vec![5, 1, 0, 13, 33];
    let rows: usize = lengths.iter().sum();
    let (f16, f32) = (Float::F16, Float::F32);
    let row = |name, kernel, dtype, operands, width| {
        let lengths = lengths.clone();
        Case { name, kernel, dtype, operands, width, pooled: false, lengths }
    };
    let norm = |name, dtype, width: usize| {
        let kernel = Kernel::LayerNorm { width: width as u32, eps: 1e-5, residual: true };
        let matrix = Matrix { column: 4, stride: 3 * width as u64 + 4 };
        let x = Operand::Rows(numbers(rows * width, 1, 1.0), width, matrix);
        let operands = vec![x, dense(rows, width, 2), weight(width, 3), weight(width, 4)];
        row(name, kernel, dtype, operands, width)
    };
    let embed = || {
        let (width, words) = (200, 11);
        let sources = vec![IdSource::Input, IdSource::Position { start: 2 }];
        let kernel = Kernel::Embed { sources, width: width as u32, eps: Some(1e-5) };
        let ids = (0..rows).map(|row| (row * 7 % words) as i32).collect();
        let places = 2 + lengths.iter().max().copied().unwrap_or(0);
        let operands = vec![
            weight(words * width, 1),
            Operand::Ids(ids),
            weight(places * width, 2),
            weight(width, 3),
            weight(width, 4),
        ];
        row("embed f16", kernel, f16, operands, width)
    };
    let softmax = |name, dtype, width: usize| {
        let kernel = Kernel::Softmax { width: width as u32 };
        // Every other row has numbers so large that without the right maximum they overflow.
        let mut x = numbers(rows * width, 1, 1.0);
        x.chunks_exact_mut(2 * width)
            .for_each(|two| two[..width].iter_mut().for_each(|x| *x *= 90.0));
        let x = Operand::Rows(x, width, Matrix::dense(width as u32));
        row(name, kernel, dtype, vec![x], width)
    };
    let pool = |name, pooling, normalize| {
        let width = 600;
        let kernel = Kernel::Pool { pooling, width: width as u32, normalize };
        // One sample is long enough for every part of an unrolled loop.
        let lengths = vec![5, 1, 2, 300, 13];
        let operands = vec![dense(lengths.iter().sum(), width, 1)];
        let case = row(name, kernel, f16, operands, width);
        Case { pooled: true, lengths, ..case }
    };
    let pointwise = || {
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
        let samples = numbers(lengths.len() * width, 4, 1.0);
        let operands = vec![
            Operand::Rows(numbers(rows * width, 1, 1.0), width, matrix),
            weight(width, 2),
            weight(1, 3),
            Operand::Samples(samples, width),
        ];
        row("pointwise f16", kernel, f16, operands, width)
    };
    vec![
        linear("linear f16", f16, 136, 136),
        linear("linear f16, odd", f16, 30, 21),
        linear("linear f32", f32, 72, 40),
        attention("attention f16", f16, 24),
        attention("attention f16, odd", f16, 5),
        attention("attention f32", f32, 16),
        norm("layer_norm f16", f16, 200),
        norm("layer_norm f32, wide", f32, 1100),
        embed(),
        softmax("softmax f16", f16, 200),
        softmax("softmax f32, wide", f32, 1100),
        pool("pool mean f16", PoolKind::Mean, Some(1e-12)),
        pool("pool max f16", PoolKind::Max, None),
        pointwise(),
    ]
}
