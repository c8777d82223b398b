//! Attention on the tensor cores of `sm_90a`: products of warpgroups on tiles that the copy engine brings.
//!
//! Which of the kernels an attention gets, and which tile, depends on the step and on the most rows that its samples may
//! have, never on a batch, and the module's symbol says it.

use bytec_plan::device::{Arg, Count, Map, Of, Span};
use serde::Serialize;
use thiserror::Error;

use super::attention::Attention;
use super::attention_options::Options;
use super::{CFloat, Float, Launch, Params, Site};
use crate::cost::attention::{GROUP_QUERIES, Lengths, Tile};

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
    /// Warpgroups that multiply.
    groups: u32,
    tile_keys: u32,
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
    /// The number of the first operand after the sums of either.
    queries: u32,
    weights: u32,
    #[serde(flatten)]
    options: Options,
    #[serde(skip)]
    heads: u32,
    #[serde(skip)]
    box_span: Span,
    #[serde(skip)]
    stem: String,
    #[serde(skip)]
    tile: Tile,
    #[serde(skip)]
    shared: u32,
    #[serde(skip)]
    note: String,
}

/// Why the other kernels have to do an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Unsuited {
    /// Warpgroups multiply numbers of two bytes.
    #[error("its numbers have four bytes")]
    Dtype,
    /// The copy engine takes rows and heads that begin at multiples of 16 bytes.
    #[error("its rows or heads don't begin at multiples of 16 bytes")]
    Unaligned,
    /// No tile fits.
    #[error("its heads are too wide")]
    Wide,
}

/// Parameters of an attention that `attention` describes, of samples of so many rows.
pub(super) fn params(
    site: &Site<'_>,
    attention: &Attention,
    lengths: Lengths,
) -> Result<Warpgroups, Unsuited> {
    let Attention { head_size, group, factor, out_stride, out_move, heads, ref options, .. } =
        *attention;
    let per_piece = u64::from(16 / site.dtype.bytes());
    let aligned = (0..3).all(|n| {
        site.operand(n).is_ok_and(|matrix| {
            matrix.stride.is_multiple_of(per_piece) && matrix.column.is_multiple_of(per_piece)
        })
    });
    if site.dtype == Float::F32 {
        return Err(Unsuited::Dtype);
    }
    if !aligned || !u64::from(head_size).is_multiple_of(per_piece) {
        return Err(Unsuited::Unaligned);
    }
    let head = options.head(head_size);
    let tile = Tile::best(&head, lengths).ok_or(Unsuited::Wide)?;
    let columns = head.columns();
    let span = Span::dividing(2 * columns).ok_or(Unsuited::Unaligned)?;
    let Tile { groups, keys, blocks, beside, registers, stages } = tile;
    Ok(Warpgroups {
        head_size,
        group,
        columns,
        factor,
        out_stride,
        out_move,
        span: span.bytes(),
        groups,
        tile_keys: keys,
        stages,
        blocks,
        beside,
        registers,
        score_chunks: (0..keys / 8).collect(),
        sum_chunks: (0..columns / 8).collect(),
        queries: keys / 2,
        weights: columns / 2,
        options: options.clone(),
        heads,
        box_span: span,
        stem: format!("attention_wgmma_{}", attention.shape()),
        tile,
        shared: tile.shared(&head),
        note: tile.note(&head, lengths),
    })
}

impl Params for Warpgroups {
    const TEMPLATE: &'static str = "kernels/attention_wgmma.cu.tera";

    fn stem(&self) -> String {
        self.stem.clone()
    }

    fn launch(&self) -> Launch {
        let tiles = Count::Tiles { per: self.tile.queries() };
        Launch {
            grid: [tiles, Count::Fixed(self.heads), Count::Fixed(1)],
            // One warpgroup more, of which a warp lets data come.
            block: (self.groups + 1) * 128,
            shared: self.shared,
        }
    }

    fn args(&self) -> Vec<Arg> {
        let shared = self.heads / self.group.unwrap_or(1);
        let map = |operand, heads, rows| {
            let (columns, heads, span) = (self.head_size, Some(heads), self.box_span);
            Arg::Map(Map { operand, columns, heads, rows, span })
        };
        let mut args = vec![
            map(0, self.heads, GROUP_QUERIES),
            map(1, shared, self.tile_keys),
            map(2, shared, self.tile_keys),
            Arg::Output,
            Arg::Tiles { per: self.tile.queries() },
            Arg::Offsets(Of::Output),
            Arg::Offsets(Of::Operand(1)),
        ];
        args.extend((3..3 + self.options.operands()).map(Arg::Operand));
        args
    }

    fn note(&self) -> Option<String> {
        Some(self.note.clone())
    }
}

#[cfg(test)]
mod tests {
    use bytec_plan::attention::{Band, Bias};
    use bytec_plan::device::{Arg, Count};
    use bytec_plan::kernel::Kernel;

    use super::super::{Matrix, Renderer, Site};
    use super::{Float, Lengths, Tile};
    use crate::cost::attention::Head;
    use crate::nvrtc::Arch;

    /// The kernel, its maps and its launch have the tile that the cost model chooses.
    #[test]
    fn the_cost_model_decides() {
        let mut seen = Vec::new();
        for (size, longest) in [(64, 64), (64, 512), (64, 8192), (128, 512), (128, 8192)] {
            let kernel = Kernel::attention(4, size, 0.125);
            let width = u64::from(4 * size);
            let operands = [0, 1, 2].map(|n| Matrix { column: n * width, stride: 3 * width });
            let output = Matrix { column: 0, stride: width };
            let site = Site { kernel: &kernel, dtype: Float::F16, operands: &operands, output };
            let lengths = Lengths { queries: longest, keys: longest, alike: false };
            let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
            renderer.render_for(&site, lengths).unwrap();
            let source = &renderer.sources()[0];
            let head = Head::plain(size);
            let tile = Tile::best(&head, lengths).unwrap();
            for (name, value) in
                [("kGroups", tile.groups), ("kTileKeys", tile.keys), ("kStages", tile.stages)]
            {
                let line = format!("constexpr int {name} = {value};");
                assert!(source.text.contains(&line), "{line}");
            }
            let bounds = format!("__launch_bounds__(kThreads, {})", tile.blocks);
            assert!(source.text.contains(&bounds), "{bounds}");
            assert_eq!(source.launch.grid[0], Count::Tiles { per: tile.groups * 64 });
            let rows = source.args.iter().filter_map(|arg| match arg {
                Arg::Map(map) => Some(map.rows),
                _ => None,
            });
            assert_eq!(rows.collect::<Vec<_>>(), [64, tile.keys, tile.keys]);
            assert!(source.note.clone().unwrap().contains(&tile.to_string()));
            seen.push((tile.groups, tile.keys));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [(1, 64), (2, 64), (2, 128)]);
    }

    #[test]
    fn what_has_no_tile_says_why() {
        let note = |kernel: &Kernel, dtype, stride: u64| {
            let operands = [0, 1, 2, 3, 4, 5].map(|_| Matrix { column: 0, stride });
            let site = Site { kernel, dtype, operands: &operands, output: operands[0] };
            let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
            renderer.render(&site).unwrap();
            renderer.sources()[0].note.clone().unwrap()
        };
        let plain = Kernel::attention(2, 8, 1.0);
        let by_rows = |head_size| Kernel::Attention {
            heads: 2,
            head_size,
            group: 1,
            scale: 1.0,
            mask: Band::default(),
            bias: Bias::Disentangled { reach: 4, c2p: true, p2c: true },
            rotary: None,
        };
        for (kernel, dtype, stride, reason) in [
            (&plain, Float::F32, 16, "four bytes"),
            (&plain, Float::F16, 20, "multiples of 16 bytes"),
            (&Kernel::attention(4, 4, 1.0), Float::Bf16, 16, "multiples of 16 bytes"),
            (&by_rows(256), Float::F16, 512, "too wide"),
        ] {
            let found = note(kernel, dtype, stride);
            assert!(found.starts_with("not on wgmma: ") && found.contains(reason), "{found}");
        }
        for kernel in [plain, by_rows(8)] {
            assert!(note(&kernel, Float::F16, 16).starts_with("wgmma, tiles of "));
        }
    }
}
