//! Columns side by side: every number as it was, and moved once.

use bytec_compiler::render::{Float, Matrix, Site};
use bytec_models::tiny::SplitMix64;
use bytec_plan::kernel::{Kernel, Part};

use super::device::{Device, Operand};
use super::numbers::{decode, encode, normal};

const DTYPES: [Float; 3] = [Float::F32, Float::F16, Float::Bf16];

/// Rows of the samples. A kernel that treats each row alone sees their sum.
const LENGTHS: [u32; 4] = [5, 1, 0, 27];

/// A matrix's columns in one turn, whether it is a weight, and the columns before it in its buffer.
type Given = (u32, bool, usize);

/// Runs the kernel, and gives the bytes that were asked for of each operand and of the output.
fn check(device: &Device, dtype: Float, groups: u32, given: &[Given]) -> Vec<u64> {
    let rows = LENGTHS.iter().sum::<u32>() as usize;
    let group: u32 = given.iter().map(|(columns, ..)| columns).sum();
    let out_width = (groups * group) as usize;
    let parts =
        given.iter().map(|(columns, weight, _)| Part { columns: *columns, weight: *weight });
    let kernel = Kernel::Concat { groups, parts: parts.collect() };
    let width = |columns: u32| (groups * columns) as usize;
    let stride = |(columns, weight, before): Given| match weight {
        true => width(columns),
        false => width(columns) + 2 * before,
    };
    let lie = given.iter().map(|x| Matrix { column: x.2 as u64, stride: stride(*x) as u64 });
    let operands: Vec<_> = lie.collect();
    let output = Matrix::dense(out_width as u32);
    let source = super::render(&Site { kernel: &kernel, dtype, operands: &operands, output });

    let mut random = SplitMix64(7);
    let mut buffers = Vec::new();
    for given in given {
        let rows = if given.1 { 1 } else { rows };
        buffers.push(normal(dtype, &mut random, rows * stride(*given)));
    }
    let mut expected: Vec<f64> = Vec::new();
    for row in 0..rows {
        for turn in 0..groups as usize {
            for ((columns, weight, before), data) in given.iter().zip(&buffers) {
                let row = if *weight { 0 } else { row };
                let first = row * stride((*columns, *weight, *before)) + before;
                let columns = *columns as usize;
                expected.extend(&data[first + turn * columns..][..columns]);
            }
        }
    }
    let size = dtype.bytes() as usize;
    let bytes: Vec<_> = buffers.iter().map(|data| encode(dtype, data)).collect();
    let places =
        (0..given.len()).map(|n| Operand { buffer: n, offset: (given[n].2 * size) as u64 });
    let places: Vec<_> = places.collect();
    let lengths = [&LENGTHS[..], &LENGTHS[..]];
    let out_bytes = rows * out_width * size;
    let (out, asked) = device.run_counted(&source, &bytes, &places, lengths, out_bytes);
    assert_eq!(decode(dtype, &out), expected, "{}", source.symbol);
    asked
}

#[test]
fn columns_side_by_side() {
    let Some(device) = Device::get() else { return };
    for dtype in DTYPES {
        for (groups, given) in [
            (1, &[(7, false, 0)][..]),
            (1, &[(24, false, 0), (24, false, 24), (24, false, 48)]),
            (1, &[(5, false, 3), (8, true, 0), (1, false, 0), (300, false, 4)]),
            (6, &[(4, false, 0), (8, false, 8)]),
            (3, &[(5, false, 1), (2, true, 0)]),
        ] {
            check(device, dtype, groups, given);
        }
    }
}

/// Rows and columns of whole sectors: each is asked for once and written once.
#[test]
fn nothing_is_moved_twice() {
    let Some(device) = Device::get() else { return };
    let rows = u64::from(LENGTHS.iter().sum::<u32>());
    for dtype in DTYPES {
        let asked = check(device, dtype, 1, &[(48, false, 0), (384, false, 0), (16, false, 16)]);
        let bytes = |columns: u64| rows * columns * u64::from(dtype.bytes());
        assert_eq!(asked, [48, 384, 16, 448].map(bytes), "{dtype:?}");
    }
}
