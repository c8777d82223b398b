//! The file of a table: JSON, in one order, so that equal measurements give equal bytes.

use bytec_plan::kernel::UnaryFn;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cost::linear::{Layer, Tile};
use crate::render::Float;

/// The format that is written and read.
pub const FORMAT: u32 = 1;

/// What was measured, device by device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The format of the file.
    pub format: u32,
    /// One for each device; of those for one target the first that knows a layer counts.
    pub devices: Vec<Measured>,
}

/// What was measured on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The device's name, as its driver gives it.
    pub device: String,
    /// Its compute capability, such as `9.0`.
    pub compute_capability: String,
    /// The target that was run, such as `sm_90a`.
    pub target: String,
    /// The compiler's name and version.
    pub compiler: String,
    /// The day, as whoever measured named it.
    pub date: Option<String>,
    /// Each layer's tiles, by layer and rows.
    pub linears: Vec<Linear>,
}

/// A linear's tile for batches of some rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Outputs.
    pub n: u32,
    /// Inputs.
    pub k: u32,
    /// The element type, such as `f16`.
    pub dtype: String,
    /// Whether there is a bias.
    pub bias: bool,
    /// Functions of the result.
    pub epilogue: Vec<UnaryFn>,
    /// From so many rows on.
    pub from_rows: u64,
    /// Up to so many; `null` for any more.
    pub to_rows: Option<u64>,
    /// The quickest tile.
    pub tile: Tile,
    /// How many rows were timed.
    pub rows: u64,
    /// What they took, in nanoseconds: the median.
    pub median_ns: u64,
    /// What they took with the cost model's tile.
    pub model_ns: u64,
}

/// A table that can't be used.
#[derive(Debug, Error)]
pub enum TableError {
    /// It is no JSON of a table.
    #[error("expected a table as `bytec tune` writes it, found: {0}")]
    Json(#[from] serde_json::Error),
    /// Another format.
    #[error("expected a table of format {FORMAT}, found {found}; measure again with this bytec")]
    Format {
        /// What the file says.
        found: u32,
    },
    /// Rows that can't be, or that belong to two entries.
    #[error(
        "linear {n} x {k} for {target}: expected ranges of rows that ascend and don't meet, found {from} to {to}"
    )]
    Rows {
        /// Outputs.
        n: u32,
        /// Inputs.
        k: u32,
        /// The target.
        target: String,
        /// The first row.
        from: u64,
        /// The last.
        to: u64,
    },
}

impl Table {
    /// Reads a table's file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, TableError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // Another format may have other fields, and is to be named as such.
        let Format { format: found } = serde_json::from_str(text)?;
        if found != FORMAT {
            return Err(TableError::Format { found });
        }
        let table: Self = serde_json::from_str(text)?;
        for Measured { target, linears, .. } in &table.devices {
            for (i, linear) in linears.iter().enumerate() {
                let to = linear.to_rows.unwrap_or(u64::MAX);
                let before = linears[..i].iter().rev().find(|other| other.is_like(linear));
                let free = before
                    .is_none_or(|other| other.to_rows.is_some_and(|last| last < linear.from_rows));
                if linear.from_rows > to || !free {
                    let Linear { n, k, from_rows: from, .. } = *linear;
                    return Err(TableError::Rows { n, k, target: target.clone(), from, to });
                }
            }
        }
        Ok(table)
    }

    /// The file's text.
    ///
    /// # Errors
    /// None that a table of this type has.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Linear {
    /// Whether both are about the same layer.
    fn is_like(&self, other: &Self) -> bool {
        let of = |linear: &Self| (linear.n, linear.k, linear.bias);
        of(self) == of(other) && self.dtype == other.dtype && self.epilogue == other.epilogue
    }

    /// Whether it is about this layer.
    pub fn is_about(&self, layer: &Layer, bias: bool, dtype: Float) -> bool {
        (self.n, self.k, self.bias) == (layer.n, layer.k, bias)
            && self.dtype == dtype.name()
            && self.epilogue == layer.epilogue
    }
}
