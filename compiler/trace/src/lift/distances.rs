//! Rows of tables by distance, recognised by their values at many sizes.

use std::collections::BTreeMap;

use bytec_ir::buckets::Buckets;
use bytec_ir::dim::Dim;
use bytec_ir::eval::{Data, Tensor};

use super::mask::spread;
use super::probe::sources;
use super::scores::{HIDDEN, Part};
use super::sizes::Program;
use crate::eval::sizes;
use crate::op::Op;
use crate::program::ValueId;

/// The row of each distance, query index minus key index.
pub(super) type Rows = BTreeMap<i64, i64>;

/// A table whose rows are added to the scores by distance.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The table.
    pub(super) source: ValueId,
    /// Whether it is `[heads, rows]` instead of `[rows, heads]`.
    pub(super) turned: bool,
    /// How many rows.
    pub(super) buckets: Buckets,
    /// What its rows are multiplied with.
    pub(super) factor: f64,
}

/// What lookups into a table go through.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape
            | Op::Permute { .. }
            | Op::Expand
            | Op::Repeat
            | Op::Slice { .. }
            | Op::Select { .. }
            | Op::Cast
            | Op::Where
            | Op::Index
            | Op::IndexSelect { .. }
            | Op::Gather { .. }
    )
}

/// Recognises a part of the scores, `heads` of them, that is rows of one table by distance.
pub(super) fn table(program: &Program<'_>, part: &Part, heads: u64) -> Result<Table, String> {
    let mut reason = "no table that it is looked up in was found".to_owned();
    for source in sources(program, part.value, |v| program.is_sizes_only(v), moves) {
        let extents: Option<Vec<u64>> = program.shape(source).iter().map(Dim::as_fixed).collect();
        let Some(extents) = extents else { continue };
        let count = extents.iter().try_fold(1u64, |count, &extent| count.checked_mul(extent));
        let Some(count) = count else { continue };
        let wide: Vec<_> = extents.iter().copied().filter(|&extent| extent != 1).collect();
        if heads == 0 || !count.is_multiple_of(heads) || wide.len() > 2 || count > 1 << 24 {
            continue;
        }
        let rows = count / heads;
        for turned in [false, true] {
            let fits = match (&wide[..], turned) {
                ([_], _) => rows == 1 || heads == 1,
                ([outer, inner], false) => *outer == rows && *inner == heads,
                ([outer, inner], true) => *outer == heads && *inner == rows,
                _ => false,
            };
            if !fits {
                continue;
            }
            match looked_up(program, part, source, [rows, heads], turned) {
                Ok(found) => {
                    let buckets = rule(&found, rows)?;
                    return Ok(Table { source, turned, buckets, factor: part.factor });
                }
                Err(found) => reason = found,
            }
        }
    }
    Err(format!("{} is added to its scores: {reason}", program.node(part.value).place()))
}

/// Which row every distance takes, found by giving every element of the table a number of its own.
fn looked_up(
    program: &Program<'_>,
    part: &Part,
    source: ValueId,
    [rows, heads]: [u64; 2],
    turned: bool,
) -> Result<Rows, String> {
    let mut found = Rows::new();
    let numbered = |bindings: &_| {
        let shape = sizes(program.shape(source), bindings)?;
        let data = Data::Float((0..rows * heads).map(|i| i as f64).collect());
        Ok(BTreeMap::from([(source, Tensor { shape, data })]))
    };
    program.at_sizes(&[part.value], numbered, |look, tensors| {
        let frame = sizes(&part.frame, &look.bindings)?;
        let [leading @ .., queries, keys] = &frame[..] else {
            return Err("expected scores of at least two axes".to_owned());
        };
        let own: usize = leading.iter().product();
        if own as u64 != heads {
            return Err(format!("expected scores of {heads} heads, found {own}"));
        }
        let numbers = tensors[0].as_floats().ok_or("expected floats")?;
        let (rows_at, keys_at) = (look.places(*queries), look.places(*keys));
        for (at, place) in spread(&tensors[0].shape, &frame)?.into_iter().enumerate() {
            let (head, i, j) = (at / (queries * keys), at / keys % queries, at % keys);
            let number = numbers[place];
            if number <= HIDDEN {
                return Err("a mask is part of it".to_owned());
            }
            let number = number as u64;
            let (row, of) = match turned {
                false => (number / heads, number % heads),
                true => (number % rows, number / rows),
            };
            if of != head as u64 {
                return Err(format!("head {head} looks up what belongs to head {of}"));
            }
            note(&mut found, rows_at[i], keys_at[j], row as i64)?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Query `i` and key `j` take this row, as all of their distance must.
fn note(found: &mut Rows, i: usize, j: usize, row: i64) -> Result<(), String> {
    let distance = i as i64 - j as i64;
    let first = *found.entry(distance).or_insert(row);
    if first == row {
        return Ok(());
    }
    Err(format!(
        "query {i} and key {j} take row {row}, others of the same distance {distance} take row {first}"
    ))
}

/// Which row every distance takes, by indices `[.., query, key]`, or `[.., key, query]` if `by_keys`.
pub(super) fn indices(
    program: &Program<'_>,
    indices: ValueId,
    by_keys: bool,
    found: &mut Rows,
) -> Result<(), String> {
    program.at_sizes(
        &[indices],
        |_| Ok(BTreeMap::new()),
        |look, tensors| {
            let (shape, rows) =
                (&tensors[0].shape, tensors[0].as_ints().ok_or("expected integers")?);
            let [.., queries, keys] = shape[..] else {
                return Err("expected indices of at least two axes".to_owned());
            };
            let (rows_at, keys_at) = (look.places(queries), look.places(keys));
            for (at, &row) in rows.iter().enumerate() {
                let (i, j) = (rows_at[at / keys % queries], keys_at[at % keys]);
                let (i, j) = if by_keys { (j, i) } else { (i, j) };
                note(found, i, j, row)?;
            }
            Ok(())
        },
    )
}

/// The rule of a table of `rows` rows that gives each distance its row.
pub(super) fn rule(found: &Rows, rows: u64) -> Result<Buckets, String> {
    let longest = found.keys().map(|d| d.unsigned_abs()).max().unwrap_or(0) as u32 + 1;
    let rows = u32::try_from(rows).map_err(|_| format!("a table of {rows} rows is too large"))?;
    let holds = |rule: &Buckets| {
        rule.check().is_ok()
            && rule.rows() == rows as usize
            && found.iter().all(|(&distance, &row)| rule.index(distance) as i64 == row)
    };
    // Usual limits first: where samples are short several limits give the same rows.
    let limits = || [128, longest, 512, 256, 64, 1024, 2048, 32, 16].into_iter().chain(2..=4096);
    let half = rows / 2;
    let clip = std::iter::once(Buckets::Clip { span: half });
    let log = limits().map(|max_position| Buckets::Log { buckets: half, max_position });
    let t5 = [true, false].into_iter().flat_map(|bidirectional| {
        limits().map(move |max_distance| Buckets::T5 { buckets: rows, max_distance, bidirectional })
    });
    clip.chain(log).chain(t5).find(holds).ok_or_else(|| {
        let shown: Vec<_> = found
            .iter()
            .filter(|(d, _)| d.unsigned_abs() <= 3 || d.unsigned_abs() + 1 == u64::from(longest))
            .map(|(distance, row)| format!("{distance}: {row}"))
            .collect();
        format!(
            "the rows of its table of {rows} by distance follow none of the rules clip, log and t5: {}",
            shown.join(", ")
        )
    })
}
