//! Neighbouring rows of a sample side by side.

use super::args::{Args, TASK};
use super::threads::Cut;

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, size: usize, before: usize) {
    let operands = args.operands();
    let x = operands.matrix(0);
    let offsets = args.batch.offsets(args.out_rows);
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        let mut sample = offsets.sample(block.rows.start);
        for row in block.rows.clone() {
            while row >= offsets.range(sample).end {
                sample += 1;
            }
            let rows = offsets.range(sample);
            let taps = block.row(row).chunks_exact_mut(x.width);
            for (tap, out) in taps.take(size).enumerate() {
                match (row + tap).checked_sub(before).filter(|source| rows.contains(source)) {
                    Some(source) => out.copy_from_slice(x.row(source)),
                    None => out.fill(0.0),
                }
            }
        }
    });
}
