//! The reader of archives of torch.export, on programs cut out of the cases' archives.

use bytec_compiler::FrontOptions;
use bytec_compiler::front::pt2;
use bytec_ir::sample::Random;
use bytec_tests::archives::{Members, PROGRAM};
use bytec_trace::{LiftOptions, lift};
use serde_json::{Map, Value, json};

use super::{Reached, Subject, mutate, packed};

/// What an edit of a program may put in: values, keys of unions, sizes, ops.
const PIECES: &[&str] = &[
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "0",
    "-1",
    "1e308",
    "9223372036854775807",
    "-9223372036854775808",
    "\"as_int\"",
    "\"as_ints\"",
    "\"as_none\"",
    "\"as_tensor\"",
    "\"as_tensors\"",
    "\"as_sym_int\"",
    "\"as_float\"",
    "\"as_bool\"",
    "\"as_graph\"",
    "\"as_optional_tensors\"",
    "\"as_name\"",
    "\"Infinity\"",
    "true",
    "null",
    "12",
    "7",
    "5",
    "Integer(0)",
    "Integer(-9223372036854775807)",
    "Symbol('s1', integer=True)",
    "FloorDiv(",
    "Mul(",
    "Add(",
    "Pow(",
    "Rational(1, 2)",
    "Mod(",
    "slice.Tensor",
    "select.int",
    "reshape.default",
    "cat.default",
    "stack.default",
    "index.Tensor",
    "add_.Tensor",
    "transpose.int",
    "conv2d.default",
    "pad.default",
    "roll.default",
    "glu.default",
    "var.correction",
    "split.Tensor",
    "repeat_interleave.self_int",
    "scaled_dot_product_attention.default",
    "layer_norm.default",
    "batch_norm.default",
    "arange.start_step",
    "diff.default",
    "tril.default",
    "enable_gqa",
    "dim",
    "self",
    "end",
    "start",
    "index",
    "repeats",
];

/// What a number or a text of a program may become: what such a place holds elsewhere, or what no place should.
const NUMBERS: &[i64] = &[0, 1, 2, 3, 7, 12, -1, -2, 1 << 40, i64::MAX, i64::MIN];

/// Programs of a few nodes each.
pub(super) struct Archives {
    programs: Vec<Value>,
}

impl Archives {
    pub(super) fn new() -> Self {
        let mut programs = Vec::new();
        for case in ["bert", "deberta_v2", "roberta", "t5_encoder", "vit"] {
            let mut members = Members::of_case(case);
            let whole: Value =
                serde_json::from_slice(members.get(PROGRAM)).expect("a case's program is JSON");
            let nodes = whole["graph_module"]["graph"]["nodes"].as_array().map_or(0, Vec::len);
            programs.extend((0..nodes).step_by(2).map(|from| cut(&whole, from, 1 + from % 5)));
            // Long enough for an attention with what leads to its scores.
            programs.extend((0..nodes).step_by(12).map(|from| cut(&whole, from, 30)));
        }
        Self { programs }
    }
}

/// The schema's number for f32.
const FLOAT: i64 = 7;

/// The program of `count` nodes from this one: what they read of others is an input, all their results are outputs.
fn cut(whole: &Value, from: usize, count: usize) -> Value {
    let graph = &whole["graph_module"]["graph"];
    let nodes: Vec<Value> = graph["nodes"]
        .as_array()
        .map(|nodes| nodes.iter().skip(from).take(count).cloned().collect())
        .unwrap_or_default();
    let (mut read, mut made, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for node in &nodes {
        let inputs = node["inputs"].as_array().into_iter().flatten();
        inputs.for_each(|input| names(&input["arg"], &mut read, &mut sizes));
        names(&node["outputs"], &mut made, &mut sizes);
    }
    read.retain(|name| !made.contains(name));
    read.sort_unstable();
    read.dedup();
    let kept = |of: &Value, names: &[&str]| -> Map<String, Value> {
        names.iter().filter_map(|&name| Some((name.to_owned(), of.get(name)?.clone()))).collect()
    };
    let tensors: Vec<&str> = read.iter().chain(&made).copied().collect();
    let argument = |name: &&str| json!({"arg": {"as_tensor": {"name": name}}});
    let inputs: Vec<Value> =
        read.iter().map(|name| json!({"user_input": argument(name)})).collect();
    // Outputs of a plan are floats; where a part makes some, the rest leads to them or is not needed.
    let float = |name: &&&str| graph["tensor_values"][**name]["dtype"] == json!(FLOAT);
    let floats: Vec<&str> = made.iter().filter(float).copied().collect();
    let given = if floats.is_empty() { &made } else { &floats };
    let outputs: Vec<Value> =
        given.iter().map(|name| json!({"user_output": argument(name)})).collect();
    json!({
        "graph_module": {
            "graph": {
                "tensor_values": kept(&graph["tensor_values"], &tensors),
                "sym_int_values": kept(&graph["sym_int_values"], &sizes),
                "nodes": nodes,
            },
            "signature": {"input_specs": inputs, "output_specs": outputs},
        },
        "range_constraints": whole["range_constraints"],
        "schema_version": {"major": 8},
    })
}

/// The tensors and the sizes that a value of the program names.
fn names<'v>(value: &'v Value, tensors: &mut Vec<&'v str>, sizes: &mut Vec<&'v str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| names(value, tensors, sizes)),
        Value::Object(fields) => {
            tensors.extend(fields.get("name").and_then(Value::as_str));
            sizes.extend(fields.get("as_name").and_then(Value::as_str));
            fields.values().for_each(|value| names(value, tensors, sizes));
        }
        _ => {}
    }
}

/// Every number and text under a value.
fn leaves<'v>(value: &'v mut Value, found: &mut Vec<&'v mut Value>) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| leaves(value, found)),
        Value::Object(fields) => fields.values_mut().for_each(|value| leaves(value, found)),
        Value::Number(_) | Value::String(_) | Value::Bool(_) => found.push(value),
        Value::Null => {}
    }
}

/// Gives a few places of the graph what another place of the same sort holds, or an odd number.
fn edit_values(program: &mut Value, random: &mut Random) {
    let graph = &mut program["graph_module"]["graph"];
    for _ in 0..1 + random.below(3) {
        let part = random.pick(&["nodes", "nodes", "nodes", "tensor_values", "sym_int_values"]);
        let mut places = Vec::new();
        leaves(&mut graph[part], &mut places);
        if places.is_empty() {
            continue;
        }
        let other = places[random.below(places.len())].clone();
        let at = random.below(places.len());
        let place = &mut *places[at];
        match place {
            Value::Bool(value) => *value = !*value,
            Value::String(_) if other.is_string() => *place = other,
            Value::Number(_) if random.chance(50) && other.is_number() => *place = other,
            Value::Number(_) => *place = json!(random.pick(NUMBERS)),
            _ => {}
        }
    }
}

impl Subject for Archives {
    /// Mostly the program is edited, as values or as text under a right checksum; sometimes the zip file itself.
    fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let program = &self.programs[random.below(self.programs.len())];
        let kind = random.below(100);
        if kind < 60 {
            let mut program = program.clone();
            edit_values(&mut program, random);
            return Members::of_program(&program).to_file();
        }
        let mut members = Members::of_program(program);
        if kind < 85 {
            mutate::edit(members.get(PROGRAM), PIECES, random);
            return members.to_file();
        }
        let mut file = members.to_file();
        // The records of the directory are at the end.
        let at = file.len() - 1 - random.below(file.len().min(600));
        for byte in file.iter_mut().skip(at).take(1 + random.below(4)) {
            *byte = random.pick(&[0, 1, 0x7f, 0xff, b'P', b'/', b'.']);
        }
        file
    }

    fn read(&self, input: &[u8]) -> Reached {
        let Ok(archive) = pt2::Archive::parse(input) else { return Reached::Refused };
        let Ok(trace) = archive.trace(input, &FrontOptions::default()) else {
            return Reached::Refused;
        };
        match lift(&trace, &LiftOptions { tables: true, ..LiftOptions::default() }) {
            Ok(lifted) => packed(&lifted.graph),
            Err(_) => Reached::Read,
        }
    }
}
