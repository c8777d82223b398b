//! Launches of two of MiniLM's kernels on a ragged batch of random numbers.

use std::ops::Range;

use bytec_sim::{Arg, Buffer, Device, Fault, MemoryError, Module, Profile};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const LINEAR: &str = include_str!("../../tests/fixtures/linear.ptx");
const ATTENTION: &str = include_str!("../../tests/fixtures/attention.ptx");

/// A kernel's launch, ready to run again and again.
pub(crate) struct Case {
    module: Module,
    pub(crate) device: Device,
    args: Vec<Arg>,
    grid: [u32; 3],
    shared: u32,
    /// The output, and its bytes.
    out: (Buffer, u64),
    /// The last sample's rows of inputs and output.
    last: Vec<(Buffer, Range<u64>)>,
}

impl Case {
    /// `x` [rows][384] times `weight` [1152][384], and a bias.
    pub(crate) fn linear(lengths: &[u64]) -> Result<Case, Failure> {
        let rows: u64 = lengths.iter().sum();
        let first = rows - lengths.last().ok_or("a batch has samples")?;
        let mut buffers = Buffers::new();
        let out = buffers.device.alloc("out", rows * 1152 * 2)?;
        let x = buffers.numbers("x", rows * 384)?;
        let weight = buffers.numbers("weight", 1152 * 384)?;
        let bias = buffers.numbers("bias", 1152)?;
        let count = buffers.table("rows", &[rows as i32])?;
        Ok(Case {
            module: Module::parse(LINEAR)?,
            device: buffers.device,
            args: [out, x, weight, bias, count].map(|buffer| Arg::Pointer(buffer, 0)).to_vec(),
            grid: [1152 / 96, rows.div_ceil(128) as u32, 1],
            shared: 4 * (128 + 96) * 64,
            out: (out, rows * 1152 * 2),
            last: vec![
                (x, first * 384 * 2..rows * 384 * 2),
                (out, first * 1152 * 2..rows * 1152 * 2),
            ],
        })
    }

    /// Attention of 12 heads of 32 columns on the merged `qkv` [rows][3 * 384].
    pub(crate) fn attention(lengths: &[u64]) -> Result<Case, Failure> {
        let rows: u64 = lengths.iter().sum();
        let first = rows - lengths.last().ok_or("a batch has samples")?;
        let mut buffers = Buffers::new();
        let out = buffers.device.alloc("out", rows * 384 * 2)?;
        let qkv = buffers.numbers("qkv", rows * 1152)?;
        let (mut starts, mut tiles, mut start) = (vec![0], Vec::new(), 0);
        for (sample, length) in (0..).zip(lengths) {
            start += *length as i32;
            starts.push(start);
            tiles.extend((0..*length as i32).step_by(64).flat_map(|query| [sample, query]));
        }
        let blocks = tiles.len() as u32 / 2;
        let tiles = buffers.table("tiles", &tiles)?;
        let starts = buffers.table("starts", &starts)?;
        let columns = [0, 384, 768].map(|column| Arg::Pointer(qkv, column * 2));
        let tables = [tiles, starts, starts].map(|buffer| Arg::Pointer(buffer, 0));
        Ok(Case {
            module: Module::parse(ATTENTION)?,
            device: buffers.device,
            args: [Arg::Pointer(out, 0)].into_iter().chain(columns).chain(tables).collect(),
            grid: [blocks, 12, 1],
            shared: 5 * 64 * 32 * 2,
            out: (out, rows * 384 * 2),
            last: vec![
                (qkv, first * 1152 * 2..rows * 1152 * 2),
                (out, first * 384 * 2..rows * 384 * 2),
            ],
        })
    }

    /// Marks the last sample's rows.
    pub(crate) fn mark_last(&mut self) -> Result<(), MemoryError> {
        for (buffer, range) in self.last.clone() {
            self.device.mark(buffer, range)?;
        }
        Ok(())
    }

    pub(crate) fn launch(&mut self) -> Result<Profile, Box<Fault>> {
        let kernel = &self.module.kernels()[0];
        self.device.launch(kernel, self.grid, [128, 1, 1], self.shared, &self.args)
    }

    /// The output's bytes.
    pub(crate) fn output(&self) -> Result<Vec<u8>, MemoryError> {
        self.device.download(self.out.0, 0..self.out.1)
    }
}

/// A device, and the state of the random numbers.
struct Buffers {
    device: Device,
    state: u64,
}

impl Buffers {
    fn new() -> Self {
        Self { device: Device::sm_80(), state: 0 }
    }

    /// f16 numbers between -1 and 1.
    fn numbers(&mut self, name: &str, count: u64) -> Result<Buffer, MemoryError> {
        let buffer = self.device.alloc(name, count * 2)?;
        // Piece by piece, so that the numbers' copy here takes no memory to speak of.
        for first in (0..count).step_by(4096) {
            let mut data = Vec::new();
            for _ in first..count.min(first + 4096) {
                self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let number = (self.state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
                data.extend(half::f16::from_f32(number).to_le_bytes());
            }
            self.device.upload(buffer, first * 2, &data)?;
        }
        Ok(buffer)
    }

    fn table(&mut self, name: &str, data: &[i32]) -> Result<Buffer, MemoryError> {
        let buffer = self.device.alloc(name, data.len() as u64 * 4)?;
        let data: Vec<u8> = data.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.device.upload(buffer, 0, &data)?;
        Ok(buffer)
    }
}
