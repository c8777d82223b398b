//! The rows of each sample as one row.

use bytec_plan::device::{Arg, Count, Of};
use bytec_plan::kernel::PoolKind;
use serde::Serialize;

use super::rows;
use super::{CFloat, Launch, Params, RenderError, Site};

/// Threads of a block, where a sample's rows are shared among groups of them.
const THREADS: u32 = 512;

/// The most dynamic shared memory that every target gives a block, less what the reduction of the norm takes.
const SHARED: u32 = 98 * 1024;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Pool {
    pooling: &'static str,
    width: u32,
    normalize: bool,
    eps: CFloat,
    x_stride: u32,
    out_stride: u32,
    vec: u32,
    lanes: u32,
    groups: u32,
}

/// Parameters for rows of `width` columns.
pub(super) fn params(
    site: &Site<'_>,
    width: u32,
    pooling: PoolKind,
    normalize: Option<f32>,
) -> Result<Pool, RenderError> {
    let kernel = site.kernel.name();
    let x = site.operand(0)?;
    let vec = rows::access(site.dtype, &[x, site.output]);
    let lanes = width.div_ceil(vec).clamp(32, 128).next_power_of_two();
    // One row needs no second group.
    let one = matches!(pooling, PoolKind::Cls | PoolKind::Last);
    let groups = if one { 1 } else { THREADS / lanes };
    let pool = Pool {
        pooling: match pooling {
            PoolKind::Mean => "PoolMean",
            PoolKind::Sum => "PoolSum",
            PoolKind::Cls => "PoolCls",
            PoolKind::Max => "PoolMax",
            PoolKind::MeanSqrtLen => "PoolMeanSqrtLen",
            PoolKind::WeightedMean => "PoolWeightedMean",
            PoolKind::Last => "PoolLast",
        },
        width,
        normalize: normalize.is_some(),
        eps: CFloat(normalize.unwrap_or_default()),
        x_stride: rows::stride(kernel, width, x)?,
        out_stride: rows::stride(kernel, width, site.output)?,
        vec,
        lanes,
        groups,
    };
    // Only a row that is normalised lies in shared memory whole.
    let widest =
        if pool.normalize { (SHARED - pool.partial()) / 4 } else { i32::MAX as u32 - lanes * vec };
    if !(1..=widest).contains(&width) {
        let (what, max) = ("the width", widest.into());
        return Err(RenderError::Size { kernel, what, min: 1, max, found: width.into() });
    }
    Ok(pool)
}

impl Pool {
    /// Bytes of the groups' partial results: `kGroups * kVec * kPitch` floats.
    fn partial(&self) -> u32 {
        4 * self.groups * self.vec * (self.lanes + 32 / self.vec)
    }
}

impl Params for Pool {
    const TEMPLATE: &'static str = "kernels/pool.cu.tera";

    fn stem(&self) -> String {
        let pooling = match self.pooling {
            "PoolMean" => "mean",
            "PoolSum" => "sum",
            "PoolCls" => "cls",
            "PoolMax" => "max",
            "PoolMeanSqrtLen" => "mean_sqrt_len",
            "PoolWeightedMean" => "weighted_mean",
            _ => "last",
        };
        let normalize = if self.normalize { "_normalize" } else { "" };
        format!("pool_{pooling}{normalize}_{}", self.width)
    }

    fn launch(&self) -> Launch {
        let row = if self.normalize { 4 * self.width } else { 0 };
        Launch {
            grid: [Count::Samples, Count::Fixed(1), Count::Fixed(1)],
            block: self.lanes * self.groups,
            shared: self.partial() + row,
        }
    }

    fn args(&self) -> Vec<Arg> {
        vec![Arg::Output, Arg::Operand(0), Arg::Offsets(Of::Operand(0)), Arg::Samples]
    }
}
