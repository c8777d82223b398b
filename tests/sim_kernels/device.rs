//! One kernel on the simulated device: its argument list filled in for a batch, as the runtime does.

use std::path::Path;

use bytec_compiler::nvrtc::{Arch, Cache};
use bytec_compiler::render::{Float, Source};
use bytec_plan::device::{Arg, Count};
use bytec_sim::{Buffer, Module};
use bytec_tests::nvrtc::nvrtc;

use super::numbers::Numbers;
use super::{Case, Operand};

/// Bytes that memory moves at a time.
pub(super) const SECTOR: u64 = 32;

/// Rows past the end of every ragged operand; a grid for that many rows covers them.
const PAST: usize = 9;

/// What a launch gave.
pub(super) struct Ran {
    /// The output's rows.
    pub(super) out: Numbers,
    /// Bytes of the sectors that were asked for: of each operand, and of the output.
    pub(super) operands: Vec<u64>,
    pub(super) output: u64,
}

/// A kernel that is ready to run.
pub(super) struct Device<'a> {
    source: &'a Source,
    module: Module,
}

impl<'a> Device<'a> {
    /// Compiles the kernel; `None` without NVRTC.
    pub(super) fn new(source: &'a Source) -> Option<Self> {
        let cache =
            Cache::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim_kernels")).unwrap();
        let units = [(source, Arch::SM_80)];
        let compiled = nvrtc()?.compile(&units, Some(&cache), &|_| {}).unwrap().remove(0);
        let module =
            Module::parse(&compiled.ptx).unwrap_or_else(|e| panic!("{}: {e}", source.symbol));
        Some(Self { source, module })
    }

    /// Runs it over a batch of samples with so many rows.
    pub(super) fn run(&self, case: &Case, lengths: &[usize], dtype: Float) -> Ran {
        let mut sim = bytec_sim::Device::sm_80();
        let size = dtype.bytes() as usize;
        let packed: usize = lengths.iter().sum();
        let rows = if case.pooled { lengths.len() } else { packed };
        let out_bytes = (rows * case.width * size) as u64;
        let out = sim.alloc("out", out_bytes).unwrap();

        let upload = |sim: &mut bytec_sim::Device, name: String, bytes: &[u8]| -> Buffer {
            let buffer = sim.alloc(name, bytes.len() as u64).unwrap();
            sim.upload(buffer, 0, bytes).unwrap();
            buffer
        };
        let mut operands = Vec::new();
        for (nth, operand) in case.operands.iter().enumerate() {
            let name = format!("operand {nth}");
            operands.push(match operand {
                Operand::Weight(data) => {
                    (upload(&mut sim, name, &Numbers::of(data, dtype).bytes), 0)
                }
                Operand::Samples(data) => {
                    (upload(&mut sim, name, &Numbers::of(data, dtype).bytes), 0)
                }
                Operand::Ids(ids) => {
                    let bytes: Vec<_> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
                    (upload(&mut sim, name, &bytes), 0)
                }
                Operand::Rows(data, matrix) => {
                    // The view's rows in a wider buffer that is NaN elsewhere, and marked there.
                    let (stride, column) = (matrix.stride as usize, matrix.column as usize);
                    let mut whole = vec![f64::NAN; (packed + PAST) * stride];
                    for row in 0..packed {
                        let from = &data[row * case.width..][..case.width];
                        whole[row * stride + column..][..case.width].copy_from_slice(from);
                    }
                    let buffer = upload(&mut sim, name, &Numbers::of(&whole, dtype).bytes);
                    let bytes = |element: usize| (element * size) as u64;
                    for row in 0..packed {
                        let first = row * stride;
                        sim.mark(buffer, bytes(first)..bytes(first + column)).unwrap();
                        let after = first + column + case.width;
                        sim.mark(buffer, bytes(after)..bytes(first + stride)).unwrap();
                    }
                    let past = bytes(packed * stride)..bytes((packed + PAST) * stride);
                    sim.mark(buffer, past).unwrap();
                    (buffer, bytes(column))
                }
            });
        }

        let table = |numbers: Vec<usize>| -> Vec<u8> {
            numbers.into_iter().flat_map(|n| (n as i32).to_le_bytes()).collect()
        };
        let mut offsets = vec![0];
        let mut first = 0;
        for length in lengths {
            first += length;
            offsets.push(first);
        }
        let samples = 0..lengths.len();
        let positions = samples.clone().flat_map(|sample| 0..lengths[sample]).collect();
        let of_row = samples.flat_map(|sample| vec![sample; lengths[sample]]).collect();
        let [positions, sample_of_row, offsets] = [positions, of_row, offsets].map(table);

        let args: Vec<_> = self
            .source
            .args
            .iter()
            .map(|arg| {
                let (buffer, offset) = match *arg {
                    Arg::Output => (out, 0),
                    Arg::Operand(nth) => operands[nth as usize],
                    Arg::Rows(_) => (upload(&mut sim, "rows".into(), &table(vec![rows])), 0),
                    Arg::Samples => {
                        (upload(&mut sim, "samples".into(), &table(vec![lengths.len()])), 0)
                    }
                    Arg::Offsets(_) => (upload(&mut sim, "offsets".into(), &offsets), 0),
                    Arg::Positions(_) => (upload(&mut sim, "positions".into(), &positions), 0),
                    Arg::SampleOfRow(_) => {
                        (upload(&mut sim, "sample of row".into(), &sample_of_row), 0)
                    }
                    ref other => panic!("no simple kernel takes {other:?}"),
                };
                bytec_sim::Arg::Pointer(buffer, offset)
            })
            .collect();
        // The grid covers the rows past the end too, as one for a capacity class does.
        let grid = self.source.launch.grid.map(|count| match count {
            Count::Fixed(blocks) => blocks,
            Count::Rows { per } => ((rows + PAST) as u32).div_ceil(per),
            Count::Samples => (lengths.len() + PAST) as u32,
            ref other => panic!("no simple kernel counts {other:?}"),
        });
        let launch = &self.source.launch;
        let kernel = self.module.kernel(&self.source.symbol).unwrap();
        let profile = sim
            .launch(kernel, grid, [launch.block, 1, 1], launch.shared, &args)
            .unwrap_or_else(|fault| panic!("{} {lengths:?}: {fault}", self.source.symbol));
        assert_eq!(profile.extra_wavefronts, 0, "{}: bank conflicts", self.source.symbol);
        let written = profile.global_writes.bytes;
        assert_eq!(written, out_bytes, "{}: each element is written once", self.source.symbol);
        let moved = |buffer: Buffer| {
            let traffic = profile.buffers.get(&buffer).copied().unwrap_or_default();
            SECTOR * (traffic.reads.sectors + traffic.writes.sectors)
        };
        Ran {
            out: Numbers { bytes: sim.download(out, 0..out_bytes).unwrap(), dtype },
            operands: operands.iter().map(|(buffer, _)| moved(*buffer)).collect(),
            output: moved(out),
        }
    }
}
