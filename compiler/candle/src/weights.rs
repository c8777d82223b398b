//! Weights, named by the path that the model asked its `VarBuilder` for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, TensorId};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use crate::options::Numbers;

/// Where weights come from: a loader of candle's, or random numbers.
pub type Source = Box<dyn SimpleBackend>;

/// The tensors handed out so far, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeMap<(String, DTypeName), Tensor>>>);

/// A dtype by its name, which has an order.
type DTypeName = &'static str;

impl Names {
    /// A backend for a `VarBuilder` that remembers what it hands out.
    pub(crate) fn backend(&self, source: Source) -> Box<dyn SimpleBackend> {
        Box::new(Named { source, names: self.clone() })
    }

    /// Every tensor handed out, with its name.
    pub(crate) fn all(&self) -> Vec<(TensorId, String, Tensor)> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .iter()
            .map(|((name, _), tensor)| (tensor.id(), name.clone(), tensor.clone()))
            .collect()
    }
}

struct Named {
    source: Source,
    names: Names,
}

impl Named {
    fn remember(
        &self,
        name: &str,
        dtype: DType,
        load: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut names = self.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), dtype.as_str());
        if let Some(tensor) = names.get(&key) {
            return Ok(tensor.clone());
        }
        let tensor = load()?;
        names.insert(key, tensor.clone());
        Ok(tensor)
    }
}

impl SimpleBackend for Named {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let tensor = self
            .remember(name, dtype, || self.source.get(shape.clone(), name, init, dtype, device))?;
        if *tensor.shape() != shape {
            let (expected, got) = (shape, tensor.shape().clone());
            let msg = format!("weight {name}");
            return Err(candle_core::Error::UnexpectedShape { msg, expected, got }.bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.remember(name, dtype, || self.source.get_unchecked(name, dtype, device))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.source.contains_tensor(name)
    }
}

/// Weights in memory, by name.
#[derive(Clone, Debug, Default)]
pub struct Tensors(pub BTreeMap<String, Tensor>);

impl SimpleBackend for Tensors {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if *tensor.shape() != shape {
            let (expected, got) = (shape, tensor.shape().clone());
            let msg = format!("weight {name}");
            return Err(candle_core::Error::UnexpectedShape { msg, expected, got }.bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt();
        self.0.get(name).ok_or_else(missing)?.to_device(device)?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Weights made up as a model asks for them: the same for the same names and shapes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MadeUp;

impl MadeUp {
    fn make(name: &str, shape: Shape, dtype: DType, device: &Device) -> Result<Tensor> {
        let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        let mut numbers = Numbers::new(seed);
        // Around 1 where it scales a norm, and small enough elsewhere that no layer runs away.
        let scales = shape.rank() == 1 && name.ends_with("weight");
        let value = |x: f32| if scales { 1.0 + 0.2 * x } else { 0.3 * x };
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| value(numbers.float())).collect();
        Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
    }
}

impl SimpleBackend for MadeUp {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        Self::make(name, shape, dtype, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt())
    }

    fn contains_tensor(&self, _: &str) -> bool {
        false
    }
}
