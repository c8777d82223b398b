//! The calls into libnvrtc: the only unsafe code of this stage.
//!
//! `cudarc` resolves each function in the library that the loader gives it, and panics where there is none. [`preload`]
//! puts the chosen library there first, and [`present`] asks before anything is called.
#![expect(unsafe_code, reason = "NVRTC is a C library")]

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;

use cudarc::nvrtc::sys;

/// What a call answers when it fails.
pub(super) use cudarc::nvrtc::sys::nvrtcResult as Code;

/// Loads a library by its path, for good and with its symbols visible to those loaded after it.
pub(super) fn preload(path: &Path) -> Result<(), libloading::Error> {
    #[cfg(unix)]
    // SAFETY: loading runs the library's initialisers; the caller chose the file to be NVRTC.
    let library = unsafe {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL)?
    };
    #[cfg(not(unix))]
    // SAFETY: as above.
    let library = unsafe { libloading::Library::new(path)? };
    // cudarc finds it by its name as long as it stays loaded.
    std::mem::forget(library);
    Ok(())
}

/// Whether the loader gives an NVRTC; if not, no other function here may be called.
pub(super) fn present() -> bool {
    // SAFETY: it only tries to load libraries of NVRTC's names.
    unsafe { sys::is_culib_present() }
}

fn check(code: Code) -> Result<(), Code> {
    if code == Code::NVRTC_SUCCESS { Ok(()) } else { Err(code) }
}

/// Major and minor version of the library that answers.
pub(super) fn version() -> Result<(i32, i32), Code> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both point to integers that live through the call.
    check(unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) })?;
    Ok((major, minor))
}

/// A text on its way through the compiler. It is used by one thread at a time.
pub(super) struct Program(sys::nvrtcProgram);

impl Program {
    /// A program of this text, called `name` in messages.
    pub(super) fn new(text: &CStr, name: &CStr) -> Result<Self, Code> {
        let mut program = ptr::null_mut();
        // SAFETY: the strings end in NUL and are copied by the call; no headers are given, so their arrays may be null.
        check(unsafe {
            let (text, name) = (text.as_ptr(), name.as_ptr());
            sys::nvrtcCreateProgram(&raw mut program, text, name, 0, ptr::null(), ptr::null())
        })?;
        Ok(Self(program))
    }

    /// Compiles it; the log says why where it fails.
    pub(super) fn compile(&self, options: &[CString]) -> Result<(), Code> {
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let count = i32::try_from(options.len()).map_err(|_| Code::NVRTC_ERROR_INVALID_INPUT)?;
        // SAFETY: the program is alive; `options` holds `count` pointers to strings that live through the call.
        check(unsafe { sys::nvrtcCompileProgram(self.0, count, options.as_ptr()) })
    }

    /// What the compiler said.
    pub(super) fn log(&self) -> Result<String, Code> {
        // SAFETY: the two functions belong together.
        let log = unsafe { self.read(sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog) }?;
        Ok(text(log))
    }

    /// The PTX, once compiled.
    pub(super) fn ptx(&self) -> Result<String, Code> {
        // SAFETY: the two functions belong together.
        let ptx = unsafe { self.read(sys::nvrtcGetPTXSize, sys::nvrtcGetPTX) }?;
        Ok(text(ptx))
    }

    /// The cubin, once compiled for a real architecture.
    pub(super) fn cubin(&self) -> Result<Vec<u8>, Code> {
        // SAFETY: the two functions belong together.
        unsafe { self.read(sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN) }
    }

    /// Asks for a size and then for as many bytes.
    ///
    /// # Safety
    /// `fill` writes no more bytes than `size` says.
    unsafe fn read(
        &self,
        size: unsafe fn(sys::nvrtcProgram, *mut usize) -> Code,
        fill: unsafe fn(sys::nvrtcProgram, *mut c_char) -> Code,
    ) -> Result<Vec<u8>, Code> {
        let mut count = 0;
        // SAFETY: the program is alive, and `count` lives through the call.
        check(unsafe { size(self.0, &raw mut count) })?;
        let mut bytes = vec![0u8; count];
        // SAFETY: the program is alive, and `bytes` holds as many as the call writes.
        check(unsafe { fill(self.0, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program is alive, and nothing uses it afterwards. A failure leaves nothing to do.
        let _ = unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
    }
}

/// The bytes before the NUL that NVRTC counts in.
fn text(bytes: Vec<u8>) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
