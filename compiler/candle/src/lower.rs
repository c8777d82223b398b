//! candle's ops as ops of a trace.
//!
//! What candle-nn takes apart for speed is put together again: a linear layer that flattens the batch and multiplies by a
//! transposed weight, an embedding that selects rows of flattened ids, a softmax of five ops, a mean that multiplies by
//! one over a size. Repeating an operand before arithmetic is left out where the arithmetic broadcasts by itself.

use bytec_ir::dim::{Bindings, Dim};
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
            Did::Matmul => self.matmul(args[0], args[1], shape),
            Did::Gather => {
                draft.add(Op::Gather { axis: axis(0) }, &args, draft.kind(args[0]), shape)
            }
            Did::IndexSelect => {
                draft.add(Op::IndexSelect { axis: axis(0) }, &args, draft.kind(args[0]), shape)
            }
            Did::Where => {
                let condition = draft.cast(args[0], Kind::Bool);
                let (a, b) = (self.arithmetic(args[1]), self.arithmetic(args[2]));
                let operands = self.draft.unexpanded([condition, a, b], shape);
                self.draft.add(Op::Where, &operands, kind, shape)
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
                match draft.nodes[args[0]].ty.shape == shape {
                    true => args[0],
                    false => {
                        let op = Op::Slice { axis: axis(0), start, step: 1 };
                        draft.add(op, &args, draft.kind(args[0]), shape)
                    }
                }
            }
            Did::Reshape => self.reshape(args[0], shape),
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
        let f = match f {
            candle::BinaryOp::Add => BinaryOp::Add,
            candle::BinaryOp::Sub => BinaryOp::Sub,
            candle::BinaryOp::Mul => BinaryOp::Mul,
            candle::BinaryOp::Maximum => BinaryOp::Max,
            candle::BinaryOp::Minimum => BinaryOp::Min,
            candle::BinaryOp::Div if kind == Kind::Float => {
                let (a, b) = (args[0], args[1]);
                return match self.softmax(a, b) {
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

    /// The operand and axis if `exponentials / sums` is a softmax.
    fn softmax(&self, exponentials: usize, sums: usize) -> Option<(usize, usize)> {
        let nodes = &self.draft.nodes;
        let bare = |node: usize| match nodes[node].op {
            Op::Expand => nodes[node].args[0],
            _ => node,
        };
        let reduced = |node: usize, wanted: ReduceOp| match &nodes[bare(node)].op {
            Op::Reduce { f, axes, keep: true } if *f == wanted && axes.len() == 1 => {
                Some((nodes[bare(node)].args[0], axes[0]))
            }
            _ => None,
        };
        let (summed, axis) = reduced(sums, ReduceOp::Sum)?;
        let Op::Unary(UnaryOp::Exp) = nodes[exponentials].op else { return None };
        let difference = nodes[exponentials].args[0];
        let Op::Binary(BinaryOp::Sub) = nodes[difference].op else { return None };
        let [x, largest] = nodes[difference].args[..] else { return None };
        let (of, over) = reduced(largest, ReduceOp::Max)?;
        (summed == exponentials && of == x && over == axis).then_some((x, axis))
    }

    /// A product, as a linear layer if the right operand is a transposed matrix.
    fn matmul(&mut self, a: usize, b: usize, shape: &[Dim]) -> usize {
        let nodes = &self.draft.nodes;
        let transposed = |node: usize| match &nodes[node].op {
            Op::Permute { perm } if perm.len() >= 2 => {
                let n = perm.len();
                let swaps =
                    perm[n - 2..] == [n - 1, n - 2] && perm[..n - 2].iter().copied().eq(0..n - 2);
                swaps.then(|| nodes[node].args[0])
            }
            _ => None,
        };
        let matrix = |node: usize| match nodes[node].op {
            Op::Expand => nodes[node].args[0],
            _ => node,
        };
        let weight = match transposed(b) {
            Some(before) => Some(matrix(before)),
            None => transposed(matrix(b)),
        };
        match weight.filter(|&weight| nodes[weight].ty.shape.len() == 2) {
            Some(weight) => self.draft.add(Op::Linear, &[a, weight], Kind::Float, shape),
            None => self.draft.add(Op::MatMul, &[a, b], Kind::Float, shape),
        }
    }

    fn reshape(&mut self, x: usize, shape: &[Dim]) -> usize {
        let nodes = &self.draft.nodes;
        if nodes[x].ty.shape == shape {
            return x;
        }
        let source = |node: usize| match nodes[node].op {
            Op::Reshape => Some(nodes[node].args[0]),
            _ => None,
        };
        // A linear layer, or a lookup, of rows that were flattened for it.
        let operand = match &nodes[x].op {
            Op::Linear | Op::MatMul => nodes[x].args.first().copied(),
            Op::IndexSelect { axis: 0 } => nodes[x].args.get(1).copied(),
            _ => None,
        };
        let whole = operand.and_then(source);
        let matrix = |node: &usize| nodes[*node].ty.shape.len() == 2;
        if let Some(rows) = whole {
            let own = &nodes[rows].ty.shape;
            let (kind, args) = (nodes[x].ty.kind, nodes[x].args.clone());
            match &nodes[x].op {
                Op::Linear | Op::MatMul
                    if own.len() == shape.len()
                        && matrix(&args[0])
                        && matrix(&args[1])
                        && own[..own.len() - 1] == shape[..shape.len() - 1]
                        && own.last() == nodes[args[0]].ty.shape.last() =>
                {
                    let op = nodes[x].op.clone();
                    return self.draft.add(op, &[rows, args[1]], kind, shape);
                }
                Op::IndexSelect { .. }
                    if shape.len() == own.len() + 1
                        && matrix(&args[0])
                        && shape[..own.len()] == own[..]
                        && shape.last() == nodes[args[0]].ty.shape.last() =>
                {
                    return self.draft.add(Op::Index, &[args[0], rows], kind, shape);
                }
                _ => {}
            }
        }
        let kind = self.draft.kind(x);
        // Two reshapes in a row are one.
        let x = source(x).unwrap_or(x);
        match self.draft.nodes[x].ty.shape == shape {
            true => x,
            false => self.draft.add(Op::Reshape, &[x], kind, shape),
        }
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
        let nodes = &self.draft.nodes;
        let sum = match nodes[x].op {
            Op::Reshape => nodes[x].args[0],
            _ => x,
        };
        let Op::Reduce { f: ReduceOp::Sum, axes, keep: true } = nodes[sum].op.clone() else {
            return None;
        };
        let of = nodes[sum].args[0];
        let count =
            axes.iter().fold(Dim::fixed(1), |all, &axis| all * nodes[of].ty.shape[axis].clone());
        let holds = |(reals, at): (&Vec<f64>, &Bindings)| {
            let n = count.eval(at).ok()? as f64;
            (reals[0].to_bits() == (1.0 / n).to_bits() && reals[1] == 0.0).then_some(())
        };
        symbolic.reals.iter().zip(&self.program.at).map(holds).collect::<Option<()>>()?;
        let kept = nodes[sum].ty.shape.clone();
        let op = Op::Reduce { f: ReduceOp::Mean, axes, keep: true };
        let mean = self.draft.add(op, &[of], Kind::Float, &kept);
        Some(self.draft.reshape(mean, shape))
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
