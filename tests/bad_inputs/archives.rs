//! Archives of torch.export that are damaged, that lie, or whose program no plan can do.

use bytec_tests::archives::{Members, PROGRAM};
use serde_json::{Value, json};

use super::Row;

const WEIGHTS: &str = "model/data/weights/model_weights_config.json";
/// The parameter that the rows about tensors break.
const TABLE: &str = "model.embeddings.word_embeddings.weight";

/// A row over an archive of these bytes.
fn file(name: &str, bytes: Vec<u8>, says: &[&str]) -> Row {
    Row::new(name, "compile model.pt2 -o out/new.plan")
        .broken(move |scene| scene.write("model.pt2", &bytes))
        .fails(2, ["model.pt2"].iter().chain(says))
}

/// A row over the case `bert` with one thing changed.
fn archive(name: &str, change: impl FnOnce(&mut Members), says: &[&str]) -> Row {
    let mut members = Members::of_case("bert");
    change(&mut members);
    file(name, members.to_file(), says)
}

/// A row over the case `bert` with its bytes changed.
fn bytes(name: &str, change: impl FnOnce(&mut Vec<u8>), says: &[&str]) -> Row {
    let mut bytes = Members::of_case("bert").to_file();
    change(&mut bytes);
    file(name, bytes, says)
}

/// A row over the case `bert` with its program changed.
fn program(name: &str, change: impl FnOnce(&mut Value), says: &[&str]) -> Row {
    archive(name, |members| members.edit(PROGRAM, change), says)
}

/// A row over the case `bert` with the graph of its program changed.
fn graph(name: &str, change: impl FnOnce(&mut Value), says: &[&str]) -> Row {
    program(name, |program| change(&mut program["graph_module"]["graph"]), says)
}

/// A row over the case `bert` in which the first call of an op is another.
fn call(name: &str, op: &str, other: &str, arguments: Value, says: &[&str]) -> Row {
    let change = |graph: &mut Value| {
        let node = first(graph, op);
        node["target"] = format!("torch.ops.{other}").into();
        for (name, argument) in arguments.as_object().into_iter().flatten() {
            set(node, name, argument.clone());
        }
    };
    graph(name, change, says)
}

/// The first call of an op.
fn first<'g>(graph: &'g mut Value, op: &str) -> &'g mut Value {
    let target = format!("torch.ops.aten.{op}");
    let nodes = graph["nodes"].as_array_mut().expect("a graph has nodes");
    nodes.iter_mut().find(|node| node["target"] == *target).expect("the case calls it")
}

/// Gives a call an argument.
fn set(node: &mut Value, name: &str, argument: Value) {
    let inputs = node["inputs"].as_array_mut().expect("a call has arguments");
    inputs.retain(|input| input["name"] != name);
    inputs.push(json!({"name": name, "arg": argument, "kind": 2}));
}

/// A call of an op that the case doesn't make, with one result.
fn another(graph: &mut Value, result: &str, op: &str, arguments: Value) -> Value {
    let mut node = first(graph, "dropout.default").clone();
    node["target"] = format!("torch.ops.{op}").into();
    node["inputs"] = json!([]);
    for (name, argument) in arguments.as_object().into_iter().flatten() {
        set(&mut node, name, argument.clone());
    }
    node["outputs"] = json!([{"as_tensor": {"name": result}}]);
    node
}

/// Another result of the program.
fn output(program: &mut Value, spec: Value) {
    let outputs = program["graph_module"]["signature"]["output_specs"].as_array_mut();
    outputs.expect("a program has results").push(spec);
}

/// Where the last entry of the directory begins.
fn last_entry(bytes: &[u8]) -> usize {
    bytes.windows(4).rposition(|four| four == b"PK\x01\x02").expect("a directory has entries")
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = containers();
    rows.extend(contents());
    rows.extend(programs());
    rows.extend(calls());
    rows.extend(options());
    rows
}

fn containers() -> Vec<Row> {
    vec![
        bytes(
            "an archive cut short",
            |bytes| bytes.truncate(bytes.len() / 2),
            &["no end record", "cut short"],
        ),
        file("an archive without bytes", Vec::new(), &["no end record in the last 0 bytes"]),
        archive(
            "a member twice",
            |members| members.0.push(members.0[0].clone()),
            &["`model/data/weights/weight_0` appears twice"],
        ),
        archive(
            "a member outside the archive",
            |members| members.0.push(("model/../../passwd".to_owned(), Vec::new())),
            &["model/../../passwd", "without `..`"],
        ),
        bytes(
            "a compressed member",
            |bytes| {
                let entry = last_entry(bytes);
                bytes[entry + 10] = 8;
            },
            &["`model/.data/serialization_id`", "compressed by method 8"],
        ),
        bytes(
            "an encrypted member",
            |bytes| {
                let entry = last_entry(bytes);
                bytes[entry + 8] |= 1;
            },
            &["`model/.data/serialization_id`", "encrypted"],
        ),
        bytes(
            "a member longer than the file",
            |bytes| {
                let entry = last_entry(bytes);
                bytes[entry + 23] = 0x7f;
                bytes[entry + 27] = 0x7f;
            },
            &["the data of member `model/.data/serialization_id`", "past"],
        ),
        bytes(
            "a member inside another",
            |bytes| {
                // The first member grows over the second.
                let entry =
                    bytes.windows(4).position(|four| four == b"PK\x01\x02").expect("entries");
                for at in [22, 26] {
                    bytes[entry + at] = 1;
                }
            },
            &["inside `model/data/weights/weight_0`"],
        ),
        bytes(
            "a member that is another",
            |bytes| {
                let entry = last_entry(bytes);
                bytes[entry + 42..entry + 46].fill(0);
            },
            &[
                "`model/.data/serialization_id`",
                "its header says the name model/data/weights/weight_0",
            ],
        ),
        bytes("a flipped bit", |bytes| bytes[100] ^= 1, &["weight_0", "damaged", "checksum"]),
        bytes(
            "a directory of more members than it has",
            |bytes| {
                let end = bytes.len();
                bytes[end - 14] += 1;
                bytes[end - 12] += 1;
            },
            &["entry", "of the directory"],
        ),
    ]
}

fn contents() -> Vec<Row> {
    let word = |name: &str, member: &'static str, text: &'static str, says: &[&str]| {
        archive(name, |members| *members.get(member) = text.as_bytes().to_vec(), says)
    };
    let table = |name: &str, change: &dyn Fn(&mut Value), says: &[&str]| {
        archive(
            name,
            |members| members.edit(WEIGHTS, |config| change(&mut config["config"][TABLE])),
            says,
        )
    };
    vec![
        archive(
            "a pickled checkpoint",
            |members| members.0 = vec![("archive/data.pkl".to_owned(), b"\x80\x02}q.".to_vec())],
            &["not an archive of torch.export", "`archive_format`", "`archive/data.pkl`"],
        ),
        word(
            "an archive of another kind",
            "model/archive_format",
            "pt3",
            &["`archive_format`", "\"pt3\""],
        ),
        word(
            "an archive of the other byte order",
            "model/byteorder",
            "big",
            &["`byteorder`", "\"big\""],
        ),
        word(
            "a program that is no JSON",
            PROGRAM,
            "{\"graph_module\": [",
            &["models/model.json", "line 1"],
        ),
        archive(
            "two programs",
            |members| {
                let other = members.get(PROGRAM).clone();
                members.0.push(("model/models/other.json".to_owned(), other));
            },
            &["expected one program", "2: model, other"],
        ),
        program(
            "a program of a later schema",
            |program| program["schema_version"]["major"] = 9.into(),
            &["version 9", "expected version 8"],
        ),
        table(
            "a pickled tensor",
            &|payload| payload["use_pickle"] = true.into(),
            &[TABLE, "pickle"],
        ),
        table(
            "a tensor that is nowhere",
            &|payload| payload["path_name"] = "../../weight_0".into(),
            &[TABLE, "no member `data/weights/../../weight_0`"],
        ),
        table(
            "a tensor larger than its storage",
            &|payload| payload["tensor_meta"]["sizes"][0]["as_int"] = 51.into(),
            &[TABLE, "[51, 16]", "storage of 800 elements"],
        ),
        table(
            "a tensor past 64 bits",
            &|payload| payload["tensor_meta"]["strides"][0]["as_int"] = i64::MAX.into(),
            &[TABLE, "64 bits"],
        ),
        table(
            "a tensor before its storage",
            &|payload| payload["tensor_meta"]["storage_offset"]["as_int"] = (-1).into(),
            &[TABLE, "at least 0"],
        ),
        table(
            "a tensor of complex numbers",
            &|payload| payload["tensor_meta"]["dtype"] = 10.into(),
            &[TABLE, "type 10"],
        ),
        archive(
            "a tensor that isn't listed",
            |members| {
                members.edit(WEIGHTS, |config| {
                    config["config"].as_object_mut().expect("an object").remove(TABLE);
                });
            },
            &[TABLE, "neither among the weights nor among the constants"],
        ),
    ]
}

fn programs() -> Vec<Row> {
    let size = |text: &str| json!({"as_expr": {"expr_str": text, "hint": {"as_int": 3}}});
    let result = |name: &str| json!({"user_output": {"arg": {"as_tensor": {"name": name}}}});
    vec![
        graph(
            "a size that depends on values",
            |graph| {
                graph["tensor_values"]["layer_norm"]["sizes"][1] =
                    size("Symbol('u0', integer=True)");
            },
            &["`layer_norm`", "over u0"],
        ),
        graph(
            "a size that is read from the ids",
            |graph| {
                let read = json!({
                    "target": "torch.ops.aten.item.default",
                    "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "input_ids"}}}],
                    "outputs": [{"as_sym_int": {"as_name": "item"}}],
                });
                graph["sym_int_values"]["item"] = size("Symbol('u1', integer=True)");
                graph["nodes"].as_array_mut().expect("a list").insert(0, read);
                graph["tensor_values"]["layer_norm"]["sizes"][1] =
                    size("Symbol('u1', integer=True)");
            },
            &["`layer_norm`", "over u1", "depend on values"],
        ),
        graph(
            "a size by a remainder",
            |graph| {
                graph["tensor_values"]["gelu"]["sizes"][1] = size("Mod(Integer(9), Integer(4))");
            },
            &["`gelu`", "uses Mod"],
        ),
        graph(
            "a value whose type is null",
            |graph| graph["tensor_values"]["gelu"] = json!(null),
            &["models/model.json", "null"],
        ),
        graph(
            "a value of another shape than its op gives",
            |graph| graph["tensor_values"]["gelu"]["sizes"][2]["as_int"] = 25.into(),
            &["aten.gelu.default `gelu`", "24]", "25]"],
        ),
        graph(
            "a value without a type",
            |graph| {
                graph["tensor_values"].as_object_mut().expect("an object").remove("layer_norm_1");
            },
            &["`layer_norm_1`", "doesn't give its type"],
        ),
        graph(
            "a value that is computed twice",
            |graph| {
                let again = first(graph, "gelu.default").clone();
                graph["nodes"].as_array_mut().expect("a list").push(again);
            },
            &["`gelu`", "computed twice"],
        ),
        graph(
            "a value that is read before it is computed",
            |graph| {
                let nodes = graph["nodes"].as_array_mut().expect("a list");
                let last = nodes.pop().expect("a node");
                nodes.insert(0, last);
            },
            &["`linear_12`", "nothing before gives it"],
        ),
        graph(
            "a parameter of another shape",
            |graph| {
                graph["tensor_values"]["p_model_embeddings_word_embeddings_weight"]["sizes"][0]["as_int"] =
                    49.into();
            },
            &[TABLE, "float[49, 16]", "[50, 16]"],
        ),
        program(
            "a size without limits",
            |program| {
                for range in
                    program["range_constraints"].as_object_mut().expect("an object").values_mut()
                {
                    range["max_val"] = Value::Null;
                }
            },
            &["input `input_ids`", "torch.export.Dim"],
        ),
        program(
            "a buffer that the program changes",
            |program| {
                output(
                    program,
                    json!({"buffer_mutation": {"arg": {"name": "gelu"}, "buffer_name": "x"}}),
                );
            },
            &["result 2", "a buffer's new value"],
        ),
        program(
            "a number as an input",
            |program| {
                let inputs = program["graph_module"]["signature"]["input_specs"].as_array_mut();
                let spec = json!({"user_input": {"arg": {"as_sym_int": {"as_name": "n"}}}});
                inputs.expect("a list").push(spec);
            },
            &["expected a tensor", "a number that varies"],
        ),
        program(
            "memory that is overwritten and read",
            |program| {
                first(&mut program["graph_module"]["graph"], "gelu.default")["target"] =
                    "torch.ops.aten.relu_.default".into();
                let read = first(&mut program["graph_module"]["graph"], "relu_.default")["inputs"]
                    [0]["arg"]["as_tensor"]["name"]
                    .as_str()
                    .expect("a name")
                    .to_owned();
                output(program, result(&read));
            },
            &["aten.relu_.default `gelu`", "encoder.layer.0.intermediate", "overwrites"],
        ),
    ]
}

fn calls() -> Vec<Row> {
    let int = |n: i64| json!({"as_int": n});
    vec![
        graph(
            "ops that aren't built",
            |graph| {
                for node in graph["nodes"].as_array_mut().expect("a list") {
                    let target = node["target"].as_str().unwrap_or_default();
                    let other = match target {
                        "torch.ops.aten.gelu.default" => "torch.ops.aten.special_bessel_j0.default",
                        "torch.ops.aten.tanh.default" => "torch.ops.fbgemm.tanh.default",
                        other => other,
                    };
                    node["target"] = other.to_owned().into();
                }
            },
            &[
                "aten.special_bessel_j0.default, called 2 times, first in",
                "encoder.layer.0.intermediate.intermediate_act_fn: an op that isn't built",
                "fbgemm.tanh.default, called once, first in",
                "pooler.activation: an op of another library",
            ],
        ),
        call(
            "control flow inside",
            "gelu.default",
            "higher_order.cond",
            json!({"true_fn": {"as_graph": {"name": "true_graph_0", "graph": {}}}}),
            &["higher_order.cond, called once", "can't depend on values"],
        ),
        call(
            "a size by values",
            "gelu.default",
            "aten.nonzero.default",
            json!({}),
            &["aten.nonzero.default", "depend on values"],
        ),
        call(
            "a number that the program reads",
            "gelu.default",
            "aten.item.default",
            json!({}),
            &["aten.item.default, called once", "depend on values"],
        ),
        call(
            "random numbers",
            "gelu.default",
            "aten.rand_like.default",
            json!({}),
            &["aten.rand_like.default", "random"],
        ),
        call(
            "a model in training",
            "dropout.default",
            "aten.dropout.default",
            json!({"train": {"as_bool": true}, "p": {"as_float": 0.1}}),
            &["aten.dropout.default `dropout`", "model.eval()"],
        ),
        call(
            "another approximation",
            "gelu.default",
            "aten.gelu.default",
            json!({"approximate": {"as_string": "fast"}}),
            &["aten.gelu.default `gelu`", "\"fast\""],
        ),
        call(
            "an axis that isn't there",
            "dropout.default",
            "aten.softmax.int",
            json!({"self": {"as_tensor": {"name": "layer_norm"}}, "dim": int(3)}),
            &["aten.softmax.int `dropout`", "one of the 3 axes", "axis 3"],
        ),
        call(
            "an argument of another kind",
            "dropout.default",
            "aten.softmax.int",
            json!({"self": {"as_tensor": {"name": "layer_norm"}}, "dim": {"as_string": "last"}}),
            &["aten.softmax.int `dropout`", "argument `dim` to be an integer"],
        ),
        call(
            "a pool to several elements",
            "dropout.default",
            "aten.adaptive_avg_pool1d.default",
            json!({"self": {"as_tensor": {"name": "layer_norm"}}, "output_size": {"as_ints": [2]}}),
            &["aten.adaptive_avg_pool1d.default `dropout`", "one element, found [2]"],
        ),
        graph(
            "positions by the largest of a row",
            |graph| {
                let given = json!({"self": {"as_tensor": {"name": "embedding"}}, "dim": int(2)});
                let node = another(graph, "places", "aten.argmax.default", given);
                graph["tensor_values"]["places"] = graph["tensor_values"]["input_ids"].clone();
                let nodes = graph["nodes"].as_array_mut().expect("a graph has nodes");
                let embeds = |node: &Value| node["target"] == "torch.ops.aten.embedding.default";
                let words = nodes.iter().position(embeds).expect("the case embeds words");
                nodes.insert(words + 1, node);
                let next = nodes[words + 2..].iter_mut().find(|node| embeds(node));
                let places = json!({"as_tensor": {"name": "places"}});
                set(next.expect("the case embeds more"), "indices", places);
            },
            &[
                "aten.argmax.default places",
                "the place of the largest element depends on the sample",
            ],
        ),
        graph(
            "memory that a grid looks at",
            |graph| {
                let of = |name: &str| json!({"as_tensor": {"name": name}});
                let grid = json!({"as_tensors": [{"name": "counts"}]});
                let mut nodes = vec![
                    another(graph, "counts", "aten.arange.default", json!({"end": int(16)})),
                    another(graph, "grid", "aten.meshgrid.default", json!({"tensors": grid})),
                    another(
                        graph,
                        "moved",
                        "aten.add_.Tensor",
                        json!({"self": of("counts"), "other": int(1)}),
                    ),
                    another(graph, "read", "aten.neg.default", json!({"self": of("grid")})),
                ];
                nodes[1]["outputs"] = json!([{"as_tensors": [{"name": "grid"}]}]);
                for name in ["counts", "grid", "moved", "read"] {
                    let mut ty = graph["tensor_values"]["input_ids"].clone();
                    ty["sizes"] = json!([int(16)]);
                    graph["tensor_values"][name] = ty;
                }
                let all = graph["nodes"].as_array_mut().expect("a graph has nodes");
                all.splice(0..0, nodes);
            },
            &["aten.add_.Tensor `moved`", "the memory of `counts`", "read afterwards as `grid`"],
        ),
        dilated(),
        call(
            "softmax over the samples",
            "dropout.default",
            "aten.softmax.int",
            json!({"self": {"as_tensor": {"name": "layer_norm"}}, "dim": int(0)}),
            &["aten.softmax.int dropout in model.embeddings.dropout"],
        ),
        call(
            "samples in opposite order",
            "dropout.default",
            "aten.flip.default",
            json!({"self": {"as_tensor": {"name": "layer_norm"}}, "dims": {"as_ints": [0]}}),
            &["aten.flip.default dropout in model.embeddings.dropout"],
        ),
        call(
            "sums over the samples",
            "dropout.default",
            "aten.cumsum.default",
            json!({"self": {"as_tensor": {"name": "layer_norm"}}, "dim": int(0)}),
            &["aten.cumsum.default dropout in model.embeddings.dropout"],
        ),
    ]
}

/// A row over the case `vit`, whose patches are taken with gaps.
fn dilated() -> Row {
    let mut members = Members::of_case("vit");
    members.edit(PROGRAM, |program| {
        let node = first(&mut program["graph_module"]["graph"], "conv2d.default");
        set(node, "stride", json!({"as_ints": [1, 1]}));
        set(node, "dilation", json!({"as_ints": [2, 2]}));
    });
    let says = ["aten.conv2d.default conv2d in model", "one group without dilation"];
    file("patches with gaps", members.to_file(), &says)
}

fn options() -> Vec<Row> {
    let with = |name: &str, options: &str, says: &[&str]| {
        let bytes = Members::of_case("bert").to_file();
        let mut row = file(name, bytes, says).fails(2, says);
        row.arguments.push(' ');
        row.arguments.push_str(options);
        row
    };
    vec![
        with("too few names", "--outputs a", &["--outputs", "expected 2 names", "found 1"]),
        with("a name twice", "--outputs a,a", &["--outputs", "found a twice"]),
        with(
            "--pooling on an archive",
            "--pooling mean",
            &["--pooling has no effect on a torch.export archive"],
        ),
        with(
            "--graph on an archive",
            "--graph graph.bytec",
            &["--graph has no effect on a torch.export archive"],
        ),
        with("no length", "--max-length 0", &["--max-length", "0"]),
        Row::new("--max-length on a folder", "compile model -o out/new.plan --max-length 64")
            .fails(2, ["--max-length", "limits of its own"]),
        Row::new("--outputs on a folder", "compile model -o out/new.plan --outputs a")
            .fails(2, ["--outputs", "names of its own"]),
    ]
}
