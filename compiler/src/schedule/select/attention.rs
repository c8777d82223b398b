//! The kernel of attention with its options, and the tables that the options need.

use bytec_ir::attention::{Band, Bias, Pairs, Rotary};
use bytec_ir::{Buckets, NodeId};
use bytec_plan::attention as plan;
use bytec_plan::kernel::{Instr, Kernel};
use bytec_plan::program::{Layout, Operand};

use super::{Choice, Selector};
use crate::fuse::pack::{self, Placement};
use crate::schedule::shapes::Matrix;
use crate::schedule::{Content, WeightUse};

/// The most rows of a generated table, which for longer samples would be larger than a model's weights.
const MOST_ROWS: i128 = 1 << 22;

/// How a row is shared out.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    pub(super) size: usize,
    /// How many of them share one of k and v.
    pub(super) group: usize,
}

impl Selector<'_> {
    #[expect(clippy::too_many_arguments, reason = "the op's attributes, as they come")]
    pub(super) fn attention(
        &mut self,
        xs: &[NodeId],
        out: Matrix,
        heads: Heads,
        scale: f64,
        mask: Band,
        bias: &Bias,
        rotary: Option<Rotary>,
    ) -> Result<Choice, String> {
        let asked = [
            (mask != Band::ALL).then(|| format!("the mask {mask}")),
            (*bias != Bias::None).then(|| format!("the bias {bias}")),
            rotary.map(|rotary| format!("the rotation {rotary}")),
            (heads.group > 1).then(|| format!("each head of k and v to {} of q", heads.group)),
        ];
        let asked: Vec<_> = asked.into_iter().flatten().collect();
        let shared = out.width / heads.group as u64;
        let mut operands = Vec::new();
        for (&x, width) in xs.iter().zip([out.width, shared, shared]) {
            operands.push(self.rows_of_heads(x, width)?);
        }
        let counted = matches!(bias, Bias::Relative(_) | Bias::Disentangled { .. });
        let most = if counted || rotary.is_some() {
            self.most_rows(xs[0])?.max(self.most_rows(xs[1])?)
        } else {
            0
        };
        let bias = self.bias(bias, &xs[3..], most, &mut operands)?;
        let turns = rotary.map(|rotary| self.turns(rotary, most)).transpose()?;
        operands.extend(turns);
        let kernel = Kernel::Attention {
            heads: heads.count as u32,
            head_size: heads.size as u32,
            group: heads.group as u32,
            scale: scale as f32,
            mask: plan::Band { before: mask.before, after: mask.after },
            bias,
            rotary: rotary.map(of_plan),
        };
        let reason = match &asked[..] {
            [] => "scores never leave the kernel".to_owned(),
            asked => format!("scores never leave the kernel; it applies {}", asked.join(" and ")),
        };
        Ok((kernel, operands, reason))
    }

    /// Rows that attention reads. Those made of weights alone, such as a query that every sample asks, are copied to each
    /// sample: the kernel then has no case of its own for them, and they are few.
    fn rows_of_heads(&mut self, id: NodeId, width: u64) -> Result<Operand, String> {
        let graph = &self.packed.graph;
        if *self.placement(id) != Placement::Shared {
            let rows = self.matrix(id)?.rows;
            return Ok(self.rows_of(id, rows, Some(width))?.0);
        }
        let rows = self.extents.rows(&pack::placed(graph.ty(id)));
        let matrix = Matrix { rows, width };
        let (operands, broadcasts) = self.broadcast(&[id], matrix)?;
        let body = vec![Instr::Operand(0)];
        let kernel = Kernel::Pointwise { width: width as u32, operands: broadcasts, body };
        let reason = "the same rows for every sample".to_owned();
        Ok(Operand::View(self.push_step(graph.name(id), matrix, (kernel, operands, reason))))
    }

    pub(super) fn rotary(
        &mut self,
        x: NodeId,
        out: Matrix,
        heads: Heads,
        rotary: Rotary,
    ) -> Result<Choice, String> {
        let most = self.most_rows(x)?;
        let x = self.rows_of(x, out.rows, Some(out.width))?.0;
        let operands = vec![x, self.turns(rotary, most)?];
        let (heads, head_size) = (heads.count as u32, heads.size as u32);
        let kernel = Kernel::Rotary { heads, head_size, rotary: of_plan(rotary) };
        Ok((kernel, operands, "no attention takes it in".to_owned()))
    }

    /// The kernel's bias; its tables go to the operands.
    fn bias(
        &mut self,
        bias: &Bias,
        tables: &[NodeId],
        most: u32,
        operands: &mut Vec<Operand>,
    ) -> Result<plan::Bias, String> {
        // Two rows of a sample are never further apart than its first and its last.
        let reach = |buckets: &Buckets| {
            u32::try_from(buckets.reach()).unwrap_or(u32::MAX).min(most.saturating_sub(1))
        };
        let distances = |reach: u32| 2 * u64::from(reach) + 1;
        Ok(match bias {
            Bias::None => plan::Bias::None,
            Bias::Alibi(slopes) => {
                plan::Bias::Alibi { slopes: slopes.iter().map(|slope| slope.0 as f32).collect() }
            }
            Bias::Relative(buckets) => {
                let (table, reach) = (tables[0], reach(buckets));
                self.shared(table)?;
                let heads = self.packed.graph.ty(table).shape[1].as_fixed().unwrap_or(0);
                let content = Content::ByDistance { table, buckets: *buckets, reach };
                operands.push(self.generated(content, vec![heads, distances(reach)]));
                plan::Bias::Relative { reach }
            }
            Bias::Disentangled { buckets, c2p, p2c } => {
                let reach = reach(buckets);
                let content = Content::Rows { buckets: *buckets, reach };
                operands.push(self.generated(content, vec![distances(reach)]));
                for &table in tables {
                    operands.push(self.weight(table, Layout::RowMajor)?);
                }
                plan::Bias::Disentangled { reach, c2p: *c2p, p2c: *p2c }
            }
        })
    }

    fn turns(&mut self, rotary: Rotary, positions: u32) -> Result<Operand, String> {
        let content = Content::Turns { rotary, positions };
        Ok(self.generated(content, vec![u64::from(positions), rotary.dims as u64]))
    }

    fn generated(&mut self, content: Content, shape: Vec<u64>) -> Operand {
        self.weight_use(WeightUse { content, shape, layout: Layout::RowMajor })
    }

    /// Refuses a value that depends on the sample.
    fn shared(&self, id: NodeId) -> Result<(), String> {
        if *self.placement(id) == Placement::Shared {
            return Ok(());
        }
        let name = self.packed.graph.name(id);
        Err(format!("%{name} depends on the sample where a weight is read"))
    }

    /// The rows of the longest sample.
    fn most_rows(&self, id: NodeId) -> Result<u32, String> {
        let graph = &self.packed.graph;
        let rows = &graph.ty(id).shape[0];
        let most = rows.bounds(graph.symbols()).map_or(i128::MAX, |(_, most)| most);
        if most > MOST_ROWS {
            return Err(format!(
                "%{} has up to {most} rows, expected at most {MOST_ROWS}: lower the limit of its symbol",
                graph.name(id)
            ));
        }
        Ok(most.max(0) as u32)
    }
}

fn of_plan(rotary: Rotary) -> plan::Rotary {
    let pairs = match rotary.pairs {
        Pairs::Half => plan::Pairs::Half,
        Pairs::Interleaved => plan::Pairs::Interleaved,
    };
    plan::Rotary { pairs, dims: rotary.dims as u32 }
}
