//! An attention, whole or written out, and all that leads to its scores.

use bytec_ir::attention::Band;
use bytec_ir::buckets::Buckets;
use bytec_ir::dim::Dim;

use super::distances::{self, Rows, Table};
use super::mask;
use super::scores::{Lookup, Terms, scaled, softmax_of};
use super::sizes::Program;
use crate::dims::{product, squeezed};
use crate::op::Op;
use crate::program::ValueId;

/// Queries, keys or values, or a table of positions: a value and the views of it that lead to where it is used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) root: ValueId,
    /// Nodes that reshape or permute, the first one first.
    pub(super) views: Vec<ValueId>,
}

/// Tables of positions that queries and keys are multiplied with.
#[derive(Clone, Debug)]
pub(super) struct Disentangled {
    pub(super) buckets: Buckets,
    pub(super) c2p: Option<Operand>,
    pub(super) p2c: Option<Operand>,
}

/// An attention: `[heads, queries, head size]` of what is seen, however the trace lays it out.
#[derive(Debug)]
pub(super) struct Attention {
    /// Queries, keys and values, each `[.., rows, head size]`, but the keys `[.., head size, rows]` if `turned`.
    pub(super) qkv: [Operand; 3],
    pub(super) turned: bool,
    pub(super) heads: usize,
    /// How many heads of queries share one of keys and values, which have `heads / group` of them.
    pub(super) group: usize,
    pub(super) head_size: usize,
    /// Queries and keys.
    pub(super) rows: [Dim; 2],
    pub(super) scale: f64,
    pub(super) mask: Band,
    /// One a head, or none.
    pub(super) slopes: Vec<f64>,
    pub(super) table: Option<Table>,
    pub(super) positions: Option<Disentangled>,
}

impl Attention {
    /// The values that it is computed from.
    pub(super) fn operands(&self) -> Vec<ValueId> {
        let mut found: Vec<_> = self.qkv.iter().map(|operand| operand.root).collect();
        found.extend(self.table.as_ref().map(|table| table.source));
        let tables = self.positions.iter().flat_map(|p| [&p.c2p, &p.p2c]);
        found.extend(tables.flatten().map(|operand| operand.root));
        found
    }
}

/// The attention that a value is the result of, if it is one.
///
/// # Errors
/// What its scores hold that attention has no place for.
pub(super) fn recognise(
    program: &Program<'_>,
    value: ValueId,
) -> Result<Option<Attention>, String> {
    let node = program.node(value);
    if let (Op::Attention { scale, causal }, &[q, k, v, ref mask @ ..]) =
        (&node.op, &node.operands[..])
    {
        let mut frame = program.shape(value).to_vec();
        let keys = program.shape(k).iter().rev().nth(1).ok_or("the keys have no rows")?;
        *frame.last_mut().ok_or("it has no axes")? = keys.clone();
        let mut terms = Terms { content: Some((q, k, *scale)), ..Terms::default() };
        if let Some(&mask) = mask.first() {
            terms.take(program, mask, &frame, 1.0)?;
        }
        return whole(program, &terms, &frame, v, (false, *causal)).map(Some);
    }
    let (Op::MatMul, &[weights, v]) = (&node.op, &node.operands[..]) else { return Ok(None) };
    let Some(scores) = softmaxed(program, weights) else { return Ok(None) };
    let frame = program.shape(scores);
    let mut terms = Terms::default();
    terms.take(program, scores, frame, 1.0)?;
    whole(program, &terms, frame, v, (true, false)).map(Some)
}

/// The scores whose softmax a value is, seen through reshapes that move nothing.
fn softmaxed(program: &Program<'_>, mut value: ValueId) -> Option<ValueId> {
    loop {
        if let Some(scores) = softmax_of(program, value) {
            return Some(scores);
        }
        let node = program.node(value);
        match (&node.op, &node.operands[..]) {
            (Op::Reshape, &[x]) if squeezed(program.shape(x)) == squeezed(&node.ty.shape) => {
                value = x;
            }
            (Op::Reshape, &[x]) if folds(program.shape(x), &node.ty.shape) => value = x,
            (Op::Cast | Op::Expand, &[x]) if program.shape(x) == node.ty.shape => value = x,
            _ => return None,
        }
    }
}

/// A reshape that leaves the last two axes as they are.
fn folds(from: &[Dim], to: &[Dim]) -> bool {
    let last = |shape: &[Dim]| shape.len().checked_sub(2).map(|at| shape[at..].to_vec());
    last(from).is_some() && last(from) == last(to)
}

fn whole(
    program: &Program<'_>,
    terms: &Terms,
    frame: &[Dim],
    v: ValueId,
    (mut turned, causal): (bool, bool),
) -> Result<Attention, String> {
    let [leading @ .., queries, keys] = frame else {
        return Err(format!("expected scores of at least two axes, found {}", program.node(v).ty));
    };
    let heads = product(leading).and_then(|heads| heads.as_fixed());
    let heads = heads.ok_or("the number of heads depends on the sizes")?;
    let head_size = program.shape(v).last().and_then(Dim::as_fixed);
    let head_size = head_size.ok_or("the head size depends on the sizes")?;
    let (q, k, factor) = terms.content.ok_or("its scores are no product of queries and keys")?;
    let (q, q_factor) = operand(program, q);
    let (mut k, mut v, mut group) = (k, v, 1);
    if let (Some((own_k, of_k)), Some((own_v, of_v))) =
        (shared(program, k, turned), shared(program, v, false))
        && of_k == of_v
        && heads.is_multiple_of(of_k)
    {
        (k, v, group, turned) = (own_k, own_v, of_k, false);
    }
    let (k, k_factor) = operand(program, k);
    let scale = factor * q_factor * k_factor;
    let v = Operand { root: v, views: Vec::new() };
    if !scale.is_finite() {
        return Err(format!("its scale is {scale}"));
    }
    let seen = mask::recognise(program, frame, &terms.seen, &terms.added, causal)?;
    let table = match &terms.tables[..] {
        [] => None,
        [part] => Some(distances::table(program, part, heads)?),
        [_, second, ..] => {
            return Err(format!(
                "two tables are added to its scores, the second of them {}",
                program.node(second.value).place()
            ));
        }
    };
    let positions = disentangled(program, terms, [&q, &k], scale)?;
    let biases = [!seen.slopes.is_empty(), table.is_some(), positions.is_some()];
    if biases.iter().filter(|there| **there).count() > 1 {
        return Err("several sorts of biases are added to its scores".to_owned());
    }
    Ok(Attention {
        qkv: [q, k, v],
        turned,
        heads: usize::try_from(heads).map_err(|_| "there are too many heads")?,
        group: usize::try_from(group).map_err(|_| "there are too many heads")?,
        head_size: usize::try_from(head_size).map_err(|_| "the heads are too wide")?,
        rows: [queries.clone(), keys.clone()],
        scale,
        mask: seen.mask,
        slopes: seen.slopes,
        table,
        positions,
    })
}

/// The heads of keys or values before each is repeated for the queries' heads that share it, `[.., heads, 1, rows, size]`,
/// and how often it is. If `turned`, the value has the last two axes the other way round.
///
/// Written `[.., heads, rows, size] -> [.., heads, 1, rows, size] -> [.., heads, n, rows, size] -> [.., heads * n, rows, size]`.
fn shared(program: &Program<'_>, mut value: ValueId, mut turned: bool) -> Option<(ValueId, u64)> {
    loop {
        let node = program.node(value);
        match (&node.op, &node.operands[..]) {
            (Op::Cast, &[x]) if program.node(x).ty.kind == node.ty.kind => value = x,
            (Op::Permute { perm }, &[x]) if turned => {
                let rank = perm.len();
                let mut last: Vec<_> = (0..rank).collect();
                last.swap(rank.checked_sub(2)?, rank - 1);
                if *perm != last {
                    return None;
                }
                (value, turned) = (x, false);
            }
            // Axes of 1 come and go, and leading axes may be folded into the heads.
            (Op::Reshape, &[x]) if !matches!(program.node(x).op, Op::Expand) => {
                let (from, to) = (squeezed(program.shape(x)), squeezed(&node.ty.shape));
                if from != to {
                    return None;
                }
                value = x;
            }
            (Op::Reshape, &[expanded]) if !turned => {
                let &[own] = &program.node(expanded).operands[..] else { return None };
                let [lead @ .., heads, times, rows, size] = program.shape(expanded) else {
                    return None;
                };
                let before = program.shape(own);
                let joined = heads.checked_mul(times)?;
                let whole = [lead, &[joined, rows.clone(), size.clone()]].concat();
                let apart = [lead, &[heads.clone(), Dim::fixed(1), rows.clone(), size.clone()]];
                let fits = squeezed(&node.ty.shape) == squeezed(&whole) && before == apart.concat();
                let times = times.as_fixed().filter(|&times| times > 1)?;
                return fits.then_some((own, times));
            }
            _ => return None,
        }
    }
}

/// A value before factors that are numbers, which are taken out through views.
fn operand(program: &Program<'_>, value: ValueId) -> (Operand, f64) {
    let (mut root, mut factor) = (value, 1.0);
    let mut views = Vec::new();
    let (mut at, mut passed) = (value, Vec::new());
    loop {
        let node = program.node(at);
        match (&node.op, &node.operands[..]) {
            (Op::Reshape | Op::Permute { .. }, &[x]) => {
                passed.push(at);
                at = x;
            }
            (Op::Cast, &[x]) if program.node(x).ty.kind == node.ty.kind => at = x,
            (Op::Binary(f), &[a, b]) => {
                let Some((x, number)) = scaled(program, *f, a, b) else { break };
                if program.shape(x) != node.ty.shape {
                    break;
                }
                factor *= number;
                at = x;
                (root, views) = (at, passed.clone());
            }
            _ => break,
        }
    }
    views.reverse();
    (Operand { root, views }, factor)
}

/// The terms that look up products with tables of positions, which the scale multiplies as it does the scores.
fn disentangled(
    program: &Program<'_>,
    terms: &Terms,
    [q, k]: [&Operand; 2],
    scale: f64,
) -> Result<Option<Disentangled>, String> {
    if terms.c2p.is_none() && terms.p2c.is_none() {
        return Ok(None);
    }
    let mut rows = Rows::new();
    let mut count = None;
    let mut side = |lookup: &Option<Lookup>, content: &Operand, by_keys: bool| {
        let Some(lookup) = lookup else { return Ok(None) };
        let (own, own_factor) = operand(program, lookup.rows);
        let (table, table_factor) = operand(program, lookup.table);
        let whose = if by_keys { "keys" } else { "queries" };
        if !same_rows(program, &own, content) {
            return Err(format!(
                "the {whose} that are multiplied with positions, {}, are not those of the scores",
                program.node(lookup.rows).place()
            ));
        }
        let factor = lookup.factor * own_factor * table_factor;
        if (factor - scale).abs() > 1e-5 * scale.abs() {
            return Err(format!(
                "scores are multiplied by {scale}, terms of positions by {factor}"
            ));
        }
        let found = program.shape(lookup.table).last().and_then(Dim::as_fixed);
        let found = found.ok_or("the number of positions depends on the sizes")?;
        if *count.get_or_insert(found) != found {
            return Err("its two tables of positions differ in size".to_owned());
        }
        distances::indices(program, lookup.buckets, by_keys, &mut rows)?;
        Ok(Some(table))
    };
    let c2p = side(&terms.c2p, q, false)?;
    let p2c = side(&terms.p2c, k, true)?;
    let buckets = distances::rule(&rows, count.unwrap_or(0))?;
    Ok(Some(Disentangled { buckets, c2p, p2c }))
}

/// Whether two operands are views of the same value; keys of scores are turned, those of positions are not.
fn same_rows(program: &Program<'_>, a: &Operand, b: &Operand) -> bool {
    let root = |operand: &Operand| {
        let mut at = operand.root;
        while let (Op::Reshape | Op::Permute { .. }, &[x]) =
            (&program.node(at).op, &program.node(at).operands[..])
        {
            at = x;
        }
        at
    };
    root(a) == root(b)
}
