//! What every kernel must be, on every architecture.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytec_compiler::nvrtc::{Arch, Cache};
use bytec_compiler::render::Source;

/// Fails unless each source compiles for sm_80 and sm_90a, says nothing, spills nothing and fits into a small device.
/// `name` is that of the tests' folder of compiled kernels.
pub(crate) fn assert_sound(sources: &[Source], name: &str) {
    assert_sound_for(&[Arch::SM_80, Arch::SM_90A], 99, sources, name);
}

/// The same for some architectures, whose blocks have so many KiB of shared memory at most.
pub(crate) fn assert_sound_for(archs: &[Arch], most: u32, sources: &[Source], name: &str) {
    let Some(nvrtc) = super::nvrtc() else { return };
    let units: Vec<_> =
        archs.iter().flat_map(|arch| sources.iter().map(move |source| (source, *arch))).collect();
    let cache = Cache::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).unwrap();
    let count = AtomicUsize::new(0);
    let done = |_| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let compiled = nvrtc.compile(&units, Some(&cache), &done).unwrap();
    assert_eq!(count.into_inner(), units.len());
    let mut wrong = Vec::new();
    for ((source, arch), compiled) in units.iter().zip(&compiled) {
        let usage = compiled.usage.unwrap();
        println!(
            "{:40} {arch:7} {:3} registers {:5} + {:5} bytes shared",
            source.symbol, usage.registers, usage.shared, source.launch.shared
        );
        // Static and dynamic shared memory together are what the smallest device gives a block.
        if usage.shared + source.launch.shared > most * 1024 {
            wrong.push(format!("{} {arch}: too much shared memory", source.symbol));
        }
        if usage.registers * source.launch.block > 65536 {
            wrong.push(format!("{} {arch}: too many registers for its block", source.symbol));
        }
        wrong.extend(compiled.defects().iter().map(|d| format!("{} {arch}: {d}", source.symbol)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
