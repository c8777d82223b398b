//! Generated elementwise chains, and each function of them over its whole range.

use bytec_compiler::render::{Float, Matrix};
use bytec_ir::eval;
use bytec_plan::kernel::{BinaryFn, Broadcast, Instr, Kernel, UnaryFn};

use super::numbers::random;
use super::{Case, DTYPES, LENGTHS, Operand, dense, packed};

const FUNCTIONS: [(UnaryFn, bytec_ir::UnaryFn); 17] = [
    (UnaryFn::Neg, bytec_ir::UnaryFn::Neg),
    (UnaryFn::Abs, bytec_ir::UnaryFn::Abs),
    (UnaryFn::Exp, bytec_ir::UnaryFn::Exp),
    (UnaryFn::Sqrt, bytec_ir::UnaryFn::Sqrt),
    (UnaryFn::Rsqrt, bytec_ir::UnaryFn::Rsqrt),
    (UnaryFn::Erf, bytec_ir::UnaryFn::Erf),
    (UnaryFn::Tanh, bytec_ir::UnaryFn::Tanh),
    (UnaryFn::Sigmoid, bytec_ir::UnaryFn::Sigmoid),
    (UnaryFn::Relu, bytec_ir::UnaryFn::Relu),
    (UnaryFn::Silu, bytec_ir::UnaryFn::Silu),
    (UnaryFn::GeluErf, bytec_ir::UnaryFn::GeluErf),
    (UnaryFn::GeluTanh, bytec_ir::UnaryFn::GeluTanh),
    (UnaryFn::QuickGelu, bytec_ir::UnaryFn::QuickGelu),
    (UnaryFn::ReluSquared, bytec_ir::UnaryFn::ReluSquared),
    (UnaryFn::Relu6, bytec_ir::UnaryFn::Relu6),
    (UnaryFn::LeakyRelu, bytec_ir::UnaryFn::LeakyRelu),
    (UnaryFn::Mish, bytec_ir::UnaryFn::Mish),
];

#[test]
fn every_function_agrees() {
    let width = 40;
    for (cuda, formula) in FUNCTIONS {
        let mut x = random(packed() * width, 12);
        x[..7].copy_from_slice(&[
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e-30,
            -1e-30,
        ]);
        if cuda == UnaryFn::Rsqrt {
            // Past these its scale is that of the largest result; nearer to zero only f32's range would be tested.
            x.iter_mut().filter(|x| x.abs() < 0.1).for_each(|x| *x = 0.1);
        }
        let body = vec![Instr::Operand(0), Instr::Unary(cuda, 0)];
        let kernel =
            Kernel::Pointwise { width: width as u32, operands: vec![Broadcast::Full], body };
        let case = Case { kernel, width, operands: vec![dense(x, width)], pooled: false };
        for dtype in DTYPES {
            case.check(dtype, |case| {
                case.numbers(0).iter().map(|x| eval::unary(formula, *x)).collect()
            });
        }
    }
}

#[test]
fn chains_meet_their_operands_in_every_way() {
    for width in [1, 7, 12, 40, 384] {
        use Broadcast::{Full, Place, Row, Sample, Scalar};
        let broadcasts = [Full, Row, Scalar, Sample, Place];
        let body = vec![
            Instr::Operand(0),
            Instr::Operand(1),
            Instr::Binary(BinaryFn::Add, 0, 1),
            Instr::Operand(2),
            Instr::Binary(BinaryFn::Mul, 2, 3),
            Instr::Operand(3),
            Instr::Binary(BinaryFn::Sub, 4, 5),
            Instr::Const(0.5f32.to_bits()),
            Instr::Binary(BinaryFn::Max, 6, 7),
            Instr::Operand(4),
            Instr::Binary(BinaryFn::Add, 8, 9),
        ];
        let kernel = Kernel::Pointwise { width: width as u32, operands: broadcasts.to_vec(), body };
        let view = Matrix { column: 2 * width as u64, stride: 3 * width as u64 };
        let operands = vec![
            Operand::Rows(random(packed() * width, 13), view),
            Operand::Weight(random(width, 14)),
            Operand::Weight(random(1, 15)),
            Operand::Samples(random(LENGTHS.len() * width, 16)),
            Operand::Weight(random(LENGTHS.iter().max().unwrap() * width, 17)),
        ];
        let case = Case { kernel, width, operands, pooled: false };
        let of_row: Vec<_> =
            LENGTHS.iter().enumerate().flat_map(|(sample, length)| vec![sample; *length]).collect();
        let places: Vec<_> = LENGTHS.iter().flat_map(|length| 0..*length).collect();
        for dtype in DTYPES {
            case.check(dtype, |case| {
                let at = |element: usize| {
                    let (row, column) = (element / width, element % width);
                    let sum = case.numbers(0)[element] + case.numbers(1)[column];
                    let sample = case.numbers(3)[of_row[row] * width + column];
                    let value = sum * case.numbers(2)[0] - sample;
                    let place = case.numbers(4)[places[row] * width + column];
                    place + if value.is_nan() { value } else { value.max(0.5) }
                };
                (0..packed() * width).map(at).collect()
            });
        }
    }
}

/// Infinities and NaN go through the functions of two numbers as the plan says.
#[test]
fn larger_and_smaller_keep_nan() {
    let width = 1;
    for (binary, formula) in
        [(BinaryFn::Max, bytec_ir::BinaryFn::Max), (BinaryFn::Min, bytec_ir::BinaryFn::Min)]
    {
        let special = [f64::NAN, 1.0, -2.0, f64::INFINITY, f64::NEG_INFINITY];
        let pick = |divisor: usize| {
            (0..packed()).map(|row| special[row / divisor % special.len()]).collect::<Vec<_>>()
        };
        let body = vec![Instr::Operand(0), Instr::Operand(1), Instr::Binary(binary, 0, 1)];
        let operands = vec![Broadcast::Full; 2];
        let kernel = Kernel::Pointwise { width: 1, operands, body };
        let operands = vec![dense(pick(1), width), dense(pick(special.len()), width)];
        let case = Case { kernel, width, operands, pooled: false };
        case.check(Float::F32, |case| {
            let pairs = case.numbers(0).iter().zip(case.numbers(1));
            pairs.map(|(a, b)| eval::binary(formula, *a, *b)).collect()
        });
    }
}
