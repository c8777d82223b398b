//! Safetensors files of samples: keys `<sample>.<name>`, no batch axis, no padding.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A tensor of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    /// Integers and their extents.
    I64(Vec<i64>, Vec<u64>),
    /// Floats and their extents.
    F32(Vec<f32>, Vec<u64>),
}

impl Tensor {
    /// The floats.
    ///
    /// # Errors
    /// If it holds integers.
    pub fn floats(&self) -> Result<&[f32]> {
        match self {
            Tensor::F32(values, _) => Ok(values),
            Tensor::I64(..) => bail!("expected floats, found integers"),
        }
    }
}

/// Each sample's tensors by name; samples by number.
pub type Samples = BTreeMap<u64, BTreeMap<String, Tensor>>;

/// Reads a file of samples.
///
/// # Errors
/// A file that is not of this sort.
pub fn read(path: &Path) -> Result<Samples> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut samples = Samples::new();
    for (key, view) in file.tensors() {
        let (sample, name) = key.split_once('.').context("keys are <sample>.<name>")?;
        let shape = view.shape().iter().map(|&extent| extent as u64).collect();
        let data = view.data();
        let tensor = match view.dtype() {
            Dtype::I64 => {
                let value = |b: &[u8; 8]| i64::from_le_bytes(*b);
                Tensor::I64(data.as_chunks().0.iter().map(value).collect(), shape)
            }
            Dtype::F32 => {
                let value = |b: &[u8; 4]| f32::from_le_bytes(*b);
                Tensor::F32(data.as_chunks().0.iter().map(value).collect(), shape)
            }
            other => bail!("{key}: dtype {other:?}"),
        };
        samples.entry(sample.parse()?).or_default().insert(name.to_owned(), tensor);
    }
    Ok(samples)
}

/// Writes a file of samples.
///
/// # Errors
/// If the file can't be written.
pub fn write(path: &Path, samples: &Samples) -> Result<()> {
    let named = samples.iter().flat_map(|(sample, tensors)| {
        tensors.iter().map(move |(name, tensor)| (format!("{sample}.{name}"), tensor))
    });
    let whole: Vec<_> = named
        .map(|(key, tensor)| {
            let (dtype, shape, bytes): (_, _, Vec<u8>) = match tensor {
                Tensor::I64(values, shape) => {
                    (Dtype::I64, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
                }
                Tensor::F32(values, shape) => {
                    (Dtype::F32, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
                }
            };
            (key, dtype, shape.iter().map(|&extent| extent as usize).collect::<Vec<_>>(), bytes)
        })
        .collect();
    let views = whole
        .iter()
        .map(|(key, dtype, shape, bytes)| {
            Ok((key.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>>>()?;
    std::fs::write(path, safetensors::serialize(views, None)?)
        .with_context(|| path.display().to_string())
}
