//! Compiles a source and launches it on the simulator.

use std::path::Path;
use std::sync::OnceLock;

use bytec_compiler::nvrtc::{Arch, Cache, Nvrtc};
use bytec_compiler::render::Source;
use bytec_plan::device::{Arg, Count, Map, Of, Span};
use bytec_runtime::cuda::{Axes, Pointer, TensorMap};
use bytec_sim::{Buffer, Module, Swizzle};
use bytec_tests::nvrtc::nvrtc;

/// NVRTC, and a simulated device for each launch.
pub(crate) struct Device {
    nvrtc: &'static Nvrtc,
    cache: Cache,
}

/// Where an operand lies: a buffer, and the byte of its first element.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) buffer: usize,
    pub(crate) offset: u64,
}

/// What a launch did.
struct Ran {
    out: Vec<u8>,
    asked: Vec<u64>,
    tensor_ops: u64,
    /// What the buffers hold.
    buffers: Vec<Vec<u8>>,
}

impl Device {
    /// `None` without NVRTC.
    pub(crate) fn get() -> Option<&'static Device> {
        static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
        let open = || {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim_products");
            Some(Device { nvrtc: nvrtc()?, cache: Cache::open(&folder).unwrap() })
        };
        DEVICE.get_or_init(open).as_ref()
    }

    /// Launches `source` as its launch says; the `out_bytes` that it wrote. No access may meet a bank conflict.
    ///
    /// `rows` are each sample's rows of the output and of the second operand.
    pub(crate) fn run(
        &self,
        source: &Source,
        buffers: &[Vec<u8>],
        operands: &[Operand],
        rows: [&[u32]; 2],
        out_bytes: usize,
    ) -> Vec<u8> {
        self.run_counted(source, buffers, operands, rows, out_bytes).0
    }

    /// As [`run`](Self::run), and what the buffers hold then.
    pub(crate) fn run_in_place(
        &self,
        source: &Source,
        buffers: &[Vec<u8>],
        operands: &[Operand],
        rows: [&[u32]; 2],
        out_bytes: usize,
    ) -> (Vec<u8>, Vec<Vec<u8>>) {
        let ran = self.launch(source, buffers, operands, rows, out_bytes);
        (ran.out, ran.buffers)
    }

    /// As [`run`](Self::run), and the bytes of the sectors that were asked for: of each buffer, and of the output.
    pub(crate) fn run_counted(
        &self,
        source: &Source,
        buffers: &[Vec<u8>],
        operands: &[Operand],
        rows: [&[u32]; 2],
        out_bytes: usize,
    ) -> (Vec<u8>, Vec<u64>) {
        let (out, asked, _) = self.run_profiled(source, buffers, operands, rows, out_bytes);
        (out, asked)
    }

    /// As [`run_counted`](Self::run_counted), and the operations of the tensor cores.
    pub(crate) fn run_profiled(
        &self,
        source: &Source,
        buffers: &[Vec<u8>],
        operands: &[Operand],
        rows: [&[u32]; 2],
        out_bytes: usize,
    ) -> (Vec<u8>, Vec<u64>, u64) {
        let ran = self.launch(source, buffers, operands, rows, out_bytes);
        (ran.out, ran.asked, ran.tensor_ops)
    }

    fn launch(
        &self,
        source: &Source,
        buffers: &[Vec<u8>],
        operands: &[Operand],
        rows: [&[u32]; 2],
        out_bytes: usize,
    ) -> Ran {
        let hopper = source.args.iter().any(|arg| matches!(arg, Arg::Map(_)));
        let units = [(source, if hopper { Arch::SM_90A } else { Arch::SM_80 })];
        let ptx = self.nvrtc.compile(&units, Some(&self.cache), &|_| {}).unwrap().remove(0).ptx;
        let module = Module::parse(&ptx).unwrap_or_else(|e| panic!("{}: {e}", source.symbol));
        let mut device =
            if hopper { bytec_sim::Device::sm_90() } else { bytec_sim::Device::sm_80() };
        let mut upload = |name: String, bytes: &[u8]| {
            let buffer = device.alloc(name, bytes.len() as u64).unwrap();
            device.upload(buffer, 0, bytes).unwrap();
            buffer
        };
        let sizes: Vec<_> = buffers.iter().map(|bytes| bytes.len() as u64).collect();
        let buffers: Vec<_> = buffers
            .iter()
            .enumerate()
            .map(|(n, bytes)| upload(format!("buffer {n}"), bytes))
            .collect();
        let maps = source.args.iter().filter_map(|arg| match arg {
            Arg::Map(map) => {
                let Operand { buffer, offset } = operands[map.operand as usize];
                let address = buffers[buffer].address() + offset;
                Some(tensor_map(*map, address, sizes[buffer], rows))
            }
            _ => None,
        });
        let maps: Vec<_> = maps.map(bytec_sim::Arg::Bytes).collect();
        let args: Vec<(Option<Buffer>, u64)> = source
            .args
            .iter()
            .filter(|arg| !matches!(arg, Arg::Map(_)))
            .map(|arg| match arg {
                Arg::Output => (None, 0),
                Arg::Operand(n) => {
                    let Operand { buffer, offset } = operands[*n as usize];
                    (Some(buffers[buffer]), offset)
                }
                arg => (Some(upload(format!("{arg:?}"), &table(*arg, rows))), 0),
            })
            .collect();
        let out = device.alloc("output", out_bytes as u64).unwrap();
        let pointers = args
            .iter()
            .map(|(buffer, offset)| bytec_sim::Arg::Pointer(buffer.unwrap_or(out), *offset));
        let args: Vec<_> = maps.into_iter().chain(pointers).collect();
        let launch = &source.launch;
        let grid = launch.grid.map(|count| blocks(count, rows[0]));
        let kernel = module.kernel(&source.symbol).unwrap();
        let profile = device
            .launch(kernel, grid, [launch.block, 1, 1], launch.shared, &args)
            .unwrap_or_else(|fault| panic!("{fault}"));
        // Products that scores pick along a diagonal meet some, as the template's header tells.
        let most = match source.symbol.contains("_disentangled") && !hopper {
            true => profile.shared_reads.requests + profile.shared_writes.requests,
            false => 0,
        };
        assert!(profile.extra_wavefronts <= most, "{}: bank conflicts", source.symbol);
        let asked = buffers.iter().chain([&out]).map(|buffer| {
            let traffic = profile.buffers.get(buffer).copied().unwrap_or_default();
            32 * (traffic.reads.sectors + traffic.writes.sectors)
        });
        let asked = asked.collect();
        let out = device.download(out, 0..out_bytes as u64).unwrap();
        let held = buffers.iter().zip(&sizes);
        let buffers = held.map(|(buffer, bytes)| device.download(*buffer, 0..*bytes).unwrap());
        Ran { out, asked, tensor_ops: profile.tensor_ops, buffers: buffers.collect() }
    }
}

/// The map of an operand in a buffer of so many bytes: the first operand and what has heads have the batch's rows,
/// others are dense.
fn tensor_map(map: Map, address: u64, bytes: u64, rows: [&[u32]; 2]) -> Vec<u8> {
    let packed = map.operand == 0 || map.heads.is_some();
    let rows = rows[usize::from(map.operand > 0)].iter().copied().map(u64::from).sum::<u64>();
    let stride = if packed { bytes / rows } else { u64::from(map.columns) * 2 };
    let Axes { rank, extents, strides, sides } = TensorMap {
        address: Pointer(address),
        bf16: false,
        columns: map.columns.into(),
        heads: map.heads.map(u64::from),
        rows: bytes / stride,
        stride,
        box_rows: map.rows,
        span: map.span,
    }
    .axes();
    let map = bytec_sim::TensorMap {
        address,
        element: 2,
        extents: extents[..rank].to_vec(),
        strides: strides[..rank - 1].to_vec(),
        boxes: sides[..rank].to_vec(),
        swizzle: match map.span {
            Span::Bytes32 => Swizzle::Bytes32,
            Span::Bytes64 => Swizzle::Bytes64,
            Span::Bytes128 => Swizzle::Bytes128,
        },
    };
    map.encode().unwrap().into_iter().flat_map(u64::to_le_bytes).collect()
}

/// A table of the batch, as int32.
fn table(arg: Arg, rows: [&[u32]; 2]) -> Vec<u8> {
    let of = |of: Of| match of {
        Of::Output | Of::Operand(0) => rows[0],
        Of::Operand(_) => rows[1],
    };
    let numbers: Vec<i32> = match arg {
        Arg::Rows(whose) => vec![of(whose).iter().sum::<u32>() as i32],
        Arg::Offsets(whose) => {
            let mut offsets = vec![0];
            offsets.extend(of(whose).iter().scan(0, |sum, rows| {
                *sum += *rows as i32;
                Some(*sum)
            }));
            offsets
        }
        Arg::Tiles { per } => {
            let tiles = rows[0].iter().enumerate().flat_map(|(sample, rows)| {
                (0..*rows).step_by(per as usize).flat_map(move |row| [sample as i32, row as i32])
            });
            // And one past the last, as where a grid covers a larger batch.
            tiles.chain([-1, 0]).collect()
        }
        Arg::Positions(whose) => {
            of(whose).iter().flat_map(|rows| 0..*rows).map(|row| row as i32).collect()
        }
        Arg::SampleOfRow(whose) => {
            let samples = of(whose).iter().zip(0..);
            samples.flat_map(|(rows, sample)| vec![sample; *rows as usize]).collect()
        }
        arg => panic!("no kernel here takes {arg:?}"),
    };
    numbers.into_iter().flat_map(i32::to_le_bytes).collect()
}

/// The blocks along an axis, with one too many where the batch decides.
fn blocks(count: Count, rows: &[u32]) -> u32 {
    match count {
        Count::Fixed(blocks) => blocks,
        Count::Rows { per } => rows.iter().sum::<u32>().div_ceil(per) + 1,
        Count::Samples => rows.len() as u32 + 1,
        // Fewer than there are tiles, where there are several.
        Count::Resident { per, across } => 2.min(rows.iter().sum::<u32>().div_ceil(per) * across),
        Count::Tiles { per } => rows.iter().map(|rows| rows.div_ceil(per)).sum::<u32>() + 1,
    }
}
