//! The cache and determinism.

use std::fs;

use bytec_compiler::nvrtc::{Arch, Cache, NvrtcError};
use bytec_compiler::render::Float;
use bytec_plan::kernel::Kernel;

#[test]
fn a_hit_gives_the_bytes_of_the_compiler_and_junk_is_compiled_again() {
    let Some(nvrtc) = super::nvrtc() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let source = super::dense(&Kernel::Softmax { width: 48 }, 48, Float::Bf16);
    let units = [(&source, Arch::SM_80), (&source, Arch::SM_90A), (&source, Arch::COMPUTE_80)];
    let compile = |cache| nvrtc.compile(&units, cache, &|_| {}).unwrap();
    let cold = compile(Some(&cache));
    assert!(cold.iter().all(|compiled| !compiled.cached));
    let uncached = compile(None);
    assert_eq!(cold, uncached, "the compiler gives the same bytes twice");
    let mut warm = compile(Some(&cache));
    assert!(warm.iter().all(|compiled| compiled.cached));
    warm.iter_mut().for_each(|compiled| compiled.cached = false);
    assert_eq!(cold, warm);

    let entries: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(entries.len(), 3, "one file a kernel and architecture, none left over");
    for entry in entries {
        let bytes = fs::read(&entry).unwrap();
        fs::write(&entry, &bytes[..bytes.len() / 2]).unwrap();
    }
    assert_eq!(compile(Some(&cache)), cold);
}

#[test]
fn threads_change_no_byte() {
    let Some(nvrtc) = super::nvrtc() else { return };
    let sources =
        [7, 48, 384].map(|width| super::dense(&Kernel::Softmax { width }, width, Float::F16));
    let units: Vec<_> = sources.iter().map(|source| (source, Arch::SM_80)).collect();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| nvrtc.compile(&units, None, &|_| {}).unwrap())
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn a_cache_that_can_t_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Cache::open(&file.join("below")).unwrap_err();
    assert!(matches!(error, NvrtcError::Cache { doing: "make", .. }), "{error}");
}
