//! Instructions of the functions of epilogues.

use bytec_plan::kernel::UnaryFn;

/// Instructions that a thread does for one number, without those that only other numbers than usual take.
/// GELU's are counted in the machine code of `sm_90a` and rounded to fives; the others are estimates by what they share
/// with it.
pub fn instructions(function: UnaryFn) -> u64 {
    match function {
        UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Relu => 1,
        UnaryFn::LeakyRelu | UnaryFn::Relu6 | UnaryFn::ReluSquared => 2,
        UnaryFn::Sqrt => 10,
        UnaryFn::Exp | UnaryFn::Rsqrt => 20,
        UnaryFn::Erf => 30,
        UnaryFn::GeluErf => 35,
        UnaryFn::Sigmoid | UnaryFn::Silu | UnaryFn::QuickGelu | UnaryFn::Mish => 40,
        UnaryFn::Tanh => 50,
        UnaryFn::GeluTanh => 55,
    }
}
