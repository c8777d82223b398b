//! Columns of several operands side by side.

use bytec_plan::kernel::Part;

use super::args::{Args, TASK};
use super::threads::Cut;

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, groups: usize, parts: &[Part]) {
    let operands = args.operands();
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        let group = args.width / groups;
        for row in block.rows.clone() {
            let out = block.row(row);
            let mut first = 0;
            for (operand, part) in parts.iter().enumerate() {
                let columns = part.columns as usize;
                let x = match part.weight {
                    true => operands.weight(operand),
                    false => operands.matrix(operand).row(row),
                };
                for (out, x) in out.chunks_exact_mut(group).zip(x.chunks_exact(columns)) {
                    out[first..first + columns].copy_from_slice(x);
                }
                first += columns;
            }
        }
    });
}
