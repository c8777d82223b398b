//! The bytes of a program's weights: read or folded, then laid out as their kernels want them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytec_ir::dim::Bindings;
use bytec_ir::eval::{Data, Rounding, Tensor, WeightSource, eval_node};
use bytec_ir::{Def, Graph, NodeId, Real};
use bytec_plan::program::{DType, Layout, WeightSpec};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{EmitError, generated, layouts};
use crate::front::weights::Weights;
use crate::schedule::{Content, WeightUse};

/// A weight ready to be placed: its spec still lacks the place and the hash.
pub(super) struct Packed<'w> {
    pub(super) spec: WeightSpec,
    pub(super) bytes: Cow<'w, [u8]>,
}

/// All weights of a program, in order, as elements of `dtype`.
///
/// # Errors
/// A tensor that can't be read, an expression that can't be computed, or a number that `dtype` can't hold.
pub(super) fn pack<'w>(
    graph: &Graph,
    uses: &[WeightUse],
    weights: &'w Weights,
    dtype: DType,
) -> Result<Vec<Packed<'w>>, EmitError> {
    uses.par_iter().map(|wanted| pack_one(graph, wanted, weights, dtype)).collect()
}

fn pack_one<'w>(
    graph: &Graph,
    wanted: &WeightUse,
    weights: &'w Weights,
    program: DType,
) -> Result<Packed<'w>, EmitError> {
    let (shape, name, dtype) = (wanted.shape.clone(), wanted.name(graph), wanted.dtype(program));
    let of_values = |values: Cow<'w, [f32]>| {
        let size = || (shape[0] as usize, shape[1] as usize);
        let laid_out = match wanted.layout {
            Layout::RowMajor => values,
            Layout::Panels { width } => {
                Cow::Owned(layouts::panels(&values, size(), width as usize))
            }
            Layout::Pairs { width } => Cow::Owned(layouts::pairs(&values, size(), width as usize)),
            Layout::Quads { width } => {
                return Ok(Cow::Owned(layouts::quads(&values, size(), width as usize)));
            }
        };
        converted(&name, laid_out, dtype)
    };
    let (bytes, made_of, formula) = match &wanted.content {
        Content::Value(id) => {
            let (values, formula) = match graph.node(*id).def {
                Def::Weight => (weights.f32(graph.name(*id))?, String::new()),
                _ => (Cow::Owned(folded(graph, *id, weights, dtype)?), formula(graph, *id)),
            };
            (of_values(values)?, Some(*id), formula)
        }
        Content::ByDistance { table, buckets, reach } => {
            let rows = folded(graph, *table, weights, dtype)?;
            let values = generated::by_distance(&rows, *buckets, *reach);
            let of = format!("{{buckets = {buckets}, reach = {reach}}}");
            let formula = format!("by_distance({}) {of}", self::formula(graph, *table));
            (of_values(Cow::Owned(values))?, Some(*table), formula)
        }
        Content::Rows { buckets, reach } => {
            let bytes = bytemuck::cast_slice(&generated::rows(*buckets, *reach)).to_vec();
            let formula = format!("rows() {{buckets = {buckets}, reach = {reach}}}");
            (Cow::Owned(bytes), None, formula)
        }
        Content::Turns { rotary, positions } => {
            let values = generated::turns(rotary, *positions);
            let formula = format!("turns() {{rotary = {rotary}, positions = {positions}}}");
            (of_values(Cow::Owned(values))?, None, formula)
        }
    };
    let mut sources = BTreeSet::new();
    if let Some(id) = made_of {
        collect_sources(graph, id, &mut sources);
    }
    let spec = WeightSpec {
        name,
        sources: sources.into_iter().collect(),
        formula,
        shape,
        dtype,
        layout: wanted.layout,
        offset: 0,
        bytes: bytes.len() as u64,
        hash: String::new(),
    };
    Ok(Packed { spec, bytes })
}

/// The numbers as bytes of elements of `dtype`, rounded to nearest even.
fn converted<'w>(
    name: &str,
    values: Cow<'w, [f32]>,
    dtype: DType,
) -> Result<Cow<'w, [u8]>, EmitError> {
    let half = |bits: &dyn Fn(f32) -> u16, largest: f32| {
        if let Some(&value) = values.iter().find(|x| x.is_finite() && x.abs() > largest) {
            return Err(EmitError::TooLarge { name: name.to_owned(), value, dtype: dtype.name() });
        }
        Ok(Cow::Owned(values.iter().flat_map(|&x| bits(x).to_le_bytes()).collect()))
    };
    match dtype {
        DType::F16 => half(&|x| f16::from_f32(x).to_bits(), f16::MAX.to_f32()),
        DType::Bf16 => half(&|x| bf16::from_f32(x).to_bits(), bf16::MAX.to_f32()),
        DType::F32 | DType::I64 | DType::I32 | DType::I8 => Ok(match values {
            Cow::Borrowed(values) => Cow::Borrowed(bytemuck::cast_slice(values)),
            Cow::Owned(values) => Cow::Owned(bytemuck::cast_slice(&values).to_vec()),
        }),
    }
}

/// The value of an expression over weights, computed in f64 and rounded once, to `dtype`; a number that the type can't
/// hold stays an f32, so that it is seen.
fn folded(
    graph: &Graph,
    id: NodeId,
    weights: &Weights,
    dtype: DType,
) -> Result<Vec<f32>, EmitError> {
    let rounding = match dtype {
        DType::F16 => Rounding::F16,
        DType::Bf16 => Rounding::Bf16,
        DType::F32 | DType::I64 | DType::I32 | DType::I8 => Rounding::F32,
    };
    let rounded = |x: f64| {
        let once = rounding.round(x) as f32;
        if once.is_finite() { once } else { x as f32 }
    };
    match value(graph, id, weights)?.data {
        Data::Float(values) => Ok(values.into_iter().map(rounded).collect()),
        Data::Int(values) => Ok(values.into_iter().map(|x| x as f32).collect()),
    }
}

fn value(graph: &Graph, id: NodeId, weights: &Weights) -> Result<Tensor, EmitError> {
    let node = graph.node(id);
    match &node.def {
        Def::Weight => Ok(weights.tensor(&node.name)?),
        Def::Const(Real(number)) => {
            Ok(Tensor { shape: Vec::new(), data: Data::Float(vec![*number]) })
        }
        Def::Op(op) => {
            let operands: Result<Vec<_>, _> = graph
                .operands(id)
                .into_iter()
                .map(|operand| value(graph, operand, weights))
                .collect();
            let operands = operands?;
            Ok(eval_node(op, &operands.iter().collect::<Vec<_>>(), &Bindings::new())?)
        }
        Def::Input { .. } => unreachable!("pack places what depends on an input with the samples"),
    }
}

fn collect_sources(graph: &Graph, id: NodeId, found: &mut BTreeSet<String>) {
    if graph.node(id).def == Def::Weight {
        found.insert(graph.name(id).to_owned());
    }
    for operand in graph.operands(id) {
        collect_sources(graph, operand, found);
    }
}

/// The expression as `concat(a, b, c) {axis = 0}`.
fn formula(graph: &Graph, id: NodeId) -> String {
    let Some(op) = graph.op(id) else { return graph.name(id).to_owned() };
    let operands: Vec<_> = graph.operands(id).into_iter().map(|x| formula(graph, x)).collect();
    let attributes: Vec<_> =
        op.attributes().into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(" {{{}}}", attributes.join(", "))
    };
    format!("{}({}){attributes}", op.kind(), operands.join(", "))
}
