//! Samples on their way through an engine, cut into packed batches.

use std::ops::Range;

use bytec_runtime::{BatchError, Elements, Engine, Outputs, PackedBatch, Sample};

use crate::Outcome;
use crate::failure::Failure;
use crate::progress::Bar;

/// The elements of a tensor.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    I64(Vec<i64>),
    I32(Vec<i32>),
    F32(Vec<f32>),
}

/// A named tensor.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) values: Values,
}

/// A sample on its way through the plan.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// What messages call it, such as `text 3`.
    pub(crate) label: String,
    pub(crate) tensors: Vec<Tensor>,
}

impl Item {
    /// What the sample counts against `--max-batch-tokens`: its longest first axis.
    pub(crate) fn tokens(&self) -> u64 {
        let first = |tensor: &Tensor| tensor.shape.first().copied().unwrap_or(1);
        self.tensors.iter().map(first).max().unwrap_or(1)
    }

    fn sample(&self) -> Sample<'_> {
        self.tensors.iter().fold(Sample::new(), |sample, tensor| {
            let elements = match &tensor.values {
                Values::I64(values) => Elements::I64(values),
                Values::I32(values) => Elements::I32(values),
                Values::F32(values) => Elements::F32(values),
            };
            sample.with(&tensor.name, &tensor.shape, elements)
        })
    }
}

/// How samples are cut into batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batching {
    /// Every sample in a batch of its own.
    pub(crate) alone: bool,
    /// The most tokens of a batch.
    pub(crate) max_tokens: u64,
    /// Whether a terminal shows how far it is.
    pub(crate) bar: bool,
}

/// Runs the samples in batches, in order, and hands each batch's outputs to `take` with the place of its first sample.
pub(crate) fn in_batches(
    engine: &Engine,
    items: &[Item],
    batching: Batching,
    mut take: impl FnMut(usize, Outputs<'_>) -> Outcome,
) -> Outcome {
    let batches = cut(items, batching)?;
    let mut bar = (batching.bar && batches.len() > 1).then(|| Bar::new(batches.len() as u64, true));
    let mut session = engine.session();
    let mut batch = PackedBatch::new(engine);
    for range in batches {
        let first = range.start;
        fill(&mut batch, &items[range])?;
        take(first, session.run(&batch)?)?;
        if let Some(bar) = &mut bar {
            bar.advance(&format!("{} of {} samples", first + batch.len(), items.len()));
        }
    }
    if let Some(bar) = bar {
        bar.finish();
    }
    Ok(())
}

/// Puts these samples into the batch, and no others.
pub(crate) fn fill(batch: &mut PackedBatch, items: &[Item]) -> Outcome {
    batch.clear();
    for item in items {
        batch.push(&item.sample()).map_err(|BatchError { fault, .. }| {
            Failure::bad_input(anyhow::anyhow!("{}: {fault}", item.label))
        })?;
    }
    Ok(())
}

/// The samples of each batch.
pub(crate) fn cut(items: &[Item], batching: Batching) -> Result<Vec<Range<usize>>, Failure> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (i, item) in items.iter().enumerate() {
        let own = item.tokens();
        if own > batching.max_tokens {
            return Err(Failure::bad_input(anyhow::anyhow!(
                "{} has {own} tokens, and --max-batch-tokens allows {} a batch",
                item.label,
                batching.max_tokens
            )));
        }
        match batches.last_mut() {
            Some(batch) if !batching.alone && own <= batching.max_tokens - tokens => {
                batch.end = i + 1;
                tokens += own;
            }
            _ => {
                batches.push(i..i + 1);
                tokens = own;
            }
        }
    }
    Ok(batches)
}
