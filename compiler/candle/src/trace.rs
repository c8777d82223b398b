//! A candle model as a trace: run at a few sizes, solved for all of them, and held against candle at others.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use bytec_ir::dim::{Bindings, Symbol};
use bytec_ir::types::SymbolRange;
use bytec_trace::{Trace, erase_batch};
use candle_core::{DType, Device, Tensor, TensorId, record};
use candle_nn::VarBuilder;

use crate::check;
use crate::error::Error;
use crate::leaf::read;
use crate::lower::lower;
use crate::options::{self, BATCH, Options};
use crate::program::{Program, parting, place, sizes};
use crate::recording::{Reader, Recording};
use crate::weights::{Names, Source};

/// A traced model.
#[derive(Clone, Debug)]
pub struct Traced {
    /// What it does.
    pub trace: Trace,
    /// The weights that it asked for, by name.
    pub weights: BTreeMap<String, Tensor>,
}

/// Traces a model.
///
/// `build` makes the model from a `VarBuilder` and gives back its forward: a function of the inputs, in the order of
/// [`Options::inputs`], to the outputs, in the order of [`Options::outputs`]. `weights` is what the `VarBuilder` reads:
/// any of candle's loaders. A weight is known by the path that the model asks for it by. Floats are f32.
///
/// The model is run at several sizes. What comes out holds for all sizes within the limits: it is run in f64 at sizes and
/// on values that it was not made from, and must agree with candle there; no op may mix the samples of a batch; and if an
/// input is a mask, rows padded with it must agree with the rows alone.
///
/// # Errors
/// Everything that [`Error`] lists.
pub fn trace<F>(
    build: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<F>,
    weights: Source,
    options: &Options,
) -> Result<Traced, Error>
where
    F: FnMut(&[Tensor]) -> candle_core::Result<Vec<Tensor>>,
{
    options.check()?;
    let names = Names::default();
    let vars = VarBuilder::from_backend(names.backend(weights), DType::F32, Device::Cpu);
    record::start(usize::MAX);
    let built = build(vars);
    let events = record::stop().events;
    let forward = built.map_err(Error::candle("build the model"))?;
    let mut model = Model { forward, options, names };
    model.refuse(&events, &[])?;

    let points = points(&options.symbols);
    let mut runs = Vec::new();
    for at in &points {
        runs.push((at.clone(), model.record(at, 1)?));
    }
    let again = model.record(&points[0], 2)?;
    same_but_for_values(&runs[0].1, &again)?;
    drop(again);

    let first = runs[0].1.clone();
    let made: Vec<_> = runs.iter().map(|(_, run)| run.made.clone()).collect();
    let symbols: Vec<Symbol> = options.symbols.iter().map(|range| range.symbol.clone()).collect();
    let program = Program::new(runs, &symbols)?;
    let at_most = largest(&options.symbols);
    let at_largest: OnceCell<Largest> = OnceCell::new();
    let found = lower(&program, options, &mut |leaf| {
        if at_largest.get().is_none() {
            // Another thread can't have been quicker: the cell belongs to this call.
            let _ = at_largest.set(model.largest(&at_most, &first, &points[0])?);
        }
        let at = place(leaf, &first.steps[leaf]);
        let found = at_largest.get().map(|run| run.leaf(leaf, &program, &made));
        found.flatten().ok_or_else(|| Error::TooLarge { at, sizes: sizes(&at_most), most: MOST })
    })?;
    check::replay(&mut model, &found, &unseen(&options.symbols))?;
    erase_batch(&found)?;
    check::padding(&mut model, &program)?;
    let weights = model.names.all().into_iter().map(|(_, name, tensor)| (name, tensor)).collect();
    Ok(Traced { trace: found, weights })
}

/// For every output of a model the largest difference of a trace in f64 from candle in f32, at these sizes and on values of
/// this seed, as a part of the output's largest number.
///
/// # Errors
/// If one of the two can't be run.
pub fn compare<F>(
    build: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<F>,
    weights: Source,
    options: &Options,
    trace: &Trace,
    at: &Bindings,
    seed: u64,
) -> Result<Vec<f64>, Error>
where
    F: FnMut(&[Tensor]) -> candle_core::Result<Vec<Tensor>>,
{
    let names = Names::default();
    let vars = VarBuilder::from_backend(names.backend(weights), DType::F32, Device::Cpu);
    let forward = build(vars).map_err(Error::candle("build the model"))?;
    check::differences(&mut Model { forward, options, names }, trace, at, seed)
}

/// The most elements of a matrix product that is computed at the largest sizes. What is looked for there, tables that the
/// model makes itself, is made before its first product of that size or not much later.
const MOST: usize = 1 << 27;

/// A run at the largest sizes.
enum Largest {
    Whole(Recording),
    /// What the model made itself up to a product that is too large.
    Begin(Vec<Tensor>),
}

impl Largest {
    /// A leaf of the program; `made` has what the model made in each of the runs that the program is of. What is made
    /// in the same place in all of them is made there at all sizes.
    fn leaf(&self, leaf: usize, program: &Program, made: &[Vec<TensorId>]) -> Option<Tensor> {
        match self {
            Self::Whole(run) => run.steps[leaf].leaf.clone(),
            Self::Begin(tensors) => {
                let own = program.steps[leaf].leaves.iter().map(Tensor::id);
                let place = |(made, id): (&Vec<_>, _)| made.iter().position(|&other| other == id);
                let mut places = made.iter().zip(own).map(place);
                let first = places.next()??;
                let same = places.all(|place| place == Some(first));
                tensors.get(first).filter(|_| same).cloned()
            }
        }
    }
}

/// A model that can be run.
pub(crate) struct Model<'a, F> {
    forward: F,
    pub(crate) options: &'a Options,
    pub(crate) names: Names,
}

impl<F> Model<'_, F>
where
    F: FnMut(&[Tensor]) -> candle_core::Result<Vec<Tensor>>,
{
    /// The outputs on these inputs.
    pub(crate) fn run(&mut self, inputs: &[Tensor], at: &Bindings) -> Result<Vec<Tensor>, Error> {
        let outputs = (self.forward)(inputs)
            .map_err(Error::candle(format!("run the model at {}", sizes(at))))?;
        let (expected, found) = (self.options.outputs.len(), outputs.len());
        if expected != found {
            return Err(Error::Options(format!(
                "{expected} outputs are named, the model returns {found}"
            )));
        }
        Ok(outputs)
    }

    fn record(&mut self, at: &Bindings, seed: u64) -> Result<Recording, Error> {
        let inputs = options::inputs(self.options, at, seed)?;
        record::start(usize::MAX);
        let outputs = self.run(&inputs, at);
        let record = record::stop();
        let outputs = outputs?;
        self.refuse(&record.events, &inputs)?;
        let made = record.made.iter().map(Tensor::id).collect();
        Ok(Recording { made, ..Reader::new(&inputs, &self.weights()).outputs(&outputs) })
    }

    /// Runs the model at the largest sizes, as far as no product is too large.
    ///
    /// # Errors
    /// If it goes another way there than it did first.
    fn largest(
        &mut self,
        at: &Bindings,
        first: &Recording,
        first_at: &Bindings,
    ) -> Result<Largest, Error> {
        let inputs = options::inputs(self.options, at, 3)?;
        record::start(MOST);
        let outputs = self.run(&inputs, at);
        let record = record::stop();
        self.refuse(&record.events, &inputs)?;
        let outputs = match (outputs, record.too_large) {
            (Ok(outputs), _) => outputs,
            (Err(_), Some(_)) => return Ok(Largest::Begin(record.made)),
            (Err(error), None) => return Err(error),
        };
        let run = Reader::new(&inputs, &self.weights()).outputs(&outputs);
        if let Some((i, what)) = parting(first, &run) {
            let (first_at, second) = (sizes(first_at), sizes(at));
            return Err(Error::Sizes {
                at: place(i, &first.steps[i]),
                first: first_at,
                second,
                what,
            });
        }
        Ok(Largest::Whole(run))
    }

    fn weights(&self) -> BTreeMap<TensorId, String> {
        self.names.all().into_iter().map(|(id, name, _)| (id, name)).collect()
    }

    /// Refuses writes into tensors, and reads of what depends on an input.
    fn refuse(&self, events: &[record::Event], inputs: &[Tensor]) -> Result<(), Error> {
        let weights = self.weights();
        for event in events {
            let (method, place) = (event.method, event.place.to_string());
            if event.writes {
                return Err(Error::Write { method, place });
            }
            let (input, module) = Reader::new(inputs, &weights).depends(&event.tensor);
            if let Some(input) = input {
                let module = if module.is_empty() { module } else { format!(", near {module},") };
                let input = self.options.inputs[input].name.clone();
                return Err(Error::HostRead { method, place, input, module });
            }
        }
        Ok(())
    }
}

/// Sizes to run at: batches of 2 and 3, and three values of every symbol where its limits leave that many.
fn points(symbols: &[SymbolRange]) -> Vec<Bindings> {
    let mut points: Vec<Bindings> =
        [2, 3].map(|n| Bindings::from([(Symbol::new(BATCH), n)])).to_vec();
    for (k, range) in symbols.iter().enumerate() {
        // Different symbols get different values, so that extents which are equal by chance don't look the same.
        let k = k as u64;
        let wanted = [5 + 6 * k, 7 + 6 * k, 9 + 6 * k];
        let values = if range.min <= wanted[0] && wanted[2] <= range.max {
            wanted.to_vec()
        } else {
            let low = range.min.max(2).min(range.max);
            let mut few =
                vec![low, low + (range.max - low) / 2, range.max.min(low.saturating_add(64))];
            few.sort_unstable();
            few.dedup();
            few
        };
        points = points
            .iter()
            .flat_map(|point| {
                values.iter().map(|&value| {
                    let mut point = point.clone();
                    point.insert(range.symbol.clone(), value);
                    point
                })
            })
            .collect();
    }
    points
}

/// Sizes that no run was made at, as far as the limits leave any.
fn unseen(symbols: &[SymbolRange]) -> Bindings {
    let sizes = symbols
        .iter()
        .enumerate()
        .map(|(k, range)| (range.symbol.clone(), (12 + 5 * k as u64).clamp(range.min, range.max)));
    sizes.chain([(Symbol::new(BATCH), 4)]).collect()
}

fn largest(symbols: &[SymbolRange]) -> Bindings {
    let sizes = symbols.iter().map(|range| (range.symbol.clone(), range.max));
    sizes.chain([(Symbol::new(BATCH), 2)]).collect()
}

/// Refuses a model that does something else for other values of the same sizes.
fn same_but_for_values(a: &Recording, b: &Recording) -> Result<(), Error> {
    let fail = |i: usize, what: String| Err(Error::Values { at: place(i, &a.steps[i]), what });
    if let Some((i, what)) = parting(a, b) {
        return fail(i, what);
    }
    for (i, (x, y)) in a.steps.iter().zip(&b.steps).enumerate() {
        if x.ints != y.ints || x.shape != y.shape {
            return fail(
                i,
                format!("{:?} {:?} against {:?} {:?}", x.shape, x.ints, y.shape, y.ints),
            );
        }
        if x.reals.iter().zip(&y.reals).any(|(p, q)| p.to_bits() != q.to_bits()) {
            return fail(i, format!("{:?} against {:?}", x.reals, y.reals));
        }
        if let (Some(p), Some(q)) = (&x.leaf, &y.leaf)
            && p.id() != q.id()
        {
            let read = |tensor| read(tensor).map_err(Error::candle("read a constant"));
            let (p, q) = (read(p)?, read(q)?);
            if p.values.iter().zip(&q.values).any(|(p, q)| p.to_bits() != q.to_bits()) {
                return fail(i, "a constant has other elements".to_owned());
            }
        }
    }
    Ok(())
}
