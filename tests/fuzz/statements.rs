//! Edits of a graph as statements: what comes of them is mostly a graph, one that nobody would write.

use std::collections::BTreeMap;

use bytec_ir::sample::Random;
use bytec_ir::{Graph, parse};

/// What is put in the place of an attribute, if it isn't one of another statement.
const ATTRIBUTES: &[&str] = &[
    "0",
    "1",
    "-1",
    "3",
    "9223372036854775807",
    "-9223372036854775808",
    "0.5",
    "-0.0",
    "1e300",
    "1e-300",
    "inf",
    "NaN",
    "[]",
    "[0]",
    "[1]",
    "[1, 0]",
    "[relu]",
    "[1, 0, 2]",
    "L",
    "max",
    "sub",
    "exp",
    "cls",
    "none",
    "causal",
    "band(0, *)",
    "band(18446744073709551615, 1)",
    "alibi([0.5])",
    "alibi([1e300, inf])",
    "relative(clip(2))",
    "half(4, 10000.0)",
    "interleaved(2, 1e-300)",
    "add(x0, x0)",
    "div(x0, sub(x0, x0))",
];

/// What a number may be.
const NUMBERS: &[&str] =
    &["0.0", "-0.0", "1.0", "-1.0", "0.5", "inf", "-inf", "NaN", "1e300", "1e-45"];

/// Sizes, for the limits of symbols and for extents.
const SIZES: &[&str] = &["0", "1", "2", "7", "16", "4096", "4294967296", "18446744073709551615"];

/// One value.
#[derive(Clone, Debug)]
struct Statement {
    /// With its sigil.
    name: String,
    ty: String,
    def: Def,
}

#[derive(Clone, Debug)]
enum Def {
    Input(Option<String>),
    Weight,
    Const(String),
    Op { mnemonic: String, operands: Vec<String>, attributes: Vec<(String, String)> },
}

/// A graph, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Statements {
    symbols: Vec<[String; 3]>,
    values: Vec<Statement>,
    outputs: Vec<String>,
}

impl Statements {
    pub(super) fn of(graph: &Graph) -> Self {
        let named = |id| match graph.weights().contains(&id) {
            true => format!("@{}", graph.name(id)),
            false => format!("%{}", graph.name(id)),
        };
        let weights = graph.weights();
        let inputs = graph.inputs();
        let names: BTreeMap<_, _> = graph.ids().map(|id| (id, named(id))).collect();
        let value = |id| {
            let def = match (graph.op(id), graph.constant(id)) {
                (Some(op), _) => Def::Op {
                    mnemonic: op.kind().to_string(),
                    operands: graph.operands(id).iter().map(|id| names[id].clone()).collect(),
                    attributes: op
                        .attributes()
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                },
                (None, Some(number)) => Def::Const(format!("{number:?}")),
                (None, None) if weights.contains(&id) => Def::Weight,
                (None, None) => {
                    debug_assert!(inputs.contains(&id), "a value is one of the four");
                    Def::Input(None)
                }
            };
            Statement { name: names[&id].clone(), ty: graph.ty(id).to_string(), def }
        };
        let range = |range: &bytec_ir::SymbolRange| {
            [range.symbol.to_string(), range.min.to_string(), range.max.to_string()]
        };
        Self {
            symbols: graph.symbols().iter().map(range).collect(),
            values: graph.topological().into_iter().map(value).collect(),
            outputs: graph.outputs().iter().map(|output| names[&output.value].clone()).collect(),
        }
    }

    /// The graph of some statements in a row: what they read of others is an input or a weight, and what nothing of them
    /// reads is an output.
    pub(super) fn cut(&self, random: &mut Random) -> Self {
        let from = random.below(self.values.len());
        let count = if random.chance(20) { 40 } else { 2 + random.below(12) };
        let kept = &self.values[from..(from + count).min(self.values.len())];
        let mut values: Vec<Statement> = Vec::new();
        for statement in kept {
            let Def::Op { operands, .. } = &statement.def else { continue };
            for operand in operands {
                if values.iter().any(|value| value.name == *operand) {
                    continue;
                }
                let Some(of) = self.values.iter().find(|value| value.name == *operand) else {
                    continue;
                };
                let def = match &of.def {
                    Def::Op { .. } => Def::Input(None),
                    def => def.clone(),
                };
                values.push(Statement { def, ..of.clone() });
            }
            values.push(statement.clone());
        }
        let outputs = values.iter().filter(|value| matches!(value.def, Def::Op { .. }));
        let outputs = outputs.map(|value| value.name.clone()).collect();
        let mut cut = Self { symbols: self.symbols.clone(), values, outputs };
        let read: Vec<String> = cut.operands().cloned().collect();
        cut.outputs.retain(|name| !read.contains(name));
        let uses = |symbol: &[String; 3]| cut.values.iter().any(|v| v.ty.contains(&symbol[0]));
        cut.symbols.retain(uses);
        cut
    }

    fn operands(&self) -> impl Iterator<Item = &String> {
        self.values.iter().flat_map(|value| match &value.def {
            Def::Op { operands, .. } => operands.as_slice(),
            _ => &[],
        })
    }

    /// One edit, and the types that follow from it as far as there are any.
    pub(super) fn edit(&mut self, random: &mut Random) {
        if self.values.is_empty() {
            return;
        }
        let at = random.below(self.values.len());
        let earlier: Vec<(String, String)> =
            self.values[..at].iter().map(|v| (v.name.clone(), v.ty.clone())).collect();
        let attributes: Vec<(String, String)> = self
            .values
            .iter()
            .filter_map(|value| match &value.def {
                Def::Op { attributes, .. } => Some(attributes.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        let count = self.values.len();
        let value = &mut self.values[at];
        match (random.below(8), &mut value.def) {
            (0, _) => {
                if let Some([_, min, max]) = self.symbols.first_mut() {
                    let limit = if random.chance(50) { min } else { max };
                    *limit = random.pick(SIZES).to_owned();
                }
            }
            (1, _) => self.resize(random),
            (2, _) => {
                let mut copy = value.clone();
                copy.name = format!("{}.{count}", copy.name);
                if copy.name.starts_with('%') && random.chance(70) {
                    self.outputs.push(copy.name.clone());
                }
                self.values.insert(at + 1, copy);
            }
            (_, Def::Input(default)) => {
                *default = Some(random.pick(&["0", "-1", "40", "9223372036854775807"]).to_owned());
            }
            (_, Def::Weight) => self.outputs.push(value.name.clone()),
            (_, Def::Const(number)) => *number = random.pick(NUMBERS).to_owned(),
            (3 | 4, Def::Op { operands, .. }) if !operands.is_empty() && !earlier.is_empty() => {
                let place = random.below(operands.len());
                let ty = earlier.iter().find(|(name, _)| *name == operands[place]);
                let ty = ty.map(|(_, ty)| ty.as_str());
                let alike: Vec<_> = earlier.iter().filter(|(_, of)| ty == Some(of)).collect();
                operands[place] = match random.chance(80) && !alike.is_empty() {
                    true => alike[random.below(alike.len())].0.clone(),
                    false => earlier[random.below(earlier.len())].0.clone(),
                };
            }
            (5, Def::Op { .. }) => self.outputs.push(value.name.clone()),
            (_, Def::Op { attributes: own, .. }) if !own.is_empty() => {
                let place = random.below(own.len());
                let alike: Vec<_> =
                    attributes.iter().filter(|(name, _)| *name == own[place].0).collect();
                own[place].1 = match random.chance(40) && !alike.is_empty() {
                    true => alike[random.below(alike.len())].1.clone(),
                    false => random.pick(ATTRIBUTES).to_owned(),
                };
            }
            (_, Def::Op { operands, .. }) => operands.reverse(),
        }
    }

    /// One extent another one, wherever it stands.
    fn resize(&mut self, random: &mut Random) {
        let at = random.below(self.values.len());
        let numbers: Vec<&str> = self.values[at]
            .ty
            .split(|c: char| !c.is_ascii_digit())
            .filter(|number| number.parse().is_ok_and(|n: u64| n != 32 && n != 64))
            .collect();
        let Some(&old) = numbers.first() else { return };
        let old = old.to_owned();
        let new = match random.below(4) {
            0 => self.symbols.first().map_or("1", |symbol| symbol[0].as_str()).to_owned(),
            1 => random.pick(SIZES).to_owned(),
            _ => (1 + random.below(9)).to_string(),
        };
        let replaced = |text: &str| {
            let mut out = String::new();
            let mut number = String::new();
            for c in text.chars().chain(['\n']) {
                if c.is_ascii_digit() {
                    number.push(c);
                    continue;
                }
                // What is behind a letter or a point is part of a name or a number with a fraction.
                let whole = !out.ends_with(|c: char| c.is_alphanumeric() || c == '.') && c != '.';
                out.push_str(if whole && number == old { &new } else { &number });
                number.clear();
                out.push(c);
            }
            out.pop();
            out
        };
        for value in &mut self.values {
            value.ty = replaced(&value.ty);
            if let Def::Op { attributes, .. } = &mut value.def {
                attributes.iter_mut().for_each(|(_, value)| *value = replaced(value));
            }
        }
    }

    /// The text, with the types that ops give: an edit of one statement changes those that follow.
    pub(super) fn text(&mut self) -> String {
        for _ in 0..self.values.len().min(8) {
            let text = self.written();
            let Err(error) = parse(&text) else { return text };
            let given = error
                .message
                .split_once(" gives ")
                .and_then(|(_, rest)| rest.split_once(", but the type"));
            let Some((ty, _)) = given else { return text };
            let first = 1 + self.symbols.len() + 1;
            let Some(value) = self.values.get_mut(error.line.wrapping_sub(first)) else {
                return text;
            };
            value.ty = ty.to_owned();
        }
        self.written()
    }

    fn written(&self) -> String {
        let mut text = "bytec 1\n".to_owned();
        for [name, min, max] in &self.symbols {
            text += &format!("symbol {name} in {min}..={max}\n");
        }
        for Statement { name, ty, def } in &self.values {
            text += &match def {
                Def::Input(None) => format!("input {name}: {ty}\n"),
                Def::Input(Some(default)) => format!("input {name}: {ty} = {default}\n"),
                Def::Weight => format!("weight {name}: {ty}\n"),
                Def::Const(number) => format!("const {name} = {number}\n"),
                Def::Op { mnemonic, operands, attributes } => {
                    let attributes: Vec<_> = attributes
                        .iter()
                        .map(|(name, value)| format!("{name} = {value}"))
                        .collect();
                    let (operands, attributes) = (operands.join(", "), attributes.join(", "));
                    format!("{name}: {ty} = {mnemonic}({operands}) {{{attributes}}}\n")
                }
            };
        }
        for (i, name) in self.outputs.iter().enumerate() {
            text += &format!("output out.{i} = {name}\n");
        }
        text
    }
}
