//! From an archive's program to a trace: every node by its row of the [table].

mod arguments;
mod create;
mod item;
mod layers;
mod math;
mod reduce;
mod shapes;
mod signature;
mod storage;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::dim::Dim;
use bytec_trace::check::misfit;
use bytec_trace::{Constant, Kind, Op, Source, Trace, Type, ValueId, Values};
use half::{bf16, f16};

use super::super::FrontOptions;
use super::archive::{Archive, Element, Stored};
use super::error::{Pt2Error, RefusedOp};
use super::expr;
use super::schema::{Argument, InputSpec, Named, Node, SymInt};
use arguments::Call;
use storage::Storage;
use table::{Lower, Rows};

/// The most elements of all tensors that a trace holds itself: buffers of integers, masks, tables.
const MAX_CONSTANT_ELEMENTS: usize = 1 << 26;

/// The most axes of a value in a program.
const MAX_RANK: usize = 16;

/// Lowers the program of an archive, which is the whole of `file`, with the options' names for its outputs.
pub(super) fn lower(
    archive: &Archive,
    file: &[u8],
    options: &FrontOptions,
) -> Result<Trace, Pt2Error> {
    let rows = Rows::new();
    refuse_unknown(archive, &rows)?;
    let signature = signature::read(archive, options)?;
    let mut lowering = Lowering {
        archive,
        file,
        trace: Trace::new(signature.symbols, signature.batch),
        allowed: signature.names,
        placeholders: placeholders(archive),
        values: BTreeMap::new(),
        bound: BTreeMap::new(),
        storage: Storage::new(archive),
        constant_elements: 0,
    };
    for input in &signature.inputs {
        lowering.input(input)?;
    }
    for (index, node) in archive.program.graph_module.graph.nodes.iter().enumerate() {
        lowering.node(index, node, &rows)?;
    }
    for (name, value) in signature.outputs {
        let value = lowering.value(&value)?;
        lowering.trace.outputs.push((name, value));
    }
    Ok(lowering.trace)
}

/// Refuses all ops that no row stands for, at once.
fn refuse_unknown(archive: &Archive, rows: &Rows) -> Result<(), Pt2Error> {
    let mut refused: BTreeMap<&str, RefusedOp> = BTreeMap::new();
    for node in &archive.program.graph_module.graph.nodes {
        let Some(reason) = table::refusal(node, rows) else { continue };
        let op = refused.entry(&node.target).or_insert_with(|| RefusedOp {
            op: short(&node.target).to_owned(),
            count: 0,
            module: node.module().to_owned(),
            reason,
        });
        op.count += 1;
    }
    if refused.is_empty() { Ok(()) } else { Err(Pt2Error::Ops(refused.into_values().collect())) }
}

/// A target as errors call it: `aten.add.Tensor`.
fn short(target: &str) -> &str {
    target.strip_prefix("torch.ops.").unwrap_or(target)
}

/// A placeholder that stands for a tensor of the archive.
struct Placeholder<'a> {
    tensor: &'a str,
    /// Whether the checkpoint holds it: a parameter, or a buffer that is saved.
    saved: bool,
}

fn placeholders(archive: &Archive) -> BTreeMap<&str, Placeholder<'_>> {
    let mut placeholders = BTreeMap::new();
    for spec in &archive.program.graph_module.signature.input_specs {
        let (arg, tensor, saved) = match spec {
            InputSpec::Parameter { arg, parameter_name } => (arg, parameter_name, true),
            InputSpec::Buffer { arg, buffer_name } => {
                (arg, buffer_name, archive.is_weight(buffer_name))
            }
            InputSpec::TensorConstant { arg, tensor_constant_name } => {
                (arg, tensor_constant_name, false)
            }
            _ => continue,
        };
        placeholders.insert(arg.name.as_str(), Placeholder { tensor, saved });
    }
    placeholders
}

/// A lowering under way.
struct Lowering<'a> {
    archive: &'a Archive,
    file: &'a [u8],
    trace: Trace,
    /// The symbols that sizes may use.
    allowed: BTreeSet<&'a str>,
    placeholders: BTreeMap<&'a str, Placeholder<'a>>,
    values: BTreeMap<&'a str, ValueId>,
    /// Sizes that the program computes, by their symbol.
    bound: BTreeMap<String, Dim>,
    storage: Storage<'a>,
    constant_elements: usize,
}

impl<'a> Lowering<'a> {
    fn define(&mut self, name: &'a str, id: ValueId) -> Result<(), Pt2Error> {
        if self.values.insert(name, id).is_some() {
            let problem = "computed twice".to_owned();
            return Err(Pt2Error::Value { value: name.to_owned(), problem });
        }
        Ok(())
    }

    fn push(
        &mut self,
        op: Op,
        operands: Vec<ValueId>,
        ty: Type,
        source: Source,
    ) -> Result<ValueId, Pt2Error> {
        let types: Vec<&Type> = operands.iter().map(|&id| &self.trace.node(id).ty).collect();
        if let Some(problem) = misfit(&op, &types, &ty) {
            let Source { op, module, name } = source;
            return Err(Pt2Error::Node { op, name, module, problem });
        }
        let value = source.name.clone();
        self.trace
            .push(op, operands, ty, source)
            .map_err(|e| Pt2Error::Value { value, problem: e.to_string() })
    }

    /// A user's input.
    fn input(&mut self, name: &'a str) -> Result<(), Pt2Error> {
        let ty = self.declared(name)?;
        let source =
            Source { op: "input".to_owned(), module: String::new(), name: name.to_owned() };
        let id = self.push(Op::Input { name: name.to_owned() }, Vec::new(), ty, source)?;
        self.define(name, id)
    }

    fn node(&mut self, index: usize, node: &'a Node, rows: &Rows) -> Result<(), Pt2Error> {
        if item::gives_size(node) {
            return self.item(node);
        }
        let Some(row) = rows.find(&node.target) else { return Ok(()) };
        let names = results(node);
        let Some(first) = names.iter().flatten().next() else { return Ok(()) };
        self.part_of_sizes(node, first)?;
        let declared = self.declared(first)?;
        let mut call = Call { lowering: self, node, declared, result: first };
        let results = match row.lower {
            Lower::Nothing => return Ok(()),
            Lower::One(lower) => vec![Some(lower(&mut call)?)],
            Lower::Many(lower) => lower(&mut call, &names)?,
        };
        let overwrites = row.in_place && results.first().copied().flatten() != call.maybe_self();
        if results.len() != names.len() && !matches!(row.lower, Lower::One(_)) {
            return Err(call.wrong(format!(
                "expected {} results, found {}",
                results.len(),
                names.len()
            )));
        }
        for (name, id) in names.iter().zip(results) {
            let (Some(name), Some(id)) = (name, id) else { continue };
            let id = self.typed(node, name, id)?;
            self.define(name, id)?;
        }
        self.follow_storage(index, node, row.views || row.in_place, overwrites, &names)
    }

    /// Notes whose memory the results are, and checks that what an op overwrites is read by nobody afterwards.
    fn follow_storage(
        &mut self,
        index: usize,
        node: &'a Node,
        shares: bool,
        overwrites: bool,
        names: &[Option<&'a str>],
    ) -> Result<(), Pt2Error> {
        let of = if shares { first_tensor(node) } else { None };
        let each = if shares { listed_tensors(node) } else { &[] };
        if overwrites
            && let Some(of) = of
            && let Some(other) = self.storage.seen_after(of, index)
        {
            let problem = format!(
                "it overwrites the memory of `{of}`, which is read afterwards as `{other}`; write it without an op in place"
            );
            return Err(self.node_error(node, problem));
        }
        for (i, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            self.storage.define(name, of.or_else(|| each.get(i).map(|of| of.name.as_str())));
        }
        Ok(())
    }

    fn node_error(&self, node: &Node, problem: String) -> Pt2Error {
        Pt2Error::Node {
            op: short(&node.target).to_owned(),
            name: results(node).first().copied().flatten().unwrap_or_default().to_owned(),
            module: node.module().to_owned(),
            problem,
        }
    }

    /// The value under its declared type, which may be of another kind.
    fn typed(&mut self, node: &Node, name: &str, id: ValueId) -> Result<ValueId, Pt2Error> {
        let (declared, found) = (self.declared(name)?, &self.trace.node(id).ty);
        if declared.shape != found.shape {
            let problem = format!("`{name}` is declared as {declared}, its operands give {found}");
            return Err(self.node_error(node, problem));
        }
        if declared.kind == found.kind {
            return Ok(id);
        }
        let source = source(node, name);
        self.push(Op::Cast, vec![id], declared, source)
    }

    /// The value of a name: computed by now, or a tensor of the archive.
    fn value(&mut self, name: &str) -> Result<ValueId, Pt2Error> {
        if let Some(&id) = self.values.get(name) {
            return Ok(id);
        }
        let unknown = || Pt2Error::Value {
            value: name.to_owned(),
            problem: "read, but nothing before gives it".to_owned(),
        };
        let (&name, placeholder) = self.placeholders.get_key_value(name).ok_or_else(unknown)?;
        let (tensor, saved) = (placeholder.tensor, placeholder.saved);
        let stored = self.archive.stored(tensor)?;
        let ty = self.declared(name)?;
        let kind = kind(stored.element);
        if ty != Type::new(kind, stored.shape.iter().copied()) {
            return Err(Pt2Error::Tensor {
                name: tensor.to_owned(),
                problem: format!(
                    "declared as {ty} in the program, stored as {:?} {:?}",
                    stored.element, stored.shape
                ),
            });
        }
        let op = if saved && kind == Kind::Float {
            Op::Weight { name: tensor.to_owned() }
        } else {
            Op::Constant(self.constant(tensor, &stored)?)
        };
        let source =
            Source { op: "tensor".to_owned(), module: String::new(), name: tensor.to_owned() };
        let id = self.push(op, Vec::new(), ty, source)?;
        self.values.insert(name, id);
        Ok(id)
    }

    fn constant(&mut self, name: &str, stored: &Stored) -> Result<Constant, Pt2Error> {
        let bytes = stored.gathered(self.file);
        self.constant_elements += bytes.len() / stored.element.size();
        if self.constant_elements > MAX_CONSTANT_ELEMENTS {
            return Err(Pt2Error::Tensor {
                name: name.to_owned(),
                problem: format!(
                    "with it the buffers that are no parameters have {} elements, expected at most {MAX_CONSTANT_ELEMENTS}",
                    self.constant_elements
                ),
            });
        }
        let values = elements(stored.element, &bytes);
        Ok(Constant { kind: kind(stored.element), shape: stored.shape.clone(), values })
    }

    /// The type that the program gives a value.
    fn declared(&self, name: &str) -> Result<Type, Pt2Error> {
        let wrong = |problem: String| Pt2Error::Value { value: name.to_owned(), problem };
        let meta = self.archive.program.graph_module.graph.tensor_values.get(name);
        let meta = meta.ok_or_else(|| wrong("the program doesn't give its type".to_owned()))?;
        let kind = match meta.dtype {
            1..=5 | 28 | 34 | 35 => Kind::Int,
            6..=8 | 13 => Kind::Float,
            12 => Kind::Bool,
            other => {
                return Err(wrong(format!(
                    "its elements have the schema's type {other}, expected floats, integers or truth values"
                )));
            }
        };
        if meta.sizes.len() > MAX_RANK {
            return Err(wrong(format!(
                "expected at most {MAX_RANK} axes, found {}",
                meta.sizes.len()
            )));
        }
        let shape: Result<Vec<Dim>, _> =
            meta.sizes.iter().map(|size| self.size(name, size)).collect();
        Ok(Type { kind, shape: shape? })
    }

    /// What sizes may be over.
    fn scope(&self) -> expr::Scope<'_> {
        let (symbols, bound) = (&self.allowed, &self.bound);
        expr::Scope { symbols, bound, ranges: &self.trace.symbols }
    }

    /// A size, as a dimension over the symbols of the inputs.
    fn size(&self, value: &str, size: &SymInt) -> Result<Dim, Pt2Error> {
        match size {
            SymInt::Int(n) => Ok(expr::number(*n)),
            SymInt::Expr(of) => expr::parse(&of.expr_str, self.scope())
                .map_err(|problem| Pt2Error::Size { value: value.to_owned(), problem }),
        }
    }

    /// The size that goes by a name.
    fn named_size(&self, name: &str) -> Result<Dim, Pt2Error> {
        let sizes = &self.archive.program.graph_module.graph.sym_int_values;
        let size = sizes.get(name).ok_or_else(|| Pt2Error::Value {
            value: name.to_owned(),
            problem: "the program doesn't give this size".to_owned(),
        })?;
        self.size(name, size)
    }
}

fn kind(element: Element) -> Kind {
    match element {
        Element::Bool => Kind::Bool,
        _ if element.is_float() => Kind::Float,
        _ => Kind::Int,
    }
}

fn source(node: &Node, name: &str) -> Source {
    Source {
        op: short(&node.target).to_owned(),
        module: node.module().to_owned(),
        name: name.to_owned(),
    }
}

/// The names of a node's results; `None` for one that is left out or is no tensor.
fn results(node: &Node) -> Vec<Option<&str>> {
    let mut names = Vec::new();
    for output in &node.outputs {
        match output {
            Argument::Tensor(tensor) => names.push(Some(tensor.name.as_str())),
            Argument::Tensors(tensors) => {
                names.extend(tensors.iter().map(|tensor| Some(tensor.name.as_str())));
            }
            _ => names.push(None),
        }
    }
    names
}

/// The name of a node's first argument that is a tensor: the one that views look at and ops in place overwrite.
fn first_tensor(node: &Node) -> Option<&str> {
    node.inputs.iter().find_map(|input| match &input.arg {
        Argument::Tensor(tensor) => Some(tensor.name.as_str()),
        _ => None,
    })
}

/// The tensors of a node's first argument that is a list of them: those that views of several tensors look at.
fn listed_tensors(node: &Node) -> &[Named] {
    let list = node.inputs.iter().find_map(|input| match &input.arg {
        Argument::Tensors(tensors) => Some(&tensors[..]),
        _ => None,
    });
    list.unwrap_or_default()
}

/// The numbers that little-endian bytes stand for.
fn elements(element: Element, bytes: &[u8]) -> Values {
    fn each<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
    }
    match element {
        Element::U8 => Values::Int(each(bytes, |[b]| b.into())),
        Element::I8 => Values::Int(each(bytes, |[b]| (b as i8).into())),
        Element::Bool => Values::Int(each(bytes, |[b]| (b != 0).into())),
        Element::I16 => Values::Int(each(bytes, |b| i16::from_le_bytes(b).into())),
        Element::I32 => Values::Int(each(bytes, |b| i32::from_le_bytes(b).into())),
        Element::I64 => Values::Int(each(bytes, i64::from_le_bytes)),
        Element::F16 => Values::Float(each(bytes, |b| f16::from_le_bytes(b).into())),
        Element::Bf16 => Values::Float(each(bytes, |b| bf16::from_le_bytes(b).into())),
        Element::F32 => Values::Float(each(bytes, |b| f32::from_le_bytes(b).into())),
        Element::F64 => Values::Float(each(bytes, f64::from_le_bytes)),
    }
}
