//! Memory-bound kernels move no more bytes than they must.
//!
//! The fewest that would do: every row that goes in once, every row that comes out once, and every weight once. The
//! profile counts the 32-byte sectors of each request and knows no caches. So operands are told apart. *Streams* are as
//! long as the batch and go past the caches: each of their sectors may be asked for once. What is *kept* (gamma and beta,
//! ids, the one row of a sample) is asked for by each row that needs it, but comes from memory once, since it is small or
//! its rows follow each other. A kernel moves what is asked of its streams, and what is kept once; that is held to 5 %
//! more than the fewest. What is asked of a kept operand is held to one row for each row of the output.
//!
//! Beside them there are counts and offsets, at most a few bytes a row. Linear layers are held to the same where they
//! are memory-bound too, with few rows, beside their other tests. Attention is not: it takes keys and values once for
//! each tile of queries, and its tests hold it to no bank conflict.

use bytec_compiler::render::{Float, Matrix};
use bytec_plan::kernel::{BinaryFn, Broadcast, IdSource, Instr, Kernel, PoolKind};

use super::device::{Device, SECTOR};
use super::{Case, DTYPES, Operand, dense};

/// How an operand may be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// This many rows, each once.
    Stream(usize),
    /// As often as there are rows of the output.
    Kept,
}

use Role::{Kept, Stream};

/// The operands of a kernel as they are made.
struct Operands {
    width: usize,
    operands: Vec<Operand>,
    roles: Vec<Role>,
}

impl Operands {
    fn new(width: usize) -> Self {
        Self { width, operands: Vec::new(), roles: Vec::new() }
    }

    fn with(mut self, operand: Operand, role: Role) -> Self {
        self.operands.push(operand);
        self.roles.push(role);
        self
    }

    fn rows(self, rows: usize) -> Self {
        let operand = dense(vec![1.0; rows * self.width], self.width);
        self.with(operand, Stream(rows))
    }

    /// The middle of three such matrices side by side.
    fn view(self, rows: usize) -> Self {
        let width = self.width as u64;
        let matrix = Matrix { column: width, stride: 3 * width };
        let operand = Operand::Rows(vec![1.0; rows * self.width], matrix);
        self.with(operand, Stream(rows))
    }

    fn weight(self) -> Self {
        let operand = Operand::Weight(vec![1.0; self.width]);
        self.with(operand, Kept)
    }

    /// A table, of which each row of the output takes one row. Rows that are not taken twice are a stream.
    fn table(self, rows: usize) -> Self {
        let operand = Operand::Weight(vec![1.0; rows * self.width]);
        self.with(operand, Stream(rows))
    }

    fn ids(self, rows: usize) -> Self {
        // Their bytes are less than a row's for each, which is what is allowed.
        self.with(Operand::Ids((0..rows as i32).rev().collect()), Kept)
    }
}

/// Every memory-bound kernel, for a batch of samples with so many rows.
fn cases(width: usize, lengths: &[usize]) -> Vec<(Case, Vec<Role>)> {
    let rows: usize = lengths.iter().sum();
    let columns = width as u32;
    let operands = || Operands::new(width);
    let mut cases = Vec::new();
    let mut add = |kernel, operands: Operands, pooled| {
        let Operands { operands, roles, .. } = operands;
        cases.push((Case { kernel, width, operands, pooled }, roles));
    };

    let layer_norm = |residual| Kernel::LayerNorm { width: columns, eps: 1e-5, residual };
    add(layer_norm(false), operands().view(rows).weight().weight(), false);
    add(layer_norm(true), operands().rows(rows).rows(rows).weight().weight(), false);
    add(Kernel::L2Normalize { width: columns, eps: 1e-12 }, operands().rows(rows), false);
    add(Kernel::Softmax { width: columns }, operands().rows(rows), false);

    for pooling in [PoolKind::Mean, PoolKind::Sum, PoolKind::Max, PoolKind::Cls] {
        for normalize in [None, Some(1e-12)] {
            let kernel = Kernel::Pool { pooling, width: columns, normalize };
            let mut operands = operands().rows(rows);
            if pooling == PoolKind::Cls {
                operands.roles = vec![Stream(lengths.iter().filter(|rows| **rows > 0).count())];
            }
            add(kernel, operands, true);
        }
    }

    // One table by id, one by position: rows of the second are taken again by each sample.
    let places = lengths.iter().copied().max().unwrap_or(0);
    let by_place = Operand::Weight(vec![1.0; places * width]);
    let sources = vec![IdSource::Input, IdSource::Position { start: 0 }];
    let tables = operands().table(rows).ids(rows).with(by_place, Kept);
    let eps = Some(1e-5);
    add(Kernel::Embed { sources, width: columns, eps }, tables.weight().weight(), false);
    let sources = vec![IdSource::Input];
    let tables = operands().table(rows).ids(rows);
    add(Kernel::Embed { sources, width: columns, eps: None }, tables, false);

    let sum = |broadcasts: &[Broadcast]| {
        let mut body = vec![Instr::Operand(0)];
        for n in 1..broadcasts.len() as u32 {
            let last = body.len() as u32 - 1;
            body.extend([Instr::Operand(n), Instr::Binary(BinaryFn::Add, last, last + 1)]);
        }
        Kernel::Pointwise { width: columns, operands: broadcasts.to_vec(), body }
    };
    use Broadcast::{Full, Row, Sample, Scalar};
    add(sum(&[Full]), operands().rows(rows), false);
    add(sum(&[Full, Full]), operands().view(rows).rows(rows), false);
    let scalar = Operand::Weight(vec![1.0]);
    let of_samples = Operand::Samples(vec![1.0; lengths.len() * width]);
    add(sum(&[Full, Row, Scalar]), operands().rows(rows).weight().with(scalar, Kept), false);
    add(sum(&[Full, Sample]), operands().rows(rows).with(of_samples, Kept), false);
    cases
}

/// At most 5 % more.
fn within(found: u64, least: u64) -> bool {
    found * 100 <= least * 105
}

#[expect(clippy::print_stdout, reason = "a test says what it observed")]
fn check(width: usize, lengths: &[usize], dtype: Float) {
    let rows: usize = lengths.iter().sum();
    let row = (width * dtype.bytes() as usize) as u64;
    let mut worst = 0.0f64;
    for (case, roles) in cases(width, lengths) {
        let source = case.source(dtype);
        let Some(device) = Device::new(&source) else { return };
        let ran = device.run(&case, lengths, dtype);
        let label = format!("{} {:?} over {lengths:?}", source.symbol, case.kernel);
        let outputs = if case.pooled { lengths.len() } else { rows } as u64;
        let (mut moved, mut least) = (ran.output, outputs * row);
        for (nth, (asked, role)) in ran.operands.iter().zip(&roles).enumerate() {
            match *role {
                Stream(rows) => {
                    least += rows as u64 * row;
                    moved += asked;
                }
                Kept => {
                    let bytes = case.bytes(nth, dtype);
                    least += bytes;
                    moved += bytes.next_multiple_of(SECTOR).min(*asked);
                    // What begins within a sector ends in one more, the row as well as each request of it.
                    let most = outputs * (row + SECTOR * (1 + row.div_ceil(512)));
                    assert!(
                        *asked <= most,
                        "{label}: operand {nth}: {asked} bytes, {most} at most"
                    );
                }
            }
        }
        worst = worst.max(moved as f64 / least as f64);
        assert!(within(moved, least), "{label}: {moved} bytes, {least} are needed");
    }
    println!("{width} columns of {dtype:?} over {lengths:?}: at most {worst:.3} of the least");
}

/// Rows of whole sectors, and rows that end within one: those are wide, so that the sector that two rows share, which
/// each asks for, is a small part. Samples of many rows, of one, and of none.
#[test]
fn memory_bound_kernels_move_what_they_must() {
    for lengths in [&[5, 1, 0, 13, 4, 33][..], &[1, 1, 1], &[67]] {
        for (width, dtypes) in [
            (48, &DTYPES[..]),
            (384, &DTYPES),
            (776, &[Float::F16, Float::Bf16]),
            (1100, &[Float::F32]),
        ] {
            for dtype in dtypes {
                check(width, lengths, *dtype);
            }
        }
    }
}
