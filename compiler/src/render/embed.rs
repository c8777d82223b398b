//! Sums of embedding tables' rows, and their LayerNorm.

use bytec_plan::device::{Arg, Of};
use bytec_plan::kernel::IdSource;
use serde::Serialize;

use super::rows::{self, RowShape};
use super::{CFloat, Launch, Matrix, Params, RenderError, Site};

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Embed {
    sources: Vec<Source>,
    by_position: bool,
    normalize: bool,
    /// What each argument between the output and gamma is.
    #[serde(skip)]
    tables: Vec<Arg>,
    eps: CFloat,
    out_stride: u32,
    #[serde(flatten)]
    shape: RowShape,
}

/// One table.
#[derive(Debug, Serialize)]
struct Source {
    by_id: bool,
    /// The table row of a sample's first row; zero for ids.
    start: u32,
    /// The row's method that takes the table's row in: the first is read, the others are added.
    method: &'static str,
}

/// Parameters for tables of `width` columns.
pub(super) fn params(
    site: &Site<'_>,
    width: u32,
    sources: &[IdSource],
    eps: Option<f32>,
) -> Result<Embed, RenderError> {
    let kernel = site.kernel.name();
    if sources.is_empty() {
        let (what, min, max) = ("the number of tables", 1, u64::MAX);
        return Err(RenderError::Size { kernel, what, min, max, found: 0 });
    }
    let mut tables = Vec::new();
    for source in sources {
        let operand = tables.len() as u32;
        tables.push(Arg::Operand(operand));
        match *source {
            IdSource::Input => tables.push(Arg::Operand(operand + 1)),
            IdSource::Place { skip } => tables.push(Arg::Places { operand: operand + 1, skip }),
            IdSource::Position { .. } => {}
        }
    }
    let sources = sources.iter().enumerate().map(|(nth, source)| {
        let (by_id, start) = match source {
            IdSource::Input => (true, 0),
            // The batch's table says which row it is, as ids do.
            IdSource::Place { .. } => (true, 0),
            IdSource::Position { start } => (false, *start),
        };
        Source { by_id, start, method: if nth == 0 { "read" } else { "add" } }
    });
    let sources: Vec<_> = sources.collect();
    Ok(Embed {
        by_position: sources.iter().any(|source| !source.by_id),
        sources,
        tables,
        normalize: eps.is_some(),
        eps: CFloat(eps.unwrap_or_default()),
        out_stride: rows::stride(kernel, width, site.output)?,
        shape: RowShape::new(kernel, width, site.dtype, &[Matrix::dense(width), site.output])?,
    })
}

impl Params for Embed {
    const TEMPLATE: &'static str = "kernels/embed.cu.tera";

    fn stem(&self) -> String {
        let normalize = if self.normalize { "_layer_norm" } else { "" };
        format!("embed_{}{normalize}_{}", self.sources.len(), self.shape.width)
    }

    fn launch(&self) -> Launch {
        self.shape.launch()
    }

    fn args(&self) -> Vec<Arg> {
        // Each source has its table, and its ids or places if it goes by them.
        let operands = self.tables.len() as u32;
        let norm = if self.normalize { 2 } else { 0 };
        let mut args = vec![Arg::Output];
        args.extend(&self.tables);
        args.extend((operands..operands + norm).map(Arg::Operand));
        if self.by_position {
            args.push(Arg::Positions(Of::Output));
        }
        args.push(Arg::Rows(Of::Output));
        args
    }
}
