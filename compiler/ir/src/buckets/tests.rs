//! The rules against tables written out from the references' formulas, and what every rule keeps.

use super::{Buckets, MAX_PARAMETER};

const T5: Buckets = Buckets::T5 { buckets: 32, max_distance: 128, bidirectional: true };
const PAST: Buckets = Buckets::T5 { buckets: 32, max_distance: 128, bidirectional: false };
const LOG: Buckets = Buckets::Log { buckets: 8, max_position: 80 };
const WIDE: Buckets = Buckets::Log { buckets: 256, max_position: 512 };

/// The distances at which the row changes, with the row from there on.
fn changes(buckets: Buckets) -> Vec<(i64, usize)> {
    let mut found: Vec<(i64, usize)> = Vec::new();
    for distance in -600..=600 {
        let row = buckets.index(distance);
        if found.last().is_none_or(|last| last.1 != row) {
            found.push((distance, row));
        }
    }
    found
}

#[test]
fn clip_is_the_distance_cut_off() {
    let clip = Buckets::Clip { span: 3 };
    let rows: Vec<_> = (-5..=5).map(|d| clip.index(d)).collect();
    assert_eq!(rows, [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5]);
    assert_eq!((clip.rows(), clip.reach()), (6, 3));
    assert_eq!((clip.index(i64::MIN), clip.index(i64::MAX)), (0, 5));
}

#[test]
fn t5_as_its_formula_gives_it() {
    let before = [8, 12, 16, 23, 32, 46, 64, 91];
    // Keys before the query: small distances are their own rows, then each row is longer than the one before.
    let mut expected = vec![(-600, 31), (-90, 30), (-63, 29), (-45, 28), (-31, 27), (-22, 26)];
    expected.extend([(-15, 25), (-11, 24), (-7, 23), (-6, 22), (-5, 21), (-4, 20), (-3, 19)]);
    expected.extend([(-2, 18), (-1, 17)]);
    expected.extend((0..8).map(|d| (d, d as usize)));
    expected.extend(before.into_iter().zip(8..));
    assert_eq!(changes(T5), expected);
    assert_eq!(T5.reach(), 91);
    let far = [19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113];
    let mut expected = vec![(-600, 0)];
    expected.extend((1..=16).map(|d| (d, d as usize)));
    expected.extend(far.into_iter().zip(17..));
    assert_eq!(changes(PAST), expected);
    assert_eq!(PAST.reach(), 113);
}

#[test]
fn log_as_its_formula_gives_it() {
    let mut expected = vec![(-600, 0), (-79, 1), (-29, 2), (-10, 3)];
    expected.extend((-4..=5).map(|d| (d, (d + 8) as usize)));
    expected.extend([(11, 14), (30, 15)]);
    assert_eq!(changes(LOG), expected);
    assert_eq!(LOG.reach(), 80);
    // The whole table of the released models, as the FNV-1a hash of its rows from -600 to 600.
    let hash = (-600..=600).fold(0xcbf2_9ce4_8422_2325u64, |hash, distance| {
        (hash ^ WIDE.index(distance) as u64).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(hash, 0xe7ef_4953_1310_2828);
    assert_eq!((WIDE.index(128), WIDE.index(129), WIDE.index(131)), (384, 385, 387));
}

#[test]
fn rows_are_inside_and_constant_from_the_reach_on() {
    let mut rules = vec![T5, PAST, LOG, WIDE, Buckets::Clip { span: 1 }];
    for buckets in [2, 3, 5, 9, 33] {
        rules.push(Buckets::Log { buckets, max_position: buckets + 9 });
        for bidirectional in [false, true] {
            let buckets = buckets + 2;
            rules.push(Buckets::T5 { buckets, max_distance: 40, bidirectional });
        }
    }
    for rule in rules {
        assert_eq!(rule.check(), Ok(()), "{rule}");
        let reach = rule.reach() as i64;
        for distance in -2 * reach - 9..=2 * reach + 9 {
            let row = rule.index(distance);
            assert!(row < rule.rows(), "{rule} {distance}: {row}");
            assert_eq!(row, rule.index(distance.clamp(-reach, reach)), "{rule} {distance}");
        }
        let nearer = |sign: i64| rule.index(sign * (reach - 1)) != rule.index(sign * reach);
        assert!(nearer(1) || nearer(-1), "{rule}: {reach} is the least");
        assert_eq!(rule.to_string().parse::<Buckets>(), Ok(rule));
    }
}

#[test]
fn numbers_without_meaning_are_refused() {
    let texts = [
        ("clip(0)", "a span from 1"),
        ("clip(2000000)", "no number above"),
        ("log(1, 9)", "buckets from 2"),
        ("log(8, 5)", "at least 6, found 5"),
        ("t5(3, 128, both)", "buckets from 4"),
        ("t5(32, 8, both)", "above 8, found 8"),
        ("t5(32, 128, left)", "expected both or past"),
        ("linear(3)", "expected one of clip, log, t5"),
    ];
    for (text, reason) in texts {
        let error = text.parse::<Buckets>().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    // Nothing panics before a rule is checked.
    for n in [0, 1, 2, MAX_PARAMETER, u32::MAX] {
        for rule in [
            Buckets::Clip { span: n },
            Buckets::Log { buckets: n, max_position: 0 },
            Buckets::T5 { buckets: n, max_distance: 0, bidirectional: true },
        ] {
            for distance in [i64::MIN, -1, 0, 1, i64::MAX] {
                let _ = rule.index(distance);
            }
            let _ = rule.reach();
        }
    }
}
