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
//! - **Of what `sm_90a` brought** mbarriers with their phases and counts of bytes, bulk copies of bytes and of boxes of
//!   tensors (a [`TensorMap`] stands for NVIDIA's 128 bytes) and `wgmma` of f16 and bf16, both with every swizzle,
//!   fences between the proxies, `elect`, `stmatrix`, and `setmaxnreg`, which changes no values here.
//! - **Launches that overlap** with those before them on their stream ([`Device::launch_behind`]), by what their kernels
//!   do before `griddepcontrol.wait`. `griddepcontrol.launch_dependents` is taken to come first in every kernel.
//! - **Clusters** of a kernel that asks for some (`.reqnctapercluster`, in CUDA `__cluster_dims__`), up to eight blocks,
//!   which a launch needs no attribute for: `mapa`, `getctarank`, loads, stores, integer atomics and `st.async` to
//!   `.shared::cluster`, arrivals at another block's mbarrier, copies to it, copies to several blocks at once, and
//!   `barrier.cluster`.
//! - **Warps in lockstep.** Lanes that part run apart, the part furthest behind in the text first, and
//!   are one again where they meet. Instructions for a whole warp wait for their members; a barrier
//!   waits for all lanes that have not returned.
//! - **Blocks**, side by side on the threads of the current rayon pool, those of a cluster on one thread. Results, profiles
//!   and faults are the same for any number of threads: after a fault what the launch wrote is undone, and it
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
//! - Shared memory that a `cp.async` owns, and writes to the global memory that it reads, from its issue
//!   until the issuing lane's wait.
//! - Both sides of a bulk copy, from its issue until a wait has seen its end: the wait for its phase of an mbarrier, or
//!   the issuing lane's for its group. A lane returns only when it has seen the ends of all that it stores so: no text
//!   says that a launch waits for them. What lanes do before they arrive at an mbarrier is ordered before what others do
//!   after their wait for that phase, and nothing else is. A bulk copy reads what ordinary stores wrote, in shared
//!   or, in the same launch, in global memory, only behind a proxy fence of the lane that stored, and uses mbarriers only
//!   behind a fence of the lane that initialised them.
//! - Shared memory of another block of the cluster: accesses are ordered by the cluster's barrier and by mbarriers alone,
//!   the block is known to have begun, and it does not return while somebody or something may still reach it. A relaxed
//!   arrival at the cluster's barrier publishes the mbarriers that a `fence.mbarrier_init` has shown, and nothing else.
//! - Registers and shared memory of a `wgmma`, from its issue until the warp's wait for its group; a `wgmma.fence` after
//!   what reads or writes its registers; tiles that begin where their swizzle's pattern does; and that all threads of a
//!   warpgroup give the same descriptor.
//! - Waits for an mbarrier that can never end, with what its phase lacks; and phases that end before anybody has seen the
//!   one before end.
//! - What a launch that overlaps does before each lane's `griddepcontrol.wait`: it neither reads what a launch since the
//!   last that waited for all before it wrote, nor writes what one of them read or wrote, nor returns. `ld.global.nc` of
//!   what one of them wrote is a fault even behind the wait: it could have changed while the kernel ran.
//! - Values from [marked](Device::mark) ranges that reach memory outside of any.
//! - Barriers that a warp reaches in parts, that name different counts, or that never complete; lanes
//!   missing from warp-wide instructions; kernels that never end.
//!
//! # What it approximates
//!
//! - The approximate functions (`ex2`, `lg2`, `rsqrt`, `sin`, `tanh` and so on) give the value in f64,
//!   rounded once: closer to the truth than a GPU, within every bound that the ISA states.
//! - `mma` and `wgmma` add one product after the other in f32, in the order of k.
//! - Arrivals at an mbarrier and waits for it order as if their scope were the cluster.
//! - Fences other than those between proxies do nothing: conflicts between blocks are faults whether or not a fence is
//!   there, and atomics order nothing but themselves.
//! - A division of integers by zero gives what GPUs are seen to give; the ISA leaves it open. A shuffle
//!   from a lane that takes no part gives the reader's own value. A register that nothing wrote is zero.
//! - `mbarrier.try_wait` says no the first time of each wait of a warp, and later only when it has waited until some
//!   mbarrier changed. What one lane of a warp learns from
//!   a wait, all its lanes learn; and after a lane has arrived or fenced without the rest of its warp, what it does up
//!   to the warp's next synchronisation counts as done before.
//! - Launches run one after the other, in full. Each lane of one that overlaps has to wait itself: that another has
//!   waited before a barrier is not enough here.
//! - Bulk copies move their bytes when they are issued. A tensor's box is as wide as its swizzle's span.
//! - Marks follow values, not control flow: what a branch on a marked value decides is not marked.
//!
//! # What it refuses
//!
//! With an error that names the instruction and its line:
//!
//! - Calls and indirect branches, textures and surfaces; of what sm_90 adds `im2col` and reductions by copies.
//! - `wgmma` of other types than f16 and bf16 with sums of f32; descriptors with a base offset.
//! - `mma` other than m16n8 with factors of f16, bf16 or tf32 and sums of f32; `wmma`; sparse and
//!   integer products; `ldmatrix` and `movmatrix` other than of 8x8 matrices of 16 bits.
//! - Atomics on floats and on less than 32 bits, `bar.red`, barriers that are not `.aligned`.
//! - Directed rounding of arithmetic other than f32; approximate functions of f64.
//! - Immediate or negated predicates in `and.pred` and its like.
//!
//! # What of planted faults it sees
//!
//! `docs/sim-mutants.md` and `docs/sim-mutants-sm_90a.md` count which mutants of the real kernels its checks and the
//! numbers see, each the PTX with one statement taken out or changed. Of those of `sm_90a`'s own kinds:
//!
//! | kind | mutants | seen |
//! |---|---:|---:|
//! | barriers, fences, waits and commits removed, waits that let one group more in flight | 229 | 172 |
//! | arrivals and mbarriers removed or mistaken for another, counts and parities changed | 1145 | 1110 |
//! | copies removed, coordinates of boxes swapped | 71 | 71 |
//! | products removed, descriptors changed | 887 | 887 |
//! | ranks and multicasts changed | 50 | 50 |
//! | waits for the launches before removed | 10 | 10 |
//! | all | 2392 | 2300 |
//!
//! That is 96.2 %. Most that are not seen are `__syncwarp()` in front of a barrier that the simulator lets wait for all
//! of a warp's lanes anyway; the page gives the reason of each. A norm of rows over three blocks, made for the purpose,
//! has 37 more (`tests/sim/cluster_mutants.rs`): 35 are seen, and the other two shown to be equivalent.
//!
//! # How fast it is
//!
//! `cargo run --release -p bytec-sim --example rate` runs MiniLM's merged q, k and v and its attention, in f16,
//! on one thread. It counts what Linux says the thread had of the processor, and takes the best of nine
//! launches. On an AMD EPYC of family 26, model 2 (Zen 5), at 2.6 GHz, in millions of warp instructions a
//! second a core:
//!
//! | kernel | instruction set | no checks | all checks | and marked rows |
//! |---|---|---:|---:|---:|
//! | `linear_1152x384_bias_f16` | AVX-512 | 21.8 | 5.4 | 3.6 |
//! | | AVX2 | 18.5 | 5.3 | 3.5 |
//! | | neither | 13.6 | 4.6 | 3.2 |
//! | `attention_12x32_f16` | AVX-512 | 34.0 | 9.2 | 5.4 |
//! | | AVX2 | 26.0 | 8.6 | 5.3 |
//! | | neither | 17.2 | 7.1 | 4.8 |
//!
//! Another program kept the machine's other core busy.
//!
//! The bits are the same on each: what runs on vectors is compiled once for each instruction set, from
//! one text without reassociation.
//!
//! # How much memory it takes
//!
//! A byte of a buffer takes a byte and a bit, which says whether it was written. A launch with the race
//! checks adds three bits for each byte of the pages of 4 KiB that it touches. Where blocks run
//! on several threads, pages are kept as they were before the first write. The rest does not grow with
//! the buffers: for each thread one block's registers and shared memory, and its shadows, which take for each
//! byte that the block touches one byte for writes and one for every warp that reads it. The
//! benchmark prints it: 8 times the batch adds 11.0 MB of
//! buffers and takes 12.3 MB more without checks, 17 MB with.
//!
//! # What only a GPU can tell
//!
//! The order in which tensor cores sum and how they round, the last bits of approximate functions,
//! timing, caches, occupancy, and what ptxas makes of the PTX.

mod chain;
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
mod tensor_map;

pub use chain::Chain;
pub use device::{Arg, Buffer, Device, MemoryError};
pub use driver::{SimDriver, StepProfile};
pub use exec::Checks;
pub use fault::{AccessKind, Fault, FaultKind, Place};
pub use inst::Class;
pub use module::{Kernel, Module};
pub use parse::{Param, ParseError, ParseErrorKind};
pub use profile::{BufferTraffic, Profile, Traffic};
pub use tensor_map::{Swizzle, TensorMap, TensorMapError};
