//! Which single value another is made of, and by what ops.

use std::collections::BTreeSet;

use super::sizes::Program;
use crate::op::Op;
use crate::program::ValueId;

/// The most nodes that are looked through.
const MOST: usize = 256;

/// The values, nearest first, that `value` is made of alone, besides what is `settled`, through ops that `through` lets
/// pass.
pub(super) fn sources(
    program: &Program<'_>,
    value: ValueId,
    settled: impl Fn(ValueId) -> bool,
    through: impl Fn(&Op) -> bool,
) -> Vec<ValueId> {
    let mut found = Vec::new();
    // The latest value is looked through first, so that all that is made of an earlier one is seen before it.
    let mut left = BTreeSet::from([value]);
    for _ in 0..MOST {
        let Some(&latest) = left.last() else { break };
        let node = program.node(latest);
        if !through(&node.op) || node.operands.is_empty() {
            break;
        }
        left.remove(&latest);
        left.extend(node.operands.iter().filter(|operand| !settled(**operand)));
        if left.len() == 1 {
            found.extend(left.last());
        }
    }
    found
}
