//! A small BERT-like encoder with seeded weights, whose buffers share slots.

use bytec_plan::extent::Rows;
use bytec_plan::kernel::{IdSource, Kernel, PoolKind, UnaryFn};
use bytec_plan::program::{Need, Operand, Slot};

use crate::programs::{Build, L, Noise, Owned, columns};

/// The sizes of an encoder.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) inner: usize,
    pub(crate) words: u64,
    pub(crate) longest: u64,
}

pub(crate) const SMALL: Sizes =
    Sizes { layers: 2, hidden: 48, heads: 4, inner: 96, words: 100, longest: 300 };

/// The encoder: `ids` and `types` in, `hidden` and the normalised mean `out` out.
pub(crate) fn encoder(sizes: Sizes) -> Build {
    let Sizes { layers, hidden, heads, inner, words, longest } = sizes;
    let (h, f) = (hidden as u64, inner as u64);
    let mut noise = Noise(100);
    let mut build = Build::new(false);
    build.program.symbols[0].max = longest;
    let ids = build.ids("ids", words, None);
    let types = build.ids("types", 2, Some(0));
    let mut table = |build: &mut Build, rows: u64| {
        let data = noise.floats((rows * h) as usize);
        build.weight(&[rows, h], &data)
    };
    let tables = [words, longest, 2].map(|rows| table(&mut build, rows));
    let slot = |build: &mut Build, rows: Rows, width: u64| {
        build.program.slots.push(Slot { needs: vec![Need { rows, bytes_per_row: 4 * width }] });
        build.program.slots.len() as u32 - 1
    };
    // The stream of rows alternates between two slots; a third holds what is wide, a fourth what is between.
    let streams = [slot(&mut build, L, h), slot(&mut build, L, h)];
    let wide = slot(&mut build, L, f.max(3 * h));
    let between = slot(&mut build, L, h);
    let pooled = slot(&mut build, Rows::PerSample, h);

    let norm = |build: &mut Build| -> [Operand; 2] {
        [build.weight(&[h], &vec![1.0; hidden]), build.weight(&[h], &vec![0.01; hidden])]
    };
    let mut operands = vec![tables[0], ids, tables[1], tables[2], types];
    operands.extend(norm(&mut build));
    let kernel = Kernel::Embed {
        sources: vec![IdSource::Input, IdSource::Position { start: 0 }, IdSource::Input],
        width: hidden as u32,
        eps: Some(1e-12),
    };
    let mut x = build.step_in(streams[0], kernel, operands, L, h);
    let mut noise = Noise(101);
    let mut linear =
        |build: &mut Build, slot: u32, x: Operand, n: usize, k: usize, epilogue: Vec<UnaryFn>| {
            let scale = 1.0 / (k as f32).sqrt();
            let data: Vec<f32> = noise.floats(n * k).iter().map(|x| x * scale).collect();
            let bias = noise.floats(n);
            let operands = vec![x, build.panels(n, k, &data), build.weight(&[n as u64], &bias)];
            let kernel = Kernel::Linear { n: n as u32, k: k as u32, bias: true, epilogue };
            build.step_in(slot, kernel, operands, L, n as u64)
        };
    let add_norm = |build: &mut Build, slot: u32, x: Operand, y: Operand| {
        let [gamma, beta] = norm(build);
        let kernel = Kernel::LayerNorm { width: hidden as u32, eps: 1e-12, residual: true };
        build.step_in(slot, kernel, vec![x, y, gamma, beta], L, h)
    };
    for _ in 0..layers {
        let qkv = linear(&mut build, wide, x, 3 * hidden, hidden, vec![]);
        let size = hidden / heads;
        let scale = 1.0 / (size as f32).sqrt();
        let kernel = Kernel::attention(heads as u32, size as u32, scale);
        let parts = (0..3).map(|i| columns(qkv, i * h, h)).collect();
        let attended = build.step_in(between, kernel, parts, L, h);
        let projected = linear(&mut build, wide, attended, hidden, hidden, vec![]);
        let y = add_norm(&mut build, streams[1], projected, x);
        let grown = linear(&mut build, wide, y, inner, hidden, vec![UnaryFn::GeluErf]);
        let shrunk = linear(&mut build, between, grown, hidden, inner, vec![]);
        x = add_norm(&mut build, streams[0], shrunk, y);
    }
    build.output("hidden", x);
    let kernel =
        Kernel::Pool { pooling: PoolKind::Mean, width: hidden as u32, normalize: Some(1e-12) };
    let out = build.step_in(pooled, kernel, vec![x], Rows::PerSample, h);
    build.output("out", out);
    build
}

/// Samples of the given lengths.
pub(crate) fn texts(sizes: Sizes, lengths: &[u64], seed: u64) -> Vec<Owned> {
    let mut noise = Noise(seed);
    let text = |l: &u64| {
        let ids = (0..*l).map(|_| noise.below(sizes.words)).collect();
        Owned { floats: vec![], ids: vec![("ids", vec![*l], ids)] }
    };
    lengths.iter().map(text).collect()
}
