//! What each needed value becomes, decided from the outputs back.

use crate::op::{BinaryOp, Op};
use crate::program::{Kind, ValueId};
use crate::refusal::{Refusal, Refusals};

use super::attention::{self, Attention};
use super::by_id::{self, ById, Kept};
use super::ops;
use super::picked::{self, Picked};
use super::rotary::{self, Rotation};
use super::share::{self, Share};
use super::sizes::Program;
use super::tabled::{self, Tabled};

/// What a value becomes.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nothing: no one needs it.
    Unneeded,
    /// The same number everywhere.
    Number(f64),
    /// Consecutive integers.
    Iota(i64),
    /// Another value, of the same elements.
    Same(ValueId),
    /// An attention.
    Attention(Box<Attention>),
    /// A rotation by positions.
    Rotation(Rotation),
    /// A sum over rows divided by how many there are.
    Share(Share),
    /// A number of each id.
    ById(ById),
    /// Rows of a table, those of some ids replaced by zeros.
    Kept(Kept),
    /// The row at the largest of numbers that the ids decide.
    Picked(Box<Picked>),
    /// A table that the sizes decide.
    Table(Tabled),
    /// Its own op.
    Op,
}

/// The plan of every value.
///
/// # Errors
/// Every needed value that nothing can be made of.
pub(super) fn plans(program: &Program<'_>) -> Result<Vec<Plan>, Refusals> {
    let mut needed = vec![false; program.nodes.len()];
    let mut plans: Vec<Plan> = program.nodes.iter().map(|_| Plan::Unneeded).collect();
    let mut refusals = Vec::new();
    program.trace.outputs.iter().for_each(|(_, value)| needed[value.index()] = true);
    for &value in program.ids.iter().rev() {
        if !needed[value.index()] {
            continue;
        }
        match plan(program, value) {
            Ok(plan) => {
                operands(program, value, &plan).iter().for_each(|v| needed[v.index()] = true);
                plans[value.index()] = plan;
            }
            Err(reason) => refusals.push((value, Refusal::of(program.node(value), reason))),
        }
    }
    refusals.reverse();
    match refusals.is_empty() {
        true => Ok(plans),
        false => Err(Refusals(refusals.into_iter().map(|(_, refusal)| refusal).collect())),
    }
}

fn plan(program: &Program<'_>, value: ValueId) -> Result<Plan, String> {
    let node = program.node(value);
    if program.is_sizes_only(value) {
        return of_sizes(program, value);
    }
    if let Some(same) = identity(program, value) {
        return Ok(Plan::Same(same));
    }
    if let Some(found) = attention::recognise(program, value)? {
        return Ok(Plan::Attention(Box::new(found)));
    }
    if let Some(found) = rotary::recognise(program, value)? {
        return Ok(Plan::Rotation(found));
    }
    if let Some(found) = share::recognise(program, value) {
        return Ok(Plan::Share(found));
    }
    if let Some(found) = by_id::kept(program, value) {
        return Ok(Plan::Kept(found));
    }
    if let Some(found) = picked::recognise(program, value) {
        return Ok(Plan::Picked(Box::new(found)));
    }
    if node.ty.kind == Kind::Float
        && let Some(found) = by_id::recognise(program, value)
    {
        return Ok(Plan::ById(found));
    }
    if tabled::is_due(program, value)
        && let Some(found) = tabled::recognise(program, value)
    {
        return Ok(Plan::Table(found));
    }
    match &node.op {
        Op::Where => {
            let chosen = program.uniform(node.operands[0]);
            let chosen =
                chosen.map(|condition| node.operands[if condition != 0.0 { 1 } else { 2 }]);
            match chosen.filter(|&chosen| same(program, chosen, value)) {
                Some(chosen) => Ok(Plan::Same(chosen)),
                None => Err("expected a condition that the sizes decide and that is the same everywhere, or a mask of attention scores".to_owned()),
            }
        }
        Op::Full => Err("expected a number that does not depend on the sample".to_owned()),
        _ => Ok(Plan::Op),
    }
}

fn of_sizes(program: &Program<'_>, value: ValueId) -> Result<Plan, String> {
    if let Some(number) = program.uniform(value) {
        return Ok(Plan::Number(number));
    }
    if let Some(start) = program.iota(value) {
        return Ok(Plan::Iota(start));
    }
    if let Some(found) = tabled::recognise(program, value) {
        return Ok(Plan::Table(found));
    }
    let mut seen = String::new();
    let looked = program.look(value, |tensor| {
        let first: Vec<_> = match (tensor.as_floats(), tensor.as_ints()) {
            (Some(x), _) => x.iter().take(8).map(ToString::to_string).collect(),
            (_, x) => x.unwrap_or_default().iter().take(8).map(ToString::to_string).collect(),
        };
        seen = format!("{:?} that begins {}", tensor.shape, first.join(", "));
        true
    });
    looked?;
    Err(format!(
        "expected a number, consecutive integers, a mask, a table of distances or rotary factors; found {} {seen}",
        program.node(value).ty.kind
    ))
}

/// The operand that an op gives back as it is.
fn identity(program: &Program<'_>, value: ValueId) -> Option<ValueId> {
    let node = program.node(value);
    let found = match (&node.op, &node.operands[..]) {
        (Op::Cast, &[x]) if program.node(x).ty.kind == node.ty.kind => x,
        (Op::Expand | Op::Repeat | Op::Reshape, &[x]) => x,
        (Op::Slice { step: 1, start, .. }, &[x]) if start.as_fixed() == Some(0) => x,
        (Op::Concat { axis }, xs) => {
            let mut parts = xs.iter().filter(|&&x| !ops::is_empty(program, x, *axis));
            match (parts.next(), parts.next()) {
                (Some(&x), None) => x,
                _ => return None,
            }
        }
        (Op::Binary(f), &[a, b]) if node.ty.kind == Kind::Float => {
            let (of_a, of_b) = (program.uniform(a), program.uniform(b));
            match f {
                BinaryOp::Add if of_b == Some(0.0) => a,
                BinaryOp::Add if of_a == Some(0.0) => b,
                BinaryOp::Sub if of_b == Some(0.0) => a,
                BinaryOp::Mul | BinaryOp::Div | BinaryOp::Pow if of_b == Some(1.0) => a,
                BinaryOp::Mul if of_a == Some(1.0) => b,
                _ => return None,
            }
        }
        _ => return None,
    };
    same(program, found, value).then_some(found)
}

/// Two values of one type.
fn same(program: &Program<'_>, a: ValueId, b: ValueId) -> bool {
    program.node(a).ty == program.node(b).ty
}

/// The values that a plan is carried out with.
fn operands(program: &Program<'_>, value: ValueId, plan: &Plan) -> Vec<ValueId> {
    match plan {
        Plan::Unneeded | Plan::Number(_) | Plan::Iota(_) | Plan::Table(_) => Vec::new(),
        Plan::Same(same) => vec![*same],
        Plan::Attention(attention) => attention.operands(),
        Plan::Rotation(rotation) => vec![rotation.x],
        Plan::Share(share) => vec![share.source()],
        Plan::ById(found) => vec![found.ids],
        Plan::Kept(found) => {
            vec![program.node(by_id::bare(program, found.x)).operands[0], found.by.ids]
        }
        Plan::Picked(found) => vec![found.x, found.by.ids],
        Plan::Op => {
            let operands = program.node(value).operands.iter().copied();
            match program.node(value).op {
                Op::Binary(_) => operands.map(|v| unexpanded(program, v)).collect(),
                Op::Concat { axis } => {
                    operands.filter(|&v| !ops::is_empty(program, v, axis)).collect()
                }
                _ => operands.collect(),
            }
        }
    }
}

/// The value before it is repeated along axes, which arithmetic does itself.
pub(super) fn unexpanded(program: &Program<'_>, mut value: ValueId) -> ValueId {
    while let (Op::Expand, &[operand]) =
        (&program.node(value).op, &program.node(value).operands[..])
        && !program.is_sizes_only(value)
    {
        value = operand;
    }
    value
}
