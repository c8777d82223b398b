//! Every simple kernel, at awkward and at usual widths, in every element type, for every architecture.

use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Site, Source};
use bytec_plan::attention::{Pairs, Rotary};
use bytec_plan::kernel::{
    BinaryFn, Broadcast, IdSource, Instr, Joined, Kernel, Part, PoolKind, UnaryFn,
};

const DTYPES: [Float; 3] = [Float::F32, Float::F16, Float::Bf16];

const FUNCTIONS: [UnaryFn; 17] = [
    UnaryFn::Neg,
    UnaryFn::Abs,
    UnaryFn::Exp,
    UnaryFn::Sqrt,
    UnaryFn::Rsqrt,
    UnaryFn::Erf,
    UnaryFn::Tanh,
    UnaryFn::Sigmoid,
    UnaryFn::Relu,
    UnaryFn::Silu,
    UnaryFn::GeluErf,
    UnaryFn::GeluTanh,
    UnaryFn::QuickGelu,
    UnaryFn::ReluSquared,
    UnaryFn::Relu6,
    UnaryFn::LeakyRelu,
    UnaryFn::Mish,
];

/// The kernels of one width, in the forms that models use.
fn usual(width: u32) -> Vec<Kernel> {
    let ids = [IdSource::Input, IdSource::Position { start: 2 }, IdSource::Input];
    let eps = 1e-12;
    vec![
        Kernel::Embed { sources: ids.to_vec(), width, eps: Some(eps) },
        Kernel::LayerNorm { width, eps, residual: true },
        Kernel::LayerNorm { width, eps, residual: false },
        Kernel::RmsNorm { width, eps },
        Kernel::L2Normalize { width, eps },
        Kernel::Softmax { width },
        Kernel::Pool { pooling: PoolKind::Mean, width, normalize: Some(eps) },
        Kernel::Pointwise {
            width,
            operands: vec![Broadcast::Full, Broadcast::Row, Broadcast::Scalar, Broadcast::Sample],
            body: vec![
                Instr::Operand(0),
                Instr::Operand(1),
                Instr::Binary(BinaryFn::Add, 0, 1),
                Instr::Unary(UnaryFn::GeluErf, 2),
                Instr::Operand(2),
                Instr::Binary(BinaryFn::Div, 3, 4),
                Instr::Operand(3),
                Instr::Binary(BinaryFn::Max, 5, 6),
            ],
        },
    ]
}

/// Forms that differ in more than their width.
fn unusual() -> Vec<Kernel> {
    let width = 20;
    let pools = [
        PoolKind::Mean,
        PoolKind::Sum,
        PoolKind::Cls,
        PoolKind::Max,
        PoolKind::MeanSqrtLen,
        PoolKind::WeightedMean,
        PoolKind::Last,
    ];
    let mut kernels: Vec<_> = pools
        .into_iter()
        .flat_map(|pooling| [(pooling, None), (pooling, Some(1e-12))])
        .map(|(pooling, normalize)| Kernel::Pool { pooling, width, normalize })
        .collect();
    kernels.extend(FUNCTIONS.map(|function| {
        let operands = vec![Broadcast::Full];
        Kernel::Pointwise {
            width,
            operands,
            body: vec![Instr::Operand(0), Instr::Unary(function, 0)],
        }
    }));
    let constants = [1.5f32, f32::NAN, f32::NEG_INFINITY].map(|c| Instr::Const(c.to_bits()));
    let mut body = constants.to_vec();
    body.extend([Instr::Binary(BinaryFn::Min, 0, 1), Instr::Binary(BinaryFn::Sub, 3, 2)]);
    kernels.push(Kernel::Pointwise { width, operands: vec![], body });
    let body = vec![Instr::Operand(0), Instr::Operand(0), Instr::Binary(BinaryFn::Mul, 0, 1)];
    kernels.push(Kernel::Pointwise { width, operands: vec![Broadcast::Scalar], body });
    let sources = vec![IdSource::Position { start: 0 }];
    for (pairs, dims) in [(Pairs::Half, 10), (Pairs::Interleaved, 4)] {
        let rotary = Rotary { pairs, dims };
        kernels.push(Kernel::Rotary { heads: 2, head_size: 10, rotary });
    }
    kernels.push(Kernel::Unfold { width: 5, size: 4, before: 1 });
    let parts = [(3, false), (1, true), (1, false)];
    let parts = parts.map(|(columns, weight)| Part { columns, weight }).to_vec();
    kernels.push(Kernel::Concat { groups: 4, parts });
    kernels.push(Kernel::Concat { groups: 1, parts: vec![Part { columns: 20, weight: false }] });
    let parts = vec![Joined::Shared { rows: 2 }, Joined::Rows, Joined::Rows];
    kernels.push(Kernel::Join { width, parts });
    let (shape, strides) = (vec![2, 5, 2, 10, 4], vec![200, 4, 400, 20, 1]);
    kernels.push(Kernel::Permute { from: [40, 20], to: [40, 20], start: 0, shape, strides });
    let (shape, strides) = (vec![20, 40], vec![1, 20]);
    kernels.push(Kernel::Permute { from: [40, 20], to: [40, 20], start: 0, shape, strides });
    let (operands, body) = (vec![Broadcast::Place], vec![Instr::Operand(0)]);
    kernels.push(Kernel::Pointwise { width, operands, body });
    kernels.push(Kernel::Embed { sources, width, eps: None });
    kernels.push(Kernel::Embed { sources: vec![IdSource::Input], width, eps: None });
    kernels
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for dtype in DTYPES {
        for width in [1, 7, 48, 384, 768, 1024, 1536] {
            sources.extend(usual(width).iter().map(|kernel| super::dense(kernel, width, dtype)));
        }
        // The widest rows that registers and shared memory hold.
        sources.push(super::dense(&Kernel::Softmax { width: 32768 }, 32768, dtype));
        sources.push(super::dense(&Kernel::Softmax { width: 30522 }, 30522, dtype));
        let wide = Kernel::LayerNorm { width: 32768, eps: 1e-5, residual: true };
        sources.push(super::dense(&wide, 32768, dtype));
        let wide = Kernel::Pool { pooling: PoolKind::Mean, width: 16384, normalize: Some(1e-12) };
        sources.push(super::dense(&wide, 16384, dtype));
        sources.extend(unusual().iter().map(|kernel| super::dense(kernel, 20, dtype)));
        // Columns of a wider buffer, aligned to less than the row.
        let view = Matrix { column: 36, stride: 100 };
        for kernel in usual(20) {
            let site =
                Site { kernel: &kernel, dtype, operands: &[view; 8], output: Matrix::dense(20) };
            sources.push(super::render(&site));
        }
    }
    sources
}

#[test]
fn simple_kernels_compile_without_spills_or_warnings() {
    super::sound::assert_sound(&sources(), "kernels");
}

/// Text for a later device: PTX alone, for the driver to compile.
#[test]
fn a_virtual_architecture_gives_ptx_alone() {
    let Some(nvrtc) = super::nvrtc() else { return };
    let source = super::dense(&Kernel::Softmax { width: 8 }, 8, Float::F16);
    let [compiled] = &nvrtc.compile(&[(&source, Arch::COMPUTE_80)], None, &|_| {}).unwrap()[..]
    else {
        panic!("one kernel gives one result")
    };
    assert!(
        compiled.ptx.contains(".target sm_80") && compiled.ptx.contains(".entry softmax_8_f16(")
    );
    assert_eq!((compiled.cubin.as_ref(), compiled.usage), (None, None));
}

/// Bits must not depend on what the compiler fuses, nor on approximations; and nothing may name this machine.
#[test]
fn ptx_has_no_approximate_arithmetic_and_no_paths() {
    let sources = sources();
    let units: Vec<_> = sources.iter().map(|source| (source, Arch::SM_80)).collect();
    let Some(compiled) = super::sound::compile(&units, "kernels", &|_| {}) else { return };
    let here = std::env::current_dir().unwrap().to_str().unwrap().to_owned();
    for (source, compiled) in sources.iter().zip(compiled) {
        for line in compiled.ptx.lines() {
            assert!(
                !line.contains(".approx") && !line.contains(".ftz"),
                "{}: {line}",
                source.symbol
            );
            assert!(!line.contains(&here), "{line}");
        }
        let cubin = compiled.cubin.unwrap();
        assert!(
            !cubin.windows(here.len()).any(|bytes| bytes == here.as_bytes()),
            "{}",
            source.symbol
        );
    }
}
