//! Linear layers: any n and k, views, and rows that end anywhere.

use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Site, Source};
use bytec_models::tiny::SplitMix64;
use bytec_plan::kernel::{Kernel, UnaryFn};

use super::device::{Device, Operand};
use super::numbers::{bound, decode, encode, normal, round, worst};

/// A layer with numbers for it.
struct Layer {
    n: u32,
    k: u32,
    dtype: Float,
    gelu: bool,
    /// How x lies.
    x: Matrix,
    weight: Vec<f64>,
    bias: Vec<f64>,
    source: Source,
}

impl Layer {
    fn new(n: u32, k: u32, dtype: Float, gelu: bool, x: Matrix, random: &mut SplitMix64) -> Self {
        Self::for_arch(Arch::SM_80, (n, k), dtype, gelu, x, random)
    }

    fn for_arch(
        arch: Arch,
        (n, k): (u32, u32),
        dtype: Float,
        gelu: bool,
        x: Matrix,
        random: &mut SplitMix64,
    ) -> Self {
        let epilogue = if gelu { vec![UnaryFn::GeluErf] } else { Vec::new() };
        let kernel = Kernel::Linear { n, k, bias: true, epilogue };
        let operands = [x, Matrix::dense(k), Matrix::dense(n)];
        let site = Site { kernel: &kernel, dtype, operands: &operands, output: Matrix::dense(n) };
        let shrink = f64::from(k).sqrt().recip();
        let weight = normal(dtype, random, (n * k) as usize)
            .into_iter()
            .map(|w| round(dtype, w * shrink))
            .collect();
        let bias = normal(dtype, random, n as usize);
        Self { n, k, dtype, gelu, x, weight, bias, source: super::render_for(arch, &site) }
    }

    /// The columns of row `row` that the layer reads.
    fn row<'x>(&self, x: &'x [f64], row: u32) -> &'x [f64] {
        let first = u64::from(row) * self.x.stride + self.x.column;
        &x[first as usize..][..self.k as usize]
    }

    /// Rows of x, NaN outside the columns that the layer reads.
    fn rows(&self, rows: u32, random: &mut SplitMix64) -> Vec<f64> {
        let mut x = vec![f64::NAN; rows as usize * self.x.stride as usize];
        for row in x.chunks_exact_mut(self.x.stride as usize) {
            let numbers = normal(self.dtype, random, self.k as usize);
            row[self.x.column as usize..][..self.k as usize].copy_from_slice(&numbers);
        }
        x
    }

    fn run(&self, device: &Device, x: &[f64], rows: u32) -> Vec<u8> {
        self.run_counted(device, x, rows).0
    }

    /// As [`run`](Self::run), and the bytes that were asked for: of x, the weight, the bias, and the output.
    fn run_counted(&self, device: &Device, x: &[f64], rows: u32) -> (Vec<u8>, Vec<u64>) {
        let (out, asked, _) = self.run_profiled(device, x, rows);
        (out, asked)
    }

    /// As [`run_counted`](Self::run_counted), and the operations of the tensor cores.
    fn run_profiled(&self, device: &Device, x: &[f64], rows: u32) -> (Vec<u8>, Vec<u64>, u64) {
        let buffers = [x, &self.weight, &self.bias].map(|numbers| encode(self.dtype, numbers));
        let bytes = rows as usize * self.n as usize * self.dtype.bytes() as usize;
        let offsets = [self.x.column * u64::from(self.dtype.bytes()), 0, 0];
        let operands = [0, 1, 2].map(|n| Operand { buffer: n, offset: offsets[n] });
        device.run_profiled(&self.source, &buffers, &operands, [&[rows], &[rows]], bytes)
    }

    /// A constant of its text.
    fn constant(&self, name: &str) -> u32 {
        let begin = format!("constexpr int {name} = ");
        let value = self.source.text.lines().find_map(|line| line.strip_prefix(&begin));
        value.unwrap().strip_suffix(';').unwrap().parse().unwrap()
    }

    /// In f64, with `round` after each op.
    fn reference(&self, x: &[f64], rows: u32, round: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut out = Vec::new();
        for row in 0..rows {
            let x = self.row(x, row);
            for (weight, bias) in self.weight.chunks_exact(self.k as usize).zip(&self.bias) {
                let product = round(x.iter().zip(weight).map(|(x, w)| x * w).sum());
                let y = round(product + bias);
                out.push(if self.gelu { round(gelu(y)) } else { y });
            }
        }
        out
    }
}

fn gelu(x: f64) -> f64 {
    bytec_ir::eval::unary(bytec_ir::UnaryFn::GeluErf, x)
}

/// Rows in one batch: near f64, and the last as alone and as beside NaN.
#[expect(clippy::print_stdout, reason = "the observed maximum is part of the evidence")]
fn check(device: &Device, layer: &Layer, rows: u32, random: &mut SplitMix64) {
    let x = layer.rows(rows, random);
    let bytes = layer.run(device, &x, rows);
    let exact = layer.reference(&x, rows, |y| y);
    let rounded = layer.reference(&x, rows, |y| round(layer.dtype, y));
    let (worst, bound) =
        (worst(&decode(layer.dtype, &bytes), &exact), bound(layer.dtype, &exact, &rounded));
    let symbol = &layer.source.symbol;
    println!("{symbol} {rows} rows: {worst:.2e} of {bound:.2e}");
    assert!(worst <= bound, "{symbol} {rows} rows: {worst:e}, expected at most {bound:e}");
    // The last row alone, and beside NaN.
    let last = rows - 1;
    let stride = layer.x.stride as usize;
    let row_bytes = layer.n as usize * layer.dtype.bytes() as usize;
    let expected = &bytes[last as usize * row_bytes..];
    let alone = layer.run(device, &x[last as usize * stride..], 1);
    assert_eq!(alone, expected, "{symbol}: a row alone has other bits than among {rows}");
    let mut poisoned = x;
    poisoned[..last as usize * stride].fill(f64::NAN);
    let beside = layer.run(device, &poisoned, rows);
    assert_eq!(&beside[last as usize * row_bytes..], expected, "{symbol}: NaN rows change a row");
}

fn check_sizes(dtype: Float, sizes: &[(u32, u32)]) {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(1);
    for &(n, k) in sizes {
        let layer = Layer::new(n, k, dtype, true, Matrix::dense(k), &mut random);
        for rows in [1, 15, 17, 65] {
            check(device, &layer, rows, &mut random);
        }
    }
}

/// Any n and k; those of a whole tile, of several, and of less than one.
const SIZES: [(u32, u32); 12] = [
    (1, 1),
    (2, 5),
    (5, 9),
    (9, 2),
    (20, 12),
    (48, 48),
    (48, 112),
    (112, 48),
    (120, 48),
    (130, 40),
    (144, 144),
    (300, 100),
];

#[test]
fn any_size_in_f32() {
    check_sizes(Float::F32, &SIZES);
}

#[test]
fn any_size_in_f16() {
    check_sizes(Float::F16, &SIZES);
}

#[test]
fn any_size_in_bf16() {
    check_sizes(Float::Bf16, &SIZES);
}

#[test]
fn any_number_of_rows() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(2);
    for dtype in [Float::F32, Float::F16] {
        let layer = Layer::new(40, 24, dtype, false, Matrix::dense(24), &mut random);
        for rows in super::LENGTHS {
            check(device, &layer, rows, &mut random);
        }
    }
}

/// Layers whose tiles have more rows and columns than those of narrow ones.
#[test]
fn wide_layers() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(3);
    for dtype in [Float::F32, Float::F16, Float::Bf16] {
        let layer = Layer::new(776, 72, dtype, true, Matrix::dense(72), &mut random);
        for rows in [1, 129] {
            check(device, &layer, rows, &mut random);
        }
    }
}

#[test]
fn columns_of_a_wider_buffer() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(4);
    for dtype in [Float::F32, Float::F16, Float::Bf16] {
        for (k, column, stride) in [(48, 48, 144), (12, 12, 36), (5, 3, 9), (6, 2, 10)] {
            let layer = Layer::new(48, k, dtype, false, Matrix { column, stride }, &mut random);
            check(device, &layer, 33, &mut random);
        }
    }
}

/// With few rows a layer is bound by memory: it moves the weight once, and at most 5 % more than it must. x is asked for
/// by each tile of columns and comes from the caches after the first. A row of the output that begins within a sector,
/// as every other one of 776 two-byte numbers does, has sectors that two tiles share, and each writes its part.
#[test]
fn few_rows_move_the_weight_once() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(6);
    for dtype in [Float::F32, Float::F16, Float::Bf16] {
        for n in [384, 776] {
            let layer = Layer::new(n, 384, dtype, false, Matrix::dense(384), &mut random);
            let x = layer.rows(33, &mut random);
            let (_, asked) = layer.run_counted(device, &x, 33);
            let [_, weight, _, out] = asked[..] else { panic!("three operands and the output") };
            let bytes = |numbers: usize| (numbers * dtype.bytes() as usize) as u64;
            let kept = bytes(x.len() + layer.bias.len());
            let least = kept + bytes(layer.weight.len() + 33 * n as usize);
            let moved = kept + weight + out;
            let symbol = &layer.source.symbol;
            assert_eq!(weight, bytes(layer.weight.len()), "{symbol}: the weight is read once");
            assert!(moved * 100 <= least * 105, "{symbol}: {moved} bytes, {least} are needed");
        }
    }
}

/// The kernel for Hopper, at hidden sizes of models, odd ones among them, and wherever rows may end; with warpgroups that
/// share a tile and, where functions take long, that have one each by turns; blocks alone and in clusters. A block makes
/// several tiles.
#[test]
fn on_warpgroups() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(7);
    let narrow = Matrix::dense(64);
    let part = Matrix { column: 312, stride: 936 };
    let (mut seen, mut staged) = (Vec::new(), Vec::new());
    for (n, k, dtype, gelu, x, rows) in [
        (64, 64, Float::F16, true, narrow, &[1, 7, 63, 64, 65, 127, 128, 129, 1000][..]),
        // Rows that end within 16 bytes, which copies don't.
        (100, 64, Float::F16, false, narrow, &[1, 129]),
        (384, 64, Float::F16, true, narrow, &[129]),
        (384, 64, Float::Bf16, false, narrow, &[1, 65, 129]),
        (312, 312, Float::F16, true, part, &[7, 129, 1000]),
        (312, 312, Float::Bf16, false, part, &[65]),
        (384, 1536, Float::F16, false, Matrix::dense(1536), &[65]),
        (1152, 384, Float::Bf16, true, Matrix::dense(384), &[127]),
        (768, 768, Float::F16, false, Matrix::dense(768), &[129]),
    ] {
        let layer = Layer::for_arch(Arch::SM_90A, (n, k), dtype, gelu, x, &mut random);
        assert!(layer.source.symbol.starts_with("linear_wgmma"), "{}", layer.source.symbol);
        let has = |line| layer.source.text.contains(line);
        seen.push((has("kShare = 1;"), has("kBlocks = 2;")));
        staged.push(has("kStaged = true;"));
        for rows in rows {
            check(device, &layer, *rows, &mut random);
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "by turns or together, in clusters or alone: {seen:?}");
    assert!(staged.contains(&true) && staged.contains(&false), "by copies or by threads");
}

/// Rows that the copy engine stores, wherever they may end and with a part of a tile's columns, have the bits that threads
/// write.
#[test]
fn on_warpgroups_rows_leave_by_copies_or_by_threads() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(10);
    let ends = &[1, 63, 64, 65, 127, 128, 129, 641][..];
    for (n, k, dtype, rows) in [(64, 64, Float::F16, ends), (776, 768, Float::Bf16, &[129])] {
        let dense = Matrix::dense(k);
        let mut layer = Layer::for_arch(Arch::SM_90A, (n, k), dtype, false, dense, &mut random);
        let x = layer.rows(641, &mut random);
        let of = |rows: u32| &x[..(rows * k) as usize];
        let copied: Vec<_> = rows.iter().map(|rows| layer.run(device, of(*rows), *rows)).collect();
        let by_threads = layer.source.text.replace("kStaged = true;", "kStaged = false;");
        assert_ne!(by_threads, layer.source.text, "the cost model lets copies store");
        layer.source.text = by_threads;
        for (rows, copied) in rows.iter().zip(copied) {
            assert!(layer.run(device, of(*rows), *rows) == copied, "{n} x {k}, {rows} rows");
        }
    }
}

/// Weights that are larger than a cache go by bands of columns, the last of which may be narrower; the bits are the same.
#[test]
fn on_warpgroups_in_bands() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(8);
    let dense = Matrix::dense(64);
    let mut layer = Layer::for_arch(Arch::SM_90A, (640, 64), Float::F16, true, dense, &mut random);
    let x = layer.rows(300, &mut random);
    let whole = layer.run(device, &x, 300);
    let narrower =
        layer.source.text.replace("constexpr int kBand = 8;", "constexpr int kBand = 3;");
    assert_ne!(narrower, layer.source.text, "the layer has eight tiles of columns");
    layer.source.text = narrower;
    assert!(layer.run(device, &x, 300) == whole, "bands change bits");
}

/// Each number of each tile takes the products of all steps, and nothing else is multiplied; reading shared memory for
/// them, on its way in and for the result, meets no bank conflict, as [`Device::run`] asserts of every launch.
#[test]
fn products_are_those_of_the_tiles() {
    let Some(device) = Device::get() else { return };
    let mut random = SplitMix64(9);
    for (arch, n, k, gelu, rows) in [
        (Arch::SM_80, 144, 100, true, 129),
        (Arch::SM_80, 776, 72, false, 65),
        (Arch::SM_90A, 64, 64, true, 129),
        (Arch::SM_90A, 136, 200, true, 257),
        (Arch::SM_90A, 384, 128, false, 129),
    ] {
        let dense = Matrix::dense(k);
        let layer = Layer::for_arch(arch, (n, k), Float::F16, gelu, dense, &mut random);
        let x = layer.rows(rows, &mut random);
        let (_, _, ops) = layer.run_profiled(device, &x, rows);
        let hopper = arch == Arch::SM_90A;
        let (tile_rows, blocks, depth) = match hopper {
            true => (128, layer.constant("kBlocks"), 64),
            false => (layer.constant("kTileRows"), 1, 32),
        };
        assert_eq!(layer.source.symbol.starts_with("linear_wgmma"), hopper);
        let columns = layer.constant("kTileColumns");
        // Clusters have whole tiles one below the other.
        let down = rows.div_ceil(tile_rows * blocks) * blocks;
        let across = n.div_ceil(columns);
        let least = [down * tile_rows, across * columns, k.next_multiple_of(depth)];
        let least = least.map(u64::from).iter().product::<u64>() * 2;
        assert_eq!(ops, least, "{}: {rows} rows", layer.source.symbol);
    }
}
