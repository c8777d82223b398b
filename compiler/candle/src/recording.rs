//! One run of a model as a list of steps: what candle did, in the order in which it had to be done.

use std::collections::BTreeMap;

use candle_core::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use candle_core::{DType, Tensor, TensorId};

/// What a step does. Whole numbers that may follow the sizes are in [`Step::ints`], other numbers in [`Step::reals`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// The input of this number.
    Input(usize),
    /// A weight, by name.
    Weight(String),
    /// A tensor that neither an op made nor a checkpoint holds.
    Leaf,
    Unary(UnaryOp),
    Binary(BinaryOp),
    /// By candle's name: eq, ne, lt, le, gt, ge.
    Compare(&'static str),
    /// Ints: the axes.
    Reduce(ReduceOp),
    Matmul,
    /// Ints: the axis.
    Gather,
    /// Ints: the axis.
    IndexSelect,
    Where,
    /// Ints: axes, then padding, stride, dilation.
    Conv,
    /// Ints: the axis.
    Cat,
    /// Reals: factor and summand.
    Affine,
    Cast,
    Broadcast,
    /// Ints: axis, start.
    Narrow,
    Reshape,
    /// Ints: the permutation.
    Permute,
    /// Reals: alpha.
    Elu,
    /// Reals: the exponent.
    Powf,
    /// The operand beside itself along every axis.
    Repeat,
    Sigmoid,
    SoftmaxLast,
    /// Reals: eps.
    LayerNorm,
    /// Reals: eps.
    RmsNorm,
    /// True if neighbouring columns are a pair.
    Rope(bool),
    /// An op that a trace has no word for, by candle's name.
    Unknown(String),
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// Earlier steps.
    pub(crate) args: Vec<usize>,
    pub(crate) ints: Vec<i64>,
    pub(crate) reals: Vec<f64>,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    /// The tensor itself, for a leaf.
    pub(crate) leaf: Option<Tensor>,
    /// The path of the module, taken from the nearest weight.
    pub(crate) module: String,
    /// The first input that the step depends on.
    pub(crate) input: Option<usize>,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<usize>,
    /// What the model made that no op made, in order.
    pub(crate) made: Vec<TensorId>,
}

/// What a tensor's op comes to: its operands, or the tensor that it is equal to.
enum Made<'a> {
    Same(&'a Tensor),
    By { kind: Kind, args: Vec<&'a Tensor>, ints: Vec<i64>, reals: Vec<f64> },
}

/// Reads op graphs back from tensors.
pub(crate) struct Reader<'a> {
    inputs: &'a [Tensor],
    weights: &'a BTreeMap<TensorId, String>,
    numbers: BTreeMap<TensorId, usize>,
    recording: Recording,
}

impl<'a> Reader<'a> {
    /// `weights` gives the names of weights.
    pub(crate) fn new(inputs: &'a [Tensor], weights: &'a BTreeMap<TensorId, String>) -> Self {
        Self { inputs, weights, numbers: BTreeMap::new(), recording: Recording::default() }
    }

    /// The steps that lead to these tensors.
    pub(crate) fn outputs(mut self, outputs: &[Tensor]) -> Recording {
        let numbers: Vec<_> = outputs.iter().map(|output| self.step(output)).collect();
        self.recording.outputs = numbers;
        self.recording
    }

    /// The input that a tensor depends on, if any, and the module that it comes from.
    pub(crate) fn depends(&mut self, tensor: &Tensor) -> (Option<usize>, String) {
        let number = self.step(tensor);
        let step = &self.recording.steps[number];
        (step.input, step.module.clone())
    }

    fn step(&mut self, tensor: &Tensor) -> usize {
        // An explicit stack, because models are deeper than threads' stacks.
        let mut stack = vec![(tensor.clone(), false)];
        while let Some((tensor, ready)) = stack.pop() {
            let own = tensor.id();
            if self.numbers.contains_key(&own) {
                continue;
            }
            if let Some(step) = self.given(&tensor) {
                self.add(own, step);
                continue;
            }
            let made = made(&tensor);
            let needed: Vec<Tensor> = match &made {
                Made::Same(other) => vec![(*other).clone()],
                Made::By { args, .. } => args.iter().map(|&arg| arg.clone()).collect(),
            };
            if !ready {
                stack.push((tensor.clone(), true));
                stack.extend(needed.into_iter().rev().map(|arg| (arg, false)));
                continue;
            }
            let args: Vec<usize> = needed.iter().map(|arg| self.numbers[&arg.id()]).collect();
            match made {
                Made::Same(_) => {
                    self.numbers.insert(own, args[0]);
                }
                Made::By { kind, ints, reals, .. } => {
                    let step = self.finish(&tensor, kind, args, ints, reals);
                    self.add(own, step);
                }
            }
        }
        self.numbers[&tensor.id()]
    }

    fn add(&mut self, id: TensorId, step: Step) {
        self.numbers.insert(id, self.recording.steps.len());
        self.recording.steps.push(step);
    }

    /// Inputs, weights and leaves, which nothing made.
    fn given(&self, tensor: &Tensor) -> Option<Step> {
        let number = self.inputs.iter().position(|input| input.id() == tensor.id());
        let name = self.weights.get(&tensor.id());
        let kind = match (number, name) {
            (Some(number), _) => Kind::Input(number),
            (None, Some(name)) => Kind::Weight(name.clone()),
            (None, None) if tensor.op().is_none() => Kind::Leaf,
            (None, None) => return None,
        };
        Some(Step {
            args: Vec::new(),
            ints: Vec::new(),
            reals: Vec::new(),
            shape: tensor.dims().to_vec(),
            dtype: tensor.dtype(),
            leaf: (kind == Kind::Leaf).then(|| tensor.clone()),
            module: name.map(|name| parent(name).to_owned()).unwrap_or_default(),
            input: number,
            kind,
        })
    }

    fn finish(
        &self,
        tensor: &Tensor,
        kind: Kind,
        args: Vec<usize>,
        ints: Vec<i64>,
        reals: Vec<f64>,
    ) -> Step {
        let steps = || args.iter().map(|&arg| &self.recording.steps[arg]);
        // A weight, also one that was turned or repeated first.
        let weight = steps().find(|step| step.input.is_none() && !step.module.is_empty());
        let nearest = weight.or_else(|| steps().find(|step| step.input.is_some()));
        let nearest = nearest.or_else(|| steps().next());
        Step {
            module: nearest.map(|step| step.module.clone()).unwrap_or_default(),
            input: steps().find_map(|step| step.input),
            kind,
            ints,
            reals,
            shape: tensor.dims().to_vec(),
            dtype: tensor.dtype(),
            leaf: None,
            args,
        }
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn made(tensor: &Tensor) -> Made<'_> {
    let by =
        |kind, args: Vec<_>, ints: Vec<i64>, reals: Vec<f64>| Made::By { kind, args, ints, reals };
    let int = |n: &usize| i64::try_from(*n).unwrap_or(i64::MAX);
    let ints = |all: &[usize]| all.iter().map(int).collect::<Vec<_>>();
    let unknown =
        |name: &str, args| by(Kind::Unknown(name.to_owned()), args, Vec::new(), Vec::new());
    let Some(op) = tensor.op() else { return by(Kind::Leaf, Vec::new(), Vec::new(), Vec::new()) };
    match op {
        Op::Copy(x) | Op::ToDevice(x) => Made::Same(x),
        Op::Broadcast(x) | Op::Reshape(x) if x.dims() == tensor.dims() => Made::Same(x),
        Op::ToDType(x) if x.dtype() == tensor.dtype() => Made::Same(x),
        Op::Broadcast(x) => by(Kind::Broadcast, vec![x], vec![], vec![]),
        Op::Reshape(x) => by(Kind::Reshape, vec![x], vec![], vec![]),
        Op::ToDType(x) => by(Kind::Cast, vec![x], vec![], vec![]),
        Op::Unary(x, f) => by(Kind::Unary(*f), vec![x], vec![], vec![]),
        Op::Binary(a, b, f) => by(Kind::Binary(*f), vec![a, b], vec![], vec![]),
        Op::Reduce(x, f, kept) => {
            let axes = (0..kept.len()).filter(|&axis| x.dims().get(axis) != kept.get(axis));
            let axes: Vec<_> = axes.map(|axis| int(&axis)).collect();
            if axes.is_empty() {
                Made::Same(x)
            } else {
                by(Kind::Reduce(*f), vec![x], axes, vec![])
            }
        }
        Op::Matmul(a, b) => by(Kind::Matmul, vec![a, b], vec![], vec![]),
        Op::Gather(x, index, axis) => by(Kind::Gather, vec![x, index], vec![int(axis)], vec![]),
        Op::IndexSelect(x, index, axis) => {
            by(Kind::IndexSelect, vec![x, index], vec![int(axis)], vec![])
        }
        Op::WhereCond(condition, a, b) => by(Kind::Where, vec![condition, a, b], vec![], vec![]),
        Op::Conv1D { arg, kernel, padding, stride, dilation } => {
            by(Kind::Conv, vec![arg, kernel], ints(&[1, *padding, *stride, *dilation]), vec![])
        }
        Op::Conv2D { arg, kernel, padding, stride, dilation } => {
            by(Kind::Conv, vec![arg, kernel], ints(&[2, *padding, *stride, *dilation]), vec![])
        }
        Op::Cat(parts, axis) => {
            let same = parts.len() > 1 && parts.iter().all(|part| part.id() == parts[0].id());
            match same {
                true => by(Kind::Repeat, vec![&parts[0]], vec![], vec![]),
                false => by(Kind::Cat, parts.iter().collect(), vec![int(axis)], vec![]),
            }
        }
        Op::Affine { arg, mul, add } => by(Kind::Affine, vec![arg], vec![], vec![*mul, *add]),
        Op::Narrow(x, axis, start, _) => by(Kind::Narrow, vec![x], ints(&[*axis, *start]), vec![]),
        Op::Transpose(x, a, b) => {
            let mut perm: Vec<_> = (0..x.rank()).collect();
            perm.swap(*a, *b);
            by(Kind::Permute, vec![x], ints(&perm), vec![])
        }
        Op::Permute(x, perm) => by(Kind::Permute, vec![x], ints(perm), vec![]),
        Op::Elu(x, alpha) => by(Kind::Elu, vec![x], vec![], vec![*alpha]),
        Op::Powf(x, exponent) => by(Kind::Powf, vec![x], vec![], vec![*exponent]),
        Op::CustomOp1(x, custom) if custom.name() == "sigmoid" => {
            by(Kind::Sigmoid, vec![x], vec![], vec![])
        }
        Op::CustomOp1(x, custom) => unknown(custom.name(), vec![x]),
        Op::CustomOp2(a, b, custom) => unknown(custom.name(), vec![a, b]),
        Op::CustomOp3(a, b, c, custom) => unknown(custom.name(), vec![a, b, c]),
        Op::Opaque(opaque) => {
            let args: Vec<_> = opaque.args.iter().collect();
            let eps = opaque.eps().map(f64::from);
            match (opaque.type_name, opaque.name, eps) {
                ("compare", name, _) => by(Kind::Compare(name), args, vec![], vec![]),
                ("candle_nn::ops::SoftmaxLastDim", _, _) => {
                    by(Kind::SoftmaxLast, args, vec![], vec![])
                }
                ("candle_nn::ops::LayerNorm", _, Some(eps)) => {
                    by(Kind::LayerNorm, args, vec![], vec![eps])
                }
                ("candle_nn::ops::RmsNorm", _, Some(eps)) => {
                    by(Kind::RmsNorm, args, vec![], vec![eps])
                }
                ("candle_nn::rotary_emb::RotaryEmb", ..) => {
                    by(Kind::Rope(false), args, vec![], vec![])
                }
                ("candle_nn::rotary_emb::RotaryEmbI", ..) => {
                    by(Kind::Rope(true), args, vec![], vec![])
                }
                (_, name, _) => unknown(name, args),
            }
        }
        Op::Cmp(x, _) => unknown("cmp", vec![x]),
        Op::Scatter(a, b, c, _) => unknown("scatter", vec![a, b, c]),
        Op::ScatterAdd(a, b, c, _) => unknown("scatter_add", vec![a, b, c]),
        Op::IndexAdd(a, b, c, _) => unknown("index_add", vec![a, b, c]),
        Op::SliceScatter0(a, b, _) => unknown("slice_scatter", vec![a, b]),
        Op::ConvTranspose1D { arg, kernel, .. } => unknown("conv_transpose1d", vec![arg, kernel]),
        Op::ConvTranspose2D { arg, kernel, .. } => unknown("conv_transpose2d", vec![arg, kernel]),
        Op::AvgPool2D { arg, .. } => unknown("avg_pool2d", vec![arg]),
        Op::MaxPool2D { arg, .. } => unknown("max_pool2d", vec![arg]),
        Op::UpsampleNearest1D { arg, .. } => unknown("upsample_nearest1d", vec![arg]),
        Op::UpsampleNearest2D { arg, .. } => unknown("upsample_nearest2d", vec![arg]),
        Op::UpsampleBilinear2D { arg, .. } => unknown("upsample_bilinear2d", vec![arg]),
    }
}
