//! The simulator's own fixtures of our kernels: its benchmark and its tests run them without a compiler.

use std::{env, fs};

use bytec_compiler::nvrtc::Arch;
use bytec_compiler::render::{Float, Matrix, Site, Source};
use bytec_plan::kernel::Kernel;

/// MiniLM's merged q, k and v.
fn linear() -> Source {
    let (n, k) = (1152, 384);
    let kernel = Kernel::Linear { n, k, bias: true, epilogue: Vec::new() };
    let operands = [Matrix::dense(k), Matrix::dense(k), Matrix::dense(n)];
    let site =
        Site { kernel: &kernel, dtype: Float::F16, operands: &operands, output: Matrix::dense(n) };
    super::render(&site)
}

/// MiniLM's attention, on the columns that the linear layer writes.
fn attention() -> Source {
    let kernel = Kernel::attention(12, 32, 0.176_776_7);
    let operands = [0, 1, 2].map(|n| Matrix { column: n * 384, stride: 1152 });
    let output = Matrix::dense(384);
    let site = Site { kernel: &kernel, dtype: Float::F16, operands: &operands, output };
    super::render(&site)
}

/// The first line of a fixture: which CUDA text its PTX was compiled from.
fn first_line(source: &Source) -> String {
    format!("// from CUDA text with BLAKE3 {}\n", blake3::hash(source.text.as_bytes()).to_hex())
}

#[test]
fn are_what_the_templates_give() {
    let bless = env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    for (name, source) in [("linear", linear()), ("attention", attention())] {
        let folder = bytec_tests::root().join("runtime/sim/tests/fixtures");
        let file = folder.join(name).with_extension("ptx");
        let from = first_line(&source);
        if bless && let Some(nvrtc) = bytec_tests::nvrtc::nvrtc() {
            let ptx =
                nvrtc.compile(&[(&source, Arch::SM_80)], None, &|_| {}).unwrap().remove(0).ptx;
            fs::write(&file, from.clone() + &ptx).unwrap();
        }
        let same = fs::read_to_string(&file).is_ok_and(|text| text.starts_with(&from));
        assert!(
            same,
            "{name}: its text has changed; run with UPDATE_EXPECT=1, which compiles it again"
        );
    }
}
