//! Texts and libraries that do not work.

use std::fs;

use bytec_compiler::nvrtc::{Arch, INSTALL, Library, Nvrtc, NvrtcError, search};
use bytec_compiler::render::{Float, Source};
use bytec_plan::kernel::Kernel;
use expect_test::expect;

/// LayerNorm with one line of its text replaced.
fn spoilt(from: &str, to: &str) -> Source {
    let kernel = Kernel::LayerNorm { width: 8, eps: 1e-12, residual: true };
    let mut source = super::dense(&kernel, 8, Float::F16);
    assert!(source.text.contains(from), "the text has the line");
    source.text = source.text.replacen(from, to, 1);
    source
}

fn message(source: &Source) -> Option<String> {
    let error = super::nvrtc()?.compile(&[(source, Arch::SM_80)], None, &|_| {}).unwrap_err();
    Some(error.to_string())
}

#[test]
fn an_error_in_a_template_names_its_line() {
    let source = spoilt("values.add(residual", "values.add(residue");
    let Some(message) = message(&source) else { return };
    expect![[r#"
        layer_norm_residual_8_f16 does not compile for sm_80
          templates/kernels/layer_norm.cu.tera:38: error: identifier "residue" is undefined
                values.add(residue + (size_t)row * kResidualStride);
                           ^
          templates/kernels/layer_norm.cu.tera:38: error: no instance of function template "Row<kWidth, kVec, kThreads>::add [with kWidth=8, kVec=8, kThreads=32]" matches the argument list
                      argument types are: (<error-type>)
                      object type is: Row<8, 8, 32>
                values.add(residue + (size_t)row * kResidualStride);
                       ^
          /layer_norm_residual_8_f16.cu(221): note #3327-D: candidate function template "Row<kWidth, kVec, kThreads>::add [with kWidth=8, kVec=8, kThreads=32]" failed deduction
                __device__ __forceinline__ void add(const T* row) {
                                                ^"#]].assert_eq(&message);
}

#[test]
fn an_error_in_the_library_names_its_line() {
    let source = spoilt("return fmaxf(a, b);", "return fmaxf(a, b)");
    let Some(message) = message(&source) else { return };
    expect![[r#"
        layer_norm_residual_8_f16 does not compile for sm_80
          templates/lib/reduce.cuh:15: error: expected a ";"
                __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b) }
                                                                                                         ^"#]].assert_eq(&message);
}

#[test]
fn an_instruction_that_the_architecture_lacks_is_an_error() {
    let source =
        spoilt("values.write(out", "asm volatile(\"wgmma.fence.sync.aligned;\"); values.write(out");
    let Some(message) = message(&source) else { return };
    assert!(message.contains("wgmma.fence"), "{message}");
}

#[test]
fn warnings_come_with_their_line() {
    let source = spoilt("    values.write(out", "    int unused; values.write(out");
    let Some(nvrtc) = super::nvrtc() else { return };
    let compiled = nvrtc.compile(&[(&source, Arch::SM_80)], None, &|_| {}).unwrap().remove(0);
    let defects = compiled.defects();
    assert_eq!(defects.len(), 1, "{defects:?}");
    expect![[r#"
        templates/kernels/layer_norm.cu.tera:41: warning: variable "unused" was declared but never referenced
              int unused; values.write(out + (size_t)row * kOutStride);
                  ^"#]].assert_eq(&defects[0]);
}

#[test]
fn the_first_kernel_that_fails_is_named() {
    let Some(nvrtc) = super::nvrtc() else { return };
    let good = super::dense(&Kernel::Softmax { width: 8 }, 8, Float::F16);
    let bad = spoilt("values.read(", "values.reed(");
    let mut worse = spoilt("values.read(", "values.rid(");
    worse.symbol = "worse".to_owned();
    let units = [&good, &bad, &worse].map(|source| (source, Arch::SM_80));
    let error = nvrtc.compile(&units, None, &|_| {}).unwrap_err();
    assert!(
        matches!(&error, NvrtcError::Compile { symbol, .. } if *symbol == bad.symbol),
        "{error}"
    );
}

#[test]
fn a_nul_in_a_text_is_an_error() {
    let source = spoilt("values.read(", "values.\0read(");
    let Some(message) = message(&source) else { return };
    assert!(message.contains("NUL"), "{message}");
}

#[test]
fn an_absent_library_gives_the_install_line() {
    let folder = tempfile::tempdir().unwrap();
    let error =
        search(&[folder.path().to_owned(), folder.path().join("none")]).library().unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, NvrtcError::Absent { tried } if tried.len() == 2));
    assert!(message.contains(INSTALL), "{message}");
}

#[test]
fn a_file_that_is_no_library_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let nvrtc = folder.path().join("libnvrtc.so.13");
    let library = Library { nvrtc: nvrtc.clone(), builtins: None };
    let error = Nvrtc::open(&library).unwrap_err();
    assert!(matches!(&error, NvrtcError::Load { path, .. } if *path == nvrtc), "{error}");
    fs::write(&nvrtc, "no ELF").unwrap();
    let error = Nvrtc::open(&library).unwrap_err();
    assert!(matches!(&error, NvrtcError::Load { path, .. } if *path == nvrtc), "{error}");
}

/// The library that is loaded answers for any later one: the mismatch is said.
#[test]
fn another_version_on_the_loader_s_path_is_said() {
    let Some(loaded) = super::nvrtc() else { return };
    let folder = tempfile::tempdir().unwrap();
    let builtins = folder.path().join("libnvrtc-builtins.so.13.7");
    // A library of that name, whatever its contents: only its name says a version.
    let own = loaded.library().with_file_name("libnvrtc-builtins.so.13.0");
    fs::copy(own, &builtins).unwrap();
    let library = Library { nvrtc: loaded.library().to_owned(), builtins: Some(builtins) };
    let error = Nvrtc::open(&library).unwrap_err();
    assert!(
        matches!(error, NvrtcError::Version { expected: (13, 7), found: (13, 0), .. }),
        "{error}"
    );
}
