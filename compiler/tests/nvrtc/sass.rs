//! What the assembler made of kernels for Hopper: the instructions that they are written for are there.
//!
//! `fetch_nvdisasm.sh` fetches NVIDIA's disassembler once. Where it can't be fetched, one line says so and the test passes.

use std::path::Path;
use std::process::Command;

use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Renderer, Site};
use bytec_plan::kernel::{Kernel, UnaryFn, Up};

/// The machine code as text.
fn disassemble(cubin: &[u8]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvrtc/fetch_nvdisasm.sh");
    let fetched = Command::new("bash").arg(script).output().unwrap();
    if !fetched.status.success() {
        println!("not tested: {}", String::from_utf8_lossy(&fetched.stderr).trim_end());
        return None;
    }
    let tool = String::from_utf8(fetched.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernel.cubin");
    std::fs::write(&file, cubin).unwrap();
    let output = Command::new(tool.trim_end()).arg("-c").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn linears_on_warpgroups_are_what_they_are_written_as() {
    // Alone, and as clusters: warpgroups together and by turns.
    for (n, k, epilogue, cluster) in
        [(64, 64, &[][..], false), (768, 768, &[], true), (3072, 768, &[UnaryFn::GeluErf], true)]
    {
        let kernel = Kernel::Linear { n, k, bias: true, epilogue: epilogue.to_vec() };
        let operands = [Matrix::dense(k), Matrix::dense(k), Matrix::dense(n)];
        let (dtype, output) = (Float::F16, Matrix::dense(n));
        let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
        renderer.render(&Site { kernel: &kernel, dtype, operands: &operands, output }).unwrap();
        let source = &renderer.sources()[0];
        let units = [(source, Arch::SM_90A)];
        let compiled = super::sound::compile(&units, "linears_on_warpgroups", &|_| {});
        let Some(compiled) = compiled.map(|mut all| all.remove(0)) else { return };
        assert_eq!(compiled.defects(), [""; 0], "{}", source.symbol);
        let Some(sass) = disassemble(&compiled.cubin.unwrap()) else { return };
        let count = |instruction: &str| sass.matches(instruction).count();
        let symbol = &source.symbol;
        // Four products of 16 columns of k, for each 64 rows that a warpgroup has.
        let parts = if source.text.contains("kParts = 2;") { 2 } else { 1 };
        assert_eq!(count("HGMMA.64x"), 4 * parts, "{symbol}");
        // The weight's tiles come from two places: the first ones before the wait for the launch before.
        assert_eq!(count("UTMALDG.2D"), 3, "{symbol}");
        assert_eq!(count("UTMALDG.2D.MULTICAST"), 2 * usize::from(cluster), "{symbol}");
        assert_eq!(count("USETMAXREG"), 2, "{symbol}");
        // The next launch may begin, and this one waits for the one before.
        assert_eq!((count("PREEXIT"), count("ACQBULK")), (1, 1), "{symbol}");
        // The copy engine stores rows where warpgroups share a tile, or the threads do.
        let staged = source.text.contains("kStaged = true;");
        assert_eq!(staged, parts == 1, "{symbol}");
        assert_eq!(count("UBLKCP.G.S"), usize::from(staged), "{symbol}");
        assert_eq!(count("STG") == 0, staged, "{symbol}");
        assert!(count("STSM.16.M88.4") > 0, "{symbol}");
        assert!(count("SYNCS.PHASECHK") >= 2, "{symbol}");
        assert_eq!(count("STL") + count("LDL"), 0, "{symbol}");
    }
}

#[test]
fn linears_with_their_norms_are_what_they_are_written_as() {
    let (n, k) = (768, 3072);
    let kernel = Kernel::LinearLayerNorm { n, k, bias: true, eps: 1e-12, up: None };
    let operands = [k, k, n, n, n, n].map(Matrix::dense);
    let (dtype, output) = (Float::F16, Matrix::dense(n));
    let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
    renderer.render(&Site { kernel: &kernel, dtype, operands: &operands, output }).unwrap();
    let units = [(&renderer.sources()[0], Arch::SM_90A)];
    let compiled = super::sound::compile(&units, "linears_with_their_norms", &|_| {});
    let Some(compiled) = compiled.map(|mut all| all.remove(0)) else { return };
    assert_eq!(compiled.defects(), [""; 0]);
    let Some(sass) = disassemble(&compiled.cubin.unwrap()) else { return };
    let count = |instruction: &str| sass.matches(instruction).count();
    assert_eq!(count("HGMMA.64x192x16"), 4);
    // x, which goes to all blocks, the residual, and the weight from two places: the first tiles before the wait.
    assert_eq!(count("UTMALDG.2D"), 4);
    assert_eq!(count("UTMALDG.2D.MULTICAST"), 1);
    assert_eq!(count("USETMAXREG"), 2);
    assert!(count("STSM.16.M88.4") > 0);
    assert_eq!(count("STL") + count("LDL"), 0);
}

#[test]
fn two_linears_in_one_launch_are_what_they_are_written_as() {
    let (n, hidden) = (768, 3072);
    let up = Some(Up { k: n, bias: true, epilogue: vec![UnaryFn::GeluErf] });
    let kernel = Kernel::LinearLayerNorm { n, k: hidden, bias: true, eps: 1e-12, up };
    let operands = [hidden, hidden, n, n, n, n, n, n, hidden].map(Matrix::dense);
    let (dtype, output) = (Float::Bf16, Matrix::dense(n));
    let mut renderer = Renderer::for_arch(Arch::SM_90A).unwrap();
    let site = Site { kernel: &kernel, dtype, operands: &operands, output };
    renderer.render_with_up(&site).unwrap().unwrap();
    let units = [(&renderer.sources()[0], Arch::SM_90A)];
    let compiled = super::sound::compile(&units, "two_linears_in_one_launch", &|_| {});
    let Some(compiled) = compiled.map(|mut all| all.remove(0)) else { return };
    assert_eq!(compiled.defects(), [""; 0]);
    let Some(sass) = disassemble(&compiled.cubin.unwrap()) else { return };
    let count = |instruction: &str| sass.matches(instruction).count();
    assert_eq!([count("HGMMA.64x128x16"), count("HGMMA.64x192x16")], [8, 4]);
    // x and what is between go to all blocks; the residual, and each weight from two places.
    assert_eq!(count("UTMALDG.2D.MULTICAST"), 2);
    assert_eq!(count("UTMALDG.2D"), 7);
    assert_eq!(count("USETMAXREG"), 2);
    assert_eq!((count("PREEXIT"), count("ACQBULK")), (1, 1));
    assert!(count("STSM.16.M88.4") > 0 && count("FENCE.VIEW.ASYNC") > 0);
    assert_eq!(count("STL") + count("LDL"), 0);
}
