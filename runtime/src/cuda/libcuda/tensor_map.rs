//! Tensor maps, which the driver library encodes.

use std::ffi::c_void;

use cudarc::driver::sys::{
    self, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
    CUtensorMapL2promotion, CUtensorMapSwizzle,
};

use super::context::said;
use crate::cuda::driver::{DriverError, TensorMap};

/// Elements of a row of a box: 128 bytes.
const BOX_COLUMNS: u32 = 64;

/// The words that stand for a matrix among a kernel's parameters.
pub(super) fn encode(map: &TensorMap) -> Result<[u64; 16], DriverError> {
    let TensorMap { address, bf16, columns, rows, stride, box_rows } = *map;
    let element = match bf16 {
        true => CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        false => CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
    };
    let (extents, strides) = ([columns, rows], [stride]);
    let (sides, steps) = ([BOX_COLUMNS, box_rows], [1, 1]);
    let mut encoded = CUtensorMap { opaque: [0; 16] };
    // SAFETY: reads two extents, one stride, two sides and two steps, and writes the map. The address is not read.
    let answer = unsafe {
        sys::cuTensorMapEncodeTiled(
            &mut encoded,
            element,
            2,
            address.0 as usize as *mut c_void,
            extents.as_ptr(),
            strides.as_ptr(),
            sides.as_ptr(),
            steps.as_ptr(),
            CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
            CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    let asked = format!("describe a matrix of {rows} x {columns} elements, {stride} bytes a row");
    said(&asked, answer).map(|()| encoded.opaque)
}
