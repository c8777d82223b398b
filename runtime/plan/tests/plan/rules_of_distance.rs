//! What attention's options, rotations and the kernels over neighbouring rows ask, broken once each.

use bytec_plan::attention::{Band, Bias, Pairs, Rotary};
use bytec_plan::kernel::Kernel;
use bytec_plan::program::{DType, Layout, Operand, Program};
use expect_test::expect;

use crate::rules::{breaks, keeps};
use crate::sample::view;

/// Adds a weight of this type and shape, of bytes that are there; gives its operand.
fn weight(p: &mut Program, dtype: DType, shape: &[u64]) -> Operand {
    let mut weight = p.weights[0].clone();
    (weight.dtype, weight.shape, weight.layout) = (dtype, shape.to_vec(), Layout::RowMajor);
    weight.bytes = shape.iter().product::<u64>() * dtype.bytes();
    weight.offset = 0;
    p.weights.push(weight);
    Operand::Weight(p.weights.len() as u32 - 1)
}

/// The sample's attention, of two heads of two columns, with other options and tables of these types and shapes.
fn attention(p: &mut Program, change: Kernel, tables: &[(DType, &[u64])]) {
    p.steps[2].kernel = change;
    for (dtype, shape) in tables {
        let table = weight(p, *dtype, shape);
        p.steps[2].operands.push(table);
    }
}

fn with(mask: Band, bias: Bias, rotary: Option<Rotary>) -> Kernel {
    Kernel::Attention { heads: 2, head_size: 2, group: 1, scale: 0.5, mask, bias, rotary }
}

fn biased(bias: Bias) -> Kernel {
    with(Band::default(), bias, None)
}

const HALF: Rotary = Rotary { pairs: Pairs::Half, dims: 2 };

#[test]
fn masks_and_slopes() {
    let causal = Band { before: None, after: Some(0) };
    keeps(|p| attention(p, with(causal, Bias::None, None), &[]));
    breaks(
        |p| {
            attention(p, with(causal, Bias::None, None), &[]);
            p.steps[2].operands[1] = view(5, 0, 4);
        },
        expect!["step 2 `attended`: operand 1: expected rows by extent 0, found one row a sample"],
    );
    keeps(|p| attention(p, biased(Bias::Alibi { slopes: vec![0.5, 0.25] }), &[]));
    breaks(
        |p| attention(p, biased(Bias::Alibi { slopes: vec![0.5] }), &[]),
        expect!["step 2 `attended`: expected a slope for each of 2 heads, found 1"],
    );
    breaks(
        |p| attention(p, biased(Bias::Alibi { slopes: vec![0.5, f32::NAN] }), &[]),
        expect!["step 2 `attended`: expected a slope to be finite, found NaN"],
    );
}

#[test]
fn tables_by_distance() {
    let relative = || biased(Bias::Relative { reach: 3 });
    keeps(|p| attention(p, relative(), &[(DType::F32, &[2, 7])]));
    breaks(
        |p| attention(p, relative(), &[]),
        expect!["step 2 `attended`: expected 4 operands for attention, found 3"],
    );
    breaks(
        |p| attention(p, relative(), &[(DType::F32, &[2, 6])]),
        expect!["step 2 `attended`: operand 3: expected a weight of shape [2, 7], found [2, 6]"],
    );
    breaks(
        |p| attention(p, relative(), &[(DType::F16, &[2, 7])]),
        expect!["step 2 `attended`: operand 3: expected elements of f32, found f16"],
    );
    let terms = |c2p, p2c| biased(Bias::Disentangled { reach: 1, c2p, p2c });
    let index: (DType, &[u64]) = (DType::I32, &[3]);
    keeps(|p| attention(p, terms(true, false), &[index, (DType::F32, &[2, 4])]));
    keeps(|p| {
        attention(p, terms(true, true), &[index, (DType::F32, &[2, 4]), (DType::F32, &[2, 4])]);
    });
    breaks(
        |p| attention(p, terms(false, false), &[index]),
        expect!["step 2 `attended`: expected a disentangled bias of one or two terms, found none"],
    );
    breaks(
        |p| attention(p, terms(true, false), &[(DType::F32, &[3]), (DType::F32, &[2, 4])]),
        expect!["step 2 `attended`: operand 3: expected elements of i32, found f32"],
    );
    breaks(
        |p| attention(p, terms(true, false), &[(DType::I32, &[5]), (DType::F32, &[2, 4])]),
        expect!["step 2 `attended`: operand 3: expected a weight of shape [3], found [5]"],
    );
    breaks(
        |p| attention(p, terms(false, true), &[index, (DType::F32, &[2, 3])]),
        expect!["step 2 `attended`: operand 4: expected a weight of shape [any, 4], found [2, 3]"],
    );
    breaks(
        |p| attention(p, terms(false, true), &[index, (DType::F32, &[0, 4])]),
        expect!["step 2 `attended`: operand 4: expected a table of at least one row, found none"],
    );
    breaks(
        |p| attention(p, terms(true, true), &[index, (DType::F32, &[2, 4]), (DType::F32, &[1, 4])]),
        expect!["step 2 `attended`: operand 5: expected a weight of shape [2, 4], found [1, 4]"],
    );
    breaks(
        |p| {
            let reach = u32::MAX;
            let bias = Bias::Disentangled { reach, c2p: true, p2c: false };
            attention(p, biased(bias), &[index, (DType::F32, &[2, 4])]);
        },
        expect!["step 2 `attended`: operand 3: expected a weight of shape [8589934591], found [3]"],
    );
}

#[test]
fn rotations() {
    let turned = |rotary| with(Band::default(), Bias::None, Some(rotary));
    keeps(|p| attention(p, turned(HALF), &[(DType::F32, &[8, 2])]));
    // The sample's longest has eight rows.
    breaks(
        |p| attention(p, turned(HALF), &[(DType::F32, &[7, 2])]),
        expect![
            "step 2 `attended`: operand 3: expected 8 rows in the table, for the longest sample, found 7"
        ],
    );
    breaks(
        |p| attention(p, turned(HALF), &[(DType::F32, &[8, 4])]),
        expect!["step 2 `attended`: operand 3: expected a weight of shape [any, 2], found [8, 4]"],
    );
    for dims in [0, 1, 4] {
        let rotary = Rotary { dims, ..HALF };
        let (mut program, weights) = crate::sample::program();
        attention(&mut program, turned(rotary), &[(DType::F32, &[8, 2])]);
        let sizes = crate::sample::sizes(&weights);
        let error = bytec_plan::check::check(&program, sizes).unwrap_err().to_string();
        assert!(error.contains("expected an even number of columns to turn"), "{error}");
    }
    let alone = |p: &mut Program, positions: u64| {
        let table = weight(p, DType::F32, &[positions, 2]);
        p.steps[2].operands = vec![view(1, 0, 4), table];
        p.steps[2].kernel = Kernel::Rotary { heads: 2, head_size: 2, rotary: HALF };
    };
    keeps(|p| alone(p, 8));
    breaks(
        |p| alone(p, 3),
        expect![
            "step 2 `attended`: operand 1: expected 8 rows in the table, for the longest sample, found 3"
        ],
    );
}

#[test]
fn rows_and_their_neighbours() {
    let unfold = |p: &mut Program, width, size, before| {
        p.steps[2].operands = vec![view(1, 0, width)];
        p.steps[2].kernel = Kernel::Unfold { width: width as u32, size, before };
    };
    keeps(|p| unfold(p, 2, 2, 1));
    breaks(
        |p| unfold(p, 2, 2, 2),
        expect!["step 2 `attended`: expected fewer rows before than the 2 in all, found 2"],
    );
    breaks(
        |p| unfold(p, 2, 3, 1),
        expect!["step 2 `attended`: output: expected 6 columns, found 4"],
    );
    breaks(
        |p| unfold(p, 0, 3, 1),
        expect!["step 2 `attended`: expected rows of at least one column, found none"],
    );
    breaks(
        |p| unfold(p, 2, u32::MAX, 1),
        expect!["step 2 `attended`: output: expected 8589934590 columns, found 4"],
    );
    let norm = |p: &mut Program, eps| {
        p.steps[2].operands = vec![view(1, 0, 4), Operand::Weight(2)];
        p.steps[2].kernel = Kernel::RmsNorm { width: 4, eps };
    };
    keeps(|p| norm(p, 1e-6));
    breaks(
        |p| norm(p, -1.0),
        expect!["step 2 `attended`: expected eps to be finite and not negative, found -1"],
    );
}
