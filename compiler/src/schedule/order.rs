//! The order of steps: operands before users, otherwise as the source graph has them.

use bytec_ir::{Graph, NodeId};

/// The nodes in the order that they run.
///
/// Depth first from the outputs, operands from first to last: a value is made just before it is first needed, which
/// keeps few values alive at once. It depends on the graph alone.
pub fn order(graph: &Graph) -> Vec<NodeId> {
    let mut done = std::collections::BTreeSet::new();
    let mut order = Vec::with_capacity(graph.len());
    for output in graph.outputs() {
        let mut stack = vec![(output.value, false)];
        while let Some((id, operands_done)) = stack.pop() {
            if operands_done {
                order.push(id);
            } else if done.insert(id) {
                stack.push((id, true));
                stack.extend(graph.operands(id).into_iter().rev().map(|operand| (operand, false)));
            }
        }
    }
    order
}
