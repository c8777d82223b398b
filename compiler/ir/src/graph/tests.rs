//! Order, uses and names of a graph.

use crate::attrs::{BinaryFn, UnaryFn};
use crate::builder::Builder;
use crate::graph::{Graph, NodeId};
use crate::sample;
use crate::types::{DType, TensorType};
use crate::verify::verify;

fn builder() -> (Builder, NodeId) {
    let mut b = Builder::new();
    let rows = b.symbol("L", 1, 9);
    let x = b.input("x", TensorType::new(DType::F32, [rows]), None);
    (b, x)
}

fn names(graph: &Graph, ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(|&id| graph.name(id).to_owned()).collect()
}

#[test]
fn operands_users_and_outputs() {
    let (mut b, x) = builder();
    let y = b.unary("y", UnaryFn::Neg, x).unwrap();
    let twice = b.binary("twice", BinaryFn::Sub, y, y).unwrap();
    let mixed = b.binary("mixed", BinaryFn::Sub, twice, x).unwrap();
    b.output("one", y);
    b.output("two", y);
    let graph = b.finish();
    assert_eq!(graph.operands(mixed), [twice, x]);
    assert_eq!(graph.operands(twice), [y, y]);
    assert_eq!(graph.users(y), [twice, twice]);
    assert_eq!(graph.users(x), [y, mixed]);
    assert_eq!((graph.use_count(y), graph.use_count(mixed)), (4, 0));
    assert!(graph.is_output(y) && !graph.is_output(x));
    assert_eq!((graph.value("y"), graph.value("z"), graph.weight("y")), (Some(y), None, None));
}

#[test]
fn a_value_that_is_not_yet_used_keeps_its_name() {
    let (mut b, x) = builder();
    let first = b.unary("y", UnaryFn::Neg, x).unwrap();
    let second = b.unary("y", UnaryFn::Abs, x).unwrap();
    let graph = b.finish();
    assert_eq!(names(&graph, &[first, second]), ["y", "y.2"]);
}

#[test]
fn weights_and_values_are_named_apart() {
    let (mut b, x) = builder();
    let weight = b.weight("x", [3usize]);
    assert_eq!(b.weight("x", [3usize]), weight);
    b.output("x", x);
    let graph = b.graph().clone();
    assert_eq!((graph.value("x"), graph.weight("x")), (Some(x), Some(weight)));
    verify(&graph).unwrap();
    // One tensor can't have two shapes.
    assert_ne!(b.weight("x", [4usize]), weight);
    let error = verify(&b.finish()).unwrap_err();
    assert_eq!(error.to_string(), "invariant 3 at @x: expected a unique name, found it twice");
}

#[test]
fn topological_order_is_complete_and_smallest_id_first() {
    for seed in 0..100 {
        let graph = sample::graph(seed);
        let order = graph.topological();
        assert_eq!(order.len(), graph.len());
        let mut ready: Vec<NodeId> =
            graph.ids().filter(|&id| graph.operands(id).is_empty()).collect();
        let mut done = Vec::new();
        for id in order {
            assert_eq!(ready.iter().min(), Some(&id));
            ready.retain(|&other| other != id);
            done.push(id);
            for user in graph.users(id) {
                let complete = graph.operands(user).iter().all(|operand| done.contains(operand));
                if complete && !ready.contains(&user) {
                    ready.push(user);
                }
            }
        }
    }
}
