//! The text of some kernels, as files that a review can read; `UPDATE_EXPECT=1` renews them.

use bytec_compiler::render::{Float, Matrix, Site};
use bytec_plan::kernel::{BinaryFn, Broadcast, IdSource, Instr, Kernel, PoolKind, UnaryFn};
use expect_test::expect_file;

#[test]
fn layer_norm() {
    let kernel = Kernel::LayerNorm { width: 384, eps: 1e-12, residual: true };
    let source = super::dense(&kernel, 384, Float::F16);
    expect_file!["golden/layer_norm_residual_384_f16.cu"].assert_eq(&source.text);
}

#[test]
fn embed() {
    let sources = vec![IdSource::Input, IdSource::Position { start: 0 }, IdSource::Input];
    let kernel = Kernel::Embed { sources, width: 384, eps: Some(1e-12) };
    let source = super::dense(&kernel, 384, Float::Bf16);
    expect_file!["golden/embed_3_layer_norm_384_bf16.cu"].assert_eq(&source.text);
}

#[test]
fn pool() {
    let kernel = Kernel::Pool { pooling: PoolKind::Mean, width: 7, normalize: Some(1e-12) };
    let source = super::dense(&kernel, 7, Float::F32);
    expect_file!["golden/pool_mean_normalize_7_f32.cu"].assert_eq(&source.text);
}

#[test]
fn pointwise() {
    let operands = vec![Broadcast::Full, Broadcast::Sample, Broadcast::Scalar];
    let body = vec![
        Instr::Operand(0),
        Instr::Operand(1),
        Instr::Binary(BinaryFn::Sub, 0, 1),
        Instr::Unary(UnaryFn::Tanh, 2),
        Instr::Operand(2),
        Instr::Binary(BinaryFn::Mul, 3, 4),
        Instr::Const(0.1f32.to_bits()),
        Instr::Binary(BinaryFn::Max, 5, 6),
    ];
    let kernel = Kernel::Pointwise { width: 12, operands, body };
    let view = Matrix { column: 12, stride: 36 };
    let operands = [view, Matrix::dense(12), Matrix::dense(1)];
    let output = Matrix::dense(12);
    let source =
        super::render(&Site { kernel: &kernel, dtype: Float::F16, operands: &operands, output });
    expect_file!["golden/pointwise_12_f16.cu"].assert_eq(&source.text);
}
