//! Linear layers and attention, at the sizes of models and at awkward ones, in every element type.

use bytec_compiler::cost::attention::Lengths;
use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Renderer, Site, Source};
use bytec_plan::attention::{Band, Bias, Pairs, Rotary};
use bytec_plan::kernel::{Kernel, UnaryFn, Up};

const DTYPES: [Float; 3] = [Float::F32, Float::F16, Float::Bf16];

/// Sources with what they are compiled for.
type Units = Vec<(Source, Arch)>;

/// A step's sources for `sm_80` and for `sm_90a`, there only if it is not for warpgroups: those have tests of their own.
fn both(site: &Site<'_>) -> Units {
    let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
    renderer.render(site).unwrap();
    let hopper = renderer.into_sources().remove(0);
    let mut units = vec![(super::render(site), Arch::SM_80)];
    if !hopper.symbol.contains("_wgmma") {
        units.push((hopper, Arch::SM_90A));
    }
    units
}

fn assert_sound(units: &Units, name: &str) {
    assert!(units.iter().any(|(_, arch)| *arch == Arch::SM_90A));
    let units: Vec<_> = units.iter().map(|(source, arch)| (source, *arch)).collect();
    super::sound::assert_sound_units(&units, 99, name);
}

fn linear(n: u32, k: u32, dtype: Float, epilogue: &[UnaryFn]) -> Units {
    let kernel = Kernel::Linear { n, k, bias: true, epilogue: epilogue.to_vec() };
    let operands = [Matrix::dense(k), Matrix::dense(k), Matrix::dense(n)];
    both(&Site { kernel: &kernel, dtype, operands: &operands, output: Matrix::dense(n) })
}

/// Attention on q, k and v as one linear layer gives them, side by side.
fn attention(heads: u32, head_size: u32, dtype: Float) -> Units {
    of_merged(&Kernel::attention(heads, head_size, 0.125), heads * head_size, dtype)
}

fn of_merged(kernel: &Kernel, width: u32, dtype: Float) -> Units {
    let width = u64::from(width);
    let operands = [0, 1, 2].map(|n| Matrix { column: n * width, stride: 3 * width });
    let output = Matrix { column: 0, stride: width };
    both(&Site { kernel, dtype, operands: &operands, output })
}

#[test]
fn linears_compile_without_spills_or_warnings() {
    let sizes = [1, 2, 5, 9, 48, 112, 120, 144, 384, 768, 1152, 1536, 3072, 30522];
    let mut sources = Vec::new();
    for dtype in DTYPES {
        for (i, n) in sizes.into_iter().enumerate() {
            // Every n and every k, and with them every pair of a large and a small one.
            sources.extend(linear(n, sizes[(i + 7) % sizes.len()], dtype, &[]));
            sources.extend(linear(n, sizes[i], dtype, &[UnaryFn::GeluErf]));
        }
        for n in [48, 384, 768] {
            sources.extend(linear(n, 384, dtype, &[UnaryFn::Tanh]));
            sources.extend(linear(n, 384, dtype, &[UnaryFn::Silu, UnaryFn::Relu]));
            sources.extend(linear(n, 384, dtype, &[UnaryFn::GeluTanh]));
        }
        let kernel = Kernel::Linear { n: 5, k: 12, bias: false, epilogue: Vec::new() };
        let operands = [Matrix { column: 12, stride: 36 }, Matrix::dense(12)];
        let output = Matrix { column: 0, stride: 8 };
        let site = Site { kernel: &kernel, dtype, operands: &operands, output };
        sources.extend(both(&site));
    }
    assert_sound(&sources, "linears");
}

#[test]
fn linears_on_warpgroups_compile_without_spills_or_warnings() {
    let sizes = [
        (64, 64),
        (128, 256),
        (312, 312),
        (384, 1536),
        (768, 768),
        (1024, 4096),
        (1152, 384),
        (3072, 768),
    ];
    let mut sources = Vec::new();
    for (i, (n, k)) in sizes.into_iter().enumerate() {
        let dtype = if i % 2 == 0 { Float::F16 } else { Float::Bf16 };
        // The last takes long to compile, and as many registers with any size.
        let functions = [&[][..], &[UnaryFn::GeluErf], &[UnaryFn::Silu, UnaryFn::Tanh]];
        for function in &functions[..if i % 3 == 1 { 3 } else { 2 }] {
            let kernel = Kernel::Linear { n, k, bias: true, epilogue: function.to_vec() };
            let operands = [Matrix::dense(k), Matrix::dense(k), Matrix::dense(n)];
            let output = Matrix::dense(n);
            let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
            renderer.render(&Site { kernel: &kernel, dtype, operands: &operands, output }).unwrap();
            sources.extend(renderer.into_sources());
        }
    }
    assert!(sources.iter().all(|source| source.symbol.starts_with("linear_wgmma")));
    super::sound::assert_sound_on_hopper(&sources, "linears_on_warpgroups");
}

#[test]
fn linears_with_their_norms_compile_without_spills_or_warnings() {
    let sizes = [
        (64, 64),
        (128, 512),
        (256, 256),
        (312, 1200),
        (384, 1536),
        (768, 768),
        (1024, 4096),
        (1000, 64),
    ];
    let mut sources = Vec::new();
    for (i, (n, k)) in sizes.into_iter().enumerate() {
        let (dtype, bias) = if i % 2 == 0 { (Float::F16, true) } else { (Float::Bf16, i != 3) };
        let kernel = Kernel::LinearLayerNorm { n, k, bias, eps: 1e-12, up: None };
        let mut operands = vec![Matrix::dense(k); 2];
        operands.extend([Matrix::dense(n); 4]);
        let output = Matrix::dense(n);
        let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
        renderer.render(&Site { kernel: &kernel, dtype, operands: &operands, output }).unwrap();
        sources.extend(renderer.into_sources());
    }
    super::sound::assert_sound_on_hopper(&sources, "linears_with_their_norms");
}

#[test]
fn two_linears_in_one_launch_compile_without_spills_or_warnings() {
    let sizes = [(64, 256), (312, 1200), (384, 1536), (768, 3072), (1024, 4096)];
    let mut sources = Vec::new();
    for (i, (n, hidden)) in sizes.into_iter().enumerate() {
        let (dtype, bias) = if i % 2 == 0 { (Float::F16, true) } else { (Float::Bf16, i != 1) };
        let up = Some(Up { k: n, bias, epilogue: vec![UnaryFn::GeluErf] });
        let kernel = Kernel::LinearLayerNorm { n, k: hidden, bias: true, eps: 1e-12, up };
        let operands = [hidden, hidden, n, n, n, n, n, n, hidden].map(Matrix::dense);
        let output = Matrix::dense(n);
        let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
        let site = Site { kernel: &kernel, dtype, operands: &operands, output };
        renderer.render_with_up(&site).unwrap().unwrap();
        sources.extend(renderer.into_sources());
    }
    super::sound::assert_sound_on_hopper(&sources, "two_linears_in_one_launch");
}

#[test]
fn attention_compiles_without_spills_or_warnings() {
    let sizes = [1, 5, 8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 200, 256];
    let sources: Vec<_> = DTYPES
        .into_iter()
        .flat_map(|dtype| sizes.into_iter().flat_map(move |size| attention(4, size, dtype)))
        .collect();
    assert_sound(&sources, "attention");
}

#[test]
fn attention_on_warpgroups_compiles_without_spills_or_warnings() {
    let causal = Band { before: None, after: Some(0) };
    let local = Band { before: Some(64), after: Some(64) };
    let turned = |dims| Some(Rotary { pairs: Pairs::Half, dims });
    let slopes = || Bias::Alibi { slopes: vec![0.25; 4] };
    let relative = || Bias::Relative { reach: 127 };
    let mut cases = Vec::new();
    for head_size in [8, 32, 64, 80, 96, 128, 192, 256] {
        cases.push((head_size, Band::default(), Bias::None, None));
    }
    for head_size in [32, 64, 128, 256] {
        cases.push((head_size, causal, Bias::None, None));
        cases.push((head_size, Band::default(), relative(), None));
        cases.push((head_size, local, slopes(), turned(head_size)));
    }
    cases.push((64, Band::default(), slopes(), None));
    cases.push((64, Band::default(), Bias::None, turned(64)));
    let by_rows = |c2p, p2c| Bias::Disentangled { reach: 511, c2p, p2c };
    // The first in tiles for samples of all lengths.
    assert_eq!(cases.len() % 2, 0);
    cases.push((64, Band::default(), by_rows(true, true), None));
    cases.push((64, causal, by_rows(true, false), None));
    cases.push((128, local, by_rows(false, true), turned(128)));
    cases.push((128, Band::default(), by_rows(true, true), None));
    cases.push((128, local, by_rows(true, true), None));
    let mut sources = Vec::new();
    for (i, (head_size, mask, bias, rotary)) in cases.into_iter().enumerate() {
        let dtype = if i % 2 == 0 { Float::F16 } else { Float::Bf16 };
        let (heads, scale) = (4, 0.125);
        // Every other one with heads that share keys and values.
        let group = if i % 4 < 2 { 1 } else { 2 };
        let kernel = Kernel::Attention { heads, head_size, group, scale, mask, bias, rotary };
        let width = u64::from(heads * head_size);
        let shared = width / u64::from(group);
        let stride = width + 2 * shared;
        let operands = [0, width, width + shared].map(|column| Matrix { column, stride });
        let output = Matrix { column: 0, stride: width };
        let site = Site { kernel: &kernel, dtype, operands: &operands, output };
        let plain = mask.is_all() && i % 2 == 0;
        for longest in if plain { &[64, 512, 8192][..] } else { &[8192] } {
            let longest = *longest;
            let lengths = Lengths { queries: longest, keys: longest, alike: false };
            let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
            renderer.render_for(&site, lengths).unwrap();
            let source = renderer.into_sources().remove(0);
            assert!(source.symbol.starts_with("attention_wgmma"), "{}", source.symbol);
            if !sources.iter().any(|other: &Source| other.text == source.text) {
                sources.push(source);
            }
        }
    }
    super::sound::assert_sound_on_hopper(&sources, "attention_on_warpgroups");
}

/// What attention may be asked for, alone and together.
#[test]
fn attention_with_options_compiles_without_spills_or_warnings() {
    let causal = Band { before: None, after: Some(0) };
    let local = Band { before: Some(64), after: Some(64) };
    let turned = |pairs, dims| Some(Rotary { pairs, dims });
    let slopes = || Bias::Alibi { slopes: vec![0.25; 4] };
    let relative = || Bias::Relative { reach: 127 };
    let mut sources = Vec::new();
    for dtype in DTYPES {
        for head_size in [5, 64, 128, 256] {
            let dims = head_size / 2 * 2;
            let options = [
                (causal, Bias::None, None),
                (local, relative(), turned(Pairs::Half, dims)),
                (causal, slopes(), turned(Pairs::Interleaved, dims)),
            ];
            for (mask, bias, rotary) in options {
                let (heads, group, scale) = (4, 1, 0.125);
                let kernel =
                    Kernel::Attention { heads, head_size, group, scale, mask, bias, rotary };
                sources.extend(of_merged(&kernel, heads * head_size, dtype));
            }
        }
    }
    for dtype in DTYPES {
        let widths = match dtype {
            Float::F32 => [5, 64, 96, 160, 256],
            Float::F16 | Float::Bf16 => [5, 64, 128, 240, 256],
        };
        for head_size in widths {
            let bias = Bias::Disentangled { reach: 511, c2p: true, p2c: true };
            let (heads, group, scale, mask, rotary) = (4, 1, 0.125, Band::default(), None);
            let kernel = Kernel::Attention { heads, head_size, group, scale, mask, bias, rotary };
            sources.extend(of_merged(&kernel, heads * head_size, dtype));
        }
    }
    assert_sound(&sources, "options");
}

#[test]
fn steps_that_differ_in_their_epilogue_alone_differ_in_their_symbol() {
    let symbols = [
        linear(48, 12, Float::F16, &[]),
        linear(48, 12, Float::F16, &[UnaryFn::GeluErf]),
        attention(4, 12, Float::F16),
        attention(4, 12, Float::F32),
    ]
    .map(|mut units| units.remove(0).0.symbol);
    let expected = [
        "linear_48x12_bias_f16",
        "linear_48x12_bias_gelu_erf_f16",
        "attention_4x12_f16",
        "attention_4x12_f32",
    ];
    assert_eq!(symbols, expected);
}

/// Scales, strides and columns are in the text: steps that differ in them alone are numbered.
#[test]
fn scales_are_part_of_the_source() {
    let mut renderer = Renderer::new().unwrap();
    let dense = [Matrix::dense(8); 3];
    let mut render = |scale| {
        let kernel = Kernel::attention(1, 8, scale);
        let site = Site { kernel: &kernel, dtype: Float::F16, operands: &dense, output: dense[0] };
        renderer.render(&site).unwrap()
    };
    assert_eq!([render(0.5), render(0.25), render(0.5)], [0, 1, 0]);
}
