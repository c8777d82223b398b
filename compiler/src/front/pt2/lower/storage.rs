//! Which values share memory, for ops that overwrite theirs.

use std::collections::BTreeMap;

use super::super::archive::Archive;
use super::super::schema::{Argument, Node, OptionalTensor, OutputSpec};

/// Groups of values that may share memory, and when each value is read last.
pub(super) struct Storage<'a> {
    /// The group of each value that a node has computed.
    group: BTreeMap<&'a str, usize>,
    groups: Vec<Vec<&'a str>>,
    /// The last node that reads a value; `usize::MAX` if it is a result of the program.
    last_read: BTreeMap<&'a str, usize>,
}

impl<'a> Storage<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        let module = &archive.program.graph_module;
        let mut last_read = BTreeMap::new();
        for (index, node) in module.graph.nodes.iter().enumerate() {
            last_read.extend(reads(node).into_iter().map(|name| (name, index)));
        }
        for spec in &module.signature.output_specs {
            if let OutputSpec::UserOutput { arg: Argument::Tensor(tensor) } = spec {
                last_read.insert(&tensor.name, usize::MAX);
            }
        }
        Self { group: BTreeMap::new(), groups: Vec::new(), last_read }
    }

    /// A new value, in the memory of `of` or in its own.
    pub(super) fn define(&mut self, name: &'a str, of: Option<&'a str>) {
        let group = match of {
            Some(of) => self.group_of(of),
            None => self.new_group(),
        };
        self.groups[group].push(name);
        self.group.insert(name, group);
    }

    /// A value that shares memory with `name`, or `name` itself, that is read by a later node than `index`; an input and
    /// a tensor of the archive belong to others anyway.
    pub(super) fn seen_after(&self, name: &'a str, index: usize) -> Option<&'a str> {
        let Some(&group) = self.group.get(name) else { return Some(name) };
        let read_later =
            |name: &&&str| self.last_read.get(**name).is_some_and(|&last| last > index);
        self.groups[group].iter().find(read_later).copied()
    }

    fn new_group(&mut self) -> usize {
        self.groups.push(Vec::new());
        self.groups.len() - 1
    }

    fn group_of(&mut self, name: &'a str) -> usize {
        if let Some(&group) = self.group.get(name) {
            return group;
        }
        // Memory of the caller or of the archive: whoever overwrites it later finds its owner in the group.
        let group = self.new_group();
        self.groups[group].push(name);
        self.last_read.insert(name, usize::MAX);
        self.group.insert(name, group);
        group
    }
}

fn reads(node: &Node) -> Vec<&str> {
    let mut names = Vec::new();
    for input in &node.inputs {
        match &input.arg {
            Argument::Tensor(tensor) => names.push(tensor.name.as_str()),
            Argument::Tensors(tensors) => {
                names.extend(tensors.iter().map(|tensor| tensor.name.as_str()));
            }
            Argument::OptionalTensor(OptionalTensor::Tensor(tensor)) => {
                names.push(tensor.name.as_str());
            }
            Argument::OptionalTensors(tensors) => {
                names.extend(tensors.iter().filter_map(|tensor| match tensor {
                    OptionalTensor::Tensor(tensor) => Some(tensor.name.as_str()),
                    OptionalTensor::None(_) => None,
                }));
            }
            _ => {}
        }
    }
    names
}
