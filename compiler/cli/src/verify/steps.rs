//! `--steps`: every step's result on each device, next to the same step's on the first.

use bytec_plan::extent::{Extent, Rows};
use bytec_plan::program::Program;
use bytec_runtime::{PackedBatch, Session, StepOutput};
use serde::Serialize;

use super::bounds::{Against, allowed};
use super::compare::{Errors, Place, first_other_bits};
use super::{On, described};
use crate::args::VerifyArgs;
use crate::batches::{Batching, Item, cut, fill};
use crate::failure::Failure;
use crate::progress::Bar;

/// What `--steps` found.
#[derive(Serialize)]
pub(super) struct Steps<'a> {
    /// The first device, which the others are held against.
    pub(super) against: String,
    /// The first step that is wrong, of the first device that has one.
    pub(super) first_wrong: Option<StepName<'a>>,
    /// For each device its steps, in their order.
    pub(super) devices: Vec<OfDevice<'a>>,
}

/// The steps of one device.
#[derive(Serialize)]
pub(super) struct OfDevice<'a> {
    pub(super) device: String,
    pub(super) program: String,
    pub(super) steps: Vec<StepFinding<'a>>,
    /// Steps of this device that the first device has not, and the other way round.
    pub(super) not_matched: Vec<StepName<'a>>,
}

/// What a device made of one step.
#[derive(Serialize)]
pub(super) struct StepFinding<'a> {
    /// The step's place in its program.
    pub(super) index: usize,
    pub(super) kernel: &'static str,
    /// The name of the value that it gives.
    pub(super) value: &'a str,
    /// The first element that alone and packed differ in; none if they are the same bits.
    pub(super) alone_differs_at: Option<Place<'a>>,
    /// None on the first device, and for what is not matched.
    pub(super) errors: Option<Errors<'a>>,
    /// The largest error allowed, relative to the scale.
    pub(super) tolerance: f64,
    pub(super) passed: bool,
}

/// A step of a device.
#[derive(Clone, Serialize)]
pub(super) struct StepName<'a> {
    pub(super) device: String,
    pub(super) index: usize,
    pub(super) kernel: &'static str,
    pub(super) value: &'a str,
}

impl<'a> OfDevice<'a> {
    fn first_wrong(&self) -> Option<StepName<'a>> {
        let StepFinding { index, kernel, value, .. } =
            *self.steps.iter().find(|step| !step.passed)?;
        Some(StepName { device: self.device.clone(), index, kernel, value })
    }
}

/// What a step gave, for each sample of a batch; nothing if it had no rows.
type Values = Vec<Vec<f32>>;

/// One device on its way through the batches.
struct Running<'a> {
    on: &'a On,
    session: Session,
    batch: PackedBatch,
    /// For each step the first device's step that gives the same value.
    partners: Vec<Option<usize>>,
    alone_differs_at: Vec<Option<Place<'a>>>,
    errors: Vec<Errors<'a>>,
}

/// Runs the samples in batches, and each alone, on all devices, and compares all results of all steps.
///
/// All results of one batch on two devices are kept at a time.
pub(super) fn compare_steps<'a>(
    on: &'a [On],
    args: &VerifyArgs,
    keys: &'a [String],
    items: &[Item],
) -> Result<Steps<'a>, Failure> {
    let max_tokens = args.source.max_batch_tokens;
    let batches = cut(items, Batching { alone: false, max_tokens, bar: true })?;
    let mut bar = Bar::new((on.len() * (batches.len() + items.len())) as u64, true);
    let first = on[0].engine.program();
    let mut running: Vec<Running<'a>> = on.iter().map(|on| Running::new(on, first)).collect();
    for range in batches {
        let (keys, items) = (&keys[range.clone()], &items[range]);
        let mut expected: Option<Vec<Values>> = None;
        for (place, running) in running.iter_mut().enumerate() {
            let found = running.packed(items)?;
            bar.advance(&format!("steps on {}", running.on.device));
            if let Some(expected) = &expected {
                running.compare(keys, &found, expected);
            }
            for (i, (key, item)) in keys.iter().zip(items).enumerate() {
                running.alone(key, item, (i, &found))?;
                bar.advance(&format!("steps on {}, sample {key} alone", running.on.device));
            }
            if place == 0 {
                expected = Some(found);
            }
        }
    }
    bar.finish();
    let compared = |(place, running): (usize, Running<'a>)| {
        let against = (place > 0).then_some(&on[0]);
        running.finish(against, args.tolerance)
    };
    let devices: Vec<_> = running.into_iter().enumerate().map(compared).collect();
    let first_wrong = devices.iter().find_map(OfDevice::first_wrong);
    Ok(Steps { against: on[0].device.to_string(), first_wrong, devices })
}

impl<'a> Running<'a> {
    fn new(on: &'a On, first: &Program) -> Self {
        let program = on.engine.program();
        let steps = program.steps.len();
        Self {
            on,
            session: on.engine.session(),
            batch: PackedBatch::new(&on.engine),
            partners: partners(program, first),
            alone_differs_at: vec![None; steps],
            errors: vec![Errors::default(); steps],
        }
    }

    fn observed(
        &mut self,
        items: &[Item],
        observe: &mut (dyn FnMut(StepOutput<'_>) + Send),
    ) -> Result<(), Failure> {
        fill(&mut self.batch, items)?;
        let ran = self.session.run_observed(&self.batch, observe);
        let failed = |error| Failure::from(error).context(format!("on {}", self.on.device));
        ran.map(|_| ()).map_err(failed)
    }

    /// All results of the samples in one batch.
    fn packed(&mut self, items: &[Item]) -> Result<Vec<Values>, Failure> {
        let mut values = vec![Values::new(); self.partners.len()];
        self.observed(items, &mut |shown| {
            let samples = (0..shown.len()).filter_map(|sample| shown.sample(sample));
            values[shown.index()] = samples.map(<[f32]>::to_vec).collect();
        })?;
        Ok(values)
    }

    /// Runs a sample alone and compares with what it gave as number `place` of a batch.
    fn alone(
        &mut self,
        key: &'a str,
        item: &Item,
        (place, packed): (usize, &[Values]),
    ) -> Result<(), Failure> {
        let mut differs = std::mem::take(&mut self.alone_differs_at);
        self.observed(std::slice::from_ref(item), &mut |shown| {
            let (step, width) = (shown.index(), shown.value().width as usize);
            let alone = shown.sample(0).unwrap_or_default();
            let packed = packed[step].get(place).map_or(&[][..], |values| values);
            let other = || first_other_bits(key, width, alone, packed);
            differs[step] = differs[step].or_else(other);
        })?;
        self.alone_differs_at = differs;
        Ok(())
    }

    /// Compares the results of a batch with those of the first device.
    fn compare(&mut self, keys: &'a [String], found: &[Values], expected: &[Values]) {
        let program = self.on.engine.program();
        for (step, partner) in self.partners.iter().enumerate() {
            let Some(partner) = *partner else { continue };
            let width = program.buffers[program.steps[step].output as usize].width as usize;
            for ((key, found), expected) in keys.iter().zip(&found[step]).zip(&expected[partner]) {
                self.errors[step].add(key, width, found, expected);
            }
        }
    }

    /// `against` is the first device, unless this is it.
    fn finish(self, against: Option<&'a On>, tolerance: Option<f64>) -> OfDevice<'a> {
        let program = self.on.engine.program();
        let other = against.map(|on| on.engine.program());
        let made_by =
            other.map_or(Against::Nothing, |program| Against::Program(program.arithmetic()));
        let steps = (0..program.steps.len()).map(|index| {
            let (kernel, value) = named(program, index);
            let tolerance =
                tolerance.unwrap_or_else(|| allowed(program.arithmetic(), value, made_by));
            let matched = other.is_some() && self.partners[index].is_some();
            let errors = matched.then_some(self.errors[index]);
            let alone_differs_at = self.alone_differs_at[index];
            let passed = alone_differs_at.is_none() && errors.is_none_or(|e| e.within(tolerance));
            StepFinding { index, kernel, value, alone_differs_at, errors, tolerance, passed }
        });
        let steps = steps.collect();
        let not_matched = against.map_or_else(Vec::new, |first| {
            let of = |on: &'a On, lonely: &dyn Fn(usize) -> bool| {
                let program = on.engine.program();
                let step = |index| {
                    let (kernel, value) = named(program, index);
                    StepName { device: on.device.to_string(), index, kernel, value }
                };
                let lonely = (0..program.steps.len()).filter(|index| lonely(*index));
                lonely.map(step).collect::<Vec<_>>()
            };
            let mut list = of(self.on, &|index| self.partners[index].is_none());
            list.extend(of(first, &|index| !self.partners.contains(&Some(index))));
            list
        });
        let (device, program) = (self.on.device.to_string(), described(program));
        OfDevice { device, program, steps, not_matched }
    }
}

/// For each step of a program the step of another that gives the value of the same name and form by the same kernel.
fn partners(program: &Program, other: &Program) -> Vec<Option<usize>> {
    let mut taken = vec![false; other.steps.len()];
    let partner = |index| {
        let same = |&place: &usize| !taken[place] && form(program, index) == form(other, place);
        let place = (0..other.steps.len()).find(same)?;
        taken[place] = true;
        Some(place)
    };
    (0..program.steps.len()).map(partner).collect()
}

fn form(program: &Program, step: usize) -> (&str, &str, u64, Option<&Extent>) {
    let buffer = &program.buffers[program.steps[step].output as usize];
    let (kernel, value) = named(program, step);
    let rows = match buffer.rows {
        Rows::PerSample => None,
        Rows::Ragged(extent) => Some(&program.extents[extent as usize]),
    };
    (kernel, value, buffer.width, rows)
}

/// A step's kernel and value.
fn named(program: &Program, step: usize) -> (&'static str, &str) {
    let step = &program.steps[step];
    (step.kernel.name(), &program.buffers[step.output as usize].name)
}
