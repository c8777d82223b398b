//! The library's functions, looked for once before any is called.

use std::ffi::c_void;

use cudarc::driver::sys;

use crate::cuda::driver::DriverError;

/// Every function that is called, here or by what is used of cudarc's `result`. One that is missing when it is called
/// would be a panic.
pub(super) const NEEDED: [&str; 38] = [
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
    "cuTensorMapEncodeTiled",
];

/// Checks that the library, which is there, has these functions.
pub(super) fn check(symbols: &[&'static str]) -> Result<(), DriverError> {
    for symbol in symbols {
        // SAFETY: the library is there; the symbol is only looked for, and its type is that of any address.
        let found = unsafe { sys::culib().get::<*const c_void>(symbol.as_bytes()) };
        if found.is_err() {
            return Err(DriverError::NoSymbol { symbol });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::NEEDED;

    #[test]
    fn every_function_that_is_called_is_looked_for_first() {
        assert!(NEEDED.is_sorted());
        let sources = [
            include_str!("mod.rs"),
            include_str!("context.rs"),
            include_str!("graph.rs"),
            include_str!("launch.rs"),
            include_str!("pinned.rs"),
            include_str!("tensor_map.rs"),
        ];
        let mut called = 0;
        for rest in sources.iter().flat_map(|source| source.split("sys::cu").skip(1)) {
            let (name, _) = rest.split_once('(').expect("a call");
            let name = format!("cu{name}");
            assert!(name == "culib" || NEEDED.contains(&&name[..]), "{name}");
            called += 1;
        }
        assert!(called > 25, "{called}");
    }
}
