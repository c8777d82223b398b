//! Whether a node's attributes and types fit together, so that what reads a trace need not ask again.

use bytec_ir::dim::Dim;

use crate::op::{Op, ReduceOp};
use crate::program::{Kind, Node, Trace};

/// What is wrong with a node, if its op has other operands, axes or result than it says.
///
/// Extents are compared where the op decides them; that a slice is inside its operand is seen when it is evaluated.
pub(crate) fn check(trace: &Trace, node: &Node) -> Result<(), String> {
    let (least, most) = node.op.arity();
    let count = node.operands.len();
    if count < least || count > most {
        return Err(format!("expected {least} to {most} operands, found {count}"));
    }
    let types: Vec<_> = node.operands.iter().map(|&operand| &trace.node(operand).ty).collect();
    let shapes: Vec<&[Dim]> = types.iter().map(|ty| &ty.shape[..]).collect();
    let expected = result(node, &shapes)?;
    if expected.as_ref().is_some_and(|expected| *expected != node.ty.shape) {
        let expected: Vec<_> = expected.iter().flatten().map(ToString::to_string).collect();
        return Err(format!("expected a result of [{}], found {}", expected.join(", "), node.ty));
    }
    let floats = [&Op::MatMul, &Op::Linear].contains(&&node.op)
        || matches!(
            node.op,
            Op::Conv { .. }
                | Op::Softmax { .. }
                | Op::LayerNorm { .. }
                | Op::RmsNorm { .. }
                | Op::Attention { .. }
                | Op::Rope { .. }
        );
    if floats && node.ty.kind != Kind::Float {
        return Err(format!("expected floats, found {}", node.ty));
    }
    Ok(())
}

/// The extents of the result, where the op decides all of them.
fn result(node: &Node, xs: &[&[Dim]]) -> Result<Option<Vec<Dim>>, String> {
    let shape = &node.ty.shape;
    let first = xs.first().copied().unwrap_or_default();
    let rank = first.len();
    let has = |axis: usize| match axis < rank {
        true => Ok(()),
        false => Err(format!("axis {axis} is not one of {rank}")),
    };
    let same = Ok(Some(first.to_vec()));
    match &node.op {
        Op::Unary(_) | Op::Cast | Op::Places { .. } => same,
        Op::Softmax { axis } | Op::CumSum { axis } | Op::Flip { axis } => has(*axis).and(same),
        Op::Binary(_) | Op::Where => broadcast(xs).map(Some),
        Op::Constant(constant) => {
            Ok(Some(constant.shape.iter().map(|&extent| Dim::fixed(extent)).collect()))
        }
        Op::Arange { .. } if shape.len() != 1 => {
            Err(format!("expected one axis, found {}", node.ty))
        }
        Op::Full | Op::Expand | Op::Repeat if shape.len() < rank => {
            Err(format!("expected at least {rank} axes, found {}", node.ty))
        }
        Op::Expand | Op::Full => {
            let ahead = shape.len() - rank;
            let wrong = first
                .iter()
                .zip(&shape[ahead..])
                .find(|(own, to)| **own != Dim::fixed(1) && own != to);
            match wrong {
                Some((own, to)) => Err(format!("an axis of {own} can't be repeated to {to}")),
                None => Ok(None),
            }
        }
        Op::Reshape => {
            let count = |dims: &[Dim]| crate::dims::product(dims);
            match (count(first), count(shape)) {
                (Some(a), Some(b)) if a == b => Ok(None),
                _ => Err(format!("it does not have the elements of {}", node.ty)),
            }
        }
        Op::Permute { perm } => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..rank) {
                return Err(format!("{perm:?} is no permutation of {rank} axes"));
            }
            Ok(Some(perm.iter().map(|&axis| first[axis].clone()).collect()))
        }
        Op::Slice { axis, step, .. } => {
            has(*axis)?;
            if *step == 0 {
                return Err("expected a step of at least 1, found 0".to_owned());
            }
            along(first, *axis, shape.get(*axis).cloned())
        }
        Op::Diff { axis } => {
            has(*axis)?;
            along(first, *axis, first[*axis].checked_sub(&Dim::fixed(1)))
        }
        Op::Select { axis, .. } => {
            has(*axis)?;
            let mut rest = first.to_vec();
            rest.remove(*axis);
            Ok(Some(rest))
        }
        Op::Concat { axis } => {
            has(*axis)?;
            let mut sum = Some(Dim::fixed(0));
            for x in xs {
                let agrees = x.len() == rank && (0..rank).all(|i| i == *axis || x[i] == first[i]);
                if !agrees {
                    return Err("its operands differ outside the axis".to_owned());
                }
                sum = sum.and_then(|sum| sum.checked_add(&x[*axis]));
            }
            along(first, *axis, sum)
        }
        Op::Gather { axis } => {
            has(*axis)?;
            match xs[1].len() == rank {
                true => Ok(Some(xs[1].to_vec())),
                false => Err(format!("expected indices of {rank} axes, found {}", xs[1].len())),
            }
        }
        Op::Index => {
            if xs.len() - 1 > rank {
                return Err(format!(
                    "expected at most {rank} lists of indices, found {}",
                    xs.len() - 1
                ));
            }
            let mut found = broadcast(&xs[1..])?;
            found.extend_from_slice(&first[xs.len() - 1..]);
            Ok(Some(found))
        }
        Op::IndexSelect { axis } => {
            has(*axis)?;
            match xs[1] {
                [] => along(first, *axis, Some(Dim::fixed(1))),
                [count] => along(first, *axis, Some(count.clone())),
                more => Err(format!("expected one axis of indices, found {}", more.len())),
            }
        }
        Op::Reduce { f, axes, keep } => {
            axes.iter().try_for_each(|&axis| has(axis))?;
            if !axes.is_sorted() || (*f == ReduceOp::ArgMax && axes.len() != 1) {
                return Err(format!("expected ascending axes, one for argmax, found {axes:?}"));
            }
            let kept =
                first.iter().enumerate().filter_map(|(axis, dim)| match axes.contains(&axis) {
                    true => keep.then(|| Dim::fixed(1)),
                    false => Some(dim.clone()),
                });
            Ok(Some(kept.collect()))
        }
        Op::MatMul => {
            let ([lead_a @ .., m, k], [lead_b @ .., l, n]) = (first, xs[1]) else {
                return Err("expected operands of at least two axes".to_owned());
            };
            if k != l {
                return Err(format!("expected [.., m, k] and [.., k, n], found {k} and {l} for k"));
            }
            let mut found = broadcast(&[lead_a, lead_b])?;
            found.extend([m.clone(), n.clone()]);
            Ok(Some(found))
        }
        Op::Linear => {
            let ([rows @ .., k], [n, l]) = (first, xs[1]) else {
                return Err("expected [.., k] and a weight [n, k]".to_owned());
            };
            if k != l {
                return Err(format!("expected a weight of {k} columns, found {l}"));
            }
            Ok(Some(rows.iter().chain([n]).cloned().collect()))
        }
        Op::Conv { stride, padding, dilation, .. } => {
            let space = stride.len();
            let fits = rank == space + 2
                && xs[1].len() == rank
                && shape.len() == rank
                && padding.len() == space
                && dilation.len() == space
                && !stride.contains(&0)
                && [&shape[0], &shape[1]] == [&first[0], &xs[1][0]];
            match fits {
                true => Ok(None),
                false => {
                    Err("its kernel, stride, padding and dilation do not fit its input".to_owned())
                }
            }
        }
        Op::LayerNorm { axes, .. } => match (1..=rank).contains(axes) {
            true => same,
            false => Err(format!("it normalises {axes} axes of {rank}")),
        },
        Op::RmsNorm { .. } if rank == 0 => Err("it has no axis".to_owned()),
        Op::RmsNorm { .. } => same,
        Op::Rope { .. } if rank < 2 => Err("expected rows of a head".to_owned()),
        Op::Rope { .. } => same,
        Op::Attention { .. } => {
            let [q, k, v] = [xs[0], xs[1], xs[2]];
            let ([lead @ .., rows, d], [lead_k @ .., keys, e], [lead_v @ .., values, width]) =
                (q, k, v)
            else {
                return Err("expected [.., rows, head size]".to_owned());
            };
            if d != e || keys != values || width != d {
                return Err("its queries, keys and values do not fit together".to_owned());
            }
            let mut found = broadcast(&[lead, lead_k, lead_v])?;
            found.extend([rows.clone(), width.clone()]);
            Ok(Some(found))
        }
        Op::Input { .. } | Op::Weight { .. } | Op::Arange { .. } | Op::Repeat => Ok(None),
    }
}

/// The operand's extents with another one along an axis.
fn along(first: &[Dim], axis: usize, extent: Option<Dim>) -> Result<Option<Vec<Dim>>, String> {
    let mut found = first.to_vec();
    found[axis] = extent.ok_or("it has too few axes, or too large ones")?;
    Ok(Some(found))
}

/// The common extents of operands; an extent of 1 repeats.
fn broadcast(xs: &[&[Dim]]) -> Result<Vec<Dim>, String> {
    let one = Dim::fixed(1);
    let rank = xs.iter().map(|x| x.len()).max().unwrap_or(0);
    let mut shape = vec![one.clone(); rank];
    for x in xs {
        for (target, dim) in shape[rank - x.len()..].iter_mut().zip(*x) {
            if *target == one {
                *target = dim.clone();
            } else if *dim != one && dim != target {
                return Err(format!("an axis of {target} and one of {dim} do not broadcast"));
            }
        }
    }
    Ok(shape)
}
