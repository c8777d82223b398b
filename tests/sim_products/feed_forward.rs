//! Two linears, a function between them and the LayerNorm behind, in one launch: the bits of the launches apart, which
//! have tests of their own, of the result and of what is between.

use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Renderer, Site, Source};
use bytec_models::tiny::SplitMix64;
use bytec_plan::device::Count;
use bytec_plan::kernel::{Kernel, UnaryFn, Up};

use super::device::{Device, Operand};
use super::numbers::{encode, normal, round};

/// Both linears with numbers for them.
struct Layers {
    n: usize,
    hidden: usize,
    dtype: Float,
    bias: bool,
    /// The weight and the bias of the first, and of the second with gamma and beta.
    up: [Vec<f64>; 2],
    down: [Vec<f64>; 4],
    first: Source,
    second: Source,
    both: Source,
}

impl Layers {
    fn new(n: u32, hidden: u32, dtype: Float, bias: bool, random: &mut SplitMix64) -> Self {
        let epilogue = vec![UnaryFn::GeluErf];
        let linear = Kernel::Linear { n: hidden, k: n, bias, epilogue: epilogue.clone() };
        let up = Some(Up { k: n, bias, epilogue });
        let norm = Kernel::LinearLayerNorm { n, k: hidden, bias, eps: 1e-5, up };
        let (wide, narrow) = (Matrix::dense(hidden), Matrix::dense(n));
        let mut own = vec![narrow; 2];
        own.extend(bias.then_some(wide));
        let mut operands = vec![wide; 2];
        operands.extend(bias.then_some(narrow));
        operands.extend([narrow; 3]);
        let site = Site { kernel: &linear, dtype, operands: &own, output: wide };
        let first = super::render_for(Arch::SM_90A, &site);
        operands.extend(&own);
        let site = Site { kernel: &norm, dtype, operands: &operands, output: narrow };
        let second = super::render_for(Arch::SM_90A, &site);
        let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
        renderer.render_with_up(&site).unwrap().unwrap();
        let both = renderer.into_sources().remove(0);
        let mut weight = |n: u32, k: u32| -> Vec<f64> {
            let shrink = f64::from(k).sqrt().recip();
            let numbers = normal(dtype, random, (n * k) as usize);
            numbers.into_iter().map(|w| round(dtype, w * shrink)).collect()
        };
        let (wide, narrow) = (weight(hidden, n), weight(n, hidden));
        let (n, hidden) = (n as usize, hidden as usize);
        let up = [wide, normal(dtype, random, hidden)];
        let [b, gamma, beta] = [0; 3].map(|_| normal(dtype, random, n));
        let down = [narrow, b, gamma, beta];
        Self { n, hidden, dtype, bias, up, down, first, second, both }
    }

    /// The buffers of the one launch and the bytes between and of the result: what is between, the second linear's
    /// operands, and the first one's, of which there are so many.
    fn buffers(&self, x: &[f64], residual: &[f64]) -> (Vec<Vec<u8>>, usize, [usize; 2]) {
        let coded = |numbers: &[f64]| encode(self.dtype, numbers);
        let [weight, bias] = self.up.each_ref().map(|numbers| coded(numbers));
        let mut own = vec![coded(x), weight];
        own.extend(self.bias.then_some(bias));
        let bytes = [self.hidden, self.n];
        let bytes = bytes.map(|width| x.len() / self.n * width * self.dtype.bytes() as usize);
        let [weight, bias, gamma, beta] = self.down.each_ref().map(|numbers| coded(numbers));
        // NaN, where something is read before it is written.
        let mut buffers = vec![vec![0xff; bytes[0]], weight];
        buffers.extend(self.bias.then_some(bias));
        buffers.extend([coded(residual), gamma, beta]);
        let first = buffers.len();
        buffers.extend(own);
        (buffers, first, bytes)
    }

    /// What is between and the result, of two launches.
    fn apart(&self, device: &Device, x: &[f64], residual: &[f64]) -> [Vec<u8>; 2] {
        let rows = [(x.len() / self.n) as u32];
        let (mut buffers, first, bytes) = self.buffers(x, residual);
        let own = buffers.split_off(first);
        let rows = [&rows[..]; 2];
        buffers[0] = device.run(&self.first, &own, &all(&own), rows, bytes[0]);
        let out = device.run(&self.second, &buffers, &all(&buffers), rows, bytes[1]);
        [buffers.swap_remove(0), out]
    }

    /// The same of one.
    fn together(&self, device: &Device, x: &[f64], residual: &[f64]) -> [Vec<u8>; 2] {
        let rows = [(x.len() / self.n) as u32];
        let (buffers, _, bytes) = self.buffers(x, residual);
        let rows = [&rows[..]; 2];
        let (out, mut held) =
            device.run_in_place(&self.both, &buffers, &all(&buffers), rows, bytes[1]);
        [held.swap_remove(0), out]
    }
}

fn all(buffers: &[Vec<u8>]) -> Vec<Operand> {
    (0..buffers.len()).map(|buffer| Operand { buffer, offset: 0 }).collect()
}

/// Rows in one batch have the bits of the launches apart; the last also alone, and beside NaN.
fn check(device: &Device, layers: &Layers, rows: usize, random: &mut SplitMix64) {
    let symbol = &layers.both.symbol;
    let numbers = |random: &mut SplitMix64| normal(layers.dtype, random, rows * layers.n);
    let (mut x, mut residual) = (numbers(random), numbers(random));
    let apart = layers.apart(device, &x, &residual);
    let together = layers.together(device, &x, &residual);
    assert!(apart[0] == together[0], "{symbol} {rows} rows: other bits between the linears");
    assert!(apart[1] == together[1], "{symbol} {rows} rows: other bits than in two launches");
    let last = (rows - 1) * layers.n;
    let of_last = |bytes: &[u8]| bytes[last * layers.dtype.bytes() as usize..].to_vec();
    let expected = of_last(&together[1]);
    let [_, alone] = layers.together(device, &x[last..], &residual[last..]);
    assert!(alone == expected, "{symbol}: a row alone has other bits than among {rows}");
    x[..last].fill(f64::NAN);
    residual[..last].fill(f64::NAN);
    let [_, beside] = layers.together(device, &x, &residual);
    assert!(of_last(&beside) == expected, "{symbol}: NaN rows change a row");
}

/// One round of tiles, several, and an odd number; tiles past the last column; a cluster that makes several tiles of
/// rows, and rows that end anywhere.
#[test]
fn one_launch_has_the_bits_of_two() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(17);
    let mut clusters = Vec::new();
    for (n, hidden, dtype, bias, rows) in [
        (64, 64, Float::F16, true, &[1, 65, 513][..]),
        (64, 192, Float::Bf16, false, &[257]),
        (128, 512, Float::F16, true, &[129]),
        (256, 200, Float::Bf16, true, &[257]),
        (384, 384, Float::F16, true, &[63]),
    ] {
        let layers = Layers::new(n, hidden, dtype, bias, &mut random);
        clusters.push(layers.both.launch.grid[0]);
        for rows in rows {
            check(device, &layers, *rows, &mut random);
        }
    }
    let expected = [1, 2, 4].map(Count::Fixed);
    assert!(expected.iter().all(|blocks| clusters.contains(blocks)), "{clusters:?}");
}
