//! From the IR's per-sample types to packed rows.

use bytec_ir::dim::Atom;
use bytec_ir::{Dim, Symbol, TensorType};
use bytec_plan::extent::{Extent, Rows, Term};

use crate::fuse::pack::{self, Placement};

/// How many leading axes of a placed value count its rows.
pub(crate) fn row_axes(placement: &Placement, ty: &TensorType) -> usize {
    match placement {
        Placement::Ragged { .. } => pack::row_axes(ty),
        Placement::PerSample | Placement::Shared => 0,
    }
}

/// The symbols and ragged extents of a program while it is being selected.
#[derive(Debug, Default)]
pub(crate) struct Extents {
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) ragged: Vec<(Dim, Extent)>,
}

/// A value as a packed matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) rows: Rows,
    pub(crate) width: u64,
}

impl Extents {
    /// The plan's form of a dimension.
    pub(crate) fn extent(&self, dim: &Dim) -> Extent {
        if let Some(n) = dim.as_fixed() {
            return Extent::Fixed(n);
        }
        let mut terms: Vec<_> = dim
            .terms()
            .map(|(monomial, coefficient)| Term {
                coefficient,
                factors: monomial
                    .iter()
                    .flat_map(|(atom, &power)| (0..power).map(move |_| atom))
                    .map(|atom| self.atom(atom))
                    .collect(),
            })
            .collect();
        match &mut terms[..] {
            [term] if term.coefficient == 1 && term.factors.len() == 1 => term.factors.remove(0),
            _ => Extent::Sum(terms),
        }
    }

    fn atom(&self, atom: &Atom) -> Extent {
        match atom {
            Atom::Symbol(symbol) => {
                let index = self.symbols.iter().position(|known| known == symbol);
                Extent::Symbol(index.expect("the verifier has seen every symbol declared") as u32)
            }
            Atom::CeilDiv(dim, divisor) => Extent::CeilDiv(Box::new(self.extent(dim)), *divisor),
            Atom::FloorDiv(dim, divisor) => Extent::FloorDiv(Box::new(self.extent(dim)), *divisor),
        }
    }

    /// The rows of a placed value; a new ragged extent is added to the program's.
    pub(crate) fn rows(&mut self, placement: &Placement) -> Rows {
        let Placement::Ragged { extent } = placement else { return Rows::PerSample };
        if let Some(i) = self.ragged.iter().position(|(dim, _)| dim == extent) {
            return Rows::Ragged(i as u32);
        }
        let plan_extent = self.extent(extent);
        self.ragged.push((extent.clone(), plan_extent));
        Rows::Ragged((self.ragged.len() - 1) as u32)
    }

    /// The packed matrix of a value, or why it is none.
    pub(crate) fn matrix(
        &mut self,
        placement: &Placement,
        ty: &TensorType,
    ) -> Result<Matrix, String> {
        let columns = &ty.shape[row_axes(placement, ty)..];
        let mut width = 1u64;
        for dim in columns {
            let extent = dim.as_fixed().ok_or_else(|| {
                format!("{ty} has rows of {dim} elements, which differ from sample to sample")
            })?;
            width =
                width.checked_mul(extent).ok_or_else(|| format!("{ty} has too many columns"))?;
        }
        if width == 0 || u32::try_from(width).is_err() {
            return Err(format!("{ty} has {width} columns, expected 1 to {}", u32::MAX));
        }
        Ok(Matrix { rows: self.rows(placement), width })
    }
}
