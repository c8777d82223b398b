//! What attention and its options ask of their operands.

use super::{Args, number};
use crate::attention::{Band, Bias, Rotary};
use crate::check::sizes::most_rows;
use crate::check::{Fault, is_row_major};
use crate::extent::Rows;
use crate::program::DType;

/// The columns of a row of heads.
pub(super) fn heads_width(heads: u32, head_size: u32) -> Result<u64, Fault> {
    if heads == 0 || head_size == 0 {
        return Err(Fault::NoHeads { heads, head_size });
    }
    Ok(u64::from(heads) * u64::from(head_size))
}

impl Args<'_> {
    pub(super) fn attention(
        &mut self,
        [heads, head_size, group]: [u32; 3],
        mask: &Band,
        bias: &Bias,
        rotary: Option<&Rotary>,
    ) -> Result<(), Fault> {
        let width = heads_width(heads, head_size)?;
        if group == 0 || !heads.is_multiple_of(group) {
            return Err(Fault::Groups { heads, group });
        }
        let shared = heads_width(heads / group, head_size)?;
        self.count(3 + bias.operands() + usize::from(rotary.is_some()))?;
        let queries = self.output.rows;
        self.matrix(queries, width)?;
        let keys = if mask.is_all() && bias.is_none() {
            self.columns(shared)?
        } else {
            self.matrix(queries, shared)?;
            queries
        };
        self.matrix(keys, shared)?;
        self.bias(heads, width, bias)?;
        if let Some(rotary) = rotary {
            self.rotary(head_size, rotary, &[queries, keys])?;
        }
        self.writes(width)
    }

    fn bias(&mut self, heads: u32, width: u64, bias: &Bias) -> Result<(), Fault> {
        let distances = |reach: u32| 2 * u64::from(reach) + 1;
        match bias {
            Bias::None => Ok(()),
            Bias::Alibi { slopes } => {
                if slopes.len() != heads as usize {
                    return Err(Fault::Slopes { heads, found: slopes.len() });
                }
                slopes.iter().try_for_each(|slope| number("a slope", *slope, false))
            }
            Bias::Relative { reach } => {
                self.generated(DType::F32, &[u64::from(heads), distances(*reach)])
            }
            Bias::Disentangled { c2p: false, p2c: false, .. } => Err(Fault::NoTerms),
            Bias::Disentangled { reach, c2p, p2c } => {
                self.generated(DType::I32, &[distances(*reach)])?;
                let (first, rows) = self.table(width)?;
                if rows == 0 {
                    return Err(Fault::NoRows { operand: first });
                }
                if *c2p && *p2c {
                    let (operand, found) = self.table(width)?;
                    if found != rows {
                        let (expected, found) = (format!("[{rows}, {width}]"), vec![found, width]);
                        return Err(Fault::WeightShape { operand, expected, found });
                    }
                }
                Ok(())
            }
        }
    }

    /// The next operand has the turns of every position that these rows can have.
    pub(super) fn rotary(
        &mut self,
        head_size: u32,
        rotary: &Rotary,
        rows: &[Rows],
    ) -> Result<(), Fault> {
        let dims = rotary.dims;
        if dims == 0 || !dims.is_multiple_of(2) || dims > head_size {
            return Err(Fault::Turned { head_size, found: dims });
        }
        let (operand, weight) = self.weight_of(DType::F32)?;
        let found = match weight.shape.as_slice() {
            [positions, columns] if *columns == u64::from(dims) => *positions,
            found => {
                let expected = format!("[any, {dims}]");
                return Err(Fault::WeightShape { operand, expected, found: found.to_vec() });
            }
        };
        if !is_row_major(weight) {
            return Err(Fault::WeightLayout { operand });
        }
        for &rows in rows {
            let most = most_rows(rows, self.program);
            if most.is_none_or(|most| most > found) {
                let expected = most.map_or("2^64 or more".to_owned(), |most| most.to_string());
                return Err(Fault::PositionsPastTable { operand, expected, found });
            }
        }
        Ok(())
    }

    /// The next operand is a table that the compiler wrote, of this type and shape.
    fn generated(&mut self, dtype: DType, shape: &[u64]) -> Result<(), Fault> {
        let (operand, weight) = self.weight_of(dtype)?;
        if !is_row_major(weight) {
            return Err(Fault::WeightLayout { operand });
        }
        self.shape(weight, shape)
    }
}
