//! How much the steps of a run compute and move: the one place that counts, for every kernel.
//!
//! Counts are of what the model asks for, over the rows that a batch has, whatever a device does: a tile's rows past a
//! sample's end are no work, and neither is what is computed twice. So a rate made of them is a useful one.
//!
//! For a kernel on `R` rows of `w` columns (`n`, `k`, `d` as in [`Kernel`]):
//!
//! | kernel | products | other operations |
//! |---|---|---|
//! | linear | `2 R n k` | `R n` for a bias, and for each function of the epilogue |
//! | attention, for each head | `4 d P`; for each term of a disentangled bias `2 d P` more | `5 P + R d`; `P` for a bias; `3` for each turned column of q and k |
//! | embed | | `R w` for each table but the first; with LayerNorm `7 R w` |
//! | layer_norm | | `7 R w`, with a residual `8 R w` |
//! | rms_norm | | `4 R w` |
//! | l2_normalize | | `3 R w` |
//! | softmax | | `5 R w` |
//! | rotary | | `3 R` for each turned column |
//! | pool | | `w` for each of the sample's rows (weighted twice that; none for a first or last row), `3 w` to normalise |
//! | pointwise | | `R w` for each function of the chain |
//! | unfold, concat, permute, join | | |
//!
//! `P` is the number of pairs of a query and a key that it sees: `sum L^2` over the samples where it sees all. A product
//! is a multiplication or an addition in a product of matrices. Among the other operations a function of any sort counts
//! as one, and what is done once a row as none; they tell how dense a step is, and are no part of a rate that is held
//! against products.
//!
//! Bytes are the fewest that do: each operand read once and the output written once, of a table only the rows that are
//! asked for.

use bytec_plan::attention::{Band, Bias};
use bytec_plan::extent::Rows;
use bytec_plan::kernel::{IdSource, Instr, Kernel, PoolKind};
use bytec_plan::program::{DType, Operand, Program, Step};
use bytec_runtime::PackedBatch;

/// What a step does in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Rows of the output.
    pub rows: u64,
    /// Multiplications and additions in products of matrices.
    pub products: f64,
    /// All other operations.
    pub others: f64,
    /// The fewest bytes that have to be read and written.
    pub bytes: f64,
}

impl Work {
    /// Adds another step's work; rows too, which are launches' rows then.
    pub fn add(&mut self, other: &Work) {
        self.rows += other.rows;
        self.products += other.products;
        self.others += other.others;
        self.bytes += other.bytes;
    }
}

/// What each step of the program does in a run of the batch, in order. Where one launch does two steps, both count as
/// work of the one that is launched.
///
/// # Panics
/// If the batch is of another program.
pub fn steps(program: &Program, batch: &PackedBatch) -> Vec<Work> {
    let mut all: Vec<_> =
        program.steps.iter().map(|step| Count { program, batch, step }.work()).collect();
    let Some(code) = &program.device else { return all };
    for (at, step) in program.steps.iter().enumerate() {
        let first = program.steps.iter().position(|other| Some(other.output) == step.takes_up());
        let Some(first) = first else { continue };
        let rows = batch.class_rows(program.buffers[step.output as usize].rows);
        if code.launch(first, rows).is_some_and(|launch| !launch.has_blocks()) {
            let Work { products, others, bytes, .. } = std::mem::take(&mut all[first]);
            all[at].products += products;
            all[at].others += others;
            all[at].bytes += bytes;
        }
    }
    all
}

/// Rows of the samples, padded to the longest, as a share that is not rows of the batch: what padding would add. Zero
/// for a batch without rows.
pub fn padding(batch: &PackedBatch, rows: Rows) -> f64 {
    let longest = (0..batch.len()).map(|sample| batch.rows_of(sample, rows)).max().unwrap_or(0);
    let padded = longest as f64 * batch.len() as f64;
    if padded > 0.0 { 1.0 - batch.rows(rows) as f64 / padded } else { 0.0 }
}

/// The rows that most steps' outputs have: a text's tokens, an image's patches. A sample has one of them if no value is
/// ragged.
pub fn tokens(program: &Program) -> Rows {
    let ragged = (0..program.extents.len() as u32).map(Rows::Ragged);
    let uses = |rows: &Rows| {
        let of = |step: &&Step| program.buffers[step.output as usize].rows == *rows;
        program.steps.iter().filter(of).count()
    };
    let most = ragged.rev().max_by_key(uses);
    most.filter(|rows| uses(rows) > 0).unwrap_or(Rows::PerSample)
}

/// A step of a run.
#[derive(Clone, Copy)]
struct Count<'a> {
    program: &'a Program,
    batch: &'a PackedBatch,
    step: &'a Step,
}

impl Count<'_> {
    fn work(self) -> Work {
        let Count { program, batch, step } = self;
        let output = &program.buffers[step.output as usize];
        let rows = batch.rows(output.rows) as f64;
        let elements = rows * output.width as f64;
        let (products, others) = match &step.kernel {
            Kernel::Embed { sources, width: _, eps } => {
                let sums = sources.len().saturating_sub(1) as f64;
                (0.0, elements * (sums + if eps.is_some() { 7.0 } else { 0.0 }))
            }
            Kernel::Linear { n: _, k, bias, epilogue } => {
                let others = f64::from(u8::from(*bias)) + epilogue.len() as f64;
                (2.0 * elements * f64::from(*k), elements * others)
            }
            Kernel::LinearLayerNorm { n: _, k, bias, eps: _, up: _ } => {
                let others = f64::from(u8::from(*bias)) + 8.0;
                (2.0 * elements * f64::from(*k), elements * others)
            }
            Kernel::Attention { heads, head_size, group, scale: _, mask, bias, rotary } => {
                let (heads, d) = (f64::from(*heads), f64::from(*head_size));
                let pairs = self.pairs(*mask);
                let (terms, added) = match bias {
                    Bias::None => (0.0, 0.0),
                    Bias::Alibi { .. } | Bias::Relative { .. } => (0.0, 1.0),
                    Bias::Disentangled { reach: _, c2p, p2c } => {
                        (f64::from(u8::from(*c2p) + u8::from(*p2c)), 1.0)
                    }
                };
                let turned = rotary.map_or(0.0, |rotary| {
                    let [q, k] = [0, 1].map(|nth| self.operand_rows(nth));
                    3.0 * (q + k / f64::from(*group)) * heads * f64::from(rotary.dims)
                });
                let products = heads * pairs * d * (4.0 + 2.0 * terms);
                (products, heads * pairs * (5.0 + added) + elements + turned)
            }
            Kernel::Rotary { heads, head_size: _, rotary } => {
                (0.0, 3.0 * rows * f64::from(*heads) * f64::from(rotary.dims))
            }
            Kernel::LayerNorm { width: _, eps: _, residual } => {
                (0.0, elements * if *residual { 8.0 } else { 7.0 })
            }
            Kernel::RmsNorm { width: _, eps: _ } => (0.0, 4.0 * elements),
            Kernel::L2Normalize { width: _, eps: _ } => (0.0, 3.0 * elements),
            Kernel::Softmax { width: _ } => (0.0, 5.0 * elements),
            Kernel::Pool { pooling, width, normalize } => {
                let read = self.operand_rows(0) * f64::from(*width);
                let pooled = match pooling {
                    PoolKind::Cls | PoolKind::Last => 0.0,
                    PoolKind::Mean | PoolKind::Sum | PoolKind::Max | PoolKind::MeanSqrtLen => read,
                    PoolKind::WeightedMean => 2.0 * read,
                };
                (0.0, pooled + if normalize.is_some() { 3.0 * elements } else { 0.0 })
            }
            Kernel::Unfold { width: _, size: _, before: _ }
            | Kernel::Concat { groups: _, parts: _ }
            | Kernel::Permute { from: _, to: _, start: _, shape: _, strides: _ }
            | Kernel::Join { width: _, parts: _ } => (0.0, 0.0),
            Kernel::Pointwise { width: _, operands: _, body } => {
                let function = |instr: &&Instr| match instr {
                    Instr::Unary(..) | Instr::Binary(..) => true,
                    Instr::Operand(_) | Instr::Const(_) => false,
                };
                (0.0, elements * body.iter().filter(function).count() as f64)
            }
        };
        let written = elements * program.dtype.bytes() as f64;
        let rows = batch.rows(output.rows) as u64;
        Work { rows, products, others, bytes: written + self.read() }
    }

    /// Bytes that are read.
    fn read(self) -> f64 {
        let Count { program, batch, step } = self;
        let rows = batch.rows(program.buffers[step.output as usize].rows) as f64;
        let tables = tables(&step.kernel);
        // Parts of an operand may be all that is moved.
        if let Kernel::Permute { .. } = &step.kernel {
            let width = program.buffers[step.output as usize].width;
            return rows * (width * program.dtype.bytes()) as f64;
        }
        let bytes = |(nth, operand): (usize, &Operand)| match operand {
            Operand::View(view) => {
                let rows = match (&step.kernel, program.buffers[view.buffer as usize].rows) {
                    // One row of each sample is looked at.
                    (Kernel::Pool { pooling: PoolKind::Cls | PoolKind::Last, .. }, _) => {
                        batch.len()
                    }
                    (_, rows) => batch.rows(rows),
                };
                rows as f64 * (view.width * program.dtype.bytes()) as f64
            }
            Operand::Weight(weight) => {
                let weight = &program.weights[*weight as usize];
                let all = weight.bytes as f64;
                if !tables.contains(&nth) {
                    return all;
                }
                let row = weight.shape.last().copied().unwrap_or(1) * weight.dtype.bytes();
                all.min(rows * row as f64)
            }
            Operand::Input(input) => {
                let input = &program.inputs[*input as usize];
                let element = match (input.dtype, &program.device) {
                    // Devices have integers of 32 bits, and floats of the program's type.
                    (DType::I64 | DType::I32, Some(_)) => DType::I32,
                    (_, Some(_)) => program.dtype,
                    (dtype, None) => dtype,
                };
                batch.rows(input.rows) as f64 * (input.width * element.bytes()) as f64
            }
        };
        // What a kernel may do beside its own step is that other step's.
        let own = match &step.kernel {
            Kernel::LinearLayerNorm { bias, .. } => 5 + usize::from(*bias),
            _ => step.operands.len(),
        };
        step.operands.iter().take(own).enumerate().map(bytes).sum()
    }

    /// The rows of the step's operand of this index, where it is a value.
    fn operand_rows(self, nth: usize) -> f64 {
        match self.step.operands.get(nth) {
            Some(Operand::View(view)) => {
                self.batch.rows(self.program.buffers[view.buffer as usize].rows) as f64
            }
            Some(Operand::Weight(_) | Operand::Input(_)) | None => 0.0,
        }
    }

    /// Pairs of a query and a key that it sees, over all samples.
    fn pairs(self, mask: Band) -> f64 {
        let rows = |nth: usize| match self.step.operands.get(nth) {
            Some(Operand::View(view)) => self.program.buffers[view.buffer as usize].rows,
            Some(Operand::Weight(_) | Operand::Input(_)) | None => Rows::PerSample,
        };
        let (queries, keys) = (rows(0), rows(1));
        let of = |sample| {
            let rows_of = |rows| self.batch.rows_of(sample, rows) as u64;
            seen(rows_of(queries), rows_of(keys), mask)
        };
        (0..self.batch.len()).map(of).sum()
    }
}

/// Operands of which only rows that ids ask for are read.
fn tables(kernel: &Kernel) -> Vec<usize> {
    let Kernel::Embed { sources, .. } = kernel else { return Vec::new() };
    let mut next = 0;
    let place = |source: &IdSource| {
        let table = next;
        next += match source {
            IdSource::Input | IdSource::Place { .. } => 2,
            IdSource::Position { .. } => 1,
        };
        table
    };
    sources.iter().map(place).collect()
}

/// Pairs of one sample: query `i` sees keys `i - before ..= i + after`.
fn seen(queries: u64, keys: u64, mask: Band) -> f64 {
    if mask.is_all() {
        return queries as f64 * keys as f64;
    }
    let of = |i: u64| {
        let first = mask.before.map_or(0, |before| i.saturating_sub(before));
        let end = mask.after.map_or(keys, |after| i.saturating_add(after).saturating_add(1));
        end.min(keys).saturating_sub(first) as f64
    };
    (0..queries).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_leaves_pairs_out() {
        let band = |before, after| Band { before, after };
        assert_eq!(seen(5, 5, band(None, None)), 25.0);
        assert_eq!(seen(3, 7, band(None, None)), 21.0);
        // Causal: 1 + 2 + .. + 5.
        assert_eq!(seen(5, 5, band(None, Some(0))), 15.0);
        // A row sees itself and one neighbour on each side.
        assert_eq!(seen(5, 5, band(Some(1), Some(1))), 13.0);
        assert_eq!(seen(5, 5, band(Some(0), None)), 15.0);
        assert_eq!(seen(4, 4, band(Some(u64::MAX), Some(u64::MAX))), 16.0);
        assert_eq!(seen(0, 0, band(Some(1), Some(1))), 0.0);
    }
}
