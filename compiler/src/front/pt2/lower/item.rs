//! Sizes that a program reads out of a tensor, and parts of tensors whose extent is such a size.
//!
//! torch gives a number that it reads a symbol of its own, even where the sizes of the inputs decide it. Here the symbol is
//! bound to what the number is, if that can be followed through the arithmetic.

use bytec_ir::dim::Dim;
use bytec_trace::{BinaryOp, Kind, Op, ReduceOp, ValueId, Values};

use super::super::error::Pt2Error;
use super::super::expr;
use super::super::schema::{Argument, Node, SymInt, SymIntArgument};
use super::{Lowering, first_tensor};

/// The longest arithmetic that is followed.
const MAX_STEPS: usize = 256;

/// Whether a node reads a number for a size.
pub(super) fn gives_size(node: &Node) -> bool {
    let size = matches!(&node.outputs[..], [Argument::SymInt(SymIntArgument::Name(_))]);
    node.target == "torch.ops.aten.item.default" && size
}

impl<'a> Lowering<'a> {
    /// Binds the symbol of a number that the sizes decide. Another stays without a meaning: what only asserts something of it
    /// needs none, and a size that is over it is refused.
    pub(super) fn item(&mut self, node: &'a Node) -> Result<(), Pt2Error> {
        let [Argument::SymInt(SymIntArgument::Name(name))] = &node.outputs[..] else {
            return Ok(());
        };
        let read = first_tensor(node).map(|name| self.value(name)).transpose()?;
        let dim = read.and_then(|value| self.number_of(value, &mut 0));
        let Some(dim) = dim else { return Ok(()) };
        let sizes = &self.archive.program.graph_module.graph.sym_int_values;
        if let Some(SymInt::Expr(of)) = sizes.get(name)
            && let Some(symbol) = expr::symbol(&of.expr_str)
        {
            self.bind(symbol, dim);
        }
        Ok(())
    }

    /// A symbol of the program's own is this size from here on.
    fn bind(&mut self, symbol: &str, dim: Dim) {
        if !self.allowed.contains(symbol) {
            self.bound.entry(symbol.to_owned()).or_insert(dim);
        }
    }

    /// Binds the extent of a part that begins and ends at such sizes.
    pub(super) fn part_of_sizes(&mut self, node: &'a Node, result: &str) -> Result<(), Pt2Error> {
        if self.bound.is_empty() || node.target != "torch.ops.aten.slice.Tensor" {
            return Ok(());
        }
        let meta = self.archive.program.graph_module.graph.tensor_values.get(result);
        let argument = |name: &str| {
            node.inputs.iter().find(|input| input.name == name).map(|input| &input.arg)
        };
        let size = |name: &str| match argument(name) {
            Some(Argument::SymInt(SymIntArgument::Name(size))) => self.named_size(size).ok(),
            Some(Argument::Int(n) | Argument::SymInt(SymIntArgument::Int(n))) => {
                Some(expr::number(*n))
            }
            _ => None,
        };
        let whole_steps = matches!(argument("step"), None | Some(Argument::Int(1)));
        let (Some(start), Some(end), Some(Argument::Int(dim))) =
            (size("start"), size("end"), argument("dim"))
        else {
            return Ok(());
        };
        let (Some(meta), Some(x), Ok(axis)) = (meta, first_tensor(node), usize::try_from(*dim))
        else {
            return Ok(());
        };
        let Some(SymInt::Expr(of)) = meta.sizes.get(axis) else { return Ok(()) };
        let Some(symbol) = expr::symbol(&of.expr_str) else { return Ok(()) };
        let x = self.value(x)?;
        let Some(extent) = self.trace.node(x).ty.shape.get(axis).cloned() else { return Ok(()) };
        // Ends outside the axis would be moved to it, and the part be shorter.
        let length = end.checked_sub(&start);
        let inside = [Some(start), length.clone(), extent.checked_sub(&end)];
        let ranges = &self.trace.symbols;
        let inside = inside.iter().all(|dim| {
            let bounds = dim.as_ref().and_then(|dim| dim.bounds(ranges));
            bounds.is_some_and(|(low, _)| low >= 0)
        });
        if let Some(length) = length.filter(|_| inside && whole_steps) {
            self.bind(symbol, length);
        }
        Ok(())
    }

    /// The size that an integer of one element is, if the sizes decide it.
    fn number_of(&self, value: ValueId, steps: &mut usize) -> Option<Dim> {
        *steps += 1;
        let node = self.trace.node(value);
        if *steps > MAX_STEPS || node.ty.kind != Kind::Int {
            return None;
        }
        if node.ty.shape.iter().any(|dim| *dim != Dim::fixed(1)) {
            return None;
        }
        match (&node.op, &node.operands[..]) {
            (Op::Constant(constant), []) => match constant.values {
                Values::Int(ref values) => Some(expr::number(*values.first()?)),
                Values::Float(_) => None,
            },
            (Op::Cast | Op::Reshape | Op::Full | Op::Expand, &[x]) => self.number_of(x, steps),
            (Op::Binary(f), &[a, b]) => {
                let (a, b) = (self.number_of(a, steps)?, self.number_of(b, steps)?);
                match f {
                    BinaryOp::Add => a.checked_add(&b),
                    BinaryOp::Sub => a.checked_sub(&b),
                    BinaryOp::Mul => a.checked_mul(&b),
                    _ => None,
                }
            }
            // A size is the sum of as many ones.
            (Op::Reduce { f: ReduceOp::Sum, axes, .. }, &[ones]) if axes[..] == [0] => {
                let ones = self.trace.node(ones);
                let (Op::Full, &[one], [extent]) =
                    (&ones.op, &ones.operands[..], &ones.ty.shape[..])
                else {
                    return None;
                };
                let one = self.number_of(one, steps)?;
                (one == Dim::fixed(1)).then(|| extent.clone())
            }
            _ => None,
        }
    }
}
