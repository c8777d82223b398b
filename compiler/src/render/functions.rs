//! What the functions of the plan are called in `lib/math.cuh` and in NVRTC's own library.

use bytec_plan::kernel::{BinaryFn, UnaryFn};

/// The CUDA function of one float; `lib/math.cuh` must be included.
pub(super) fn unary(function: UnaryFn) -> &'static str {
    match function {
        UnaryFn::Neg => "negate",
        UnaryFn::Abs => "fabsf",
        UnaryFn::Exp => "exponential",
        UnaryFn::Sqrt => "sqrtf",
        UnaryFn::Rsqrt => "reciprocal_root",
        UnaryFn::Erf => "error_function",
        UnaryFn::Tanh => "hyperbolic_tangent",
        UnaryFn::Sigmoid => "sigmoid",
        UnaryFn::Relu => "relu",
        UnaryFn::Silu => "silu",
        UnaryFn::GeluErf => "gelu_erf",
        UnaryFn::GeluTanh => "gelu_tanh",
        UnaryFn::QuickGelu => "quick_gelu",
        UnaryFn::ReluSquared => "relu_squared",
        UnaryFn::Relu6 => "relu6",
        UnaryFn::LeakyRelu => "leaky_relu",
        UnaryFn::Mish => "mish",
    }
}

/// A function of two floats, called on two expressions that are names or calls.
pub(super) fn binary(function: BinaryFn, a: &str, b: &str) -> String {
    match function {
        BinaryFn::Add => format!("{a} + {b}"),
        BinaryFn::Sub => format!("{a} - {b}"),
        BinaryFn::Mul => format!("{a} * {b}"),
        BinaryFn::Div => format!("{a} / {b}"),
        BinaryFn::Max => format!("larger({a}, {b})"),
        BinaryFn::Min => format!("smaller({a}, {b})"),
    }
}
