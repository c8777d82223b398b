//! What attention may be asked for besides its heads, as its templates take it.

use std::f64::consts::LOG2_E;

use bytec_plan::attention::{Band, Bias, Rotary};
use serde::Serialize;

use super::rotary::Turns;
use super::{CFloat, Float, Matrix, RenderError, rows};
use crate::cost::attention::{Head, Terms as TermsOf};

/// No limit: further than rows of a sample are apart, and far from an int's end when one is added.
const FAR: u64 = 1 << 30;

/// The farthest distance of a table: positions in a head's part of it are counted in ints.
const MOST_REACH: u32 = 1 << 22;

/// Template fields. What is not asked for is empty and leaves nothing in the text.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Options {
    band: Option<Limits>,
    slopes: Vec<CFloat>,
    relative: Option<Relative>,
    disentangled: Option<Terms>,
    rotary: Option<Turns>,
    /// Whether scores depend on the distance.
    by_distance: bool,
    /// Declarations of the operands after v.
    tables: Vec<&'static str>,
    #[serde(skip)]
    mask: Band,
}

#[derive(Clone, Debug, Serialize)]
struct Limits {
    before: u64,
    after: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Relative {
    reach: u32,
}

/// Terms of rows by distance.
#[derive(Clone, Debug, Serialize)]
struct Terms {
    reach: u32,
    c2p: bool,
    p2c: bool,
    /// Elements from one row of a table to the next.
    stride: u32,
    /// Bytes of one copy.
    bytes: u32,
    /// Queries of a warp, and keys of a product, without warpgroups; the tiles set them.
    warp_rows: u32,
    group: u32,
}

impl Options {
    pub(super) fn new(
        kernel: &'static str,
        dtype: Float,
        [heads, head_size]: [u32; 2],
        mask: Band,
        bias: &Bias,
        rotary: Option<Rotary>,
    ) -> Result<Self, RenderError> {
        let limit = |limit: Option<u64>| limit.map_or(FAR, |limit| limit.min(FAR));
        let band = Limits { before: limit(mask.before), after: limit(mask.after) };
        let (mut slopes, mut relative, mut disentangled) = (Vec::new(), None, None);
        let mut tables = Vec::new();
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
            Bias::Disentangled { reach, c2p, p2c } => {
                let found = u64::from(heads) * u64::from(head_size);
                let size =
                    |what, max, found| RenderError::Size { kernel, what, min: 1, max, found };
                let stride = u32::try_from(found).ok().filter(|width| *width <= i32::MAX as u32);
                let stride = stride.ok_or(size("the tables' width", i32::MAX as u64, found))?;
                if *reach > MOST_REACH {
                    return Err(size("the largest distance", MOST_REACH.into(), (*reach).into()));
                }
                let rows = [Matrix::dense(stride), Matrix::dense(head_size)];
                let bytes = rows::access(dtype, &rows) * dtype.bytes();
                let (reach, c2p, p2c) = (*reach, *c2p, *p2c);
                let (warp_rows, group) = (0, 0);
                disentangled = Some(Terms { reach, c2p, p2c, stride, bytes, warp_rows, group });
                tables.push("const int* __restrict__ index");
                if c2p {
                    tables.push("const Element* __restrict__ key_rows");
                }
                if p2c {
                    tables.push("const Element* __restrict__ query_rows");
                }
            }
        }
        let rotary = rotary.map(|rotary| Turns::new(kernel, rotary, head_size)).transpose()?;
        if rotary.is_some() {
            tables.push("const float* __restrict__ turns");
        }
        let band = (!mask.is_all()).then_some(band);
        let by_distance = band.is_some() || !bias.is_none();
        Ok(Self { band, slopes, relative, disentangled, rotary, by_distance, tables, mask })
    }

    /// Heads of so many columns, as the cost model knows them.
    pub(super) fn head(&self, size: u32) -> Head {
        let biased = !self.slopes.is_empty() || self.relative.is_some();
        let terms = self.disentangled.as_ref();
        let terms = terms.map(|terms| TermsOf { c2p: terms.c2p, p2c: terms.p2c });
        let terms = terms.unwrap_or_default();
        Head { size, mask: self.mask, biased, turned: self.rotary.is_some(), terms }
    }

    /// What the symbol says of them.
    pub(super) fn stem(&self) -> String {
        let parts = [
            (self.band.is_some(), "_band"),
            (!self.slopes.is_empty(), "_alibi"),
            (self.relative.is_some(), "_relative"),
            (self.disentangled.is_some(), "_disentangled"),
            (self.rotary.is_some(), "_rotary"),
        ];
        parts.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect()
    }

    /// Operands after v.
    pub(super) fn operands(&self) -> u32 {
        self.tables.len() as u32
    }

    /// Queries and keys of a tile where rows by distance share its memory, which sets what a warp has of them. The wider
    /// a head, the smaller its tiles: with both terms, all are within 99 KiB.
    pub(super) fn tiles(&mut self, dtype: Float, head_size: u32) -> Option<(u32, u32)> {
        let terms = self.disentangled.as_mut()?;
        let (queries, keys, warp_rows, group) = match (dtype, head_size) {
            (Float::F16 | Float::Bf16, ..=64) => (64, 32, 16, 16),
            (Float::F16 | Float::Bf16, ..=128) => (64, 16, 16, 16),
            (Float::F16 | Float::Bf16, ..=240) => (32, 16, 16, 16),
            (Float::F16 | Float::Bf16, _) => (16, 16, 16, 16),
            (Float::F32, ..=64) => (32, 32, 8, 8),
            (Float::F32, ..=96) => (32, 16, 8, 8),
            (Float::F32, ..=160) => (16, 16, 8, 8),
            (Float::F32, _) => (16, 8, 8, 8),
        };
        (terms.warp_rows, terms.group) = (warp_rows, group);
        Some((queries, keys))
    }

    /// Bytes of shared memory for tiles of so many queries and keys, whose rows have so many bytes.
    pub(super) fn shared(&self, queries: u32, keys: u32, row: u32) -> u32 {
        // Distances of both stages.
        let relative = if self.relative.is_some() { 2 * (queries + keys) * 4 } else { 0 };
        let Some(terms) = &self.disentangled else { return relative };
        let (c2p, p2c) = (u32::from(terms.c2p), u32::from(terms.p2c));
        let near = queries * (terms.warp_rows + keys + 8) * 4;
        let far = keys * (queries + terms.group + 5) * 4;
        (c2p + p2c) * (queries + keys) * row + c2p * near + p2c * far
    }
}
