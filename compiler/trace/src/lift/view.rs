//! A value under other extents and in another order of its axes, not yet computed.
//!
//! Traces split heads, move them about and put them together again. A [`View`] follows such steps in one normal form: the
//! base's extents split into atoms, a permutation of the atoms, and how many of them make each axis. Steps that undo one
//! another leave nothing, and what is left is at most a reshape, a transpose and a reshape.

use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;

use crate::dims::{product, quotient};

/// A value of the graph, seen through reshapes and transposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The value.
    pub(crate) base: NodeId,
    /// Its extents.
    base_shape: Vec<Dim>,
    /// Extents whose products are the base's, in the base's order; none is 1.
    atoms: Vec<Dim>,
    /// The atoms in the view's order.
    perm: Vec<usize>,
    /// How many atoms each axis of the view is made of; none for an axis of 1.
    groups: Vec<usize>,
}

/// A step that makes the value of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To these extents.
    Reshape(Vec<Dim>),
    /// By this permutation.
    Transpose(Vec<usize>),
}

impl View {
    /// The value itself.
    pub(crate) fn of(base: NodeId, shape: &[Dim]) -> Self {
        let one = Dim::fixed(1);
        let groups = shape.iter().map(|dim| usize::from(*dim != one)).collect();
        let atoms: Vec<_> = shape.iter().filter(|dim| **dim != one).cloned().collect();
        let perm = (0..atoms.len()).collect();
        Self { base, base_shape: shape.to_vec(), atoms, perm, groups }
    }

    /// The extents seen.
    pub(crate) fn shape(&self) -> Vec<Dim> {
        let mut shape = Vec::new();
        let mut at = 0;
        for &count in &self.groups {
            let atoms = self.perm[at..at + count].iter().map(|&atom| self.atoms[atom].clone());
            shape.push(product(&atoms.collect::<Vec<_>>()).unwrap_or_else(|| Dim::fixed(u64::MAX)));
            at += count;
        }
        shape
    }

    /// The value itself, if that is what is seen.
    pub(crate) fn bare(&self) -> Option<NodeId> {
        self.steps().is_empty().then_some(self.base)
    }

    /// Axis `i` of the result is axis `perm[i]`, a permutation.
    pub(crate) fn transposed(&self, perm: &[usize]) -> View {
        let starts: Vec<usize> =
            (0..self.groups.len()).map(|i| self.groups[..i].iter().sum()).collect();
        let atoms =
            |&axis: &usize| self.perm[starts[axis]..starts[axis] + self.groups[axis]].to_vec();
        View {
            perm: perm.iter().flat_map(atoms).collect(),
            groups: perm.iter().map(|&axis| self.groups[axis]).collect(),
            ..self.clone()
        }
    }

    /// The same elements under other extents, if atoms can be split for it.
    pub(crate) fn reshaped(&self, shape: &[Dim]) -> Option<View> {
        let one = Dim::fixed(1);
        let mut view = View { groups: Vec::new(), ..self.clone() };
        let mut at = 0;
        for extent in shape {
            let mut missing = extent.clone();
            let mut count = 0;
            while missing != one {
                let atom = *view.perm.get(at)?;
                let size = view.atoms[atom].clone();
                if let Some(rest) = quotient(&missing, &size) {
                    missing = rest;
                } else {
                    let inner = quotient(&size, &missing)?;
                    view.split(atom, missing, inner);
                    missing = one.clone();
                }
                at += 1;
                count += 1;
            }
            view.groups.push(count);
        }
        (at == view.perm.len()).then_some(view)
    }

    /// One atom becomes two, the outer one first.
    fn split(&mut self, atom: usize, outer: Dim, inner: Dim) {
        self.atoms[atom] = outer;
        self.atoms.insert(atom + 1, inner);
        for place in &mut self.perm {
            *place += usize::from(*place > atom);
        }
        let at = self.perm.iter().position(|&place| place == atom).unwrap_or(0);
        self.perm.insert(at + 1, atom + 1);
    }

    /// Atoms of one axis that lie beside each other in the base become one.
    fn merged(&self) -> View {
        let mut view = self.clone();
        let mut at = 0;
        for axis in 0..view.groups.len() {
            let mut left = view.groups[axis];
            while left > 1 {
                let (outer, inner) = (view.perm[at], view.perm[at + 1]);
                let joined = view.atoms[outer].checked_mul(&view.atoms[inner]);
                match joined.filter(|_| inner == outer + 1) {
                    Some(joined) => {
                        view.atoms[outer] = joined;
                        view.atoms.remove(inner);
                        view.perm.remove(at + 1);
                        for place in &mut view.perm {
                            *place -= usize::from(*place >= inner);
                        }
                        view.groups[axis] -= 1;
                    }
                    None => at += 1,
                }
                left -= 1;
            }
            at += left;
        }
        view
    }

    /// What makes the view of the base.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let view = self.merged();
        let shape = self.shape();
        let mut steps = Vec::new();
        let mut current = self.base_shape.clone();
        if !view.perm.iter().copied().eq(0..view.perm.len()) {
            if view.atoms != current {
                steps.push(Step::Reshape(view.atoms.clone()));
            }
            current = view.perm.iter().map(|&atom| view.atoms[atom].clone()).collect();
            steps.push(Step::Transpose(view.perm.clone()));
        }
        if shape != current {
            steps.push(Step::Reshape(shape));
        }
        steps
    }
}
