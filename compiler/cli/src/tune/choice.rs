//! From what was measured to ranges of rows.

use bytec_compiler::tune::Tunable;
use bytec_compiler::tuned::Linear;

use super::layer::Point;

/// The entries of a table for a layer; none that was not measured. Neighbours of one tile are one entry, with the times of
/// the more rows.
pub(super) fn linears(of: &Tunable, dtype: &str, points: &[Point]) -> Vec<Linear> {
    let mut linears: Vec<Linear> = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let chosen = point.chosen();
        let (Some(median_ns), Some(model_ns)) = (chosen.median_ns, point.candidates[0].median_ns)
        else {
            continue;
        };
        let from_rows = match i.checked_sub(1) {
            None => 1,
            Some(before) => halfway(points[before].rows, point.rows) + 1,
        };
        let to_rows = points.get(i + 1).map(|next| halfway(point.rows, next.rows));
        let measured = Linear {
            n: of.layer.n,
            k: of.layer.k,
            dtype: dtype.to_owned(),
            bias: of.bias,
            epilogue: of.layer.epilogue.clone(),
            from_rows,
            to_rows,
            tile: chosen.tile,
            rows: point.rows,
            median_ns,
            model_ns,
        };
        match linears.last_mut() {
            Some(last) if last.tile == measured.tile => {
                *last = Linear { from_rows: last.from_rows, ..measured };
            }
            _ => linears.push(measured),
        }
    }
    linears
}

/// The root of the product, rounded down.
fn halfway(a: u64, b: u64) -> u64 {
    a.saturating_mul(b).isqrt()
}

#[cfg(test)]
mod tests {
    use bytec_compiler::cost::linear::{Layer, Tile};
    use bytec_compiler::tune::Tunable;
    use bytec_compiler::tuned::{FORMAT, Measured, Table};

    use super::super::layer::{Candidate, Point};
    use super::linears;

    #[test]
    fn ranges_follow_each_other_and_small_gains_are_none() {
        let layer = Layer { n: 768, k: 768, epilogue: Vec::new() };
        let of = Tunable { layer: layer.clone(), bias: true, steps: vec![3] };
        let tiles = Tile::alike(&layer);
        let point = |rows, times: [u64; 2]| {
            let candidate = |i: usize| Candidate { tile: tiles[i], median_ns: Some(times[i]) };
            Point { rows, candidates: vec![candidate(0), candidate(1)] }
        };
        let points = [
            point(100, [1000, 900]),
            point(400, [1000, 990]),
            point(1600, [2000, 1999]),
            point(6400, [4000, 3000]),
        ];
        let found = linears(&of, "f16", &points);
        let rows: Vec<_> = found.iter().map(|l| (l.from_rows, l.to_rows, l.tile)).collect();
        assert_eq!(
            rows,
            [(1, Some(200), tiles[1]), (201, Some(3200), tiles[0]), (3201, None, tiles[1])]
        );
        assert_eq!((found[1].median_ns, found[1].model_ns), (2000, 2000));
        let measured = Measured {
            device: String::new(),
            compute_capability: String::new(),
            target: String::new(),
            compiler: String::new(),
            date: None,
            linears: found,
        };
        let table = Table { format: FORMAT, devices: vec![measured] };
        assert_eq!(Table::read(&table.to_text().unwrap()).unwrap(), table);
    }
}
