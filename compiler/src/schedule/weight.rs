//! What the steps' weights are made of.

use bytec_ir::{Buckets, Graph, NodeId, Rotary};
use bytec_plan::program::{DType, Layout};

/// A weight that steps read, before it has bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightUse {
    /// What its elements are.
    pub content: Content,
    /// Its extents.
    pub shape: Vec<u64>,
    /// How the kernel wants it laid out.
    pub layout: Layout,
}

/// Where the elements of a weight come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value of the fused graph: a weight, or an expression over weights; of the program's element type, or bf16 in
    /// pairs or int8 in quads.
    Value(NodeId),
    /// The table's row of each distance, heads first: f32 `[heads, 2 * reach + 1]`.
    ByDistance {
        /// The table, `[rows, heads]`.
        table: NodeId,
        /// The row of a distance.
        buckets: Buckets,
        /// The largest distance.
        reach: u32,
    },
    /// The row of each distance: i32 `[2 * reach + 1]`.
    Rows {
        /// The row of a distance.
        buckets: Buckets,
        /// The largest distance.
        reach: u32,
    },
    /// Cosines and sines of each position: f32 `[positions, dims]`.
    Turns {
        /// The rotation.
        rotary: Rotary,
        /// How many positions.
        positions: u32,
    },
}

impl WeightUse {
    /// What it is called.
    pub fn name(&self, graph: &Graph) -> String {
        match &self.content {
            Content::Value(id) => graph.name(*id).to_owned(),
            Content::ByDistance { table, buckets, .. } => {
                format!("{} by {buckets}", graph.name(*table))
            }
            Content::Rows { buckets, .. } => format!("rows by {buckets}"),
            Content::Turns { rotary, .. } => format!("turns by {rotary}"),
        }
    }

    /// The type of its elements in a program of this one.
    pub fn dtype(&self, program: DType) -> DType {
        match self.content {
            Content::Value(_) => match self.layout {
                Layout::Pairs { .. } => DType::Bf16,
                Layout::Quads { .. } => DType::I8,
                Layout::RowMajor | Layout::Panels { .. } => program,
            },
            Content::ByDistance { .. } | Content::Turns { .. } => DType::F32,
            Content::Rows { .. } => DType::I32,
        }
    }
}
