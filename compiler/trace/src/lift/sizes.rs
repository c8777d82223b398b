//! Values that the sizes alone decide, evaluated on the host at many sizes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytec_ir::dim::{Bindings, Dim};
use bytec_ir::eval::{Data, Tensor};

use super::{LiftOptions, sampled};
use crate::eval::Run;
use crate::op::Op;
use crate::origin::{Origin, origins};
use crate::program::{Node, Trace, ValueId};

/// The most elements of a table that is looked at: 4096 rows by 4096 columns.
const MOST: u64 = 1 << 24;

/// The most elements of a table of which all are looked at where some can be: 256 rows by 256 columns.
const FEW: u64 = 1 << 16;

/// One size that values are looked at.
pub(crate) struct Look {
    /// What the symbols are worth. Where only some positions are looked at, as many as there are of them.
    pub(crate) bindings: Bindings,
    /// The positions that are looked at; none if all are.
    pub(crate) places: Vec<usize>,
}

impl Look {
    /// Which position each index of an axis stands for.
    pub(crate) fn places(&self, extent: usize) -> Vec<usize> {
        match extent == self.places.len() {
            true => self.places.clone(),
            false => (0..extent).collect(),
        }
    }
}

/// The program of one sample, and what is known of its values.
pub(crate) struct Program<'t> {
    pub(crate) trace: &'t Trace,
    pub(crate) nodes: Vec<&'t Node>,
    pub(crate) ids: Vec<ValueId>,
    origins: Vec<Origin>,
    known: Vec<bool>,
    options: &'t LiftOptions,
    sizes: Vec<Bindings>,
    uniform: RefCell<BTreeMap<ValueId, Option<f64>>>,
}

impl<'t> Program<'t> {
    /// Looks at a trace without a batch.
    pub(crate) fn new(trace: &'t Trace, options: &'t LiftOptions) -> Self {
        let (ids, nodes) = trace.nodes().unzip();
        let (origins, sizes) = (origins(trace), sizes(trace));
        let known = known(trace, options);
        Self { trace, nodes, ids, origins, known, options, sizes, uniform: RefCell::default() }
    }

    pub(crate) fn node(&self, value: ValueId) -> &'t Node {
        self.trace.node(value)
    }

    pub(crate) fn shape(&self, value: ValueId) -> &'t [Dim] {
        &self.node(value).ty.shape
    }

    pub(crate) fn origin(&self, value: ValueId) -> Origin {
        self.origins[value.index()]
    }

    pub(crate) fn is_sizes_only(&self, value: ValueId) -> bool {
        self.origin(value).is_sizes_only()
    }

    /// Whether the sizes and known tensors of the checkpoint decide a value.
    pub(crate) fn is_known(&self, value: ValueId) -> bool {
        self.known[value.index()]
    }

    /// Whether the graph may have weights that no checkpoint holds.
    pub(crate) fn takes_tables(&self) -> bool {
        self.options.tables
    }

    /// The most that a symbol is worth.
    pub(crate) fn largest(&self) -> Bindings {
        let ranges = self.trace.symbols.iter();
        ranges.map(|range| (range.symbol.clone(), range.max.max(range.min))).collect()
    }

    /// A value at one size, with `given` for some.
    pub(crate) fn at(
        &self,
        bindings: &Bindings,
        value: ValueId,
        given: BTreeMap<ValueId, Tensor>,
    ) -> Result<Tensor, String> {
        let inputs = BTreeMap::new();
        let weights = &self.options.known;
        let run = Run { trace: self.trace, bindings, inputs: &inputs, weights };
        let mut found = run.values(&[value], given).map_err(|error| error.to_string())?;
        found.pop().ok_or_else(|| "it has no value".to_owned())
    }

    /// The values wanted at every size that is looked at, with `given` for some of them.
    pub(crate) fn at_sizes(
        &self,
        wanted: &[ValueId],
        given: impl Fn(&Bindings) -> Result<BTreeMap<ValueId, Tensor>, String>,
        mut look: impl FnMut(&Look, &[Tensor]) -> Result<(), String>,
    ) -> Result<(), String> {
        let (inputs, weights) = (BTreeMap::new(), &self.options.known);
        for bindings in &self.sizes {
            let count = wanted.iter().map(|&value| self.count(value, bindings));
            let count = count.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
            let sampled = match count > FEW {
                true => sampled::sample(self, wanted, &given(bindings)?, bindings),
                false => None,
            };
            let (look_at, aranges) = match sampled {
                Some(sample) => sample,
                None if count <= MOST => {
                    (Look { bindings: bindings.clone(), places: Vec::new() }, BTreeMap::new())
                }
                None => return Err(self.too_large(wanted, count)),
            };
            let mut known = given(&look_at.bindings)?;
            known.extend(aranges);
            let bindings = &look_at.bindings;
            let run = Run { trace: self.trace, bindings, inputs: &inputs, weights };
            let found = run.values(wanted, known).map_err(|error| error.to_string())?;
            look(&look_at, &found)?;
        }
        Ok(())
    }

    pub(crate) fn count(&self, value: ValueId, bindings: &Bindings) -> Result<u64, String> {
        let sizes = self.shape(value).iter().map(|dim| dim.eval(bindings));
        let sizes = sizes.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(sizes.into_iter().fold(1u64, u64::saturating_mul))
    }

    fn too_large(&self, wanted: &[ValueId], count: u64) -> String {
        let types: Vec<_> = wanted.iter().map(|&v| self.node(v).ty.to_string()).collect();
        format!(
            "one of {} has {count} elements at the largest size, of which at most {MOST} are looked at; trace the model with a lower limit",
            types.join(", ")
        )
    }

    /// Runs `value` for sizes that are looked at; no sizes-only value is refused for want of inputs.
    pub(crate) fn look(
        &self,
        value: ValueId,
        mut look: impl FnMut(&Tensor) -> bool,
    ) -> Result<bool, String> {
        let mut all = true;
        self.at_sizes(
            &[value],
            |_| Ok(BTreeMap::new()),
            |_, found| {
                all &= all && look(&found[0]);
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// The number that all elements of a value are, whatever the sizes.
    pub(crate) fn uniform(&self, value: ValueId) -> Option<f64> {
        if !self.is_sizes_only(value) {
            return None;
        }
        if let Some(known) = self.uniform.borrow().get(&value) {
            return *known;
        }
        let mut number = None;
        let same = self.look(value, |tensor| match &tensor.data {
            Data::Float(x) => x.iter().all(|x| number.get_or_insert(*x) == x),
            Data::Int(x) => x.iter().all(|&x| *number.get_or_insert(x as f64) == x as f64),
        });
        let found = if same == Ok(true) { number } else { None };
        self.uniform.borrow_mut().insert(value, found);
        found
    }

    /// The first of the consecutive integers that a value without inputs holds, along one axis.
    pub(crate) fn iota(&self, value: ValueId) -> Option<i64> {
        let mut start = None;
        let counts = self.look(value, |tensor| {
            let Some(x) = tensor.as_ints() else { return false };
            let along = tensor.shape.iter().filter(|&&extent| extent != 1).count() <= 1;
            let first = x.first().copied().unwrap_or(0);
            let start = *start.get_or_insert(first);
            along && x.iter().enumerate().all(|(i, &x)| start.checked_add(i as i64) == Some(x))
        });
        if counts == Ok(true) { start } else { None }
    }
}

/// Which values the sizes and known tensors of the checkpoint decide.
fn known(trace: &Trace, options: &LiftOptions) -> Vec<bool> {
    let mut found: Vec<bool> = Vec::new();
    for (_, node) in trace.nodes() {
        let own = match &node.op {
            Op::Input { .. } => false,
            Op::Weight { name } => options.known.contains_key(name),
            _ => node.operands.iter().all(|operand| found[operand.index()]),
        };
        found.push(own);
    }
    found
}

/// The sizes that values are looked at: small ones one by one, some in between, and the largest.
fn sizes(trace: &Trace) -> Vec<Bindings> {
    const CHOSEN: [u64; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 31, 64, 65];
    let clamped = |n: u64| {
        let range = trace.symbols.iter();
        range.map(|r| (r.symbol.clone(), n.clamp(r.min, r.max.max(r.min)))).collect::<Bindings>()
    };
    let mut found: Vec<Bindings> = CHOSEN.iter().map(|&n| clamped(n)).collect();
    // Sizes that differ from one another, where there are several.
    for own in 0..trace.symbols.len().min(4) {
        for n in [1, 2, 5] {
            let mut bindings = clamped(3);
            let range = &trace.symbols[own];
            bindings.insert(range.symbol.clone(), n.clamp(range.min, range.max.max(range.min)));
            found.push(bindings);
        }
    }
    found.push(clamped(u64::MAX));
    let mut unique: Vec<Bindings> = Vec::new();
    for bindings in found {
        if !unique.contains(&bindings) {
            unique.push(bindings);
        }
    }
    unique
}
