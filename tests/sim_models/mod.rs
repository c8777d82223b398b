//! Whole models on the simulated GPU, with all its checks: from a folder through the compiler and the runtime, as on a
//! GPU.

mod goldens;
mod neighbours;
mod norms;
mod padding_ids;
mod queries;

use std::path::Path;
use std::sync::Arc;

use bytec_compiler::{FrontOptions, Options, Target};
use bytec_runtime::cuda::Arch;
use bytec_runtime::{Engine, EngineOptions};
use bytec_sim::SimDriver;
use bytec_tests::nvrtc::toolchain;

/// Options that compile for one target, such as `sm_80:f16`; `None` without NVRTC.
fn options(target: &str, front: FrontOptions) -> Option<Options> {
    let toolchain = toolchain(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim_models"))?;
    let targets = vec![target.parse::<Target>().unwrap()];
    Some(Options { targets, toolchain, front, ..Options::default() })
}

/// An engine whose device passes for one of this compute capability.
fn engine(plan: &[u8], major: u32) -> Engine {
    let driver = SimDriver::of_arch(Arch::of_device(major, 0));
    Engine::from_bytes_with_driver(plan, Arc::new(driver), EngineOptions::default()).unwrap()
}
