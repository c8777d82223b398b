//! Views that no columns of a buffer are: a chain of them is one copy, in the order of its result.
//!
//! A value is followed through reshapes, transposes and parts as a list of axes, each with its extent and its distance in
//! the value where the chain begins. Only the chain's last value is written.

use bytec_ir::{NodeId, Op};
use bytec_plan::extent::Rows;
use bytec_plan::kernel::{Kernel, MAX_AXES};

use super::{Choice, Selector};
use crate::fuse::pack::is_fixed;
use crate::schedule::shapes::{Matrix, row_axes};

/// Steps along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    extent: u64,
    stride: u64,
}

/// The elements of a block of `source`, in the order of another value. A block is a row, or all of a sample's elements
/// if they are as many in every sample.
#[derive(Clone, Debug)]
pub(super) struct Strided {
    source: NodeId,
    start: u64,
    /// For each axis of the value's block, the axes of `source` that make it up.
    axes: Vec<Vec<Axis>>,
}

impl Strided {
    /// All elements of a block with these extents, in their own order.
    fn whole(source: NodeId, shape: &[u64]) -> Strided {
        let mut stride = 1;
        let mut axes: Vec<_> = shape
            .iter()
            .rev()
            .map(|&extent| {
                let axis = Axis { extent, stride };
                stride *= extent;
                merged([axis])
            })
            .collect();
        axes.reverse();
        Strided { source, start: 0, axes }
    }

    /// As the op has it, if its result is steps along axes too. `rows` axes before the block are the rows.
    fn then(&self, op: &Op, rows: usize, shape: &[u64]) -> Option<Strided> {
        let mut next = self.clone();
        match op {
            Op::Transpose { perm } => {
                next.axes =
                    perm[rows..].iter().map(|axis| self.axes[axis - rows].clone()).collect();
            }
            Op::Reshape { .. } => next.axes = split(&self.axes, shape)?,
            Op::Slice { axis, start, end } => {
                next.part(axis.checked_sub(rows)?, *start as u64, (end - start) as u64)?;
            }
            Op::Select { axis, index } => {
                let axis = axis.checked_sub(rows)?;
                next.part(axis, *index as u64, 1)?;
                next.axes.remove(axis);
            }
            _ => return None,
        }
        Some(next)
    }

    /// `extent` places of an axis.
    fn part(&mut self, axis: usize, start: u64, extent: u64) -> Option<()> {
        let steps = &mut self.axes[axis];
        match steps[..] {
            // An axis of one place has no steps.
            [] => {}
            [one] => {
                self.start += start * one.stride;
                *steps = merged([Axis { extent, ..one }]);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Axes without those of one place, and those that are one walk as one.
fn merged(axes: impl IntoIterator<Item = Axis>) -> Vec<Axis> {
    let mut walks: Vec<Axis> = Vec::new();
    for axis in axes.into_iter().filter(|axis| axis.extent != 1) {
        match walks.last_mut() {
            Some(last) if last.stride == axis.extent * axis.stride => {
                *last = Axis { extent: last.extent * axis.extent, stride: axis.stride };
            }
            _ => walks.push(axis),
        }
    }
    walks
}

/// The same walk along axes of other extents, of which none may end between two of its steps.
fn split(axes: &[Vec<Axis>], shape: &[u64]) -> Option<Vec<Vec<Axis>>> {
    let mut walks = merged(axes.iter().flatten().copied());
    walks.reverse();
    let mut found = Vec::with_capacity(shape.len());
    for &extent in shape {
        let (mut left, mut own) = (extent, Vec::new());
        while left > 1 {
            let walk = walks.pop()?;
            if left.is_multiple_of(walk.extent) {
                left /= walk.extent;
                own.push(walk);
            } else if walk.extent.is_multiple_of(left) {
                let inner = walk.extent / left;
                own.push(Axis { extent: left, stride: walk.stride * inner });
                walks.push(Axis { extent: inner, stride: walk.stride });
                left = 1;
            } else {
                return None;
            }
        }
        found.push(merged(own));
    }
    Some(found)
}

/// Whether the op's result is elements of its operand in an order that it chooses.
fn moves(op: &Op) -> bool {
    matches!(op, Op::Transpose { .. } | Op::Reshape { .. } | Op::Slice { .. } | Op::Select { .. })
}

impl Selector<'_> {
    /// The value of a view of its operand. It is remembered without a step if only other views read it, and is a copy
    /// otherwise; `None` if the op is no such view.
    pub(super) fn moved(&mut self, id: NodeId, op: &Op) -> Result<Option<()>, String> {
        let graph = &self.packed.graph;
        let Some(&x) = graph.operands(id).first().filter(|_| moves(op)) else { return Ok(None) };
        let rows = row_axes(self.placement(x), graph.ty(x));
        let (fixed, same) =
            (is_fixed(graph.ty(x)), rows == row_axes(self.placement(id), graph.ty(id)));
        // A block is a row where samples differ: then the rows stay where they are.
        if !(graph.ty(x).dtype.is_float() && (fixed || same)) {
            return Ok(None);
        }
        let rows = if fixed { 0 } else { rows };
        let shape = |id: NodeId| -> Option<Vec<u64>> {
            graph.ty(id).shape[rows..].iter().map(|dim| dim.as_fixed()).collect()
        };
        let (Some(before), Some(after)) = (shape(x), shape(id)) else { return Ok(None) };
        let pending = self.strided.get(&x).and_then(|walk| walk.then(op, rows, &after));
        let walk = match pending {
            Some(walk) => Some(walk),
            None => {
                self.write(x)?;
                Strided::whole(x, &before).then(op, rows, &after)
            }
        };
        let Some(walk) = walk else { return Ok(None) };
        self.strided.insert(id, walk);
        let waits = |user: &NodeId| graph.op(*user).is_some_and(moves);
        if graph.is_output(id) || !graph.users(id).iter().all(waits) {
            self.write(id)?;
        }
        Ok(Some(()))
    }

    /// Writes a value that so far is only a walk along another.
    pub(super) fn write(&mut self, id: NodeId) -> Result<(), String> {
        if self.values.contains_key(&id) {
            return Ok(());
        }
        let Some(walk) = self.strided.get(&id).cloned() else { return Ok(()) };
        let matrix = self.matrix(id)?;
        let choice = self.permute(&walk, matrix)?;
        let view = self.push_step(self.packed.graph.name(id), matrix, choice);
        self.values.insert(id, view);
        Ok(())
    }

    fn permute(&mut self, walk: &Strided, out: Matrix) -> Result<Choice, String> {
        let graph = &self.packed.graph;
        let x = self.matrix(walk.source)?;
        let (operand, _) = self.rows_of(walk.source, x.rows, None)?;
        let mut axes = merged(walk.axes.iter().flatten().copied());
        if axes.is_empty() {
            axes.push(Axis { extent: 1, stride: 1 });
        }
        if axes.len() > MAX_AXES {
            return Err(format!("it moves {} axes, expected at most {MAX_AXES}", axes.len()));
        }
        let fixed = is_fixed(graph.ty(walk.source));
        let block = |matrix: Matrix, rows: u64| -> Result<[u32; 2], String> {
            let number = |n: u64| u32::try_from(n).map_err(|_| format!("it has {n} rows"));
            Ok([number(rows)?, number(matrix.width)?])
        };
        let rows = |matrix: Matrix| if fixed { self.extents.fixed(matrix.rows) } else { Some(1) };
        let (Some(from), Some(to)) = (rows(x), rows(out)) else {
            return Err("its rows differ from sample to sample".to_owned());
        };
        let number = |n: u64| u32::try_from(n).map_err(|_| format!("it steps over {n} elements"));
        let kernel = Kernel::Permute {
            from: block(x, from)?,
            to: block(out, to)?,
            start: number(walk.start)?,
            shape: axes.iter().map(|axis| number(axis.extent)).collect::<Result<_, _>>()?,
            strides: axes.iter().map(|axis| number(axis.stride)).collect::<Result<_, _>>()?,
        };
        Ok((kernel, vec![operand], "its elements are copied in their new order".to_owned()))
    }
}

impl crate::schedule::shapes::Extents {
    /// The rows of every sample, if they are as many in all.
    pub(super) fn fixed(&self, rows: Rows) -> Option<u64> {
        match rows {
            Rows::PerSample => Some(1),
            Rows::Ragged(extent) => self.ragged.get(extent as usize)?.0.as_fixed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(walk: &Strided) -> Vec<[u64; 2]> {
        let axes = merged(walk.axes.iter().flatten().copied());
        axes.into_iter().map(|axis| [axis.extent, axis.stride]).collect()
    }

    fn whole(shape: &[u64]) -> Strided {
        let mut graph = bytec_ir::builder::Builder::new();
        Strided::whole(graph.constant("x", 0.0), shape)
    }

    fn transpose(perm: &[usize]) -> Op {
        Op::Transpose { perm: perm.to_vec() }
    }

    fn reshape(walk: &Strided, shape: &[u64]) -> Option<Strided> {
        walk.then(&Op::Reshape { shape: Vec::new() }, 0, shape)
    }

    #[test]
    fn patches_of_an_image_are_one_walk() {
        let (channels, [high, wide], [tall, broad]) = (3, [4, 5], [2, 7]);
        let image = whole(&[channels, high * tall, wide * broad]);
        let split = reshape(&image, &[channels, high, tall, wide, broad]).expect("it splits");
        let turned = split.then(&transpose(&[1, 3, 0, 2, 4]), 0, &[]).expect("it turns");
        let rows = reshape(&turned, &[high * wide, channels * tall * broad]).expect("it joins");
        let row = wide * broad;
        let expected = [
            [high, tall * row],
            [wide, broad],
            [channels, high * tall * row],
            [tall, row],
            [broad, 1],
        ];
        assert_eq!(axes(&rows), expected);
    }

    #[test]
    fn views_that_change_nothing_are_one_axis() {
        let x = whole(&[2, 3, 1, 4]);
        assert_eq!(axes(&x), [[24, 1]]);
        let turned = x.then(&transpose(&[3, 0, 1, 2]), 0, &[]).expect("it turns");
        let back = turned.then(&transpose(&[1, 2, 3, 0]), 0, &[]).expect("it turns back");
        assert_eq!(axes(&back), [[24, 1]]);
    }

    #[test]
    fn parts_begin_later() {
        let x = whole(&[5, 6]);
        let part = x.then(&Op::Slice { axis: 0, start: 2, end: 4 }, 0, &[]).expect("a part");
        let row = part.then(&Op::Select { axis: 0, index: 1 }, 0, &[]).expect("a row");
        assert_eq!((row.start, axes(&row)), (18, vec![[6, 1]]));
    }

    #[test]
    fn an_axis_that_ends_between_steps_is_no_walk() {
        let turned = whole(&[4, 6]).then(&transpose(&[1, 0]), 0, &[]).expect("it turns");
        assert!(reshape(&turned, &[4, 6]).is_none());
        assert!(reshape(&turned, &[3, 8]).is_some());
        let joined = reshape(&turned, &[24]).expect("it joins");
        assert!(joined.then(&Op::Slice { axis: 0, start: 1, end: 3 }, 0, &[]).is_none());
    }
}
