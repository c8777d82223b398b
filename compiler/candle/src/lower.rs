//! candle's ops as ops of a trace.
//!
//! What candle-nn takes apart is put together again ([`crate::fold`]), and a mean that multiplies by one over a size is one.
//! Repeating an operand before arithmetic is left out where the arithmetic broadcasts by itself.

use bytec_ir::dim::Dim;
use bytec_trace::{BinaryOp, Kind, Op, ReduceOp, Source, Trace, UnaryOp, Values};
use candle_core::op as candle;
use candle_core::{DType, Tensor};

use crate::draft::Draft;
use crate::error::Error;
use crate::leaf::{Pattern, pattern};
use crate::options::{Holds, Options};
use crate::program::{Program, Symbolic, place};
use crate::recording;

/// The trace of a program. `largest` runs the model at the largest sizes and gives the leaf of this step there.
///
/// # Errors
/// Ops that a trace has no word for, numbers and constants that follow the sizes in an unknown way.
pub(crate) fn lower(
    program: &Program,
    options: &Options,
    largest: &mut dyn FnMut(usize) -> Result<Tensor, Error>,
) -> Result<Trace, Error> {
    let unknown = program.unknown();
    if !unknown.is_empty() {
        return Err(Error::Ops(unknown));
    }
    let mut lowering = Lowering { program, options, draft: Draft::default(), of: Vec::new() };
    for (i, symbolic) in program.steps.iter().enumerate() {
        let (op, module) = (name(&symbolic.step.kind), symbolic.step.module.clone());
        lowering.draft.source = Source { op, module, name: format!("step_{i}") };
        let node = lowering.step(i, symbolic, largest)?;
        lowering.of.push(node);
    }
    let names = options.outputs.iter().cloned();
    let outputs: Vec<_> =
        names.zip(program.outputs.iter().map(|&step| lowering.of[step])).collect();
    lowering.draft.finish(&options.symbols, &outputs)
}

struct Lowering<'a> {
    program: &'a Program,
    options: &'a Options,
    draft: Draft,
    /// The node of every step so far.
    of: Vec<usize>,
}

fn name(kind: &recording::Kind) -> String {
    let text = format!("{kind:?}").to_lowercase();
    text.chars().take_while(|c| *c != '"').collect::<String>().trim_end_matches('(').to_owned()
}

fn kind_of(dtype: DType) -> Kind {
    if dtype.is_float() { Kind::Float } else { Kind::Int }
}

impl Lowering<'_> {
    fn step(
        &mut self,
        i: usize,
        symbolic: &Symbolic,
        largest: &mut dyn FnMut(usize) -> Result<Tensor, Error>,
    ) -> Result<usize, Error> {
        use recording::Kind as Did;
        let step = &symbolic.step;
        let args: Vec<usize> = step.args.iter().map(|&arg| self.of[arg]).collect();
        let (shape, kind) = (symbolic.shape.as_slice(), kind_of(step.dtype));
        let axis = |k: usize| step.ints.get(k).and_then(|&n| usize::try_from(n).ok()).unwrap_or(0);
        let draft = &mut self.draft;
        Ok(match &step.kind {
            Did::Input(number) => self.input(*number, shape, kind),
            Did::Weight(name) => draft.add(Op::Weight { name: name.clone() }, &[], kind, shape),
            Did::Leaf => self.leaf(i, symbolic, largest)?,
            Did::Unary(f) => {
                let x = self.arithmetic(args[0]);
                let kind = self.draft.kind(x);
                self.draft.add(Op::Unary(unary(*f)), &[x], kind, shape)
            }
            Did::Sigmoid => draft.add(Op::Unary(UnaryOp::Sigmoid), &args, kind, shape),
            Did::Binary(f) => self.binary(*f, &args, step.dtype, shape),
            Did::Compare(f) => {
                if matches!(*f, "eq" | "ne") && self.asks_for_padding(&args) {
                    let answer = self.draft.number(f64::from(*f == "ne"), Kind::Bool);
                    return Ok(self.draft.add(Op::Full, &[answer], Kind::Bool, shape));
                }
                let (a, b) = (self.arithmetic(args[0]), self.arithmetic(args[1]));
                self.draft.binary(compare(f), a, b, Kind::Bool, shape)
            }
            Did::Reduce(f) => {
                let x = self.arithmetic(args[0]);
                let axes = (0..step.ints.len()).map(axis).collect();
                let f = match f {
                    candle::ReduceOp::Sum => ReduceOp::Sum,
                    candle::ReduceOp::Min => ReduceOp::Min,
                    candle::ReduceOp::Max => ReduceOp::Max,
                    candle::ReduceOp::ArgMin | candle::ReduceOp::ArgMax => {
                        return Err(Error::Ops(vec![format!("{f:?} at {}", place(i, step))]));
                    }
                };
                let kind = self.draft.kind(x);
                self.draft.add(Op::Reduce { f, axes, keep: true }, &[x], kind, shape)
            }
            Did::Matmul => draft.matmul(args[0], args[1], shape),
            Did::Gather => {
                draft.add(Op::Gather { axis: axis(0) }, &args, draft.kind(args[0]), shape)
            }
            Did::IndexSelect => {
                draft.add(Op::IndexSelect { axis: axis(0) }, &args, draft.kind(args[0]), shape)
            }
            Did::Where => {
                let condition = draft.cast(args[0], Kind::Bool);
                let (a, b) = (self.arithmetic(args[1]), self.arithmetic(args[2]));
                self.draft.choose([condition, a, b], kind, shape)
            }
            Did::Conv => {
                let number = |k| vec![symbolic_number(step.ints.get(k)); axis(0)];
                let (padding, stride, dilation) = (number(1), number(2), number(3));
                draft.add(Op::Conv { stride, padding, dilation, groups: 1 }, &args, kind, shape)
            }
            Did::Cat => {
                let args: Vec<_> = args.iter().map(|&arg| self.arithmetic(arg)).collect();
                self.draft.add(Op::Concat { axis: axis(0) }, &args, kind, shape)
            }
            Did::Repeat => draft.add(Op::Repeat, &args, draft.kind(args[0]), shape),
            Did::Affine => self.affine(i, symbolic, args[0], step.dtype)?,
            Did::Cast => draft.cast(args[0], kind),
            Did::Broadcast => draft.add(Op::Expand, &args, draft.kind(args[0]), shape),
            Did::Narrow => {
                let start = symbolic.ints.get(1).cloned().unwrap_or_else(|| Dim::fixed(0));
                draft.slice(args[0], axis(0), start, shape)
            }
            Did::Reshape => draft.reshape_or_fold(args[0], shape),
            Did::Permute => {
                let perm: Vec<_> = (0..step.ints.len()).map(axis).collect();
                draft.add(Op::Permute { perm }, &args, draft.kind(args[0]), shape)
            }
            Did::Elu => {
                let alpha = self.constant_real(i, symbolic, 0)?;
                self.elu(args[0], alpha, shape)
            }
            Did::Powf => {
                let exponent = self.constant_real(i, symbolic, 0)?;
                self.power(args[0], exponent, shape)
            }
            Did::SoftmaxLast => {
                let axis = shape.len().saturating_sub(1);
                draft.add(Op::Softmax { axis }, &args, kind, shape)
            }
            Did::LayerNorm => {
                let eps = self.constant_real(i, symbolic, 0)?;
                self.draft.add(Op::LayerNorm { axes: 1, eps }, &args, kind, shape)
            }
            Did::RmsNorm => {
                let eps = self.constant_real(i, symbolic, 0)?;
                self.draft.add(Op::RmsNorm { eps }, &args, kind, shape)
            }
            Did::Rope(interleaved) => {
                // candle takes longer tables than it uses.
                let rows = shape[shape.len().saturating_sub(2)].clone();
                let table = |draft: &mut Draft, node: usize| {
                    let mut used = draft.shape(node);
                    used[0] = rows.clone();
                    match draft.nodes[node].ty.shape == used {
                        true => node,
                        false => {
                            let op = Op::Slice { axis: 0, start: Dim::fixed(0), step: 1 };
                            draft.add(op, &[node], kind, &used)
                        }
                    }
                };
                let (cos, sin) = (table(draft, args[1]), table(draft, args[2]));
                draft.add(Op::Rope { interleaved: *interleaved }, &[args[0], cos, sin], kind, shape)
            }
            Did::Unknown(name) => return Err(Error::Ops(vec![name.clone()])),
        })
    }

    /// Truth values as the integers that candle holds them in.
    fn arithmetic(&mut self, node: usize) -> usize {
        match self.draft.kind(node) {
            Kind::Bool => self.draft.cast(node, Kind::Int),
            Kind::Int | Kind::Float => node,
        }
    }

    fn input(&mut self, number: usize, shape: &[Dim], kind: Kind) -> usize {
        let input = &self.options.inputs[number];
        let fill = match input.holds {
            Holds::Mask => 1.0,
            Holds::Padding | Holds::Zeros => 0.0,
            Holds::Floats | Holds::Ids { .. } => {
                return self.draft.add(Op::Input { name: input.name.clone() }, &[], kind, shape);
            }
        };
        let number = self.draft.number(fill, kind);
        self.draft.add(Op::Full, &[number], kind, shape)
    }

    /// Whether this compares the ids of an input with the id of padding, which none of them is.
    fn asks_for_padding(&self, args: &[usize]) -> bool {
        let nodes = &self.draft.nodes;
        let through = |mut node: usize| {
            while matches!(nodes[node].op, Op::Cast | Op::Expand | Op::Reshape | Op::Full) {
                node = nodes[node].args[0];
            }
            &nodes[node].op
        };
        let (Op::Input { name }, Op::Constant(constant)) = (through(args[0]), through(args[1]))
        else {
            return false;
        };
        let input = self.options.inputs.iter().find(|input| input.name == *name);
        let Some(Holds::Ids { never: Some(never), .. }) = input.map(|input| input.holds) else {
            return false;
        };
        constant.values == Values::Int(vec![i64::from(never)])
    }

    fn leaf(
        &mut self,
        i: usize,
        symbolic: &Symbolic,
        largest: &mut dyn FnMut(usize) -> Result<Tensor, Error>,
    ) -> Result<usize, Error> {
        let (shape, kind) = (symbolic.shape.as_slice(), kind_of(symbolic.step.dtype));
        let found = pattern(i, symbolic, &self.program.at, || largest(i))?;
        let draft = &mut self.draft;
        // Axes of the batch are 1 until the last step, which repeats them.
        let batch = bytec_ir::dim::Symbol::new(crate::options::BATCH);
        let alone =
            |dim: &Dim| if dim.symbols().contains(&batch) { Dim::fixed(1) } else { dim.clone() };
        let single: Vec<Dim> = shape.iter().map(alone).collect();
        let node = match found {
            Pattern::Fixed(table) => draft.table(&table.shape, &table.values, kind),
            Pattern::Fill(value) => {
                let number = draft.number(value, kind);
                return Ok(draft.add(Op::Full, &[number], kind, shape));
            }
            Pattern::Arange { axis, start, step } => {
                let row =
                    draft.add(Op::Arange { start, step }, &[], Kind::Int, &single[axis..=axis]);
                let row = draft.cast(row, kind);
                draft.reshape(row, &single)
            }
            Pattern::Prefix(table) => {
                let mut node = draft.table(&table.shape, &table.values, kind);
                for (axis, dim) in single.iter().enumerate() {
                    let mut smaller = draft.shape(node);
                    smaller[axis] = dim.clone();
                    if smaller != draft.nodes[node].ty.shape {
                        let op = Op::Slice { axis, start: Dim::fixed(0), step: 1 };
                        node = draft.add(op, &[node], kind, &smaller);
                    }
                }
                node
            }
            Pattern::Toeplitz { row, column, last, table } => {
                let length = &single[row..=row];
                let places = draft.add(Op::Arange { start: 0, step: 1 }, &[], Kind::Int, length);
                let rows = draft.reshape(places, &[length[0].clone(), Dim::fixed(1)]);
                let columns = draft.reshape(places, &[Dim::fixed(1), length[0].clone()]);
                let square = [length[0].clone(), length[0].clone()];
                let distance = match row < column {
                    true => draft.binary(BinaryOp::Sub, columns, rows, Kind::Int, &square),
                    false => draft.binary(BinaryOp::Sub, rows, columns, Kind::Int, &square),
                };
                let last = draft.number(last as f64, Kind::Int);
                let index = draft.binary(BinaryOp::Add, distance, last, Kind::Int, &square);
                let table = draft.table(&[table.len()], &table, kind);
                let values = draft.add(Op::Index, &[table, index], kind, &square);
                draft.reshape(values, &single)
            }
        };
        match single == shape {
            true => Ok(node),
            false => Ok(draft.add(Op::Expand, &[node], kind, shape)),
        }
    }

    fn binary(
        &mut self,
        f: candle::BinaryOp,
        args: &[usize],
        dtype: DType,
        shape: &[Dim],
    ) -> usize {
        let (a, b) = (self.arithmetic(args[0]), self.arithmetic(args[1]));
        let kind = kind_of(dtype);
        if let (candle::BinaryOp::Add, Some(biased)) = (f, self.draft.biased(a, b, shape)) {
            return biased;
        }
        let f = match f {
            candle::BinaryOp::Add => BinaryOp::Add,
            candle::BinaryOp::Sub => BinaryOp::Sub,
            candle::BinaryOp::Mul => BinaryOp::Mul,
            candle::BinaryOp::Maximum => BinaryOp::Max,
            candle::BinaryOp::Minimum => BinaryOp::Min,
            candle::BinaryOp::Div if kind == Kind::Float => {
                let (a, b) = (args[0], args[1]);
                if let Some(mean) = self.draft.mean_by(a, b, shape) {
                    return mean;
                }
                return match self.draft.softmax_of(a, b) {
                    Some((x, axis)) => self.draft.add(Op::Softmax { axis }, &[x], kind, shape),
                    None => self.draft.binary(BinaryOp::Div, a, b, kind, shape),
                };
            }
            // candle drops the fraction of an integer division, which is what a cast to an integer does.
            candle::BinaryOp::Div => {
                let exact = self.draft.binary(BinaryOp::Div, a, b, Kind::Float, shape);
                return self.draft.cast(exact, kind);
            }
        };
        self.draft.binary(f, a, b, kind, shape)
    }
    /// One of a step's reals, the same in all runs.
    fn constant_real(&self, i: usize, symbolic: &Symbolic, k: usize) -> Result<f64, Error> {
        let first = symbolic.reals[0][k];
        if symbolic.reals.iter().all(|reals| reals[k].to_bits() == first.to_bits()) {
            return Ok(first);
        }
        let all: Vec<_> = symbolic.reals.iter().map(|reals| reals[k].to_string()).collect();
        let (at, what) = (place(i, &symbolic.step), format!("real number {k}"));
        Err(Error::Fit { at, what, found: all.join(", ") })
    }

    /// `x * factor + summand`.
    fn affine(
        &mut self,
        i: usize,
        symbolic: &Symbolic,
        x: usize,
        dtype: DType,
    ) -> Result<usize, Error> {
        let shape = symbolic.shape.as_slice();
        if let Some(mean) = self.mean(symbolic, x, shape) {
            return Ok(mean);
        }
        let (factor, summand) =
            (self.constant_real(i, symbolic, 0)?, self.constant_real(i, symbolic, 1)?);
        let (kind, x) = (kind_of(dtype), self.arithmetic(x));
        // candle brings both numbers to the dtype first.
        let in_dtype = |value: f64| match dtype {
            DType::F64 => value,
            _ if kind == Kind::Float => f64::from(value as f32),
            _ => value.trunc(),
        };
        let (factor, summand) = (in_dtype(factor), in_dtype(summand));
        let draft = &mut self.draft;
        if factor == -1.0 && summand != 0.0 {
            let number = draft.number(summand, kind);
            return Ok(draft.binary(BinaryOp::Sub, number, x, kind, shape));
        }
        let mut node = x;
        if factor != 1.0 {
            let number = draft.number(factor, kind);
            node = draft.binary(BinaryOp::Mul, node, number, kind, shape);
        }
        if summand != 0.0 {
            let number = draft.number(summand, kind);
            node = draft.binary(BinaryOp::Add, node, number, kind, shape);
        }
        Ok(node)
    }

    /// A sum times one over the number of summands is a mean.
    fn mean(&mut self, symbolic: &Symbolic, x: usize, shape: &[Dim]) -> Option<usize> {
        let program = self.program;
        self.draft.mean_of(x, shape, |count| {
            symbolic.reals.iter().zip(&program.at).all(|(reals, at)| {
                let n = count.eval(at).map_or(f64::NAN, |n| n as f64);
                reals[0].to_bits() == (1.0 / n).to_bits() && reals[1] == 0.0
            })
        })
    }

    fn elu(&mut self, x: usize, alpha: f64, shape: &[Dim]) -> usize {
        let draft = &mut self.draft;
        let float = Kind::Float;
        let (zero, one, alpha) =
            (draft.number(0.0, float), draft.number(1.0, float), draft.number(alpha, float));
        let exp = draft.add(Op::Unary(UnaryOp::Exp), &[x], float, shape);
        let less = draft.binary(BinaryOp::Sub, exp, one, float, shape);
        let below = draft.binary(BinaryOp::Mul, less, alpha, float, shape);
        let positive = draft.binary(BinaryOp::Gt, x, zero, Kind::Bool, shape);
        draft.add(Op::Where, &[positive, x, below], float, shape)
    }

    fn power(&mut self, x: usize, exponent: f64, shape: &[Dim]) -> usize {
        let unary = |f| Op::Unary(f);
        let draft = &mut self.draft;
        match exponent {
            2.0 => draft.add(unary(UnaryOp::Square), &[x], Kind::Float, shape),
            0.5 => draft.add(unary(UnaryOp::Sqrt), &[x], Kind::Float, shape),
            -0.5 => draft.add(unary(UnaryOp::Rsqrt), &[x], Kind::Float, shape),
            -1.0 => draft.add(unary(UnaryOp::Reciprocal), &[x], Kind::Float, shape),
            _ => {
                let exponent = draft.number(exponent, Kind::Float);
                draft.binary(BinaryOp::Pow, x, exponent, Kind::Float, shape)
            }
        }
    }
}

fn symbolic_number(n: Option<&i64>) -> u64 {
    n.and_then(|&n| u64::try_from(n).ok()).unwrap_or(0)
}

fn unary(f: candle::UnaryOp) -> UnaryOp {
    match f {
        candle::UnaryOp::Exp => UnaryOp::Exp,
        candle::UnaryOp::Log => UnaryOp::Log,
        candle::UnaryOp::Sin => UnaryOp::Sin,
        candle::UnaryOp::Cos => UnaryOp::Cos,
        candle::UnaryOp::Abs => UnaryOp::Abs,
        candle::UnaryOp::Neg => UnaryOp::Neg,
        candle::UnaryOp::Recip => UnaryOp::Reciprocal,
        candle::UnaryOp::Sqr => UnaryOp::Square,
        candle::UnaryOp::Sqrt => UnaryOp::Sqrt,
        candle::UnaryOp::Gelu => UnaryOp::GeluTanh,
        candle::UnaryOp::GeluErf => UnaryOp::GeluErf,
        candle::UnaryOp::Erf => UnaryOp::Erf,
        candle::UnaryOp::Relu => UnaryOp::Relu,
        candle::UnaryOp::Silu => UnaryOp::Silu,
        candle::UnaryOp::Tanh => UnaryOp::Tanh,
        candle::UnaryOp::Floor => UnaryOp::Floor,
        candle::UnaryOp::Ceil => UnaryOp::Ceil,
        candle::UnaryOp::Round => UnaryOp::Round,
        candle::UnaryOp::Sign => UnaryOp::Sign,
    }
}

fn compare(name: &str) -> BinaryOp {
    match name {
        "eq" => BinaryOp::Eq,
        "ne" => BinaryOp::Ne,
        "lt" => BinaryOp::Lt,
        "le" => BinaryOp::Le,
        "gt" => BinaryOp::Gt,
        _ => BinaryOp::Ge,
    }
}
