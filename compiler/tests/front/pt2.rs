//! Archives of torch.export: the trace that is read of each, evaluated in f64 at batch 1, against what torch computes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytec_compiler::FrontOptions;
use bytec_compiler::front::pt2;
use bytec_ir::eval::Tensor;
use bytec_trace::eval::eval;
use safetensors::{Dtype, SafeTensors};

/// `<sample>.<name>` to tensor, by sample, with a batch axis of 1.
fn samples(file: &Path) -> BTreeMap<usize, BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(file).unwrap();
    let mut samples: BTreeMap<usize, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (key, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let (sample, name) = key.split_once('.').unwrap();
        let shape: Vec<usize> = [1].iter().chain(view.shape()).copied().collect();
        let tensor = match view.dtype() {
            Dtype::I64 => {
                let values = view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b));
                Tensor::ints(&shape, values.collect())
            }
            Dtype::F32 => {
                let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                Tensor::floats(&shape, values.map(f64::from).collect())
            }
            other => panic!("{key} is {other:?}"),
        };
        samples
            .entry(sample.parse().unwrap())
            .or_default()
            .insert(name.to_owned(), tensor.unwrap());
    }
    samples
}

/// The folders of archives.
pub(crate) fn cases() -> Vec<PathBuf> {
    let folder: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "tests", "golden_data", "pt2"].iter().collect();
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

/// torch's results are rounded to f32, so they are exact to 6e-8 of each value.
#[test]
fn every_program_agrees_with_torch() {
    let cases = cases();
    assert!(cases.len() >= 8, "only {} cases", cases.len());
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let expected = samples(&case.join("outputs.safetensors"));
        let outputs = expected[&0].keys().cloned().collect();
        let options = FrontOptions { outputs, ..FrontOptions::default() };
        let pt2::Opened { trace, weights, .. } =
            pt2::open(&case.join("model.pt2"), &options).unwrap();
        for (sample, inputs) in samples(&case.join("inputs.safetensors")) {
            let found = eval(&trace, &inputs, &weights).unwrap();
            for (output, expected) in &expected[&sample] {
                let found = &found[output];
                assert_eq!(found.shape, expected.shape, "{name}, sample {sample}, {output}");
                let (found, expected) = (found.as_floats().unwrap(), expected.as_floats().unwrap());
                let scale = expected.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
                for (a, b) in found.iter().zip(expected) {
                    let error = (a - b).abs() / scale;
                    assert!(error <= 2e-7, "{name}, sample {sample}, {output}: {a}, expected {b}");
                }
            }
        }
    }
}
