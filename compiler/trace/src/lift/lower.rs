//! The plans carried out: a graph of views, numbers and ops.

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::attention::Bias;
use bytec_ir::attrs::{BinaryFn, Real};
use bytec_ir::builder::Builder;
use bytec_ir::dim::Dim;
use bytec_ir::eval::{Data, Tensor};
use bytec_ir::graph::{Def, Graph, NodeId};
use bytec_ir::ops::Op as IrOp;
use bytec_ir::patch::Patch;
use bytec_ir::types::{DType, TensorType};

use super::LiftOptions;
use super::attention::{Attention, Operand};
use super::by_id;
use super::ops;
use super::picked;
use super::plan::Plan;
use super::rotary::Rotation;
use super::rows;
use super::share;
use super::sizes::Program;
use super::tabled;
use super::view::{Step, View};
use crate::dims::{squeezed, squeezed_axis};
use crate::op::Op;
use crate::program::{Kind, ValueId};
use crate::refusal::{Refusal, Refusals};

/// A value of the trace in the graph.
#[derive(Clone, Debug)]
pub(super) enum Lowered {
    /// Its extents are those of the trace without axes of 1.
    View(View),
    /// The same number everywhere.
    Number(f64),
    /// This row, `[width]`, for every index.
    Row(View),
    /// The first, and the second, a row, added to each of its rows: not yet, since a table may take the row in.
    Plus(View, View),
    /// It could not be lowered, which has been said.
    Refused,
}

/// A graph under construction.
pub(super) struct Lower<'p, 't> {
    pub(super) program: &'p Program<'t>,
    builder: Builder,
    values: Vec<Lowered>,
    made: BTreeMap<(NodeId, Vec<String>), NodeId>,
    /// Weights of the graph that no checkpoint holds.
    tables: BTreeMap<String, Tensor>,
    /// The names of the others.
    held: BTreeSet<String>,
}

/// Carries out the plans. Beside the graph come the weights that no checkpoint holds.
///
/// # Errors
/// Every node that has no counterpart in the graph.
pub(super) fn lower(
    program: &Program<'_>,
    plans: &[Plan],
    options: &LiftOptions,
) -> Result<(Graph, BTreeMap<String, Tensor>), Refusals> {
    let mut builder = Builder::new();
    for range in &program.trace.symbols {
        builder.symbol(range.symbol.name(), range.min, range.max);
    }
    let held = program.nodes.iter().filter_map(|node| match &node.op {
        Op::Weight { name } => Some(name.clone()),
        _ => None,
    });
    let mut lower = Lower {
        program,
        builder,
        values: Vec::new(),
        made: BTreeMap::new(),
        tables: BTreeMap::new(),
        held: held.collect(),
    };
    let mut refusals = Vec::new();
    for (&value, plan) in program.ids.iter().zip(plans) {
        let lowered = lower.value(value, plan, options).unwrap_or_else(|reason| {
            if !reason.is_empty() {
                refusals.push(Refusal::of(program.node(value), reason));
            }
            Lowered::Refused
        });
        lower.values.push(lowered);
    }
    for (name, value) in &program.trace.outputs {
        let shape = program.shape(*value).to_vec();
        match lower.view(*value).and_then(|view| lower.shaped(&view, &shape, name)) {
            Ok(id) => lower.builder.output(name, id),
            Err(reason) if reason.is_empty() => {}
            Err(reason) => refusals.push(Refusal::of(program.node(*value), reason)),
        }
    }
    if refusals.is_empty() {
        let graph = without_dead(lower.builder.finish());
        let mut tables = lower.tables;
        tables.retain(|name, _| graph.weight(name).is_some());
        Ok((graph, tables))
    } else {
        Err(Refusals(refusals))
    }
}

/// The graph without values that nothing uses; inputs stay.
fn without_dead(mut graph: Graph) -> Graph {
    let mut order = graph.topological();
    order.reverse();
    for id in order {
        if graph.use_count(id) == 0 && !matches!(graph.node(id).def, Def::Input { .. }) {
            let mut patch = Patch::new(&graph);
            patch.remove(id);
            let change = patch.finish();
            graph.apply(change);
        }
    }
    graph
}

impl Lower<'_, '_> {
    /// A value by its plan. An empty reason says that an operand was refused.
    fn value(
        &mut self,
        value: ValueId,
        plan: &Plan,
        options: &LiftOptions,
    ) -> Result<Lowered, String> {
        let node = self.program.node(value);
        let view = match plan {
            Plan::Unneeded => return Ok(Lowered::Refused),
            Plan::Number(number) => return Ok(Lowered::Number(*number)),
            Plan::Same(same) => return Ok(self.values[same.index()].clone()),
            Plan::Iota(start) => {
                let shape = squeezed(&node.ty.shape);
                let extent = shape.first().cloned().unwrap_or_else(|| Dim::fixed(1));
                let op = IrOp::Iota { extent: extent.clone(), start: *start };
                View::of(self.op(&self.name(value), op, &[])?, &[extent])
            }
            Plan::Attention(attention) => self.attention(value, attention)?,
            Plan::Rotation(rotation) => self.rotation(value, rotation)?,
            Plan::Share(found) => share::lower(self, found, &self.name(value))?,
            Plan::Table(found) => tabled::lower(self, value, found, &self.name(value))?,
            Plan::ById(found) => by_id::lower(self, found, &self.name(value))?,
            Plan::Kept(found) => by_id::lower_kept(self, found, &self.name(value))?,
            Plan::Picked(found) => picked::lower(self, found, &node.ty.shape, &self.name(value))?,
            Plan::Op if let Some(found) = rows::lower(self, value)? => return Ok(found),
            Plan::Op => match &node.op {
                Op::Input { name } => {
                    let default = options.defaults.get(name).copied();
                    let dtype = self.dtype(value)?;
                    let ty = TensorType { dtype, shape: node.ty.shape.clone() };
                    View::of(self.builder.input(name, ty, default), &node.ty.shape)
                }
                Op::Weight { name } => {
                    if self.dtype(value)? != DType::F32 {
                        return Err("expected floats for a weight that is computed with".to_owned());
                    }
                    let id = self.builder.weight(name, node.ty.shape.iter().cloned());
                    View::of(id, &node.ty.shape)
                }
                _ => ops::lower(self, value)?,
            },
        };
        let wanted = squeezed(&node.ty.shape);
        let found = self.reshaped(&view, &wanted, &self.name(value))?;
        Ok(Lowered::View(found))
    }

    fn dtype(&self, value: ValueId) -> Result<DType, String> {
        match self.program.node(value).ty.kind {
            Kind::Float => Ok(DType::F32),
            Kind::Int => Ok(DType::I64),
            Kind::Bool => Err("a graph holds no truth values".to_owned()),
        }
    }

    /// What a value is called in the graph.
    pub(super) fn name(&self, value: ValueId) -> String {
        let node = self.program.node(value);
        let own = match node.source.name.is_empty() {
            true => format!("{}_{}", node.op.name(), value.index()),
            false => node.source.name.clone(),
        };
        match node.source.module.is_empty() {
            true => own,
            false => format!("{}.{own}", node.source.module),
        }
    }

    /// How a value of the trace was lowered.
    pub(super) fn lowered(&self, value: ValueId) -> &Lowered {
        &self.values[value.index()]
    }

    /// A value that is no number.
    pub(super) fn view(&mut self, value: ValueId) -> Result<View, String> {
        match self.lowered(value).clone() {
            Lowered::View(view) => Ok(view),
            Lowered::Refused => Err(String::new()),
            Lowered::Row(_) => Err(format!(
                "{} is one row for every index: only a sum takes it",
                self.program.node(value).place()
            )),
            Lowered::Plus(x, row) => {
                let name = self.name(value);
                let operands = [self.computed(&x, &name)?, self.computed(&row, &name)?];
                let sum = self.made(&name, IrOp::Binary { f: BinaryFn::Add }, &operands)?;
                self.values[value.index()] = Lowered::View(sum.clone());
                Ok(sum)
            }
            Lowered::Number(number) => Err(format!(
                "expected a value of the sample or of weights, found {} that is {number} everywhere",
                self.program.node(value).place()
            )),
        }
    }

    /// A new op.
    pub(super) fn op(
        &mut self,
        name: &str,
        op: IrOp,
        operands: &[NodeId],
    ) -> Result<NodeId, String> {
        self.builder.op(name, op, operands).map_err(|error| error.source.to_string())
    }

    /// A number of the graph.
    pub(super) fn number(&mut self, name: &str, number: f64) -> NodeId {
        self.builder.constant(name, number)
    }

    /// A weight that no checkpoint holds; equal ones are one.
    pub(super) fn table(&mut self, name: &str, shape: &[u64], values: Vec<f64>) -> NodeId {
        let extents = shape.iter().map(|&extent| extent as usize).collect();
        let tensor = Tensor { shape: extents, data: Data::Float(values) };
        let known = self.tables.iter().find(|(_, known)| **known == tensor);
        let name = known.map(|(known, _)| known.clone()).unwrap_or_else(|| {
            let mut name = name.to_owned();
            while self.held.contains(&name) || self.tables.contains_key(&name) {
                name.push('_');
            }
            name
        });
        self.tables.insert(name.clone(), tensor);
        self.builder.weight(&name, shape.iter().copied())
    }

    /// The graph so far.
    pub(super) fn graph(&self) -> &Graph {
        self.builder.graph()
    }

    /// A new op, seen as it is.
    pub(super) fn made(
        &mut self,
        name: &str,
        op: IrOp,
        operands: &[NodeId],
    ) -> Result<View, String> {
        let id = self.op(name, op, operands)?;
        Ok(View::of(id, &self.builder.graph().ty(id).shape.clone()))
    }

    /// The value that a view shows.
    pub(super) fn computed(&mut self, view: &View, name: &str) -> Result<NodeId, String> {
        if let Some(id) = view.bare() {
            return Ok(id);
        }
        let mut at = view.base;
        let mut path = Vec::new();
        for step in view.steps() {
            path.push(format!("{step:?}"));
            let key = (view.base, path.clone());
            if let Some(&known) = self.made.get(&key) {
                at = known;
                continue;
            }
            at = match step {
                Step::Reshape(shape) => {
                    self.op(&format!("{name}.view"), IrOp::Reshape { shape }, &[at])?
                }
                Step::Transpose(perm) => {
                    self.op(&format!("{name}.turned"), IrOp::Transpose { perm }, &[at])?
                }
            };
            self.made.insert(key, at);
        }
        Ok(at)
    }

    /// A view under other extents.
    pub(super) fn reshaped(
        &mut self,
        view: &View,
        shape: &[Dim],
        name: &str,
    ) -> Result<View, String> {
        if let Some(found) = view.reshaped(shape) {
            return Ok(found);
        }
        let id = self.computed(view, name)?;
        let op = IrOp::Reshape { shape: shape.to_vec() };
        let id = self.op(&format!("{name}.view"), op, &[id])?;
        Ok(View::of(id, shape))
    }

    /// The value that a view shows under these extents.
    pub(super) fn shaped(
        &mut self,
        view: &View,
        shape: &[Dim],
        name: &str,
    ) -> Result<NodeId, String> {
        let view = self.reshaped(view, shape, name)?;
        self.computed(&view, name)
    }

    /// A value of the trace under the extents that the trace gives it, axes of 1 included, computed.
    pub(super) fn full(&mut self, value: ValueId) -> Result<NodeId, String> {
        let view = self.view(value)?;
        let shape = self.program.shape(value).to_vec();
        self.shaped(&view, &shape, &self.name(value))
    }

    /// A view permuted as a node of the trace permutes it.
    pub(super) fn permuted(&self, view: &View, from: &[Dim], perm: &[usize]) -> View {
        let perm: Vec<_> = perm.iter().filter_map(|&axis| squeezed_axis(from, axis)).collect();
        view.transposed(&perm)
    }

    /// An operand of attention: its root with its views.
    fn seen(&mut self, operand: &Operand) -> Result<View, String> {
        let mut view = self.view(operand.root)?;
        for &step in &operand.views {
            let node = self.program.node(step);
            let from = self.program.shape(node.operands[0]);
            view = match &node.op {
                Op::Permute { perm } => self.permuted(&view, from, perm),
                _ => self.reshaped(&view, &squeezed(&node.ty.shape), &self.name(step))?,
            };
        }
        Ok(view)
    }

    /// `[heads, a, b]` as rows `[a, heads * b]`, or `[b, heads * a]` if turned.
    fn rows_of_heads(
        &mut self,
        view: &View,
        [heads, a, b]: [Dim; 3],
        turned: bool,
        name: &str,
    ) -> Result<NodeId, String> {
        let view = self.reshaped(view, &[heads.clone(), a.clone(), b.clone()], name)?;
        let (perm, rows, width) = if turned { ([2, 0, 1], b, a) } else { ([1, 0, 2], a, b) };
        self.shaped(&view.transposed(&perm), &[rows, heads * width], name)
    }

    fn attention(&mut self, value: ValueId, found: &Attention) -> Result<View, String> {
        let name = self.name(value);
        let (heads, size) = (Dim::from(found.heads), Dim::from(found.head_size));
        let [queries, keys] = found.rows.clone();
        let [q, k, v] = &found.qkv;
        let part = |part: &str| format!("{name}.{part}");
        let q = self.seen(q)?;
        let shape = [heads.clone(), queries.clone(), size.clone()];
        let q = self.rows_of_heads(&q, shape, false, &part("query"))?;
        let k = self.seen(k)?;
        let (a, b) = if found.turned { (&size, &keys) } else { (&keys, &size) };
        let shared = Dim::from(found.heads / found.group);
        let shape = [shared.clone(), a.clone(), b.clone()];
        let k = self.rows_of_heads(&k, shape, found.turned, &part("key"))?;
        let v = self.seen(v)?;
        let shape = [shared, keys, size.clone()];
        let v = self.rows_of_heads(&v, shape, false, &part("value"))?;
        let mut operands = vec![q, k, v];
        let mut bias = Bias::None;
        if !found.slopes.is_empty() {
            bias = Bias::Alibi(found.slopes.iter().map(|&slope| Real(slope)).collect());
        }
        if let Some(table) = &found.table {
            bias = Bias::Relative(table.buckets);
            let rows = Dim::from(table.buckets.rows());
            let view = self.view(table.source)?;
            let view = match table.turned {
                true => self
                    .reshaped(&view, &[heads.clone(), rows.clone()], &part("table"))?
                    .transposed(&[1, 0]),
                false => view,
            };
            let mut id = self.shaped(&view, &[rows, heads.clone()], &part("table"))?;
            if (table.factor - 1.0).abs() > 1e-9 {
                let factor = self.number(&part("table.factor"), table.factor);
                let op = IrOp::Binary { f: BinaryFn::Mul };
                id = self.op(&part("table.scaled"), op, &[id, factor])?;
            }
            operands.push(id);
        }
        if let Some(positions) = &found.positions {
            let (c2p, p2c) = (positions.c2p.is_some(), positions.p2c.is_some());
            bias = Bias::Disentangled { buckets: positions.buckets, c2p, p2c };
            let rows = Dim::from(positions.buckets.rows());
            for table in [&positions.c2p, &positions.p2c].into_iter().flatten() {
                let view = self.seen(table)?;
                let shape = [heads.clone(), size.clone(), rows.clone()];
                operands.push(self.rows_of_heads(&view, shape, true, &part("positions"))?);
            }
        }
        let op = IrOp::Attention {
            heads: found.heads,
            head_size: found.head_size,
            group: found.group,
            scale: Real(found.scale),
            mask: found.mask,
            bias,
            rotary: None,
        };
        let out = self.made(&name, op, &operands)?;
        let out = self.reshaped(&out, &[queries, heads, size], &name)?;
        let out = out.transposed(&[1, 0, 2]);
        self.reshaped(&out, &squeezed(self.program.shape(value)), &name)
    }

    fn rotation(&mut self, value: ValueId, found: &Rotation) -> Result<View, String> {
        let name = self.name(value);
        let shape = self.program.shape(value).to_vec();
        let view = self.view(found.x)?;
        let view = self.reshaped(&view, &shape, &name)?;
        // Rows first, then the heads, however many axes they are, then the head's columns.
        let others = (0..shape.len() - 1).filter(|&axis| axis != found.rows);
        let mut perm = vec![found.rows];
        perm.extend(others);
        let heads = perm[1..].iter().fold(Dim::fixed(1), |n, &axis| n * shape[axis].clone());
        perm.push(shape.len() - 1);
        let size = shape.last().and_then(Dim::as_fixed).ok_or("the head size is no number")?;
        let count = heads.as_fixed().ok_or("the number of heads depends on the sizes")?;
        let rows = [shape[found.rows].clone(), heads * Dim::fixed(size)];
        let x = self.shaped(&view.transposed(&perm), &rows, &format!("{name}.rows"))?;
        let op = IrOp::Rotary { heads: count as usize, head_size: size as usize, rotary: found.by };
        let out = self.made(&name, op, &[x])?;
        let moved: Vec<_> = perm.iter().map(|&axis| shape[axis].clone()).collect();
        let mut back = vec![0; perm.len()];
        perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        Ok(self.reshaped(&out, &moved, &name)?.transposed(&back))
    }
}
