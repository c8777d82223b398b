//! The JSON of an archive, as torch's export schema 8 writes it. Keys that nothing here needs are passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// `models/model.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Program {
    pub(super) graph_module: GraphModule,
    #[serde(default)]
    pub(super) range_constraints: BTreeMap<String, Range>,
    pub(super) schema_version: Version,
}

#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) major: u64,
}

/// The sizes of a symbol; null is unbounded.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    pub(super) min_val: Option<i64>,
    pub(super) max_val: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GraphModule {
    pub(super) graph: Graph,
    pub(super) signature: Signature,
}

#[derive(Debug, Deserialize)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) tensor_values: BTreeMap<String, TensorMeta>,
    #[serde(default)]
    pub(super) sym_int_values: BTreeMap<String, SymInt>,
}

/// The type of a value, or of a tensor in storage.
#[derive(Debug, Deserialize)]
pub(super) struct TensorMeta {
    pub(super) dtype: u32,
    pub(super) sizes: Vec<SymInt>,
    pub(super) strides: Vec<SymInt>,
    pub(super) storage_offset: SymInt,
    /// Whether training changes it, of a tensor in storage.
    #[serde(default)]
    pub(super) requires_grad: bool,
}

/// A number, or an expression over symbols.
#[derive(Debug, Deserialize)]
pub(super) enum SymInt {
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_expr")]
    Expr(Expr),
}

/// An expression; the hint, which is the value in the example that was traced, is not looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Expr {
    pub(super) expr_str: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Signature {
    pub(super) input_specs: Vec<InputSpec>,
    pub(super) output_specs: Vec<OutputSpec>,
}

/// What a placeholder of the graph stands for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InputSpec {
    UserInput {
        arg: Argument,
    },
    Parameter {
        arg: Named,
        parameter_name: String,
    },
    Buffer {
        arg: Named,
        buffer_name: String,
    },
    TensorConstant {
        arg: Named,
        tensor_constant_name: String,
    },
    /// An argument that was no tensor when the program was traced; nothing reads it.
    ConstantInput(IgnoredAny),
    CustomObj(IgnoredAny),
    Token(IgnoredAny),
}

/// What a result of the graph is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputSpec {
    UserOutput { arg: Argument },
    LossOutput(IgnoredAny),
    BufferMutation(IgnoredAny),
    ParameterMutation(IgnoredAny),
    GradientToParameter(IgnoredAny),
    GradientToUserInput(IgnoredAny),
    UserInputMutation(IgnoredAny),
    Token(IgnoredAny),
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) target: String,
    pub(super) inputs: Vec<NamedArgument>,
    pub(super) outputs: Vec<Argument>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}

impl Node {
    /// The path of the module that called it; empty if the archive doesn't say.
    pub(super) fn module(&self) -> &str {
        let stack = self.metadata.get("nn_module_stack").map_or("", String::as_str);
        let innermost = stack.rsplit(';').next().unwrap_or_default();
        let path = innermost.split(',').nth(1).unwrap_or_default();
        if path.starts_with("_empty_nn_module_stack") { "" } else { path }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct NamedArgument {
    pub(super) name: String,
    pub(super) arg: Argument,
}

/// An argument or a result: an object of one key.
#[derive(Debug, Deserialize)]
pub(super) enum Argument {
    #[serde(rename = "as_none")]
    None(IgnoredAny),
    #[serde(rename = "as_tensor")]
    Tensor(Named),
    #[serde(rename = "as_tensors")]
    Tensors(Vec<Named>),
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_ints")]
    Ints(Vec<i64>),
    #[serde(rename = "as_float")]
    Float(Float),
    #[serde(rename = "as_floats")]
    Floats(IgnoredAny),
    #[serde(rename = "as_bool")]
    Bool(bool),
    #[serde(rename = "as_string")]
    String(String),
    #[serde(rename = "as_sym_int")]
    SymInt(SymIntArgument),
    #[serde(rename = "as_sym_ints")]
    SymInts(Vec<SymIntArgument>),
    #[serde(rename = "as_scalar_type")]
    ScalarType(IgnoredAny),
    #[serde(rename = "as_optional_tensor")]
    OptionalTensor(OptionalTensor),
    #[serde(rename = "as_optional_tensors")]
    OptionalTensors(Vec<OptionalTensor>),
    #[serde(rename = "as_graph")]
    Graph(IgnoredAny),
    #[serde(rename = "as_memory_format")]
    MemoryFormat(IgnoredAny),
    #[serde(rename = "as_layout")]
    Layout(IgnoredAny),
    #[serde(rename = "as_device")]
    Device(IgnoredAny),
    #[serde(rename = "as_bools")]
    Bools(IgnoredAny),
    #[serde(rename = "as_sym_bool")]
    SymBool(IgnoredAny),
    #[serde(rename = "as_sym_bools")]
    SymBools(IgnoredAny),
    #[serde(rename = "as_sym_float")]
    SymFloat(IgnoredAny),
    #[serde(rename = "as_sym_floats")]
    SymFloats(IgnoredAny),
    #[serde(rename = "as_strings")]
    Strings(IgnoredAny),
    #[serde(rename = "as_custom_obj")]
    CustomObj(IgnoredAny),
    #[serde(rename = "as_operator")]
    Operator(IgnoredAny),
    #[serde(rename = "as_complex")]
    Complex(IgnoredAny),
    #[serde(rename = "as_nested_tensors")]
    NestedTensors(IgnoredAny),
    #[serde(rename = "as_int_lists")]
    IntLists(IgnoredAny),
    #[serde(rename = "as_string_to_argument")]
    Dictionary(IgnoredAny),
}

/// A tensor among several, or none.
#[derive(Debug, Deserialize)]
pub(super) enum OptionalTensor {
    #[serde(rename = "as_tensor")]
    Tensor(Named),
    #[serde(rename = "as_none")]
    None(IgnoredAny),
}

/// A size by name, or a number.
#[derive(Debug, Deserialize)]
pub(super) enum SymIntArgument {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_int")]
    Int(i64),
}

/// A number; those that JSON doesn't have are written as text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Float {
    Number(f64),
    Text(String),
}

impl Float {
    /// The number, or `None` for a text that is none.
    pub(super) fn value(&self) -> Option<f64> {
        match self {
            Float::Number(number) => Some(*number),
            Float::Text(text) => match text.as_str() {
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                "NaN" => Some(f64::NAN),
                _ => None,
            },
        }
    }
}

/// `data/weights/model_weights_config.json` and its like.
#[derive(Debug, Deserialize)]
pub(super) struct Payloads {
    pub(super) config: BTreeMap<String, Payload>,
}

/// Where a tensor's storage is and which part of it the tensor is.
#[derive(Debug, Deserialize)]
pub(super) struct Payload {
    pub(super) path_name: String,
    pub(super) use_pickle: bool,
    /// Whether it is a parameter, not a buffer.
    #[serde(default)]
    pub(super) is_param: bool,
    pub(super) tensor_meta: Option<TensorMeta>,
}
