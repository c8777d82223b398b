//! Some positions of a length in place of all of them, where a table is made element by element.
//!
//! A mask of 8192 by 8192 need not be looked at whole: its elements are functions of two positions, so the table over some
//! positions is the same program over fewer, with other numbers for the `arange`s. The positions are chosen such that every
//! distance occurs.

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::dim::{Bindings, Dim};
use bytec_ir::eval::{Data, Tensor};

use super::sizes::{Look, Program};
use crate::dims::squeezed;
use crate::op::Op;
use crate::program::ValueId;

/// The look at some positions, and the `arange`s over them, if the values wanted are made element by element.
pub(super) fn sample(
    program: &Program<'_>,
    wanted: &[ValueId],
    given: &BTreeMap<ValueId, Tensor>,
    bindings: &Bindings,
) -> Option<(Look, BTreeMap<ValueId, Tensor>)> {
    let [range] = &program.trace.symbols[..] else { return None };
    let longest = usize::try_from(*bindings.get(&range.symbol)?).ok()?;
    let length = Dim::symbol(range.symbol.name());
    let mut aranges = BTreeMap::new();
    let mut extents = BTreeSet::new();
    let mut left = wanted.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(value) = left.pop() {
        if !seen.insert(value) {
            continue;
        }
        let node = program.node(value);
        for dim in &node.ty.shape {
            match dim.as_fixed() {
                Some(extent) => drop(extents.insert(extent as usize)),
                None if *dim == length => {}
                None => return None,
            }
        }
        if given.contains_key(&value) {
            continue;
        }
        if let Op::Arange { start, step } = node.op
            && node.ty.shape == [length.clone()]
        {
            aranges.insert(value, (start, step));
        }
        if !alike(program, value, &length) {
            return None;
        }
        left.extend(&node.operands);
    }
    let mut places = places(longest);
    // An axis of another meaning must not have as many.
    while extents.contains(&places.len()) {
        let missing = (0..longest).find(|place| places.binary_search(place).is_err())?;
        places.insert(places.partition_point(|place| *place < missing), missing);
    }
    let count = places.len();
    if !(range.min..=range.max).contains(&(count as u64)) {
        return None;
    }
    let at = |(start, step): (i64, i64)| {
        let number = |&place: &usize| start.wrapping_add(step.wrapping_mul(place as i64));
        Tensor { shape: vec![count], data: Data::Int(places.iter().map(number).collect()) }
    };
    let aranges = aranges.into_iter().map(|(value, by)| (value, at(by))).collect();
    let bindings = Bindings::from([(range.symbol.clone(), count as u64)]);
    Some((Look { bindings, places }, aranges))
}

/// Whether elements at a position depend on operands at the same position alone.
fn alike(program: &Program<'_>, value: ValueId, length: &Dim) -> bool {
    let node = program.node(value);
    let first = node.operands.first().map(|&x| program.shape(x)).unwrap_or_default();
    let apart = |axis: &usize| first.get(*axis).is_some_and(|dim| dim != length);
    match &node.op {
        Op::Constant(_) | Op::Weight { .. } | Op::Full | Op::Unary(_) | Op::Binary(_) => true,
        Op::Where | Op::Cast => true,
        Op::Arange { .. } | Op::Permute { .. } | Op::Expand | Op::Rope { .. } => true,
        Op::Reshape => squeezed(first) == squeezed(&node.ty.shape),
        Op::Slice { axis, start, .. } => {
            apart(axis) && node.ty.shape[*axis] != *length && start.as_fixed().is_some()
        }
        Op::Select { axis, index } => apart(axis) && index.as_fixed().is_some(),
        Op::Concat { axis } => {
            node.operands.iter().all(|&x| program.shape(x).get(*axis) != Some(length))
        }
        Op::Index => first[..node.operands.len() - 1].iter().all(|dim| dim != length),
        Op::IndexSelect { axis } => apart(axis),
        _ => false,
    }
}

/// Some of `0..longest`, ascending, among which every distance occurs: a block of a root of them, and one in each block.
fn places(longest: usize) -> Vec<usize> {
    let step = (longest as f64).sqrt().ceil().max(1.0) as usize;
    let all =
        (0..step.min(longest)).chain((0..longest).step_by(step)).chain(longest.checked_sub(1));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::places;

    #[test]
    fn every_distance_occurs() {
        for longest in [1, 2, 3, 10, 99, 100, 101, 1000] {
            let places = places(longest);
            let pairs = places.iter().flat_map(|a| places.iter().map(move |b| a.abs_diff(*b)));
            assert_eq!(pairs.collect::<BTreeSet<_>>().len(), longest, "{longest}");
        }
    }
}
