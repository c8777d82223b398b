//! The device's context, and what the library answers.

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUcontext, CUevent, CUevent_flags, CUresult};

use crate::cuda::driver::DriverError;

/// The device's primary context, retained.
pub(super) struct Context {
    device: sys::CUdevice,
    handle: CUcontext,
}

// SAFETY: a context's handle may be used by any thread that makes it current, which every call does first. All
// functions of the library that are used here may be called by several threads at once.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Retains the context of a device that the library gave.
    pub(super) fn retain(device: sys::CUdevice) -> Result<Context, result::DriverError> {
        // SAFETY: the device is the library's; `Drop` gives the context back.
        let handle = unsafe { result::primary_ctx::retain(device) }?;
        Ok(Context { device, handle })
    }

    /// Makes the context this thread's.
    pub(super) fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: the context lives as long as `self`.
        said("use the device", unsafe { sys::cuCtxSetCurrent(self.handle) })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was retained once.
        let _gone = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// An event of the current context.
pub(super) fn open_event(flags: CUevent_flags) -> Result<CUevent, DriverError> {
    let mut event = std::ptr::null_mut();
    // SAFETY: writes one handle.
    said("open an event", unsafe { sys::cuEventCreate(&mut event, flags as u32) })?;
    Ok(event)
}

/// The library's answer as a result.
pub(super) fn said(asked: &str, answer: CUresult) -> Result<(), DriverError> {
    match answer {
        CUresult::CUDA_SUCCESS => Ok(()),
        answer => Err(failed(asked, answer)),
    }
}

pub(super) fn failed(asked: &str, answer: CUresult) -> DriverError {
    let error = result::DriverError(answer);
    let text = |text: Result<&std::ffi::CStr, _>| {
        text.map_or_else(
            |_| format!("error {}", answer as u32),
            |s| s.to_string_lossy().into_owned(),
        )
    };
    let said = format!("{} ({})", text(error.error_name()), text(error.error_string()));
    refused(asked.to_owned(), &said)
}

pub(super) fn refused(asked: String, said: &str) -> DriverError {
    DriverError::Failed { asked, said: said.to_owned() }
}
