//! What `bytec tune` prints.

use std::io::{self, Write};

use bytec_compiler::cost::linear::Tile;
use bytec_compiler::tune::Tunable;
use bytec_compiler::tuned::Table;
use serde::Serialize;
use serde_json::{Value, json};

use super::layer::Point;
use crate::table;

/// Everything, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) plan: String,
    pub(super) device: String,
    pub(super) machine: String,
    /// Whether nothing was timed, so that all choices are the cost model's.
    pub(super) dry_run: bool,
    pub(super) layers: Vec<Value>,
    /// What --table writes; null in a dry run.
    pub(super) table: Option<&'a Table>,
}

/// A layer and what was found.
pub(super) fn layer(of: &Tunable, names: &[&str], points: &[Point]) -> Value {
    let point = |point: &Point| {
        let candidates = point.candidates.iter();
        let candidates = candidates.map(|c| json!({"tile": c.tile, "median_ns": c.median_ns}));
        json!({
            "rows": point.rows,
            "chosen": point.chosen().tile,
            "candidates": candidates.collect::<Vec<_>>(),
        })
    };
    json!({
        "n": of.layer.n,
        "k": of.layer.k,
        "bias": of.bias,
        "epilogue": of.layer.epilogue,
        "steps": names,
        "rows": points.iter().map(point).collect::<Vec<_>>(),
    })
}

/// A line for each layer and number of rows.
pub(super) fn table(out: &mut impl Write, layers: &[(Tunable, Vec<Point>)]) -> io::Result<()> {
    let title = ["linear", "steps", "rows", "candidates", "us by the model", "us", "tile"];
    let mut rows = Vec::new();
    for (of, points) in layers {
        for point in points {
            let chosen = point.chosen();
            let micros = |ns: Option<u64>| {
                ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.1}", ns as f64 / 1e3))
            };
            rows.push([
                said(of),
                of.steps.len().to_string(),
                point.rows.to_string(),
                point.candidates.len().to_string(),
                micros(point.candidates[0].median_ns),
                micros(chosen.median_ns),
                tile(chosen.tile),
            ]);
        }
    }
    table::Table::new(title, rows).all(out)
}

/// A layer in words, such as `768 x 768 bias gelu_erf`.
fn said(of: &Tunable) -> String {
    let mut text = format!("{} x {}", of.layer.n, of.layer.k);
    if of.bias {
        text += " bias";
    }
    for function in &of.layer.epilogue {
        if let Ok(Value::String(name)) = serde_json::to_value(function) {
            text += &format!(" {name}");
        }
    }
    text
}

fn tile(tile: Tile) -> String {
    format!("{tile}, {} stages, bands of {}", tile.stages, tile.band)
}
