//! What attention may be asked for besides its heads, as its templates take it.

use std::f64::consts::LOG2_E;

use bytec_plan::attention::{Band, Bias, Rotary};
use serde::Serialize;

use super::rotary::Turns;
use super::{CFloat, RenderError};

/// No limit: further than rows of a sample are apart, and far from an int's end when one is added.
const FAR: u64 = 1 << 30;

/// The farthest distance of a table: positions in a head's part of it are counted in ints.
const MOST_REACH: u32 = 1 << 22;

/// Template fields. What is not asked for is empty and leaves nothing in the text.
#[derive(Debug, Serialize)]
pub(super) struct Options {
    band: Option<Limits>,
    slopes: Vec<CFloat>,
    relative: Option<Relative>,
    rotary: Option<Turns>,
    /// Whether scores depend on the distance.
    by_distance: bool,
    /// Declarations of the operands after v.
    tables: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Limits {
    before: u64,
    after: u64,
}

#[derive(Debug, Serialize)]
struct Relative {
    reach: u32,
}

impl Options {
    pub(super) fn new(
        kernel: &'static str,
        [heads, head_size]: [u32; 2],
        mask: Band,
        bias: &Bias,
        rotary: Option<Rotary>,
    ) -> Result<Self, RenderError> {
        let limit = |limit: Option<u64>| limit.map_or(FAR, |limit| limit.min(FAR));
        let band = Limits { before: limit(mask.before), after: limit(mask.after) };
        let (mut slopes, mut relative, mut tables) = (Vec::new(), None, Vec::new());
        match bias {
            Bias::None => {}
            Bias::Alibi { slopes: found } if found.len() == heads as usize => {
                let in_log2 = |slope: &f32| CFloat((f64::from(*slope) * LOG2_E) as f32);
                slopes = found.iter().map(in_log2).collect();
            }
            Bias::Alibi { slopes } => {
                return Err(RenderError::Parameter {
                    kernel,
                    what: format!("the number of slopes for {heads} heads"),
                    expected: "one for each head",
                    found: slopes.len().to_string(),
                });
            }
            Bias::Relative { reach } if *reach <= MOST_REACH => {
                relative = Some(Relative { reach: *reach });
                tables.push("const float* __restrict__ biases");
            }
            Bias::Relative { reach } => {
                let (what, max) = ("the largest distance", MOST_REACH.into());
                return Err(RenderError::Size {
                    kernel,
                    what,
                    min: 0,
                    max,
                    found: (*reach).into(),
                });
            }
            Bias::Disentangled { .. } => {
                return Err(RenderError::NoTemplate {
                    kernel: "attention with a disentangled bias",
                });
            }
        }
        let rotary = rotary.map(|rotary| Turns::new(kernel, rotary, head_size)).transpose()?;
        if rotary.is_some() {
            tables.push("const float* __restrict__ turns");
        }
        let band = (!mask.is_all()).then_some(band);
        let by_distance = band.is_some() || !bias.is_none();
        Ok(Self { band, slopes, relative, rotary, by_distance, tables })
    }

    /// What the symbol says of them.
    pub(super) fn stem(&self) -> String {
        let parts = [
            (self.band.is_some(), "_band"),
            (!self.slopes.is_empty(), "_alibi"),
            (self.relative.is_some(), "_relative"),
            (self.rotary.is_some(), "_rotary"),
        ];
        parts.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect()
    }

    /// Operands after v.
    pub(super) fn operands(&self) -> u32 {
        self.tables.len() as u32
    }

    /// Bytes of shared memory for tiles of so many queries and keys.
    pub(super) fn shared(&self, queries: u32, keys: u32) -> u32 {
        // Distances of both stages.
        if self.relative.is_some() { 2 * (queries + keys) * 4 } else { 0 }
    }
}
