//! Tables through their files, and what they choose.

use bytec_plan::kernel::UnaryFn;

use super::{FORMAT, Linear, Measured, Table, choose, shipped};
use crate::cost::linear::{Layer, Tile};
use crate::nvrtc::Arch;
use crate::render::Float;

fn layer() -> Layer {
    Layer { n: 768, k: 768, epilogue: vec![UnaryFn::Relu] }
}

fn linear(from_rows: u64, to_rows: Option<u64>, tile: Tile) -> Linear {
    Linear {
        n: 768,
        k: 768,
        dtype: "f16".to_owned(),
        bias: true,
        epilogue: vec![UnaryFn::Relu],
        from_rows,
        to_rows,
        tile,
        rows: 512,
        median_ns: 1500,
        model_ns: 2000,
    }
}

fn table(target: &str, linears: Vec<Linear>) -> Table {
    let measured = Measured {
        device: "a device".to_owned(),
        compute_capability: "9.0".to_owned(),
        target: target.to_owned(),
        compiler: "bytec 0".to_owned(),
        date: None,
        linears,
    };
    Table { format: FORMAT, devices: vec![measured] }
}

/// From how many rows on there is which tile, and whether it was measured.
fn chosen(tables: &[Table], bias: bool) -> Vec<(u64, Tile, bool)> {
    let choice = choose(tables, Arch::SM_90A, Float::F16, &layer(), bias);
    choice.tiles.into_iter().map(|c| (c.from, c.tile, c.measured.is_some())).collect()
}

#[test]
fn the_table_that_ships_is_one() {
    assert_eq!(shipped().format, FORMAT);
}

#[test]
fn a_table_goes_through_its_file() {
    let all = Tile::alike(&layer());
    let table = table("sm_90a", vec![linear(1, Some(99), all[1]), linear(100, None, all[0])]);
    let text = table.to_text().unwrap();
    assert_eq!(Table::read(&text).unwrap(), table);
    assert!(text.contains("\"turns\": \"together\""), "{text}");
}

#[test]
fn what_a_table_says_counts_for_its_rows() {
    let all = Tile::alike(&layer());
    let [best, other] = [all[0], all[1]];
    let rows = |linears| chosen(&[table("sm_90a", linears)], true);
    assert_eq!(chosen(&[], true), [(0, best, false)]);
    let found = rows(vec![linear(1, Some(99), other), linear(100, Some(999), best)]);
    assert_eq!(found, [(0, other, true), (100, best, true), (1000, best, false)]);
    let found = rows(vec![linear(100, Some(199), other), linear(200, None, other)]);
    assert_eq!(found, [(0, best, false), (100, other, true)]);
    let found = rows(vec![linear(100, Some(u64::MAX), other)]);
    assert_eq!(found, [(0, best, false), (100, other, true)]);
}

#[test]
fn a_table_of_other_layers_or_targets_changes_nothing() {
    let all = Tile::alike(&layer());
    let about = |target| table(target, vec![linear(1, None, all[1])]);
    assert_eq!(chosen(&[about("sm_80")], true), [(0, all[0], false)]);
    assert_eq!(chosen(&[about("sm_90a")], false), [(0, all[0], false)]);
    // The first that knows the layer counts.
    let tables = [about("sm_80"), about("sm_90a"), table("sm_90a", vec![linear(1, None, all[2])])];
    assert_eq!(chosen(&tables, true), [(0, all[1], true)]);
}

#[test]
fn a_tile_of_other_bits_is_ignored_with_a_line() {
    let best = Tile::best(&layer());
    let odd = Tile { columns: best.columns + 16, ..best };
    let tables = [table("sm_90a", vec![linear(1, None, odd)])];
    let choice = choose(&tables, Arch::SM_90A, Float::F16, &layer(), true);
    assert!(!choice.is_measured());
    let line = &choice.ignored[0];
    assert!(line.contains("768 x 768") && line.contains("the cost model's is used"), "{line}");
}

#[test]
fn files_that_are_no_tables_are_refused() {
    let best = Tile::best(&layer());
    let said = |text: &str| Table::read(text).unwrap_err().to_string();
    let overlapping = table("sm_90a", vec![linear(1, Some(9), best), linear(9, None, best)]);
    let descending = table("sm_90a", vec![linear(9, Some(1), best)]);
    for (text, part) in [
        ("", "as `bytec tune` writes it"),
        ("{\"format\": 2, \"whatever\": 1}", "format 1, found 2"),
        ("{\"format\": 1, \"devices\": [{}]}", "missing field"),
        (&overlapping.to_text().unwrap(), "found 9 to "),
        (&descending.to_text().unwrap(), "found 9 to 1"),
        (
            &table("sm_90a", Vec::new()).to_text().unwrap().replace("9.0", "9.0\", \"x\": \"y"),
            "unknown field",
        ),
    ] {
        assert!(said(text).contains(part), "{text}\n{}", said(text));
    }
}
