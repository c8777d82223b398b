//! The tables that attention reads instead of computing logarithms and powers.

use bytec_ir::{Buckets, Rotary};

/// The distances of a table, in its order.
fn distances(reach: u32) -> impl Iterator<Item = i64> {
    -i64::from(reach)..=i64::from(reach)
}

/// The row of each distance.
pub(super) fn rows(buckets: Buckets, reach: u32) -> Vec<i32> {
    distances(reach).map(|distance| buckets.index(distance) as i32).collect()
}

/// The table's row of each distance, heads first; the table is `[rows, heads]`.
pub(super) fn by_distance(table: &[f32], buckets: Buckets, reach: u32) -> Vec<f32> {
    let heads = table.len() / buckets.rows();
    let of_head =
        |head| distances(reach).map(move |distance| table[buckets.index(distance) * heads + head]);
    (0..heads).flat_map(of_head).collect()
}

/// Cosines and then sines of every pair, for each position: computed in f64 and rounded once.
pub(super) fn turns(rotary: &Rotary, positions: u32) -> Vec<f32> {
    let frequencies: Vec<_> = (0..rotary.dims / 2).map(|pair| rotary.frequency(pair)).collect();
    let of_position = |position: u32| {
        let angles = frequencies.iter().map(move |frequency| f64::from(position) * frequency);
        angles.clone().map(f64::cos).chain(angles.map(f64::sin)).map(|x| x as f32)
    };
    (0..positions).flat_map(of_position).collect()
}

#[cfg(test)]
mod tests {
    use bytec_ir::Real;
    use bytec_ir::attention::Pairs;

    use super::*;

    #[test]
    fn tables_go_from_the_key_farthest_after_to_the_one_farthest_before() {
        let buckets = Buckets::Clip { span: 2 };
        assert_eq!(rows(buckets, 3), [0, 0, 1, 2, 3, 3, 3]);
        // Two heads: the first counts rows, the second tens of them.
        let table = [0.0, 0.0, 1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        let found = by_distance(&table, buckets, 1);
        assert_eq!(found, [1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    }

    #[test]
    fn turns_are_cosines_and_then_sines() {
        let rotary = Rotary { pairs: Pairs::Half, dims: 4, base: Real(100.0) };
        let found = turns(&rotary, 3);
        assert_eq!(found[..4], [1.0, 1.0, 0.0, 0.0]);
        let of = |x: f64| {
            [x.cos() as f32, (x / 10.0).cos() as f32, x.sin() as f32, (x / 10.0).sin() as f32]
        };
        assert_eq!(found[4..8], of(1.0));
        assert_eq!(found[8..], of(2.0));
    }
}
