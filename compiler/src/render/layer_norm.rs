//! LayerNorm of each row.

use bytec_plan::device::{Arg, Of};
use serde::Serialize;

use super::rows::{self, RowShape};
use super::{CFloat, Launch, Params, RenderError, Site};

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct LayerNorm {
    eps: CFloat,
    residual: bool,
    x_stride: u32,
    residual_stride: u32,
    out_stride: u32,
    #[serde(flatten)]
    shape: RowShape,
}

/// Parameters for rows of `width` columns.
pub(super) fn params(
    site: &Site<'_>,
    width: u32,
    eps: f32,
    residual: bool,
) -> Result<LayerNorm, RenderError> {
    let kernel = site.kernel.name();
    let x = site.operand(0)?;
    // Without a residual the template does not read its stride; x's stands in.
    let added = if residual { site.operand(1)? } else { x };
    let shape = RowShape::new(kernel, width, site.dtype, &[x, added, site.output])?;
    Ok(LayerNorm {
        eps: CFloat(eps),
        residual,
        x_stride: rows::stride(kernel, width, x)?,
        residual_stride: rows::stride(kernel, width, added)?,
        out_stride: rows::stride(kernel, width, site.output)?,
        shape,
    })
}

impl Params for LayerNorm {
    const TEMPLATE: &'static str = "kernels/layer_norm.cu.tera";

    fn stem(&self) -> String {
        let residual = if self.residual { "_residual" } else { "" };
        format!("layer_norm{residual}_{}", self.shape.width)
    }

    fn launch(&self) -> Launch {
        self.shape.launch()
    }

    fn args(&self) -> Vec<Arg> {
        let operands = if self.residual { 4 } else { 3 };
        let mut args = vec![Arg::Output];
        args.extend((0..operands).map(Arg::Operand));
        args.push(Arg::Rows(Of::Output));
        args
    }
}
