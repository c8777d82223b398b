//! What candle-nn takes apart for speed, put together again: a linear layer that flattens the batch and multiplies by a
//! transposed weight, an embedding that selects rows of flattened ids, a softmax of five ops.

use bytec_ir::dim::Dim;
use bytec_trace::{BinaryOp, Kind, Op, ReduceOp, UnaryOp};

use crate::draft::Draft;

impl Draft {
    /// The operand and axis if `exponentials / sums` is a softmax.
    pub(crate) fn softmax_of(&self, exponentials: usize, sums: usize) -> Option<(usize, usize)> {
        let nodes = &self.nodes;
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
    pub(crate) fn matmul(&mut self, a: usize, b: usize, shape: &[Dim]) -> usize {
        // Scores are scaled after the product, also where the model scales the keys before it.
        if let Some((x, f, factor)) = self.factored(b) {
            let product = self.matmul(a, x, shape);
            return self.binary(f, product, factor, Kind::Float, shape);
        }
        if let Some((x, f, factor)) = self.factored(a) {
            let product = self.matmul(x, b, shape);
            return self.binary(f, product, factor, Kind::Float, shape);
        }
        let nodes = &self.nodes;
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
            Some(weight) => self.add(Op::Linear, &[a, weight], Kind::Float, shape),
            None => self.add(Op::MatMul, &[a, b], Kind::Float, shape),
        }
    }

    pub(crate) fn reshape_or_fold(&mut self, x: usize, shape: &[Dim]) -> usize {
        let nodes = &self.nodes;
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
                    return self.add(op, &[rows, args[1]], kind, shape);
                }
                Op::IndexSelect { .. }
                    if shape.len() == own.len() + 1
                        && matrix(&args[0])
                        && shape[..own.len()] == own[..]
                        && shape.last() == nodes[args[0]].ty.shape.last() =>
                {
                    return self.add(Op::Index, &[args[0], rows], kind, shape);
                }
                _ => {}
            }
        }
        let kind = self.kind(x);
        // Two reshapes in a row are one.
        let x = source(x).unwrap_or(x);
        match self.nodes[x].ty.shape == shape {
            true => x,
            false => self.add(Op::Reshape, &[x], kind, shape),
        }
    }

    /// The convolution with its bias, if `x + bias` is one whose bias was shaped for it.
    pub(crate) fn biased(&mut self, x: usize, bias: usize, shape: &[Dim]) -> Option<usize> {
        let nodes = &self.nodes;
        let bare = |node: usize| match nodes[node].op {
            Op::Expand => nodes[node].args[0],
            _ => node,
        };
        let shaped = bare(bias);
        let (Op::Conv { .. }, Op::Reshape) = (&nodes[x].op, &nodes[shaped].op) else { return None };
        let row = nodes[shaped].args[0];
        let (own, channels) = (&nodes[shaped].ty.shape, shape.get(1)?);
        let one = Dim::fixed(1);
        let fits = nodes[x].args.len() == 2
            && nodes[row].ty.shape == [channels.clone()]
            && own.len() == shape.len()
            && own
                .iter()
                .enumerate()
                .all(|(axis, dim)| dim == if axis == 1 { channels } else { &one });
        let (op, args) = (nodes[x].op.clone(), [nodes[x].args[0], *nodes[x].args.get(1)?, row]);
        fits.then(|| self.add(op, &args, Kind::Float, shape))
    }
}
