//! `bytec-sim` runs PTX on a plain CPU, and checks what a GPU would let pass.
//!
//! ```
//! use bytec_sim::{Arg, Device, Module};
//!
//! let ptx = include_str!("../tests/fixtures/vector_add.ptx");
//! let module = Module::parse(ptx)?;
//! let kernel = module.kernel("vector_add").ok_or("the module has it")?;
//!
//! let mut device = Device::sm_80();
//! let a = device.alloc("a", 64 * 4)?;
//! let b = device.alloc("b", 64 * 4)?;
//! let c = device.alloc("c", 64 * 4)?;
//! device.upload(a, 0, &1f32.to_le_bytes().repeat(64))?;
//! device.upload(b, 0, &2f32.to_le_bytes().repeat(64))?;
//! let args = [Arg::Pointer(a, 0), Arg::Pointer(b, 0), Arg::Pointer(c, 0), Arg::I32(64)];
//! let profile = device.launch(kernel, [1, 1, 1], [64, 1, 1], 0, &args)?;
//!
//! assert_eq!(device.download(c, 0..4)?, 3f32.to_le_bytes());
//! assert_eq!(profile.global_reads.bytes, 2 * 64 * 4);
//!
//! // One element too many is a fault that names the kernel, the line, the lane and the buffer.
//! let args = [Arg::Pointer(a, 4), Arg::Pointer(b, 0), Arg::Pointer(c, 0), Arg::I32(64)];
//! let fault = device.launch(kernel, [1, 1, 1], [64, 1, 1], 0, &args).unwrap_err();
//! assert!(fault.to_string().contains("a+256 (of 256 bytes)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it models
//!
//! - **The PTX that NVRTC 12.9 to 13.5 emits** for `sm_80` kernels without calls: integers, f16, bf16,
//!   f32 and f64 arithmetic with rounding, flushing and saturation, conversions, all memory spaces,
//!   shuffles, votes, integer atomics, barriers, `cp.async`, `ldmatrix` and `mma.sync`. Anything else
//!   is a [`ParseError`] with its line.
//! - **Warps in lockstep.** Lanes that part run apart, the part furthest behind in the text first, and
//!   are one again where they meet. Instructions for a whole warp wait for their members; a barrier
//!   waits for all lanes that have not returned.
//! - **Blocks**, side by side on the threads of the current rayon pool. Results, profiles and faults
//!   are the same for any number of threads: after a fault what the launch wrote is undone, and it
//!   runs again in the order of blocks up to the first fault.
//! - **Memory** as named allocations at addresses that never run into each other.
//!
//! # What it checks
//!
//! Bounds, alignment and allocation always. The rest can be switched off with [`Checks`]:
//!
//! - Reads of bytes that were never written since their allocation or their last
//!   [birth](Device::birth); shared memory is new for every block.
//! - Races, by one clock a warp: an access to shared or global memory must be ordered by barriers after
//!   every conflicting one of another warp, and by `bar.warp.sync` or a shuffle, vote, match or
//!   reduction after every one of another lane. Accesses of different blocks in one launch conflict
//!   unless both are reads or both are atomics.
//! - Shared memory that a `cp.async` owns, from its issue until the issuing lane's wait.
//! - Values from [marked](Device::mark) ranges that reach memory outside of any.
//! - Barriers that a warp reaches in parts, that name different counts, or that never complete; lanes
//!   missing from warp-wide instructions; kernels that never end.
//!
//! # What it approximates
//!
//! - The approximate functions (`ex2`, `lg2`, `rsqrt`, `sin`, `tanh` and so on) give the value in f64,
//!   rounded once: closer to the truth than a GPU, within every bound that the ISA states.
//! - `mma` adds one product after the other in f32, in the order of k.
//! - Fences do nothing: conflicts between blocks are faults whether or not a fence is there, and atomics
//!   order nothing but themselves.
//! - Of a `cp.async`, the source is read at its issue and not guarded afterwards.
//! - A division of integers by zero gives what GPUs are seen to give; the ISA leaves it open. A shuffle
//!   from a lane that takes no part gives the reader's own value. A register that nothing wrote is zero.
//! - Marks follow values, not control flow: what a branch on a marked value decides is not marked.
//!
//! # What only a GPU can tell
//!
//! The order in which tensor cores sum and how they round, the last bits of approximate functions,
//! timing, caches, occupancy, and what ptxas makes of the PTX.

mod decode;
mod device;
mod driver;
mod exec;
mod fault;
mod inst;
mod launch;
mod memory;
mod module;
mod num;
mod parse;
mod profile;
mod streams;

pub use device::{Arg, Buffer, Device, MemoryError};
pub use driver::{SimDriver, StepProfile};
pub use exec::Checks;
pub use fault::{AccessKind, Fault, FaultKind, Place};
pub use inst::Class;
pub use module::{Kernel, Module};
pub use parse::{Param, ParseError, ParseErrorKind};
pub use profile::{BufferTraffic, Profile, Traffic};
