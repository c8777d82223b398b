//! Rows of several operands, one operand after the other in each sample.

use bytec_plan::kernel::Joined;

use super::args::{Args, TASK};
use super::threads::Cut;

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, parts: &[Joined]) {
    let operands = args.operands();
    let offsets = args.batch.offsets(args.out_rows);
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        let mut sample = offsets.sample(block.rows.start);
        for row in block.rows.clone() {
            while row >= offsets.range(sample).end {
                sample += 1;
            }
            let mut place = row - offsets.range(sample).start;
            for (operand, part) in parts.iter().enumerate() {
                let rows = match part {
                    Joined::Rows => operands.offsets(operand).range(sample),
                    Joined::Shared { rows } => 0..*rows as usize,
                };
                if place >= rows.len() {
                    place -= rows.len();
                    continue;
                }
                let out = block.row(row);
                let source = rows.start + place;
                out.copy_from_slice(match part {
                    Joined::Rows => operands.matrix(operand).row(source),
                    Joined::Shared { .. } => {
                        &operands.weight(operand)[source * out.len()..][..out.len()]
                    }
                });
                break;
            }
        }
    });
}
