//! Rows divided by their root mean square.

use bytec_plan::device::{Arg, Of};
use serde::Serialize;

use super::rows::{self, RowShape};
use super::{CFloat, Launch, Params, RenderError, Site};

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct RmsNorm {
    eps: CFloat,
    x_stride: u32,
    out_stride: u32,
    #[serde(flatten)]
    shape: RowShape,
}

/// Parameters for rows of `width` columns.
pub(super) fn params(site: &Site<'_>, width: u32, eps: f32) -> Result<RmsNorm, RenderError> {
    let kernel = site.kernel.name();
    let x = site.operand(0)?;
    Ok(RmsNorm {
        eps: CFloat(eps),
        x_stride: rows::stride(kernel, width, x)?,
        out_stride: rows::stride(kernel, width, site.output)?,
        shape: RowShape::new(kernel, width, site.dtype, &[x, site.output])?,
    })
}

impl Params for RmsNorm {
    const TEMPLATE: &'static str = "kernels/rms_norm.cu.tera";

    fn stem(&self) -> String {
        format!("rms_norm_{}", self.shape.width)
    }

    fn launch(&self) -> Launch {
        self.shape.launch()
    }

    fn args(&self) -> Vec<Arg> {
        vec![Arg::Output, Arg::Operand(0), Arg::Operand(1), Arg::Rows(Of::Output)]
    }
}
