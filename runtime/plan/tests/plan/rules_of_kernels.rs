//! What each kernel asks of its operands and its output, broken once each.

use bytec_plan::extent::{Extent, Rows, Term};
use bytec_plan::kernel::{Broadcast, IdSource, Instr, Kernel, Part, UnaryFn, Up};
use bytec_plan::program::{DType, Layout, Operand, Program, WeightSpec};
use expect_test::expect;

use crate::rules::{breaks, keeps, with_floats};
use crate::sample::{self, RAGGED, view};

/// Changes the kernel of a step through a pattern that it has.
macro_rules! with {
    ($step:literal, $pattern:pat => $change:expr) => {
        |p: &mut Program| {
            let $pattern = &mut p.steps[$step].kernel else { panic!("another kernel") };
            $change;
        }
    };
}

#[test]
fn operands_by_count_and_sort() {
    for step in 0..9 {
        let (mut program, weights) = crate::sample::program();
        program.steps[step].operands.push(Operand::Weight(0));
        let error = bytec_plan::check::check(&program, crate::sample::sizes(&weights)).unwrap_err();
        let name = program.steps[step].kernel.name();
        assert!(error.to_string().contains(&format!("operands for {name}, found")), "{error}");
    }
    breaks(
        |p| p.steps[3].operands.truncate(3),
        expect! {"step 3 `normed`: expected 4 operands for layer_norm, found 3"},
    );
    breaks(
        |p| p.steps[1].operands[0] = Operand::Weight(0),
        expect! {"step 1 `qkv`: operand 0: expected a view of a buffer or an input, found a weight"},
    );
    breaks(
        |p| p.steps[1].operands[1] = view(0, 0, 4),
        expect! {"step 1 `qkv`: operand 1: expected a weight, found a view of a buffer"},
    );
    breaks(
        |p| p.steps[1].operands[1] = Operand::Input(0),
        expect! {"step 1 `qkv`: operand 1: expected a weight, found an input"},
    );
    breaks(
        |p| p.steps[1].operands[0] = Operand::Input(0),
        expect! {"step 1 `qkv`: operand 0: expected elements of f32, found i64"},
    );
    breaks(
        |p| p.steps[0].operands[1] = Operand::Weight(0),
        expect! {"step 0 `embedded`: operand 1: expected an input of integers, found a weight"},
    );
    breaks(
        |p| p.steps[0].operands[1] = view(0, 0, 4),
        expect! {"step 0 `embedded`: operand 1: expected an input of integers, found a view of a buffer"},
    );
    breaks(
        |p| {
            p.weights[2] = {
                let mut w = p.weights[1].clone();
                w.dtype = DType::I64;
                w.shape = vec![16];
                w
            }
        },
        expect! {"step 0 `embedded`: operand 3: expected elements of f32, found i64"},
    );
    keeps(with_floats);
}

#[test]
fn operands_by_size() {
    breaks(
        |p| p.steps[1].operands[0] = view(0, 0, 3),
        expect! {"step 1 `qkv`: operand 0: expected 4 columns, found 3"},
    );
    breaks(
        |p| p.steps[3].operands[1] = view(5, 0, 4),
        expect! {"step 3 `normed`: operand 1: expected rows by extent 0, found one row a sample"},
    );
    breaks(
        |p| p.steps[3].operands[2] = Operand::Weight(5),
        expect! {"step 3 `normed`: operand 2: expected 4 elements, found 12"},
    );
    breaks(
        |p| {
            let mut weight = p.weights[1].clone();
            weight.shape = vec![4, 8];
            weight.layout = Layout::Panels { width: 4 };
            p.weights[0] = weight;
        },
        expect! {"step 0 `embedded`: operand 0: expected a weight in row-major layout, found panels"},
    );
    breaks(
        |p| {
            let mut weight = p.weights[1].clone();
            weight.shape = vec![1, 4];
            weight.layout = Layout::Panels { width: 8 };
            p.weights[2] = weight;
        },
        expect! {"step 0 `embedded`: operand 3: expected a weight in row-major layout, found panels"},
    );
}

#[test]
fn embed() {
    breaks(
        with!(0, Kernel::Embed { sources, .. } => sources.clear()),
        expect! {"step 0 `embedded`: expected at least one table, found none"},
    );
    breaks(
        |p| p.steps[0].operands[0] = Operand::Weight(2),
        expect! {"step 0 `embedded`: operand 0: expected a weight of shape [any, 4], found [4]"},
    );
    breaks(
        with!(0, Kernel::Embed { width, .. } => *width = 5),
        expect! {"step 0 `embedded`: operand 0: expected a weight of shape [any, 5], found [6, 4]"},
    );
    breaks(
        with!(0, Kernel::Embed { eps, .. } => *eps = Some(f32::INFINITY)),
        expect! {"step 0 `embedded`: expected eps to be finite and not negative, found inf"},
    );
    breaks(
        |p| p.inputs[0].below = None,
        expect! {"step 0 `embedded`: operand 1: expected an input with a bound on its ids, found none"},
    );
    breaks(
        |p| p.inputs[0].below = Some(7),
        expect! {"step 0 `embedded`: operand 1: expected ids below 6, the rows of the table, found ids below 7"},
    );
    breaks(
        |p| {
            p.inputs[0].rows = Rows::PerSample;
            p.inputs[0].shape.clear();
        },
        expect! {"step 0 `embedded`: operand 1: expected rows by extent 0, found one row a sample"},
    );
    breaks(
        |p| {
            p.inputs[0].width = 2;
            p.inputs[0].shape.push(Extent::Fixed(2));
        },
        expect! {"step 0 `embedded`: operand 1: expected 1 columns, found 2"},
    );
    breaks(
        |p| p.symbols[0].max = 9,
        expect! {"step 0 `embedded`: operand 2: expected 9 rows in the table, for the longest sample, found 8"},
    );
    let start = |start| with_sources(IdSource::Position { start });
    breaks(
        start(1),
        expect! {"step 0 `embedded`: operand 2: expected 9 rows in the table, for the longest sample, found 8"},
    );
    breaks(
        start(u32::MAX),
        expect! {"step 0 `embedded`: operand 2: expected 4294967303 rows in the table, for the longest sample, found 8"},
    );
    breaks(
        |p| p.extents[0] = product(&[0, 0, 0]),
        expect! {"input 0 `input_ids`: expected a shape of as many elements as its rows hold: 512 in a sample of L = 8, found 8"},
    );
    breaks(
        |p| {
            p.symbols[0].max = u64::MAX;
            p.extents[0] = product(&[0, 0, 0]);
            p.inputs[0].shape[0] = p.extents[0].clone();
            p.outputs[1].shape[0] = p.extents[0].clone();
        },
        expect! {"step 0 `embedded`: operand 2: expected 2^64 or more rows in the table, for the longest sample, found 8"},
    );
    // As many rows as the table has: 8 for halves of at most 16.
    keeps(|p| {
        p.symbols[0].max = 16;
        p.extents[0] = Extent::CeilDiv(Box::new(Extent::Symbol(0)), 2);
        p.inputs[0].shape[0] = p.extents[0].clone();
        p.outputs[1].shape[0] = p.extents[0].clone();
    });
    breaks(
        |p| {
            p.symbols[0].max = 18;
            p.extents[0] = Extent::FloorDiv(Box::new(Extent::Symbol(0)), 2);
            p.inputs[0].shape[0] = p.extents[0].clone();
            p.outputs[1].shape[0] = p.extents[0].clone();
        },
        expect! {"step 0 `embedded`: operand 2: expected 9 rows in the table, for the longest sample, found 8"},
    );
}

/// Of `L = 8` tokens and places from 1 on, the last row is the eighth: one more than the table of 8 has.
#[test]
fn places_of_ids() {
    let counted = |skip, max| {
        move |p: &mut Program| {
            let Kernel::Embed { sources, .. } = &mut p.steps[0].kernel else { panic!("embed") };
            sources[1] = IdSource::Place { skip };
            let ids = p.steps[0].operands[1];
            p.steps[0].operands.insert(3, ids);
            p.symbols[0].max = max;
        }
    };
    keeps(counted(0, 7));
    breaks(
        counted(0, 8),
        expect! {"step 0 `embedded`: operand 2: expected 9 rows in the table, for the longest sample, found 8"},
    );
    breaks(
        counted(u32::MAX, 8),
        expect! {"step 0 `embedded`: operand 2: expected 4294967304 rows in the table, for the longest sample, found 8"},
    );
    breaks(
        |p| {
            counted(0, 7)(p);
            p.steps[0].operands[3] = view(0, 0, 1);
        },
        expect! {"step 0 `embedded`: operand 3: expected an input of integers, found a view of a buffer"},
    );
}

fn with_sources(second: IdSource) -> impl FnOnce(&mut Program) {
    move |p| {
        let Kernel::Embed { sources, .. } = &mut p.steps[0].kernel else { panic!("embed") };
        sources[1] = second;
    }
}

fn product(symbols: &[u32]) -> Extent {
    let factors = symbols.iter().map(|symbol| Extent::Symbol(*symbol)).collect();
    Extent::Sum(vec![Term { coefficient: 1, factors }])
}

#[test]
fn linear() {
    let pairs = |p: &mut Program| {
        p.weights[4].layout = Layout::Pairs { width: 8 };
        p.weights[4].dtype = DType::Bf16;
        p.weights[4].bytes = 2 * 2 * 8 * 2 * 2;
    };
    keeps(pairs);
    breaks(
        |p| p.weights[4].layout = Layout::Pairs { width: 8 },
        expect! {"step 1 `qkv`: operand 1: expected elements of bf16, found f32"},
    );
    breaks(
        |p| {
            pairs(p);
            p.weights[4].layout = Layout::Pairs { width: 0 };
        },
        expect! {"weight 4 `qkv`: expected panels of at least one output of a matrix, found panels of 0 of 2 axes"},
    );
    breaks(
        |p| {
            pairs(p);
            p.weights[4].layout = Layout::Pairs { width: u32::MAX };
        },
        expect! {"weight 4 `qkv`: expected 34359738360 bytes for its shape, type and layout, found 128"},
    );
    breaks(
        |p| {
            pairs(p);
            p.steps[1].operands[1] = Operand::Weight(9);
        },
        expect! {"step 1 `qkv`: expected an index of weights below 7, found 9"},
    );
    breaks(
        with!(1, Kernel::Linear { n, .. } => *n = 11),
        expect! {"step 1 `qkv`: operand 1: expected a weight of shape [11, 4], found [12, 4]"},
    );
    breaks(
        with!(1, Kernel::Linear { k, .. } => *k = 5),
        expect! {"step 1 `qkv`: operand 0: expected 5 columns, found 4"},
    );
    breaks(
        |p| p.steps[1].operands[1] = Operand::Weight(0),
        expect! {"step 1 `qkv`: operand 1: expected a weight of shape [12, 4], found [6, 4]"},
    );
    breaks(
        |p| p.steps[1].operands[2] = Operand::Weight(2),
        expect! {"step 1 `qkv`: operand 2: expected 12 elements, found 4"},
    );
    breaks(
        |p| p.steps[1].output = 5,
        expect! {"step 1 `qkv`: operand 0: expected one row a sample, found rows by extent 0"},
    );
    breaks(
        |p| p.steps[1].output = 2,
        expect! {"step 1 `qkv`: output: expected 12 columns, found 4"},
    );
}

#[test]
fn linear_layer_norm() {
    // The norm's step as one kernel with a linear of the same rows.
    let whole = |p: &mut Program| {
        let weight = p.weights[4].clone();
        let layout = Layout::RowMajor;
        p.weights.push(WeightSpec { shape: vec![4, 4], layout, bytes: 64, ..weight });
        let square = Operand::Weight(p.weights.len() as u32 - 1);
        let [x, residual, gamma, beta] = p.steps[3].operands[..] else { panic!("four operands") };
        p.steps[3].operands = vec![x, square, residual, gamma, beta];
        p.steps[3].kernel =
            Kernel::LinearLayerNorm { n: 4, k: 4, bias: false, eps: 1e-12, up: None };
    };
    keeps(whole);
    let broken = |change: fn(&mut Program)| {
        move |p: &mut Program| {
            whole(p);
            change(p);
        }
    };
    breaks(
        broken(with!(3, Kernel::LinearLayerNorm { eps, .. } => *eps = f32::INFINITY)),
        expect! {"step 3 `normed`: expected eps to be finite and not negative, found inf"},
    );
    breaks(
        broken(with!(3, Kernel::LinearLayerNorm { bias, .. } => *bias = true)),
        expect! {"step 3 `normed`: expected 6 operands for linear_layer_norm, found 5"},
    );
    breaks(
        broken(with!(3, Kernel::LinearLayerNorm { k, .. } => *k = 5)),
        expect! {"step 3 `normed`: operand 0: expected 5 columns, found 4"},
    );
    breaks(
        broken(with!(3, Kernel::LinearLayerNorm { n, .. } => *n = 5)),
        expect! {"step 3 `normed`: operand 1: expected a weight of shape [5, 4], found [4, 4]"},
    );
    breaks(
        broken(|p| p.steps[3].operands[2] = view(5, 0, 4)),
        expect! {"step 3 `normed`: operand 2: expected rows by extent 0, found one row a sample"},
    );
    breaks(
        broken(|p| p.steps[3].operands[4] = Operand::Weight(5)),
        expect! {"step 3 `normed`: operand 4: expected 4 elements, found 12"},
    );
}

#[test]
fn a_linear_that_a_step_names() {
    let whole = sample::name_up;
    keeps(whole);
    let broken = |change: fn(&mut Program)| {
        move |p: &mut Program| {
            whole(p);
            change(p);
        }
    };
    breaks(
        broken(|p| p.steps[3].operands.truncate(7)),
        expect! {"step 3 `normed`: expected 8 operands for linear_layer_norm, found 7"},
    );
    breaks(
        broken(with!(3, Kernel::LinearLayerNorm { up: Some(Up { k, .. }), .. } => *k = 5)),
        expect! {"step 3 `normed`: operand 5: expected 5 columns, found 4"},
    );
    let others: [fn(&mut Program); 5] = [
        |p| p.steps[3].operands[7] = Operand::Weight(3),
        |p| p.steps[3].operands[0] = view(0, 0, 4),
        |p| p.outputs[1].buffer = 2,
        |p| p.steps[4].operands[0] = view(2, 0, 4),
        with!(2, Kernel::Linear { epilogue, .. } => epilogue.clear()),
    ];
    for other in others {
        breaks(
            broken(other),
            expect! {"step 3 `normed`: expected operand 0 to be all that a linear gives whose operands come last, and that nothing else reads, found another"},
        );
    }
}

#[test]
fn attention() {
    breaks(
        with!(2, Kernel::Attention { heads, .. } => *heads = 0),
        expect! {"step 2 `attended`: expected at least one head of at least one column, found 0 heads of 2"},
    );
    breaks(
        with!(2, Kernel::Attention { head_size, .. } => *head_size = 0),
        expect! {"step 2 `attended`: expected at least one head of at least one column, found 2 heads of 0"},
    );
    breaks(
        with!(2, Kernel::Attention { heads, head_size, .. } => {
            *heads = u32::MAX;
            *head_size = u32::MAX;
        }),
        expect! {"step 2 `attended`: operand 0: expected 18446744065119617025 columns, found 4"},
    );
    breaks(
        with!(2, Kernel::Attention { scale, .. } => *scale = f32::NAN),
        expect! {"step 2 `attended`: expected scale to be finite, found NaN"},
    );
    keeps(with!(2, Kernel::Attention { scale, .. } => *scale = -1.0));
    breaks(
        with!(2, Kernel::Attention { group, .. } => *group = 0),
        expect! {"step 2 `attended`: expected a group that divides 2 heads, found 0"},
    );
    breaks(
        with!(2, Kernel::Attention { group, .. } => *group = 3),
        expect! {"step 2 `attended`: expected a group that divides 2 heads, found 3"},
    );
    breaks(
        with!(2, Kernel::Attention { group, .. } => *group = 2),
        expect! {"step 2 `attended`: operand 1: expected 2 columns, found 4"},
    );
    keeps(|p| {
        with!(2, Kernel::Attention { group, .. } => *group = 2)(p);
        p.steps[2].operands[1] = view(1, 4, 2);
        p.steps[2].operands[2] = view(1, 6, 2);
    });
    breaks(
        |p| p.steps[2].operands[0] = view(5, 0, 4),
        expect! {"step 2 `attended`: operand 0: expected rows by extent 0, found one row a sample"},
    );
    breaks(
        |p| p.steps[2].operands[2] = view(5, 0, 4),
        expect! {"step 2 `attended`: operand 2: expected rows by extent 0, found one row a sample"},
    );
}

#[test]
fn norms() {
    breaks(
        with!(3, Kernel::LayerNorm { eps, .. } => *eps = -1.0),
        expect! {"step 3 `normed`: expected eps to be finite and not negative, found -1"},
    );
    breaks(
        with!(3, Kernel::LayerNorm { width, .. } => *width = 3),
        expect! {"step 3 `normed`: operand 0: expected 3 columns, found 4"},
    );
    breaks(
        with!(3, Kernel::LayerNorm { residual, .. } => *residual = false),
        expect! {"step 3 `normed`: expected 3 operands for layer_norm, found 4"},
    );
    breaks(
        with!(8, Kernel::L2Normalize { eps, .. } => *eps = f32::NAN),
        expect! {"step 8 `last`: expected eps to be finite and not negative, found NaN"},
    );
    breaks(
        with!(8, Kernel::L2Normalize { width, .. } => *width = 0),
        expect! {"step 8 `last`: operand 0: expected 0 columns, found 4"},
    );
    breaks(
        with!(7, Kernel::Softmax { width } => *width = 5),
        expect! {"step 7 `shares`: operand 0: expected 5 columns, found 4"},
    );
}

#[test]
fn pool() {
    breaks(
        with!(5, Kernel::Pool { normalize, .. } => *normalize = Some(f32::NEG_INFINITY)),
        expect! {"step 5 `embedding`: expected normalize to be finite and not negative, found -inf"},
    );
    breaks(
        |p| p.buffers[4].rows = Rows::PerSample,
        expect! {"buffer 4 `scaled`: expected slot 0 to have 16 bytes for each of its rows, found 0"},
    );
    breaks(
        |p| {
            p.steps.truncate(6);
            p.steps[5].operands[0] = view(3, 0, 4);
            p.steps.remove(4);
            p.buffers[4].rows = Rows::PerSample;
            p.slots[0]
                .needs
                .push(bytec_plan::program::Need { rows: Rows::PerSample, bytes_per_row: 16 });
            p.steps[4].operands[0] = view(4, 0, 4);
        },
        expect! {"step 4 `embedding`: operand 0: expected ragged rows to pool, found one row a sample"},
    );
    breaks(
        |p| {
            p.buffers[5].rows = RAGGED;
            p.slots[3].needs[0].rows = RAGGED;
            p.outputs[0].shape.insert(0, Extent::Symbol(0));
        },
        expect! {"step 5 `embedding`: output: expected one row a sample, found rows by extent 0"},
    );
}

#[test]
fn pointwise() {
    breaks(
        with!(4, Kernel::Pointwise { body, .. } => body.clear()),
        expect! {"step 4 `scaled`: expected at least one instruction, found none"},
    );
    breaks(
        with!(4, Kernel::Pointwise { body, .. } => body[0] = Instr::Operand(3)),
        expect! {"step 4 `scaled`: instruction 0: expected an operand below 3, found 3"},
    );
    breaks(
        with!(4, Kernel::Pointwise { body, .. } => body[7] = Instr::Unary(UnaryFn::Neg, 7)),
        expect! {"step 4 `scaled`: instruction 7: expected to read an earlier instruction, found 7"},
    );
    breaks(
        with!(4, Kernel::Pointwise { body, .. } => body[0] = Instr::Unary(UnaryFn::Neg, 0)),
        expect! {"step 4 `scaled`: instruction 0: expected to read an earlier instruction, found 0"},
    );
    breaks(
        with!(4, Kernel::Pointwise { operands, .. } => operands[0] = Broadcast::Row),
        expect! {"step 4 `scaled`: operand 0: expected a weight, found a view of a buffer"},
    );
    breaks(
        with!(4, Kernel::Pointwise { operands, .. } => operands[0] = Broadcast::Sample),
        expect! {"step 4 `scaled`: operand 0: expected one row a sample, found rows by extent 0"},
    );
    breaks(
        with!(4, Kernel::Pointwise { operands, .. } => operands[1] = Broadcast::Full),
        expect! {"step 4 `scaled`: operand 1: expected a view of a buffer or an input, found a weight"},
    );
    breaks(
        with!(4, Kernel::Pointwise { operands, .. } => operands[1] = Broadcast::Scalar),
        expect! {"step 4 `scaled`: operand 1: expected 1 elements, found 4"},
    );
    breaks(
        with!(6, Kernel::Pointwise { operands, .. } => operands[1] = Broadcast::Full),
        expect! {"step 6 `centred`: operand 1: expected rows by extent 0, found one row a sample"},
    );
    breaks(
        with!(6, Kernel::Pointwise { width, .. } => *width = 3),
        expect! {"step 6 `centred`: operand 0: expected 3 columns, found 4"},
    );
}

/// The last step's kernel in place of it, over rows of 4 columns side by side with a weight.
fn concat(groups: u32, parts: &[(u32, bool)]) -> impl FnOnce(&mut Program) {
    let part = |(columns, weight): &(u32, bool)| Part { columns: *columns, weight: *weight };
    let parts = parts.iter().map(part).collect();
    move |p| {
        let step = p.steps.last_mut().expect("there are steps");
        step.kernel = Kernel::Concat { groups, parts };
    }
}

#[test]
fn columns_side_by_side() {
    keeps(concat(1, &[(4, false)]));
    keeps(concat(2, &[(2, false)]));
    breaks(
        concat(1, &[(3, false)]),
        expect! {"step 8 `last`: operand 0: expected 3 columns, found 4"},
    );
    breaks(
        concat(0, &[(4, false)]),
        expect! {"step 8 `last`: expected rows of at least one column, found none"},
    );
    breaks(
        concat(1, &[(0, false)]),
        expect! {"step 8 `last`: expected rows of at least one column, found none"},
    );
    breaks(
        concat(1, &[(4, true)]),
        expect! {"step 8 `last`: operand 0: expected a weight, found a view of a buffer"},
    );
    breaks(
        concat(1, &[(4, false), (4, true)]),
        expect! {"step 8 `last`: expected 2 operands for concat, found 1"},
    );
    breaks(
        |p| {
            concat(1, &[(4, false), (4, true)])(p);
            p.steps.last_mut().expect("there are steps").operands.push(Operand::Weight(2));
        },
        expect! {"step 8 `last`: output: expected 8 columns, found 4"},
    );
    breaks(
        |p| {
            concat(1, &[])(p);
            p.steps.last_mut().expect("there are steps").operands.clear();
        },
        expect! {"step 8 `last`: expected rows of at least one column, found none"},
    );
}
