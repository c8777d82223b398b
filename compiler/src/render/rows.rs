//! How the threads of a block share rows: the widest access that fits, and a number of threads that depends on the
//! width alone.

use bytec_plan::device::Count;
use serde::Serialize;

use super::{Float, Launch, Matrix, RenderError};

/// The widest row that registers of one block hold.
pub(super) const WIDEST: u32 = 32 * 1024;

/// The most numbers of a row that one thread of a warp holds.
const HELD: u32 = 32;

/// Rows in registers: template fields of the kernels that hold a row (`lib/row.cuh`).
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct RowShape {
    /// Columns.
    pub(super) width: u32,
    /// Elements of one access.
    pub(super) vec: u32,
    /// Threads of one row: a warp, or the whole block.
    pub(super) threads: u32,
    /// Rows of one block.
    pub(super) rows_per_block: u32,
}

impl RowShape {
    /// Rows of `width` elements that lie as `matrices` say.
    pub(super) fn new(
        kernel: &'static str,
        width: u32,
        dtype: Float,
        matrices: &[Matrix],
    ) -> Result<Self, RenderError> {
        let size = |what, found, min, max| RenderError::Size { kernel, what, min, max, found };
        if !(1..=WIDEST).contains(&width) {
            return Err(size("the width", width.into(), 1, WIDEST.into()));
        }
        for matrix in matrices {
            stride(kernel, width, *matrix)?;
        }
        // A warp has a row until its lanes would hold more than HELD numbers; then a block has it.
        let warps = width.div_ceil(32 * HELD).next_power_of_two();
        let rows_per_block = if warps == 1 { 4 } else { 1 };
        // A full block leaves each thread 64 registers, too few for wide accesses beside the HELD numbers.
        let widest = if warps == 32 { 2 } else { u32::MAX };
        let vec = access(dtype, matrices).min(widest);
        Ok(Self { width, vec, threads: 32 * warps, rows_per_block })
    }

    /// One block for every `rows_per_block` rows.
    pub(super) fn launch(&self) -> Launch {
        Launch {
            grid: [Count::Rows { per: self.rows_per_block }, Count::Fixed(1), Count::Fixed(1)],
            block: self.threads * self.rows_per_block,
            shared: 0,
        }
    }
}

/// A matrix's stride as the template takes it: an int that is no less than the width.
pub(super) fn stride(kernel: &'static str, width: u32, matrix: Matrix) -> Result<u32, RenderError> {
    u32::try_from(matrix.stride)
        .ok()
        .filter(|stride| (width..=i32::MAX as u32).contains(stride))
        .ok_or(RenderError::Size {
            kernel,
            what: "a row's stride",
            min: width.into(),
            max: i32::MAX as u64,
            found: matrix.stride,
        })
}

/// The elements of the widest access, at most 16 bytes, to which every row of all `matrices` is aligned.
pub(super) fn access(dtype: Float, matrices: &[Matrix]) -> u32 {
    let widest = 16 / dtype.bytes();
    let bits = matrices.iter().fold(u64::from(widest), |bits, m| bits | m.stride | m.column);
    1 << bits.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::{Float, Matrix, RowShape, access};

    #[test]
    fn the_access_divides_strides_and_columns() {
        let matrix = |column, stride| Matrix { column, stride };
        assert_eq!(access(Float::F16, &[matrix(0, 384)]), 8);
        assert_eq!(access(Float::F32, &[matrix(0, 384)]), 4);
        assert_eq!(access(Float::F16, &[matrix(0, 384), matrix(4, 384)]), 4);
        assert_eq!(access(Float::F16, &[matrix(0, 7)]), 1);
        assert_eq!(access(Float::Bf16, &[]), 8);
    }

    #[test]
    fn threads_grow_with_the_width() {
        for (width, threads, rows) in
            [(1, 32, 4), (1024, 32, 4), (1025, 64, 1), (4096, 128, 1), (32768, 1024, 1)]
        {
            let shape = RowShape::new("softmax", width, Float::F16, &[]).unwrap();
            assert_eq!((shape.threads, shape.rows_per_block), (threads, rows), "{width}");
        }
        assert!(RowShape::new("softmax", 0, Float::F16, &[]).is_err());
        assert!(RowShape::new("softmax", 32769, Float::F16, &[]).is_err());
        assert!(RowShape::new("softmax", 8, Float::F16, &[Matrix::dense(7)]).is_err());
    }
}
