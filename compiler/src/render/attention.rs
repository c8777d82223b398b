//! Attention of each sample and head: a block for each tile of queries.

use std::f64::consts::LOG2_E;

use bytec_plan::device::{Arg, Count, Of};
use serde::Serialize;

use super::attention_options::Options;
use super::{CFloat, Float, Launch, Matrix, Params, RenderError, Site, rows};

/// The widest head whose tiles fit into shared memory.
const WIDEST: u32 = 256;

/// The most heads: a grid's blocks along y.
const MOST_HEADS: u32 = 65_535;

/// The variables of both templates.
#[derive(Debug, Serialize)]
pub(super) struct Attention {
    pub(super) head_size: u32,
    /// Heads of queries for each of keys and values, if more than one.
    pub(super) group: Option<u32>,
    pub(super) factor: CFloat,
    q_stride: u32,
    k_stride: u32,
    v_stride: u32,
    pub(super) out_stride: u32,
    q_move: u32,
    k_move: u32,
    v_move: u32,
    pub(super) out_move: u32,
    tile_queries: u32,
    tile_keys: u32,
    #[serde(flatten)]
    pub(super) options: Options,
    #[serde(skip)]
    pub(super) heads: u32,
    /// Why not on warpgroups, where those are.
    #[serde(skip)]
    pub(super) note: Option<String>,
}

/// The kernel for f16 and bf16.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Mma(pub(super) Attention);

/// The kernel for f32.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Fma(pub(super) Attention);

/// Parameters for `heads` heads of `head_size` columns, `group` of which share one of keys and values; `options` are made
/// for them.
pub(super) fn params(
    site: &Site<'_>,
    [heads, head_size]: [u32; 2],
    group: u32,
    scale: f32,
    mut options: Options,
) -> Result<Attention, RenderError> {
    let kernel = site.kernel.name();
    let size = |what, found: u32, max: u32| RenderError::Size {
        kernel,
        what,
        min: 1,
        max: max.into(),
        found: found.into(),
    };
    if !(1..=WIDEST).contains(&head_size) {
        return Err(size("the head size", head_size, WIDEST));
    }
    if !(1..=MOST_HEADS).contains(&heads) {
        return Err(size("the number of heads", heads, MOST_HEADS));
    }
    if group == 0 || !heads.is_multiple_of(group) {
        return Err(RenderError::Parameter {
            kernel,
            what: format!("the heads that share one of {heads}"),
            expected: "a divisor of the number of heads",
            found: group.to_string(),
        });
    }
    let factor = (f64::from(scale) * LOG2_E) as f32;
    // Masked scores are infinite, and 0 times them would not be.
    if !factor.is_normal() {
        return Err(RenderError::Parameter {
            kernel,
            what: "the scale".to_owned(),
            expected: "a finite number other than 0",
            found: scale.to_string(),
        });
    }
    let (width, shared) = (heads * head_size, heads / group * head_size);
    let (q, k, v, out) = (site.operand(0)?, site.operand(1)?, site.operand(2)?, site.output);
    // A move is within a head's own columns, and every head begins at one.
    let access =
        |matrix| rows::access(site.dtype, &[matrix, Matrix::dense(head_size)]) * site.dtype.bytes();
    let usual = match (site.dtype, head_size) {
        (Float::F16 | Float::Bf16, ..=128) => (64, 64),
        (Float::F16 | Float::Bf16, _) => (64, 32),
        (Float::F32, ..=64) => (64, 32),
        (Float::F32, ..=128) => (64, 16),
        (Float::F32, _) => (32, 16),
    };
    let (tile_queries, tile_keys) = options.tiles(site.dtype, head_size).unwrap_or(usual);
    Ok(Attention {
        head_size,
        group: (group > 1).then_some(group),
        factor: CFloat(factor),
        q_stride: rows::stride(kernel, width, q)?,
        k_stride: rows::stride(kernel, shared, k)?,
        v_stride: rows::stride(kernel, shared, v)?,
        out_stride: rows::stride(kernel, width, out)?,
        q_move: access(q),
        k_move: access(k),
        v_move: access(v),
        out_move: access(out),
        tile_queries,
        tile_keys,
        options,
        heads,
        note: None,
    })
}

impl Attention {
    /// Heads and options, as symbols say them.
    pub(super) fn shape(&self) -> String {
        let group = self.group.map_or_else(String::new, |group| format!("_by_{group}"));
        format!("{}x{}{group}{}", self.heads, self.head_size, self.options.stem())
    }

    fn stem(&self) -> String {
        format!("attention_{}", self.shape())
    }

    /// Bytes of the tiles: queries, two pairs of keys and values, and what the options need.
    fn tiles(&self, columns: u32, bytes: u32) -> u32 {
        let options = self.options.shared(self.tile_queries, self.tile_keys, columns * bytes);
        (self.tile_queries + 4 * self.tile_keys) * columns * bytes + options
    }

    fn launch(&self, block: u32, shared: u32) -> Launch {
        let tiles = Count::Tiles { per: self.tile_queries };
        Launch { grid: [tiles, Count::Fixed(self.heads), Count::Fixed(1)], block, shared }
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::Output];
        args.extend((0..3).map(Arg::Operand));
        args.push(Arg::Tiles { per: self.tile_queries });
        args.extend([Arg::Offsets(Of::Output), Arg::Offsets(Of::Operand(1))]);
        args.extend((3..3 + self.options.operands()).map(Arg::Operand));
        args
    }
}

impl Params for Mma {
    const TEMPLATE: &'static str = "kernels/attention.cu.tera";

    fn stem(&self) -> String {
        self.0.stem()
    }

    fn launch(&self) -> Launch {
        let columns = self.0.head_size.next_multiple_of(16);
        self.0.launch(self.0.tile_queries / 16 * 32, self.0.tiles(columns, 2))
    }

    fn args(&self) -> Vec<Arg> {
        self.0.args()
    }

    fn note(&self) -> Option<String> {
        self.0.note.clone()
    }
}

impl Params for Fma {
    const TEMPLATE: &'static str = "kernels/attention_f32.cu.tera";

    fn stem(&self) -> String {
        self.0.stem()
    }

    fn launch(&self) -> Launch {
        let columns = self.0.head_size.next_multiple_of(32);
        let weights = self.0.tile_queries * self.0.tile_keys * 4;
        let threads = if self.0.tile_queries < 32 { 64 } else { 128 };
        self.0.launch(threads, self.0.tiles(columns, 4) + weights)
    }

    fn args(&self) -> Vec<Arg> {
        self.0.args()
    }

    fn note(&self) -> Option<String> {
        self.0.note.clone()
    }
}

#[cfg(test)]
mod tests {
    use bytec_plan::attention::{Band, Bias};
    use bytec_plan::kernel::Kernel;

    use super::super::{Float, Matrix, Params, RenderError, Site};
    use super::{Attention, Fma, Mma, Options, params};

    fn attention(
        dtype: Float,
        heads: u32,
        head_size: u32,
        scale: f32,
    ) -> Result<Attention, RenderError> {
        // A bias that takes room in shared memory.
        biased(dtype, heads, head_size, scale, &Bias::Relative { reach: 8 })
    }

    fn biased(
        dtype: Float,
        heads: u32,
        head_size: u32,
        scale: f32,
        bias: &Bias,
    ) -> Result<Attention, RenderError> {
        let width = u64::from(heads) * u64::from(head_size);
        let view = |n| Matrix { column: n * width, stride: 3 * width };
        let kernel = Kernel::attention(heads, head_size, scale);
        let operands = [view(0), view(1), view(2)];
        let output = Matrix { column: 0, stride: width };
        let site = Site { kernel: &kernel, dtype, operands: &operands, output };
        let heads = [heads, head_size];
        let options = Options::new("attention", dtype, heads, Band::default(), bias, None).unwrap();
        params(&site, heads, 1, scale, options)
    }

    #[test]
    fn tiles_of_every_head_size_fit() {
        let both = Bias::Disentangled { reach: 8, c2p: true, p2c: true };
        for head_size in 1..=256 {
            for bias in [&Bias::Relative { reach: 8 }, &both] {
                let launches = [
                    Mma(biased(Float::F16, 2, head_size, 1.0, bias).unwrap()).launch(),
                    Fma(biased(Float::F32, 2, head_size, 1.0, bias).unwrap()).launch(),
                ];
                for launch in launches {
                    assert!(launch.shared <= 99 * 1024, "{head_size}: {}", launch.shared);
                }
            }
        }
    }

    #[test]
    fn moves_divide_heads() {
        for (dtype, head_size, bytes) in [
            (Float::F16, 64, 16),
            (Float::F16, 12, 8),
            (Float::Bf16, 5, 2),
            (Float::F32, 12, 16),
            (Float::F32, 5, 4),
        ] {
            let attention = attention(dtype, 4, head_size, 1.0).unwrap();
            assert_eq!((attention.k_move, attention.out_move), (bytes, bytes), "{head_size}");
        }
    }

    #[test]
    fn sizes_and_scales_that_do_not_fit_are_refused() {
        assert!(matches!(attention(Float::F16, 1, 0, 1.0), Err(RenderError::Size { .. })));
        assert!(matches!(attention(Float::F16, 1, 257, 1.0), Err(RenderError::Size { .. })));
        assert!(matches!(attention(Float::F16, 0, 8, 1.0), Err(RenderError::Size { .. })));
        assert!(matches!(attention(Float::F16, 65_536, 8, 1.0), Err(RenderError::Size { .. })));
        for scale in [0.0, f32::NAN, f32::INFINITY, f32::MAX] {
            let error = attention(Float::F16, 1, 8, scale);
            assert!(matches!(error, Err(RenderError::Parameter { .. })), "{scale}");
        }
        assert!(attention(Float::F16, 1, 8, -1.0).is_ok());
    }
}
