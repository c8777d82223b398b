//! What the kernels that only move rows ask: orders of elements, rows after rows, a row for each place.

use std::collections::BTreeMap;

use super::super::sizes::{elements, most_rows};
use super::{Args, Fault};
use crate::extent::{Extent, Rows};
use crate::kernel::{Joined, MAX_AXES};
use crate::program::Program;

impl Args<'_> {
    /// The next operand is a weight with a row of this many columns for each place of the longest sample.
    pub(super) fn places(&mut self, width: u64) -> Result<(), Fault> {
        let (operand, weight) = self.weight()?;
        if !super::is_row_major(weight) {
            return Err(Fault::WeightLayout { operand });
        }
        let found = elements(weight)?;
        let most = most_rows(self.output.rows, self.program);
        let needed = most.and_then(|rows| rows.checked_mul(width));
        if needed.is_none_or(|needed| found < needed) {
            let expected = most.map_or("2^64 or more".to_owned(), |rows| rows.to_string());
            let found = found / width.max(1);
            return Err(Fault::PositionsPastTable { operand, expected, found });
        }
        Ok(())
    }

    pub(super) fn permute(
        &mut self,
        from: [u32; 2],
        to: [u32; 2],
        start: u32,
        shape: &[u32],
        strides: &[u32],
    ) -> Result<(), Fault> {
        let axes = [shape.len(), strides.len()];
        if axes[0] != axes[1] || !(1..=MAX_AXES).contains(&axes[0]) || shape.contains(&0) {
            return Err(Fault::Axes {
                max: MAX_AXES,
                shape: shape.into(),
                strides: strides.into(),
            });
        }
        self.count(1)?;
        let [held, written] = [from, to].map(|[rows, width]| u64::from(rows) * u64::from(width));
        let product = |found: u64, extent: &u32| found.checked_mul(u64::from(*extent));
        let elements = shape.iter().try_fold(1, product);
        if elements != Some(written) {
            return Err(Fault::BlockElements { expected: written, found: elements });
        }
        // Each product is below 2^64, and so is the sum of six of them and a start in 128 bits.
        let reach = |(extent, stride): (&u32, &u32)| u128::from(extent - 1) * u128::from(*stride);
        let last = shape.iter().zip(strides).map(reach).sum::<u128>() + u128::from(start);
        if last >= u128::from(held) {
            return Err(Fault::BlockReach { held, found: last });
        }
        let operand = self.next;
        let rows = self.columns(u64::from(from[1]))?;
        self.writes(u64::from(to[1]))?;
        let one_row = from[0] == 1 && to[0] == 1;
        let output = self.output.rows;
        if one_row && rows == output {
            return Ok(());
        }
        for (rows, expected) in [(rows, from[0]), (output, to[0])] {
            if fixed(rows, self.program) != Some(u64::from(expected)) {
                return Err(Fault::BlockRows { operand, expected, found: rows });
            }
        }
        Ok(())
    }

    pub(super) fn join(&mut self, width: u64, parts: &[Joined]) -> Result<(), Fault> {
        if parts.is_empty() {
            return Err(Fault::NothingJoined);
        }
        self.count(parts.len())?;
        let mut sum = Count::default();
        for part in parts {
            match part {
                Joined::Rows => {
                    let rows = self.columns(width)?;
                    sum.add(rows, self.program);
                }
                Joined::Shared { rows } => {
                    self.vector(u64::from(*rows) * width)?;
                    sum.add_extent(&Extent::Fixed(u64::from(*rows)));
                }
            }
        }
        let mut whole = Count::default();
        whole.add(self.output.rows, self.program);
        if sum != whole {
            return Err(Fault::JoinedRows { found: self.output.rows });
        }
        self.writes(width)
    }
}

/// The rows of every sample, if they are as many in all.
fn fixed(rows: Rows, program: &Program) -> Option<u64> {
    match rows {
        Rows::PerSample => Some(1),
        Rows::Ragged(extent) => match program.extents.get(extent as usize) {
            Some(Extent::Fixed(rows)) => Some(*rows),
            _ => None,
        },
    }
}

/// A number of rows as a sum: how often each product of factors occurs.
///
/// Equal counts are equal numbers. Two ways to write one number may differ; the compiler writes each in one way.
#[derive(Default, PartialEq, Eq)]
struct Count(BTreeMap<Vec<Extent>, i128>);

impl Count {
    fn add(&mut self, rows: Rows, program: &Program) {
        match rows {
            Rows::PerSample => self.add_extent(&Extent::Fixed(1)),
            Rows::Ragged(extent) => {
                if let Some(extent) = program.extents.get(extent as usize) {
                    self.add_extent(extent);
                }
            }
        }
    }

    fn add_extent(&mut self, extent: &Extent) {
        match extent {
            Extent::Fixed(n) => self.add_product(Vec::new(), i128::from(*n)),
            Extent::Sum(terms) => {
                for term in terms {
                    let mut factors = term.factors.clone();
                    factors.sort();
                    self.add_product(factors, i128::from(term.coefficient));
                }
            }
            Extent::Symbol(_) | Extent::CeilDiv(..) | Extent::FloorDiv(..) => {
                self.add_product(vec![extent.clone()], 1);
            }
        }
    }

    fn add_product(&mut self, factors: Vec<Extent>, times: i128) {
        let count = self.0.entry(factors).or_default();
        // Parts are at most as many as a plan holds, and each adds less than 2^64.
        *count += times;
    }
}
