//! Rows divided by their L2 norm.

use bytec_plan::device::{Arg, Of};
use serde::Serialize;

use super::rows::{self, RowShape};
use super::{CFloat, Launch, Params, RenderError, Site};

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct L2Normalize {
    eps: CFloat,
    x_stride: u32,
    out_stride: u32,
    #[serde(flatten)]
    shape: RowShape,
}

/// Parameters for rows of `width` columns.
pub(super) fn params(site: &Site<'_>, width: u32, eps: f32) -> Result<L2Normalize, RenderError> {
    let kernel = site.kernel.name();
    let x = site.operand(0)?;
    Ok(L2Normalize {
        eps: CFloat(eps),
        x_stride: rows::stride(kernel, width, x)?,
        out_stride: rows::stride(kernel, width, site.output)?,
        shape: RowShape::new(kernel, width, site.dtype, &[x, site.output])?,
    })
}

impl Params for L2Normalize {
    const TEMPLATE: &'static str = "kernels/l2_normalize.cu.tera";

    fn stem(&self) -> String {
        format!("l2_normalize_{}", self.shape.width)
    }

    fn launch(&self) -> Launch {
        self.shape.launch()
    }

    fn args(&self) -> Vec<Arg> {
        vec![Arg::Output, Arg::Operand(0), Arg::Rows(Of::Output)]
    }
}
