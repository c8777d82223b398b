//! Each rule of a program, broken once. Rules of single kernels are in `rules_of_kernels`.

use bytec_plan::check::check;
use bytec_plan::extent::{Extent, Rows, Term};
use bytec_plan::program::{DType, InputSpec, Layout, Need, Operand, Program};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value;

use crate::sample::{self, RAGGED, view};

/// The sample after `edit` is refused with this message.
pub(crate) fn breaks(edit: impl FnOnce(&mut Program), message: Expect) {
    let (mut program, weights) = sample::program();
    edit(&mut program);
    let error = check(&program, sample::sizes(&weights)).expect_err("the edit breaks a rule");
    message.assert_eq(&error.to_string());
}

/// The sample after `edit` is still right.
pub(crate) fn keeps(edit: impl FnOnce(&mut Program)) {
    let (mut program, weights) = sample::program();
    edit(&mut program);
    check(&program, sample::sizes(&weights)).expect("the edit breaks no rule");
}

fn sum(terms: &[(i64, &[Extent])]) -> Extent {
    let term = |(coefficient, factors): &(i64, &[Extent])| Term {
        coefficient: *coefficient,
        factors: factors.to_vec(),
    };
    Extent::Sum(terms.iter().map(term).collect())
}

#[test]
fn the_sample_is_right() {
    keeps(|_| {});
}

#[test]
fn names() {
    breaks(
        |p| p.entry.clear(),
        expect! {"entry 0 ``: expected a name of 1 to 1024 bytes, found 0"},
    );
    breaks(
        |p| p.steps[3].name = "x".repeat(1025),
        expect! {"step 3 `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx`: expected a name of 1 to 1024 bytes, found 1025"},
    );
    breaks(
        |p| p.symbols.push(p.symbols[0].clone()),
        expect! {"symbol 1 `L`: expected a name of its own, found the name of symbol 0"},
    );
    breaks(
        |p| p.inputs.push(p.inputs[0].clone()),
        expect! {"input 1 `input_ids`: expected a name of its own, found the name of input 0"},
    );
    breaks(
        |p| p.outputs[1].name = "embedding".to_owned(),
        expect! {"output 1 `embedding`: expected a name of its own, found the name of output 0"},
    );
    keeps(|p| p.weights[1].name = p.weights[0].name.clone());
}

#[test]
fn the_program_itself() {
    breaks(
        |p| p.dtype = DType::I64,
        expect! {"program: expected buffers of a float type that its device has, found i64"},
    );
    breaks(|p| p.outputs.clear(), expect! {"program: expected at least one output, found none"});
    breaks(
        |p| p.symbols[0].min = 9,
        expect! {"symbol 0 `L`: expected its least value 9 to be at most its largest, found 8"},
    );
}

#[test]
fn extents() {
    breaks(
        |p| p.extents[0] = Extent::Symbol(1),
        expect! {"extent 0: expected an index of symbols below 1, found 1"},
    );
    breaks(
        |p| p.extents[0] = Extent::CeilDiv(Box::new(Extent::Symbol(0)), 0),
        expect! {"extent 0: expected divisors above zero, found 0"},
    );
    breaks(
        |p| p.extents[0] = sum(&[(1, &[Extent::FloorDiv(Box::new(Extent::Fixed(1)), 0)])]),
        expect! {"extent 0: expected divisors above zero, found 0"},
    );
    breaks(
        |p| p.outputs[1].shape[0] = Extent::Symbol(7),
        expect! {"output 1 `last`: expected an index of symbols below 1, found 7"},
    );
}

#[test]
fn inputs() {
    breaks(
        |p| p.inputs[0].shape[0] = Extent::Symbol(1),
        expect! {"input 0 `input_ids`: expected an index of symbols below 1, found 1"},
    );
    breaks(
        |p| p.inputs[0].rows = Rows::Ragged(1),
        expect! {"input 0 `input_ids`: expected an index of extents below 1, found 1"},
    );
    breaks(
        |p| p.inputs[0].width = 0,
        expect! {"input 0 `input_ids`: expected rows of at least one column, found none"},
    );
    breaks(
        |p| p.inputs[0].width = u64::MAX / 4,
        expect! {"input 0 `input_ids`: expected a size in bytes below 2^64, found a larger one"},
    );
    breaks(
        |p| p.inputs[0].below = Some(0),
        expect! {"input 0 `input_ids`: expected an integer bound above zero on integers, found 0 on i64"},
    );
    breaks(
        |p| p.inputs[0].dtype = DType::F32,
        expect! {"input 0 `input_ids`: expected an integer bound above zero on integers, found 6 on f32"},
    );
    breaks(
        |p| p.inputs[0].default = Some(6),
        expect! {"input 0 `input_ids`: expected a default from 0 to below 6, found 6"},
    );
    breaks(
        |p| p.inputs[0].default = Some(-1),
        expect! {"input 0 `input_ids`: expected a default from 0 to below 6, found -1"},
    );
    keeps(|p| p.inputs[0].default = Some(5));
    breaks(
        |p| p.inputs[0].shape.push(Extent::Fixed(2)),
        expect! {"input 0 `input_ids`: expected a shape of as many elements as its rows hold: 1 in a sample of L = 1, found 2"},
    );
    breaks(
        |p| p.inputs[0].shape[0] = Extent::Fixed(1),
        expect! {"input 0 `input_ids`: expected a shape of as many elements as its rows hold: 8 in a sample of L = 8, found 1"},
    );
}

#[test]
fn outputs() {
    breaks(
        |p| p.outputs[0].buffer = 9,
        expect! {"output 0 `embedding`: expected an index of buffers below 9, found 9"},
    );
    breaks(
        |p| p.outputs[0].shape[0] = Extent::Fixed(5),
        expect! {"output 0 `embedding`: expected a shape of as many elements as its rows hold: 4 in a sample of L = 1, found 5"},
    );
    breaks(
        |p| p.outputs[1].shape[0] = sum(&[(1, &[Extent::Symbol(0), Extent::Symbol(0)])]),
        expect! {"output 1 `last`: expected a shape of as many elements as its rows hold: 32 in a sample of L = 8, found 256"},
    );
    // Sizes without a value in any sample can't be compared.
    keeps(|p| p.outputs[1].shape[0] = sum(&[(-1, &[Extent::Symbol(0)])]));
    keeps(|p| {
        p.outputs[1].shape[0] = sum(&[(2, &[Extent::Symbol(0)]), (-1, &[Extent::Symbol(0)])]);
    });
}

#[test]
fn weights() {
    breaks(
        |p| p.weights[0].shape = vec![u64::MAX, 2],
        expect! {"weight 0 `words`: expected a size in bytes below 2^64, found a larger one"},
    );
    breaks(
        |p| p.weights[0].shape = vec![u64::MAX / 2],
        expect! {"weight 0 `words`: expected a size in bytes below 2^64, found a larger one"},
    );
    breaks(
        |p| p.weights[4].layout = Layout::Panels { width: 0 },
        expect! {"weight 4 `qkv`: expected panels of at least one output of a matrix, found panels of 0 of 2 axes"},
    );
    breaks(
        |p| p.weights[2].layout = Layout::Panels { width: 4 },
        expect! {"weight 2 `gamma`: expected panels of at least one output of a matrix, found panels of 4 of 1 axes"},
    );
    breaks(
        |p| p.weights[4].layout = Layout::Panels { width: u32::MAX },
        expect! {"weight 4 `qkv`: expected 68719476720 bytes for its shape, type and layout, found 256"},
    );
    breaks(
        |p| p.weights[4].layout = Layout::RowMajor,
        expect! {"weight 4 `qkv`: expected 192 bytes for its shape, type and layout, found 256"},
    );
    breaks(
        |p| p.weights[0].bytes = 95,
        expect! {"weight 0 `words`: expected 96 bytes for its shape, type and layout, found 95"},
    );
    breaks(
        |p| p.weights[1].offset += 4,
        expect! {"weight 1 `positions`: expected an offset that is a multiple of 256, found 260"},
    );
    breaks(
        |p| p.weights[6].offset += 256,
        expect! {"weight 6 `half`: expected to end inside its section of 1540 bytes, found 4 bytes from 1792"},
    );
    breaks(
        |p| p.weights[6].offset = u64::MAX - 255,
        expect! {"weight 6 `half`: expected to end inside its section of 1540 bytes, found 4 bytes from 18446744073709551360"},
    );
    breaks(
        |p| p.weights[0].hash.truncate(63),
        expect! {"weight 0 `words`: expected a hash of 64 hexadecimal digits in lower case, found `7d16592798633cb204adb0a7aa34cf2db12835b3234d5b03d95c69815f6c836`"},
    );
    breaks(
        |p| p.weights[0].hash.make_ascii_uppercase(),
        expect! {"weight 0 `words`: expected a hash of 64 hexadecimal digits in lower case, found `7D16592798633CB204ADB0A7AA34CF2DB12835B3234D5B03D95C69815F6C8361`"},
    );
}

#[test]
fn slots_and_buffers() {
    breaks(
        |p| p.slots[0].needs[0].rows = Rows::Ragged(1),
        expect! {"slot 0: expected an index of extents below 1, found 1"},
    );
    breaks(
        |p| p.slots[0].needs.push(Need { rows: RAGGED, bytes_per_row: 4 }),
        expect! {"slot 0: expected one need for each kind of rows, found two for rows by extent 0"},
    );
    breaks(
        |p| p.buffers[0].rows = Rows::Ragged(1),
        expect! {"buffer 0 `embedded`: expected an index of extents below 1, found 1"},
    );
    breaks(
        |p| p.buffers[0].width = 0,
        expect! {"buffer 0 `embedded`: expected rows of at least one column, found none"},
    );
    breaks(
        |p| p.buffers[0].width = u64::MAX / 2,
        expect! {"buffer 0 `embedded`: expected a size in bytes below 2^64, found a larger one"},
    );
    breaks(
        |p| p.buffers[0].slot = 4,
        expect! {"buffer 0 `embedded`: expected an index of slots below 4, found 4"},
    );
    breaks(
        |p| p.slots[1].needs[0].bytes_per_row = 50,
        expect! {"slot 1: expected bytes of a row that are a multiple of 4, found 50"},
    );
    breaks(
        |p| p.slots[1].needs[0].bytes_per_row = 44,
        expect! {"buffer 1 `qkv`: expected slot 1 to have 48 bytes for each of its rows, found 44"},
    );
    breaks(
        |p| p.slots[3].needs[0].rows = RAGGED,
        expect! {"buffer 5 `embedding`: expected slot 3 to have 16 bytes for each of its rows, found 0"},
    );
    keeps(|p| p.slots[3].needs.push(Need { rows: RAGGED, bytes_per_row: 4 }));
}

#[test]
fn lives() {
    breaks(
        |p| p.steps.swap(1, 2),
        expect! {"step 1 `attended`: expected to read what an earlier step wrote, found buffer 1"},
    );
    breaks(
        |p| p.steps.push(p.steps[8].clone()),
        expect! {"step 9 `last`: expected to write a buffer of its own, found buffer 8 that step 8 writes"},
    );
    breaks(
        |p| p.steps[1].operands[0] = view(3, 0, 4),
        expect! {"step 1 `qkv`: expected to read what an earlier step wrote, found buffer 3"},
    );
    breaks(
        |p| p.steps[3].operands[0] = view(3, 0, 4),
        expect! {"step 3 `normed`: expected to read what an earlier step wrote, found buffer 3"},
    );
    breaks(
        |p| p.steps.truncate(5),
        expect! {"output 0 `embedding`: expected to read what an earlier step wrote, found buffer 5"},
    );
    // The step's own operand lies in the slot it writes.
    breaks(
        |p| p.buffers[2].slot = 1,
        expect! {"step 2 `attended`: expected slot 1 to be free, found buffer 1 in it, which is needed later or read here"},
    );
    // An operand of a later step does.
    breaks(
        |p| p.buffers[2].slot = 0,
        expect! {"step 2 `attended`: expected slot 0 to be free, found buffer 0 in it, which is needed later or read here"},
    );
    // What is given out does.
    breaks(
        |p| p.outputs[1].buffer = 6,
        expect! {"step 8 `last`: expected slot 1 to be free, found buffer 6 in it, which is needed later or read here"},
    );
    keeps(|p| {
        p.steps.pop();
        p.outputs[1].buffer = 6;
    });
    // A buffer that nothing reads still takes its slot while it is written.
    breaks(
        |p| {
            p.steps[3].operands[0] = view(0, 0, 4);
            p.buffers[2].slot = 1;
            p.steps[2].operands = vec![view(0, 0, 4), view(1, 0, 4), view(1, 0, 4)];
        },
        expect! {"step 2 `attended`: expected slot 1 to be free, found buffer 1 in it, which is needed later or read here"},
    );
}

#[test]
fn steps_point_at_what_is_there() {
    breaks(
        |p| p.steps[0].output = 9,
        expect! {"step 0 `embedded`: expected an index of buffers below 9, found 9"},
    );
    breaks(
        |p| p.steps[1].operands[0] = view(9, 0, 4),
        expect! {"step 1 `qkv`: expected an index of buffers below 9, found 9"},
    );
    breaks(
        |p| p.steps[1].operands[0] = Operand::Input(1),
        expect! {"step 1 `qkv`: expected an index of inputs below 1, found 1"},
    );
    breaks(
        |p| p.steps[1].operands[1] = Operand::Weight(7),
        expect! {"step 1 `qkv`: expected an index of weights below 7, found 7"},
    );
    breaks(
        |p| p.steps[2].operands[2] = view(1, 9, 4),
        expect! {"step 2 `attended`: operand 2: expected columns below 12, found 4 columns from 9"},
    );
    breaks(
        |p| p.steps[2].operands[2] = view(1, u64::MAX, 4),
        expect! {"step 2 `attended`: operand 2: expected columns below 12, found 4 columns from 18446744073709551615"},
    );
}

/// The sample with an input of floats in place of the first buffer.
pub(crate) fn with_floats(p: &mut Program) {
    p.inputs.push(InputSpec {
        name: "features".to_owned(),
        dtype: DType::F32,
        shape: vec![Extent::Symbol(0), Extent::Fixed(4)],
        rows: RAGGED,
        width: 4,
        default: None,
        below: None,
    });
    p.steps[1].operands[0] = Operand::Input(1);
}

/// Places in a JSON value, as the steps to get there.
fn places(value: &Value, here: &mut Vec<String>, all: &mut Vec<String>) {
    all.push(here.iter().map(|part| format!("/{part}")).collect());
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(i, item)| (i.to_string(), item)).collect()
        }
        Value::Object(fields) => fields.iter().map(|(key, item)| (key.clone(), item)).collect(),
        _ => Vec::new(),
    };
    for (part, child) in children {
        here.push(part);
        places(child, here, all);
        here.pop();
    }
}

fn numbers() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0u64..20).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3i64..0).prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        Just(Value::from(u64::MAX)),
        Just(Value::from(u32::MAX)),
        Just(Value::Null),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the numbers are and whatever is missing or moved: an answer, and no panic.
    #[test]
    fn changed_programs_do_not_panic(
        edits in prop::collection::vec((any::<usize>(), any::<usize>(), 0u8..4, numbers()), 1..4),
        in_int8 in any::<bool>(),
    ) {
        let (mut program, weights) = sample::program();
        if in_int8 {
            crate::rules_of_int8::quads(&mut program);
        }
        let mut value = serde_json::to_value(&program).unwrap();
        for (at, other, how, number) in edits {
            let mut all = Vec::new();
            places(&value, &mut Vec::new(), &mut all);
            let from = value.pointer(&all[other % all.len()]).unwrap().clone();
            let place = value.pointer_mut(&all[at % all.len()]).unwrap();
            match (how, &mut *place) {
                (0, Value::Array(items)) => { items.pop(); }
                (1, Value::Array(items)) if !items.is_empty() => items.push(items[0].clone()),
                (2, _) => *place = from,
                _ => *place = number,
            }
        }
        if let Ok(program) = serde_json::from_value::<Program>(value) {
            let _ = check(&program, sample::sizes(&weights));
        }
    }
}
