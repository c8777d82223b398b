//! The table of ops: what each op of torch's ATen library becomes.
//!
//! A row names the op and says how it is lowered, and whether its result may share memory with its first tensor. An op in
//! place (`add_`) has no row of its own: it is read as the one without the underscore.

use std::collections::BTreeMap;

use bytec_trace::{BinaryOp as B, ReduceOp as R, UnaryOp as U, ValueId};

use super::super::error::Pt2Error;
use super::super::schema::{Argument, Node};
use super::arguments::{Call, Scalar};

/// How a call becomes nodes of a trace.
#[derive(Clone, Copy)]
pub(super) enum Lower {
    /// To nothing: an assertion, or arithmetic on sizes, whose results the program holds.
    Nothing,
    /// One result.
    One(One),
    /// Several results, those of these names; `None` for one that can't be had.
    Many(Many),
}

/// A row of the table.
#[derive(Clone, Copy)]
struct Row {
    op: &'static str,
    lower: Lower,
    views: bool,
}

/// The row that a target has, and whether the target overwrites its first tensor.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) lower: Lower,
    pub(super) views: bool,
    pub(super) in_place: bool,
}

type One = fn(&mut Call<'_, '_>) -> Result<ValueId, Pt2Error>;
type Many = fn(&mut Call<'_, '_>, &[Option<&str>]) -> Result<Results, Pt2Error>;

/// The results of a call in order; `None` for one that can't be had.
pub(super) type Results = Vec<Option<ValueId>>;

const fn op(op: &'static str, lower: One) -> Row {
    Row { op, lower: Lower::One(lower), views: false }
}

const fn view(op: &'static str, lower: One) -> Row {
    Row { op, lower: Lower::One(lower), views: true }
}

const fn many(op: &'static str, lower: Many) -> Row {
    Row { op, lower: Lower::Many(lower), views: false }
}

const fn views(op: &'static str, lower: Many) -> Row {
    Row { op, lower: Lower::Many(lower), views: true }
}

const fn nothing(op: &'static str) -> Row {
    Row { op, lower: Lower::Nothing, views: false }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // The elements as they are.
    view("alias.default", |c| c.same()),
    op("clone.default", |c| c.same()),
    view("contiguous.default", |c| c.same()),
    view("detach.default", |c| c.same()),
    view("dropout.default", |c| c.dropout()),
    view("native_dropout.default", |c| c.dropout()),
    view("feature_dropout.default", |c| c.dropout()),
    view("alpha_dropout.default", |c| c.dropout()),
    view("lift_fresh.default", |c| c.same()),
    op("lift_fresh_copy.default", |c| c.same()),
    view("to.dtype", |c| c.same()),
    view("to.dtype_layout", |c| c.same()),
    view("to.device", |c| c.same()),
    view("to.other", |c| c.same()),
    op("_to_copy.default", |c| c.same()),
    view("type_as.default", |c| c.same()),
    op("copy.default", |c| c.copied()),
    // Other shapes.
    view("view.default", |c| c.reshape()),
    view("_unsafe_view.default", |c| c.reshape()),
    view("view_as.default", |c| c.reshape()),
    view("reshape.default", |c| c.reshape()),
    view("reshape_as.default", |c| c.reshape()),
    view("flatten.using_ints", |c| c.reshape()),
    view("unflatten.int", |c| c.reshape()),
    view("squeeze.default", |c| c.reshape()),
    view("squeeze.dim", |c| c.reshape()),
    view("squeeze.dims", |c| c.reshape()),
    view("unsqueeze.default", |c| c.reshape()),
    view("transpose.int", |c| c.transpose("dim0", "dim1")),
    view("swapaxes.default", |c| c.transpose("axis0", "axis1")),
    view("swapdims.default", |c| c.transpose("dim0", "dim1")),
    view("t.default", |c| c.turned()),
    view("numpy_T.default", |c| c.turned()),
    view("permute.default", |c| c.permute()),
    view("movedim.int", |c| c.moved()),
    view("movedim.intlist", |c| c.moved()),
    view("expand.default", |c| c.expand()),
    view("expand_as.default", |c| c.expand()),
    view("broadcast_to.default", |c| c.expand()),
    op("repeat.default", |c| c.repeat()),
    op("tile.default", |c| c.repeat()),
    op("repeat_interleave.self_int", |c| c.repeat_interleave()),
    views("meshgrid.default", |c, names| c.grid(names)),
    views("meshgrid.indexing", |c, names| c.grid(names)),
    // Parts.
    view("slice.Tensor", |c| c.slice()),
    view("narrow.default", |c| c.narrow()),
    view("select.int", |c| c.select()),
    views("unbind.int", |c, _| c.unbind()),
    views("chunk.default", |c, names| c.parts(names)),
    views("split.Tensor", |c, names| c.parts(names)),
    views("split.sizes", |c, names| c.parts(names)),
    views("split_with_sizes.default", |c, names| c.parts(names)),
    views("tensor_split.sections", |c, names| c.parts(names)),
    op("cat.default", |c| c.concat()),
    op("concat.default", |c| c.concat()),
    op("concatenate.default", |c| c.concat()),
    op("stack.default", |c| c.stack()),
    op("flip.default", |c| c.flip()),
    op("roll.default", |c| c.roll()),
    op("pad.default", |c| c.pad()),
    op("constant_pad_nd.default", |c| c.pad()),
    op("embedding.default", |c| c.embedding()),
    op("index.Tensor", |c| c.index()),
    op("index_select.default", |c| c.index_select()),
    op("gather.default", |c| c.gather()),
    op("tril.default", |c| c.triangle(B::Le)),
    op("triu.default", |c| c.triangle(B::Ge)),
    // Tensors made of nothing.
    op("arange.default", |c| c.arange()),
    op("arange.start", |c| c.arange()),
    op("arange.start_step", |c| c.arange()),
    op("zeros.default", |c| c.filled(Scalar::Int(0))),
    op("zeros_like.default", |c| c.filled(Scalar::Int(0))),
    op("new_zeros.default", |c| c.filled(Scalar::Int(0))),
    op("ones.default", |c| c.filled(Scalar::Int(1))),
    op("ones_like.default", |c| c.filled(Scalar::Int(1))),
    op("new_ones.default", |c| c.filled(Scalar::Int(1))),
    op("full.default", |c| c.filled_with("fill_value")),
    op("full_like.default", |c| c.filled_with("fill_value")),
    op("new_full.default", |c| c.filled_with("fill_value")),
    op("fill.Scalar", |c| c.filled_with("value")),
    op("fill.Tensor", |c| c.filled_by("value")),
    op("zero.default", |c| c.filled(Scalar::Int(0))),
    op("scalar_tensor.default", |c| c.filled_with("s")),
    // Functions of one element.
    op("abs.default", |c| c.unary(U::Abs)),
    op("bitwise_not.default", |c| c.bitwise_not()),
    op("ceil.default", |c| c.unary(U::Ceil)),
    op("cos.default", |c| c.unary(U::Cos)),
    op("elu.default", |c| c.elu()),
    op("erf.default", |c| c.unary(U::Erf)),
    op("exp.default", |c| c.unary(U::Exp)),
    op("floor.default", |c| c.unary(U::Floor)),
    op("gelu.default", |c| c.gelu()),
    op("glu.default", |c| c.glu()),
    op("hardsigmoid.default", |c| c.hard_sigmoid()),
    op("hardswish.default", |c| c.hard_swish()),
    op("isnan.default", |c| c.is_nan()),
    op("leaky_relu.default", |c| c.leaky_relu()),
    op("log.default", |c| c.unary(U::Log)),
    op("logical_not.default", |c| c.unary(U::Not)),
    op("neg.default", |c| c.unary(U::Neg)),
    op("reciprocal.default", |c| c.unary(U::Reciprocal)),
    op("relu.default", |c| c.unary(U::Relu)),
    op("round.default", |c| c.unary(U::Round)),
    op("rsqrt.default", |c| c.unary(U::Rsqrt)),
    op("sigmoid.default", |c| c.unary(U::Sigmoid)),
    op("sign.default", |c| c.unary(U::Sign)),
    op("silu.default", |c| c.unary(U::Silu)),
    op("sin.default", |c| c.unary(U::Sin)),
    op("sqrt.default", |c| c.unary(U::Sqrt)),
    op("square.default", |c| c.unary(U::Square)),
    op("tanh.default", |c| c.unary(U::Tanh)),
    // Functions of two.
    op("add.Tensor", |c| c.arithmetic(B::Add)),
    op("add.Scalar", |c| c.arithmetic(B::Add)),
    op("sub.Tensor", |c| c.arithmetic(B::Sub)),
    op("sub.Scalar", |c| c.arithmetic(B::Sub)),
    op("rsub.Tensor", |c| c.reversed(B::Sub)),
    op("rsub.Scalar", |c| c.reversed(B::Sub)),
    op("mul.Tensor", |c| c.arithmetic(B::Mul)),
    op("mul.Scalar", |c| c.arithmetic(B::Mul)),
    op("div.Tensor", |c| c.arithmetic(B::Div)),
    op("div.Scalar", |c| c.arithmetic(B::Div)),
    op("div.Tensor_mode", |c| c.divided()),
    op("div.Scalar_mode", |c| c.divided()),
    op("floor_divide.default", |c| c.arithmetic(B::FloorDiv)),
    op("floor_divide.Scalar", |c| c.arithmetic(B::FloorDiv)),
    op("remainder.Tensor", |c| c.arithmetic(B::Remainder)),
    op("remainder.Scalar", |c| c.arithmetic(B::Remainder)),
    op("min.other", |c| c.arithmetic(B::Min)),
    op("minimum.default", |c| c.arithmetic(B::Min)),
    op("max.other", |c| c.arithmetic(B::Max)),
    op("maximum.default", |c| c.arithmetic(B::Max)),
    op("pow.Tensor_Scalar", |c| c.power()),
    op("pow.Tensor_Tensor", |c| c.power()),
    op("pow.Scalar", |c| c.power()),
    op("clamp.default", |c| c.clamped()),
    op("clamp.Tensor", |c| c.clamped()),
    op("clamp_min.default", |c| c.clamped()),
    op("clamp_max.default", |c| c.clamped()),
    op("eq.Tensor", |c| c.compared(B::Eq)),
    op("eq.Scalar", |c| c.compared(B::Eq)),
    op("ne.Tensor", |c| c.compared(B::Ne)),
    op("ne.Scalar", |c| c.compared(B::Ne)),
    op("lt.Tensor", |c| c.compared(B::Lt)),
    op("lt.Scalar", |c| c.compared(B::Lt)),
    op("le.Tensor", |c| c.compared(B::Le)),
    op("le.Scalar", |c| c.compared(B::Le)),
    op("gt.Tensor", |c| c.compared(B::Gt)),
    op("gt.Scalar", |c| c.compared(B::Gt)),
    op("ge.Tensor", |c| c.compared(B::Ge)),
    op("ge.Scalar", |c| c.compared(B::Ge)),
    op("__and__.Tensor", |c| c.bitwise(B::And)),
    op("__or__.Tensor", |c| c.bitwise(B::Or)),
    op("bitwise_and.Tensor", |c| c.bitwise(B::And)),
    op("bitwise_or.Tensor", |c| c.bitwise(B::Or)),
    op("logical_and.default", |c| c.logical(B::And)),
    op("logical_or.default", |c| c.logical(B::Or)),
    op("where.self", |c| c.chosen("condition", "self", "other")),
    op("where.Scalar", |c| c.chosen("condition", "self", "other")),
    op("where.ScalarOther", |c| c.chosen("condition", "self", "other")),
    op("where.ScalarSelf", |c| c.chosen("condition", "self", "other")),
    op("masked_fill.Scalar", |c| c.chosen("mask", "value", "self")),
    op("masked_fill.Tensor", |c| c.chosen("mask", "value", "self")),
    // Reductions.
    op("sum.default", |c| c.reduced(R::Sum)),
    op("sum.dim_IntList", |c| c.reduced(R::Sum)),
    op("mean.default", |c| c.reduced(R::Mean)),
    op("mean.dim", |c| c.reduced(R::Mean)),
    op("amax.default", |c| c.reduced(R::Max)),
    op("max.default", |c| c.reduced(R::Max)),
    many("max.dim", |c, names| c.extremes(R::Max, names)),
    op("amin.default", |c| c.reduced(R::Min)),
    op("min.default", |c| c.reduced(R::Min)),
    many("min.dim", |c, names| c.extremes(R::Min, names)),
    op("argmax.default", |c| c.reduced(R::ArgMax)),
    op("any.default", |c| c.reduced(R::Any)),
    op("any.dim", |c| c.reduced(R::Any)),
    op("any.dims", |c| c.reduced(R::Any)),
    op("all.default", |c| c.reduced(R::All)),
    op("all.dim", |c| c.reduced(R::All)),
    op("all.dims", |c| c.reduced(R::All)),
    op("adaptive_avg_pool1d.default", |c| c.whole_mean(1)),
    op("adaptive_avg_pool2d.default", |c| c.whole_mean(2)),
    op("var.correction", |c| c.variance()),
    op("var.dim", |c| c.variance()),
    op("std.correction", |c| c.deviation()),
    op("std.dim", |c| c.deviation()),
    op("linalg_vector_norm.default", |c| c.length("ord")),
    op("norm.ScalarOpt_dim", |c| c.length("p")),
    op("cumsum.default", |c| c.running_sum()),
    op("diff.default", |c| c.differences()),
    op("softmax.int", |c| c.softmax()),
    op("_softmax.default", |c| c.softmax()),
    op("log_softmax.int", |c| c.log_softmax()),
    op("_log_softmax.default", |c| c.log_softmax()),
    // Layers.
    op("linear.default", |c| c.linear()),
    op("addmm.default", |c| c.add_product("mat1", "mat2")),
    op("baddbmm.default", |c| c.add_product("batch1", "batch2")),
    op("matmul.default", |c| c.product("other")),
    op("mm.default", |c| c.product("mat2")),
    op("bmm.default", |c| c.product("mat2")),
    op("outer.default", |c| c.outer()),
    op("conv1d.default", |c| c.convolution(Some(1))),
    op("conv1d.padding", |c| c.convolution(Some(1))),
    op("conv2d.default", |c| c.convolution(Some(2))),
    op("conv2d.padding", |c| c.convolution(Some(2))),
    op("conv3d.default", |c| c.convolution(Some(3))),
    op("convolution.default", |c| c.convolution(None)),
    op("layer_norm.default", |c| c.layer_norm()),
    many("native_layer_norm.default", |c, names| c.native_layer_norm(names)),
    op("rms_norm.default", |c| c.rms_norm()),
    op("batch_norm.default", |c| c.batch_norm()),
    many("_native_batch_norm_legit_no_training.default", |c, names| c.native_batch_norm(names)),
    op("scaled_dot_product_attention.default", |c| c.attention()),
    // What the program's own lists of sizes say already, and what only asserts.
    nothing("sym_size.int"),
    nothing("sym_numel.default"),
    nothing("sym_storage_offset.default"),
    nothing("_assert_async.default"),
    nothing("_assert_async.msg"),
    nothing("_assert_scalar.default"),
    nothing("_assert_tensor_metadata.default"),
    nothing("sym_constrain_range.default"),
    nothing("sym_constrain_range_for_size.default"),
];

/// Ops whose results' sizes, or whose control, depends on values.
const BY_VALUE: &[&str] = &[
    "_local_scalar_dense",
    "item",
    "masked_select",
    "nonzero",
    "nonzero_numpy",
    "unique_consecutive",
    "unique_dim",
    "_unique2",
];

/// Ops that draw random numbers.
const RANDOM: &[&str] = &[
    "bernoulli",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
];

/// The table by target.
pub(super) struct Rows {
    by_op: BTreeMap<&'static str, Row>,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { by_op: ROWS.iter().map(|row| (row.op, *row)).collect() }
    }

    /// The row of a target such as `torch.ops.aten.add_.Tensor`; arithmetic of Python is on sizes.
    pub(super) fn find(&self, target: &str) -> Option<Found> {
        if ["_operator.", "math.", "torch.sym_"].iter().any(|prefix| target.starts_with(prefix)) {
            return Some(Found { lower: Lower::Nothing, views: false, in_place: false });
        }
        let op = target.strip_prefix("torch.ops.aten.")?;
        if let Some(row) = self.by_op.get(op) {
            return Some(Found { lower: row.lower, views: row.views, in_place: false });
        }
        let (name, overload) = op.split_once('.')?;
        let functional = name.strip_suffix('_').filter(|name| !name.ends_with('_'))?;
        let row = self.by_op.get(format!("{functional}.{overload}").as_str())?;
        Some(Found { lower: row.lower, views: row.views, in_place: true })
    }
}

/// Why a node can't be read, if it can't.
pub(super) fn refusal(node: &Node, rows: &Rows) -> Option<&'static str> {
    let holds_graph = node.inputs.iter().any(|input| matches!(input.arg, Argument::Graph(_)));
    if holds_graph || node.target.starts_with("torch.ops.higher_order.") {
        return Some("control flow inside the program; what a plan does can't depend on values");
    }
    // A number that the sizes decide is a size.
    if rows.find(&node.target).is_some() || super::item::gives_size(node) {
        return None;
    }
    let Some(op) = node.target.strip_prefix("torch.ops.aten.") else {
        return Some("an op of another library than ATen");
    };
    let name = op.split('.').next().unwrap_or_default();
    if BY_VALUE.contains(&name) {
        return Some("what follows would depend on values, which a plan can't");
    }
    if RANDOM.contains(&name) {
        return Some("it is random");
    }
    Some("an op that isn't built")
}
