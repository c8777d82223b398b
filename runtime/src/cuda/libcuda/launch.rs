//! Launches, those that overlap with the ones before them among them.

use std::ffi::c_void;
use std::ptr;

use cudarc::driver::sys::{
    self, CUfunction, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue,
    CUlaunchConfig, CUresult, CUstream,
};

use crate::cuda::driver::Call;

/// Starts a kernel on a stream, or captures it there.
pub(super) fn launch(stream: CUstream, call: &Call<'_>) -> CUresult {
    let [x, y, z] = call.grid;
    let mut size = size_of_val(call.args);
    // All parameters are addresses, so one after the other they are the block of parameters as the kernel has it.
    let mut block: [*mut c_void; 5] = [
        sys::CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT as usize as *mut c_void,
        call.args.as_ptr().cast_mut().cast(),
        sys::CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT as usize as *mut c_void,
        ptr::from_mut(&mut size).cast(),
        sys::CU_LAUNCH_PARAM_END_AS_INT as usize as *mut c_void,
    ];
    let (params, extra) = (ptr::null_mut(), block.as_mut_ptr());
    let function = call.function.0 as CUfunction;
    if call.overlaps {
        let mut value = CUlaunchAttributeValue { pad: [0; 64] };
        value.programmaticStreamSerializationAllowed = 1;
        let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        let mut attribute = CUlaunchAttribute { id, pad: [0; 4], value };
        let config = CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: call.block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: call.shared,
            hStream: stream,
            attrs: &mut attribute,
            numAttrs: 1,
        };
        // SAFETY: as below; the configuration and its attribute are read before this returns.
        return unsafe { sys::cuLaunchKernelEx(&config, function, params, extra) };
    }
    // SAFETY: the function is loaded; the parameters are copied before this returns. That the kernel stays within
    // the memory which they point at is the plan's promise: to run a plan is to trust it.
    unsafe {
        sys::cuLaunchKernel(function, x, y, z, call.block, 1, 1, call.shared, stream, params, extra)
    }
}
