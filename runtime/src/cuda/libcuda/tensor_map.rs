//! Tensor maps, which the driver library encodes.

use std::ffi::c_void;

use bytec_plan::device::Span;
use cudarc::driver::sys::{
    self, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
    CUtensorMapL2promotion, CUtensorMapSwizzle,
};

use super::context::said;
use crate::cuda::driver::{Axes, DriverError, TensorMap};

/// The words that stand for a matrix among a kernel's parameters.
pub(super) fn encode(map: &TensorMap) -> Result<[u64; 16], DriverError> {
    let TensorMap { address, columns, rows, stride, .. } = *map;
    let element = match map.bf16 {
        true => CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        false => CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
    };
    let swizzle = match map.span {
        Span::Bytes32 => CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_32B,
        Span::Bytes64 => CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B,
        Span::Bytes128 => CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
    };
    let Axes { rank, extents, strides, sides } = map.axes();
    let steps = [1; 3];
    let mut encoded = CUtensorMap { opaque: [0; 16] };
    // SAFETY: reads `rank` extents, sides and steps and one stride less, of arrays for a rank of up to three, and writes
    // the map. The address is not read.
    let answer = unsafe {
        sys::cuTensorMapEncodeTiled(
            &mut encoded,
            element,
            rank as u32,
            address.0 as usize as *mut c_void,
            extents.as_ptr(),
            strides.as_ptr(),
            sides.as_ptr(),
            steps.as_ptr(),
            CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    let asked = format!("describe a matrix of {rows} x {columns} elements, {stride} bytes a row");
    said(&asked, answer).map(|()| encoded.opaque)
}
