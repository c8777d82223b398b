//! Host memory that stays where it is, so that the device reads it by itself.

use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUevent, CUevent_flags, CUresult, CUstream};

use super::context::{Context, open_event, said};
use crate::cuda::driver::{Driver, DriverError, Pointer, Stream};
use crate::cuda::staging::{NAME, Staging};

/// Page-locked memory. An upload out of it goes on after the call returns; an event marks its end.
pub(super) struct Pinned {
    context: Arc<Context>,
    begin: *mut u8,
    bytes: usize,
    /// The end of the last upload, if there was one.
    sent: CUevent,
}

// SAFETY: the memory belongs to this value alone; the event's handle may be used by any thread that makes the context
// current, which every call here does first.
unsafe impl Send for Pinned {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for Pinned {}

impl Pinned {
    pub(super) fn new(context: &Arc<Context>, bytes: u64) -> Result<Pinned, DriverError> {
        context.enter()?;
        let full = || DriverError::OutOfMemory { name: NAME.to_owned(), bytes };
        let size = usize::try_from(bytes).map_err(|_| full())?;
        let mut begin: *mut c_void = ptr::null_mut();
        // SAFETY: writes one address. `Drop` gives the memory back.
        match unsafe { sys::cuMemHostAlloc(&mut begin, size.max(1), 0) } {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => return Err(full()),
            answer => said(&format!("lock {bytes} bytes for {NAME}"), answer)?,
        }
        let begin = begin.cast::<u8>();
        // SAFETY: there are as many bytes, and nothing else knows of them.
        unsafe { ptr::write_bytes(begin, 0, size) };
        // Owned by now, so that a failure below gives the memory back.
        let mut pinned =
            Pinned { context: Arc::clone(context), begin, bytes: size, sent: ptr::null_mut() };
        pinned.sent = open_event(CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
        Ok(pinned)
    }

    /// Waits for the last upload.
    fn settle(&self) -> Result<(), DriverError> {
        self.context.enter()?;
        // SAFETY: the event is open. One that marks nothing is not waited for.
        said("upload the batch", unsafe { sys::cuEventSynchronize(self.sent) })
    }
}

impl Staging for Pinned {
    fn len(&self) -> usize {
        self.bytes
    }

    fn bytes_mut(&mut self) -> Result<&mut [u8], DriverError> {
        self.settle()?;
        // SAFETY: there are as many bytes, set to zero at first; nothing reads them any more, by the wait above.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.begin, self.bytes) })
    }

    fn upload(
        &mut self,
        _driver: &dyn Driver,
        stream: Stream,
        to: Pointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        self.context.enter()?;
        let (bytes, stream) = (bytes.min(self.bytes), stream.0 as CUstream);
        // SAFETY: reads memory of this value, which neither changes nor goes away before the event below.
        let copied = unsafe { sys::cuMemcpyHtoDAsync_v2(to.0, self.begin.cast(), bytes, stream) };
        // SAFETY: both are open. Recorded after a failure too: a copy may have begun.
        let recorded = unsafe { sys::cuEventRecord(self.sent, stream) };
        let asked = format!("upload {bytes} bytes");
        said(&asked, copied).and(said(&asked, recorded))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.context.enter().is_err() {
            return;
        }
        if !self.sent.is_null() {
            // What fails here has failed before, and no copy goes on then.
            let _settled = self.settle();
            // SAFETY: the event is open and closed once.
            let _gone = unsafe { sys::cuEventDestroy_v2(self.sent) };
        }
        // SAFETY: the memory is this value's and is given back once.
        let _gone = unsafe { sys::cuMemFreeHost(self.begin.cast()) };
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({} bytes)", self.bytes)
    }
}
