//! Attention on the tensor cores of `sm_90a`: products of warpgroups on tiles that the copy engine brings.
//!
//! Which of the kernels an attention gets depends on the step alone, never on a batch, and the module's symbol says it.

use bytec_plan::device::{Arg, Count, Map, Of, Span};
use serde::Serialize;

use super::attention::Attention;
use super::attention_options::Usual;
use super::{CFloat, Float, Launch, Params, Site};

/// Queries of a block: 64 for each of two warpgroups.
const TILE_QUERIES: u32 = 128;
/// Rows that a copy brings: queries of a warpgroup, keys of a tile, or their values.
const TILE_ROWS: u32 = 64;
/// Two warpgroups that multiply, and one of which a warp lets data come.
const THREADS: u32 = 3 * 128;
/// Bytes of shared memory that a block can have.
const MOST_SHARED: u32 = 227 << 10;
/// The most tiles in the ring: two of keys and of values are in use, as many come.
const MOST_STAGES: u32 = 6;
/// The widest heads of which two blocks share a multiprocessor; a mask takes registers.
const NARROW: u32 = 64;
const NARROW_WITH_MASK: u32 = 32;

/// The template's variables.
#[derive(Debug, Serialize)]
pub(super) struct Warpgroups {
    head_size: u32,
    /// Heads of queries for each of keys and values, if more than one.
    group: Option<u32>,
    /// The head's columns with zeros to a multiple of 16, one product's share.
    columns: u32,
    factor: CFloat,
    out_stride: u32,
    out_move: u32,
    span: u32,
    stages: u32,
    /// Blocks of a multiprocessor.
    blocks: u32,
    /// Whether weighted sums run beside the softmax.
    beside: bool,
    /// Registers of a thread that multiplies.
    registers: u32,
    /// Eight columns each of the sums of a product: of scores, and of values.
    score_chunks: Vec<u32>,
    sum_chunks: Vec<u32>,
    /// The number of the first operand after the sums.
    weights: u32,
    #[serde(flatten)]
    usual: Usual,
    #[serde(skip)]
    heads: u32,
    #[serde(skip)]
    box_span: Span,
    #[serde(skip)]
    stem: String,
    #[serde(skip)]
    operands: u32,
}

/// Parameters of an attention that `attention` describes; `None` where the other kernels have to do it: numbers of four
/// bytes, rows or heads that don't begin at multiples of 16 bytes, and scores that need rows by distance.
pub(super) fn params(site: &Site<'_>, attention: &Attention) -> Option<Warpgroups> {
    let Attention { head_size, group, factor, out_stride, out_move, heads, ref options, .. } =
        *attention;
    let per_piece = u64::from(16 / site.dtype.bytes());
    let aligned = (0..3).all(|n| {
        site.operand(n).is_ok_and(|matrix| {
            matrix.stride.is_multiple_of(per_piece) && matrix.column.is_multiple_of(per_piece)
        })
    });
    if site.dtype == Float::F32 || !aligned || !u64::from(head_size).is_multiple_of(per_piece) {
        return None;
    }
    let usual = options.usual()?.clone();
    let narrow = if usual.has_mask() { NARROW_WITH_MASK } else { NARROW };
    let columns = head_size.next_multiple_of(16);
    let span = Span::dividing(2 * columns)?;
    let tile = tile_bytes(columns);
    let (blocks, registers) = if columns <= narrow { (2, 104) } else { (1, 240) };
    let stages = ((MOST_SHARED - fixed_bytes(columns)) / (tile + 16)).min(MOST_STAGES);
    Some(Warpgroups {
        head_size,
        group,
        columns,
        factor,
        out_stride,
        out_move,
        span: span.bytes(),
        stages,
        blocks,
        beside: blocks == 1,
        registers,
        score_chunks: (0..TILE_ROWS / 8).collect(),
        sum_chunks: (0..columns / 8).collect(),
        weights: columns / 2,
        usual,
        heads,
        box_span: span,
        stem: format!("attention_wgmma_{}", attention.shape()),
        operands: options.operands(),
    })
}

/// Bytes of 64 rows of a head.
fn tile_bytes(columns: u32) -> u32 {
    TILE_ROWS * columns * 2
}

/// Bytes of what a block has beside its ring: up to a multiple of 1024, queries, and their barriers.
fn fixed_bytes(columns: u32) -> u32 {
    1024 + TILE_QUERIES / TILE_ROWS * tile_bytes(columns) + 3 * 8
}

impl Params for Warpgroups {
    const TEMPLATE: &'static str = "kernels/attention_wgmma.cu.tera";

    fn stem(&self) -> String {
        self.stem.clone()
    }

    fn launch(&self) -> Launch {
        let tiles = Count::Tiles { per: TILE_QUERIES };
        Launch {
            grid: [tiles, Count::Fixed(self.heads), Count::Fixed(1)],
            block: THREADS,
            shared: fixed_bytes(self.columns) + self.stages * (tile_bytes(self.columns) + 16),
        }
    }

    fn args(&self) -> Vec<Arg> {
        let shared = self.heads / self.group.unwrap_or(1);
        let map = |(operand, heads)| Map {
            operand,
            columns: self.head_size,
            heads: Some(heads),
            rows: TILE_ROWS,
            span: self.box_span,
        };
        let operands = (0..).zip([self.heads, shared, shared]);
        let mut args: Vec<_> = operands.map(|operand| Arg::Map(map(operand))).collect();
        args.push(Arg::Output);
        args.push(Arg::Tiles { per: TILE_QUERIES });
        args.extend([Arg::Offsets(Of::Output), Arg::Offsets(Of::Operand(1))]);
        args.extend((3..3 + self.operands).map(Arg::Operand));
        args
    }
}
