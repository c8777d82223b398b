//! What every kernel must be, on every architecture.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytec_compiler::nvrtc::{Arch, Cache, Compiled};
use bytec_compiler::render::Source;

/// Fails unless each source compiles for sm_80 and sm_90a, says nothing, spills nothing and fits into a small device.
/// `name` is that of the tests' folder of compiled kernels.
pub(crate) fn assert_sound(sources: &[Source], name: &str) {
    let archs = [Arch::SM_80, Arch::SM_90A];
    let units: Vec<_> =
        archs.iter().flat_map(|arch| sources.iter().map(move |source| (source, *arch))).collect();
    assert_sound_units(&units, 99, name);
}

/// The same for sm_90a alone, whose blocks have more shared memory.
pub(crate) fn assert_sound_on_hopper(sources: &[Source], name: &str) {
    let units: Vec<_> = sources.iter().map(|source| (source, Arch::SM_90A)).collect();
    assert_sound_units(&units, 227, name);
}

/// The same of each source for its architecture, whose blocks have so many KiB of shared memory at most.
pub(crate) fn assert_sound_units(units: &[(&Source, Arch)], most: u32, name: &str) {
    let count = AtomicUsize::new(0);
    let done = |_| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let Some(compiled) = compile(units, name, &done) else { return };
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

/// Compiles with the tests' folder of this name; `None` without NVRTC. Tests that share a folder wait for each other, so
/// that what they share is compiled once.
pub(crate) fn compile(
    units: &[(&Source, Arch)],
    name: &str,
    done: &(dyn Fn(usize) + Sync),
) -> Option<Vec<Compiled>> {
    static FOLDERS: Mutex<BTreeMap<String, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let nvrtc = super::nvrtc()?;
    let folder = {
        let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(folders.entry(name.to_owned()).or_default())
    };
    let _held = folder.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = Cache::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).unwrap();
    Some(nvrtc.compile(units, Some(&cache), done).unwrap())
}
