//! The kernel that has a linear, the residual and the LayerNorm in one, on clusters that share rows.

use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Site, Source};
use bytec_models::tiny::SplitMix64;
use bytec_plan::device::Count;
use bytec_plan::kernel::Kernel;

use super::device::{Device, Operand};
use super::numbers::{bound, decode, encode, normal, round, worst};

const EPS: f32 = 1e-5;

/// A layer with numbers for it.
struct Layer {
    n: usize,
    k: usize,
    dtype: Float,
    /// How x lies.
    x: Matrix,
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    source: Source,
}

impl Layer {
    fn new(n: u32, k: u32, dtype: Float, x: Matrix, bias: bool, random: &mut SplitMix64) -> Self {
        let kernel = Kernel::LinearLayerNorm { n, k, bias, eps: EPS, up: None };
        let mut operands = vec![x, Matrix::dense(k)];
        operands.extend(bias.then_some(Matrix::dense(n)));
        operands.extend([Matrix::dense(n); 3]);
        let site = Site { kernel: &kernel, dtype, operands: &operands, output: Matrix::dense(n) };
        let source = super::render_for(Arch::SM_90A, &site);
        let shrink = f64::from(k).sqrt().recip();
        let weight = normal(dtype, random, (n * k) as usize);
        let weight = weight.into_iter().map(|w| round(dtype, w * shrink)).collect();
        let (n, k) = (n as usize, k as usize);
        let [bias_numbers, gamma, beta] = [0; 3].map(|_| normal(dtype, random, n));
        let bias = bias.then_some(bias_numbers);
        Self { n, k, dtype, x, weight, bias, gamma, beta, source }
    }

    /// Rows of x, NaN outside the columns that the layer reads, and of the residual.
    fn rows(&self, rows: u32, random: &mut SplitMix64) -> [Vec<f64>; 2] {
        let stride = self.x.stride as usize;
        let mut x = vec![f64::NAN; rows as usize * stride];
        for row in x.chunks_exact_mut(stride) {
            let numbers = normal(self.dtype, random, self.k);
            row[self.x.column as usize..][..self.k].copy_from_slice(&numbers);
        }
        [x, normal(self.dtype, random, rows as usize * self.n)]
    }

    fn run(&self, device: &Device, [x, residual]: &[Vec<f64>; 2], rows: u32) -> Vec<u8> {
        let mut buffers = vec![x, &self.weight];
        buffers.extend(&self.bias);
        buffers.extend([residual, &self.gamma, &self.beta]);
        let buffers: Vec<_> =
            buffers.into_iter().map(|numbers| encode(self.dtype, numbers)).collect();
        let first = self.x.column * u64::from(self.dtype.bytes());
        let operands: Vec<_> = (0..buffers.len())
            .map(|n| Operand { buffer: n, offset: if n == 0 { first } else { 0 } })
            .collect();
        let bytes = rows as usize * self.row_bytes();
        device.run(&self.source, &buffers, &operands, [&[rows], &[rows]], bytes)
    }

    fn row_bytes(&self) -> usize {
        self.n * self.dtype.bytes() as usize
    }

    /// In f64, with `round` after each op.
    fn reference(&self, [x, residual]: &[Vec<f64>; 2], round: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut out = Vec::new();
        let rows = x.chunks_exact(self.x.stride as usize).zip(residual.chunks_exact(self.n));
        for (x, residual) in rows {
            let x = &x[self.x.column as usize..][..self.k];
            let products = self.weight.chunks_exact(self.k);
            let v: Vec<f64> = products
                .enumerate()
                .map(|(n, weight)| {
                    let product = round(x.iter().zip(weight).map(|(x, w)| x * w).sum());
                    let linear =
                        self.bias.as_ref().map_or(product, |bias| round(product + bias[n]));
                    round(linear + residual[n])
                })
                .collect();
            let mean = v.iter().sum::<f64>() / self.n as f64;
            let variance = v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / self.n as f64;
            let scale = (variance + f64::from(EPS)).sqrt().recip();
            let affine = self.gamma.iter().zip(&self.beta);
            out.extend(v.iter().zip(affine).map(|(v, (g, b))| round((v - mean) * scale * g + b)));
        }
        out
    }
}

/// Rows in one batch: near f64; and the last as alone, and beside NaN in x and in the residual.
#[expect(clippy::print_stdout, reason = "the observed maximum is part of the evidence")]
fn check(device: &Device, layer: &Layer, rows: u32, random: &mut SplitMix64) {
    let numbers = layer.rows(rows, random);
    let bytes = layer.run(device, &numbers, rows);
    let exact = layer.reference(&numbers, |y| y);
    let rounded = layer.reference(&numbers, |y| round(layer.dtype, y));
    let (worst, bound) =
        (worst(&decode(layer.dtype, &bytes), &exact), bound(layer.dtype, &exact, &rounded));
    let symbol = &layer.source.symbol;
    println!("{symbol} {rows} rows: {worst:.2e} of {bound:.2e}");
    assert!(worst <= bound, "{symbol} {rows} rows: {worst:e}, expected at most {bound:e}");
    let last = rows as usize - 1;
    let expected = &bytes[last * layer.row_bytes()..];
    let [x, residual] = numbers;
    let (x_begin, begin) = (last * layer.x.stride as usize, last * layer.n);
    let alone = [x[x_begin..].to_vec(), residual[begin..].to_vec()];
    let alone = layer.run(device, &alone, 1);
    assert_eq!(alone, expected, "{symbol}: a row alone has other bits than among {rows}");
    let mut poisoned = [x, residual];
    poisoned[0][..x_begin].fill(f64::NAN);
    poisoned[1][..begin].fill(f64::NAN);
    let beside = layer.run(device, &poisoned, rows);
    assert_eq!(&beside[last * layer.row_bytes()..], expected, "{symbol}: NaN rows change a row");
}

/// Hidden sizes of models, odd ones among them, and wherever rows may end. A cluster makes several tiles.
#[test]
fn hidden_sizes() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(9);
    let (dense, part) = (Matrix::dense, Matrix { column: 312, stride: 936 });
    let mut clusters = Vec::new();
    for (n, k, dtype, x, bias, rows) in [
        (64, 64, Float::F16, dense(64), true, &[1, 7, 63, 64, 65, 127, 128, 129, 1000][..]),
        (64, 72, Float::Bf16, dense(72), false, &[129]),
        (128, 64, Float::Bf16, dense(64), true, &[7, 129, 641]),
        (128, 512, Float::F16, dense(512), true, &[127, 641]),
        (256, 128, Float::F16, dense(128), true, &[65]),
        (312, 312, Float::F16, part, true, &[7, 129, 650]),
        (312, 1200, Float::Bf16, dense(1200), false, &[65]),
        (384, 64, Float::F16, dense(64), true, &[64, 129, 1000]),
        (384, 1536, Float::Bf16, dense(1536), true, &[1]),
        (768, 768, Float::F16, dense(768), true, &[129]),
        (768, 64, Float::Bf16, dense(64), true, &[127, 640]),
        (1024, 128, Float::F16, dense(128), true, &[128]),
        (1000, 64, Float::F16, dense(64), true, &[129]),
    ] {
        let layer = Layer::new(n, k, dtype, x, bias, &mut random);
        clusters.push(layer.source.launch.grid[0]);
        for rows in rows {
            check(device, &layer, *rows, &mut random);
        }
    }
    clusters.dedup();
    let expected = [1, 2, 4].map(Count::Fixed);
    assert!(expected.iter().all(|blocks| clusters.contains(blocks)), "{clusters:?}");
}
