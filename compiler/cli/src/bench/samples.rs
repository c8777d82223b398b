//! Random samples, and the batches that are measured.

use bytec_models::tiny::SplitMix64;
use bytec_plan::extent::{Extent, Rows};
use bytec_plan::program::{DType, InputSpec, Program};
use bytec_runtime::{Engine, PackedBatch};

use super::lengths::Sizes;
use crate::batches::{self, Item, Tensor, Values};
use crate::failure::Failure;

/// How samples are cut into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// So many samples.
    Samples(usize),
    /// As many as have no more tokens.
    Tokens(u64),
}

/// A batch and what it was made of.
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    pub(super) packed: PackedBatch,
}

/// Batches are of different samples: this many of them, and this many samples in all, at least.
const BATCHES: usize = 8;
const SAMPLES: usize = 64;

/// Different batches, to be run in turn; one alone if `one`.
pub(super) fn batches(
    engine: &Engine,
    sizes: &mut Sizes,
    cut: Cut,
    one: bool,
    seed: u64,
) -> Result<Vec<Batch>, Failure> {
    let mut random = SplitMix64(seed ^ 0x5eed);
    let mut batches: Vec<Batch> = Vec::new();
    let mut samples = 0;
    let enough = |batches: &Vec<Batch>, samples: usize| {
        if one { !batches.is_empty() } else { batches.len() >= BATCHES && samples >= SAMPLES }
    };
    while !enough(&batches, samples) {
        let items = items(engine.program(), sizes, cut, &mut random)?;
        let mut packed = PackedBatch::new(engine);
        batches::fill(&mut packed, &items)?;
        samples += items.len();
        batches.push(Batch { items, packed });
    }
    Ok(batches)
}

fn items(
    program: &Program,
    sizes: &mut Sizes,
    cut: Cut,
    random: &mut SplitMix64,
) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    let mut draw = |size: &[u64], nth: usize| item(program, size, nth, random);
    match cut {
        Cut::Samples(count) => {
            for nth in 0..count {
                items.push(draw(&sizes.next(), nth)?);
            }
        }
        Cut::Tokens(most) => {
            let rows = bytec_measure::work::tokens(program);
            let mut left = most;
            loop {
                let size = sizes.next();
                let tokens = tokens(program, rows, &size)?;
                if tokens > left {
                    sizes.put_back();
                    break;
                }
                left -= tokens;
                items.push(draw(&size, items.len())?);
                if tokens == 0 || left == 0 {
                    break;
                }
            }
            if items.is_empty() {
                return Err(Failure::bad_input(anyhow::anyhow!(
                    "--tokens {most}: expected room for one sample, found a sample of more tokens; allow more, or \
                     shorter samples by --lengths"
                )));
            }
        }
    }
    Ok(items)
}

/// Samples until there are so many tokens; at least one.
pub(super) fn until(
    program: &Program,
    sizes: &mut Sizes,
    tokens: u64,
    seed: u64,
) -> Result<Vec<Item>, Failure> {
    let (rows, mut random) = (bytec_measure::work::tokens(program), SplitMix64(seed ^ 0x5eed));
    let (mut items, mut found) = (Vec::new(), 0u64);
    while items.is_empty() || found < tokens {
        let size = sizes.next();
        found = found.saturating_add(self::tokens(program, rows, &size)?.max(1));
        items.push(item(program, &size, items.len(), &mut random)?);
    }
    Ok(items)
}

/// Tokens of a sample of this size.
fn tokens(program: &Program, rows: Rows, size: &[u64]) -> Result<u64, Failure> {
    match rows {
        Rows::PerSample => Ok(1),
        Rows::Ragged(extent) => eval(&program.extents[extent as usize], size),
    }
}

/// A random sample of this size: every input that has no default.
fn item(
    program: &Program,
    size: &[u64],
    nth: usize,
    random: &mut SplitMix64,
) -> Result<Item, Failure> {
    let needed = program.inputs.iter().filter(|input| input.default.is_none());
    let tensors = needed.map(|input| tensor(input, size, random)).collect::<Result<_, _>>()?;
    Ok(Item { label: format!("random sample {nth}"), tensors })
}

/// Normal numbers, or rows of the table that is indexed.
fn tensor(input: &InputSpec, size: &[u64], random: &mut SplitMix64) -> Result<Tensor, Failure> {
    /// Below which integers lie that index nothing.
    const ANY: u64 = 100;
    let shape = input.shape.iter().map(|extent| eval(extent, size));
    let shape = shape.collect::<Result<Vec<u64>, _>>()?;
    let count = shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent));
    let count = count.and_then(|count| usize::try_from(count).ok()).ok_or_else(too_large)?;
    let mut room = Vec::new();
    let values = match input.dtype {
        DType::I64 | DType::I32 => {
            room.try_reserve_exact(count).map_err(|_| too_large())?;
            let below = input.below.unwrap_or(ANY).max(1);
            room.extend((0..count).map(|_| random.below(below) as i64));
            Values::I64(room)
        }
        DType::F32 | DType::F16 | DType::Bf16 | DType::I8 => {
            let mut room = Vec::new();
            room.try_reserve_exact(count).map_err(|_| too_large())?;
            room.extend((0..count).map(|_| random.normal()));
            Values::F32(room)
        }
    };
    Ok(Tensor { name: input.name.clone(), shape, values })
}

fn eval(extent: &Extent, size: &[u64]) -> Result<u64, Failure> {
    extent.eval(size).ok_or_else(too_large)
}

fn too_large() -> Failure {
    Failure::bad_input(anyhow::anyhow!(
        "--lengths: expected samples that fit in memory, found a size whose tensors can't be counted"
    ))
}
