//! Sums of embedding tables' rows, and their LayerNorm.

use bytec_plan::kernel::IdSource;

use super::args::{Args, Operands, TASK};
use super::isa::{Body, Simd};
use super::layer_norm::Norm;
use super::threads::{Block, Cut};
use crate::batch::{Offsets, Places};

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, sources: &[IdSource], eps: Option<f32>) {
    let operands = args.operands();
    let offsets = args.batch.offsets(args.out_rows);
    let norm = eps.map(|eps| {
        let last = operands.len();
        Norm { gamma: operands.weight(last - 2), beta: operands.weight(last - 1), eps }
    });
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        args.isa.run(Rows { operands, sources, offsets, norm, block });
    });
}

struct Rows<'a, 'b> {
    operands: Operands<'a>,
    sources: &'a [IdSource],
    offsets: Offsets<'a>,
    norm: Option<Norm<'a>>,
    block: &'a mut Block<'b>,
}

impl Body for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Rows { operands, sources, offsets, norm, block } = self;
        let rows = block.rows.clone();
        let mut operand = 0;
        for (nth, source) in sources.iter().enumerate() {
            let table = operands.weight(operand);
            match source {
                IdSource::Input => {
                    let ids = operands.ids(operand + 1);
                    for r in rows.clone() {
                        // The batch refused ids outside the table.
                        add(nth, table, ids[r] as usize, block.row(r));
                    }
                    operand += 2;
                }
                IdSource::Place { skip } => {
                    let ids = operands.ids(operand + 1);
                    let mut sample = offsets.sample(rows.start);
                    // Those of the sample's rows before the block.
                    let first = offsets.range(sample).start;
                    let mut places = Places::new(*skip);
                    for id in &ids[first..rows.start] {
                        places.of(*id);
                    }
                    for r in rows.clone() {
                        while r >= offsets.range(sample).end {
                            sample += 1;
                            places = Places::new(*skip);
                        }
                        add(nth, table, places.of(ids[r]) as usize, block.row(r));
                    }
                    operand += 2;
                }
                IdSource::Position { start } => {
                    let mut sample = offsets.sample(rows.start);
                    for r in rows.clone() {
                        while r >= offsets.range(sample).end {
                            sample += 1;
                        }
                        let position = *start as usize + (r - offsets.range(sample).start);
                        add(nth, table, position, block.row(r));
                    }
                    operand += 1;
                }
            }
        }
        if let Some(norm) = norm {
            for r in rows {
                norm.row(block.row(r));
            }
        }
    }
}

/// Adds a table's row to `out`, or writes it if it is the first of the sum.
#[inline(always)]
fn add(nth: usize, table: &[f32], id: usize, out: &mut [f32]) {
    let row = &table[id * out.len()..][..out.len()];
    if nth == 0 {
        out.copy_from_slice(row);
    } else {
        for (out, x) in out.iter_mut().zip(row) {
            *out += *x;
        }
    }
}
