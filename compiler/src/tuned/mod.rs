//! Tiles by measurement: what `bytec tune` found on a device, for compilations without one.
//!
//! A table can choose among the tiles that give a layer the same bits ([`Tile::alike`]), and by rows: a plan then holds
//! several launches of a step. What no table knows is chosen by the cost model.

mod table;
#[cfg(test)]
mod tests;

pub use self::table::{FORMAT, Linear, Measured, Table, TableError};
use crate::cost::linear::{Layer, Tile};
use crate::nvrtc::Arch;
use crate::render::Float;

/// What ships with the compiler. It has figures of devices that were measured, and none else.
const SHIPPED: &str = include_str!("shipped.json");

/// The table that ships with the compiler.
pub fn shipped() -> Table {
    Table::read(SHIPPED).expect("a test reads the table that ships")
}

/// The tiles of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Each with the fewest rows that it is for; the first is for none and more.
    pub tiles: Vec<Chosen>,
    /// What of the tables could not be used, one line each.
    pub ignored: Vec<String>,
}

/// A tile of a layer, and what it was chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// From so many rows on.
    pub from: u64,
    /// The tile.
    pub tile: Tile,
    /// What was measured, and where; `None` if the cost model chose it.
    pub measured: Option<String>,
}

impl Choice {
    /// Whether a measurement decided any of it.
    pub fn is_measured(&self) -> bool {
        self.tiles.iter().any(|chosen| chosen.measured.is_some())
    }
}

/// What notes about tables begin with, after the target.
pub(crate) const NOTE: &str = ": tiles by measurement: ";

/// Whether a plan's note is about tables of what was measured.
pub(crate) fn is_note(note: &str) -> bool {
    note.contains(NOTE)
}

/// Chooses the tiles of a layer: by the first table that knows it on a device of this target, or else by the cost model.
pub fn choose(tables: &[Table], arch: Arch, dtype: Float, layer: &Layer, bias: bool) -> Choice {
    let best = Tile::best(layer);
    let by_model = |from| Chosen { from, tile: best, measured: None };
    let mut choice = Choice { tiles: vec![by_model(0)], ignored: Vec::new() };
    let target = arch.to_string();
    let devices = tables.iter().flat_map(|table| &table.devices);
    let known = devices.filter(|measured| measured.target == target).find_map(|measured| {
        let about = measured.linears.iter().filter(|of| of.is_about(layer, bias, dtype));
        let about: Vec<_> = about.collect();
        (!about.is_empty()).then_some((measured, about))
    });
    let Some((measured, linears)) = known else { return choice };
    let alike = Tile::alike(layer);
    for Linear { from_rows, to_rows, tile, rows, median_ns, model_ns, .. } in linears {
        if !alike.contains(tile) {
            choice.ignored.push(format!(
                "{target}{NOTE}linear {} x {}: the table's tile from {from_rows} rows on ({tile}, {} stages, bands of {}) is \
                 none of the {} that give the same bits; the cost model's is used",
                layer.n,
                layer.k,
                tile.stages,
                tile.band,
                alike.len()
            ));
            continue;
        }
        let micros = |ns: &u64| *ns as f64 / 1e3;
        let what = format!(
            "measured on {}: {:.1} us for {rows} rows, by the cost model's tile {:.1}",
            measured.device,
            micros(median_ns),
            micros(model_ns)
        );
        // Nothing is launched for no rows.
        let from = if *from_rows <= 1 { 0 } else { *from_rows };
        choice.begin(Chosen { from, tile: *tile, measured: Some(what) });
        if let Some(next) = to_rows.and_then(|last| last.checked_add(1)) {
            choice.begin(by_model(next));
        }
    }
    choice
}

impl Choice {
    /// From here on another one. Entries come in the order of their rows.
    fn begin(&mut self, chosen: Chosen) {
        self.tiles.retain(|other| other.from < chosen.from);
        let goes_on = |last: &Chosen| {
            last.tile == chosen.tile && last.measured.is_some() == chosen.measured.is_some()
        };
        if !self.tiles.last().is_some_and(goes_on) {
            self.tiles.push(chosen);
        }
    }
}
