//! A tiny model of any family: the tensors are what its config asks for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Made, Spread, TinyCheckpoint};
use crate::{Checkpoint, Config, ModelError, Request, TensorInfo, build};

/// A tiny model to be made of a config.
#[derive(Clone, Debug, PartialEq)]
pub struct TinyModel {
    /// The content of `config.json`.
    pub config: Value,
    /// Tensors that the file has although the architecture does without, by their full names. The word table's name
    /// decides the prefix of the base model's tensors.
    pub extra: Vec<String>,
    /// Chooses the weights.
    pub seed: u64,
}

impl TinyModel {
    /// The checkpoint.
    ///
    /// # Errors
    /// A config that no model can be built of.
    pub fn checkpoint(&self) -> Result<TinyCheckpoint, ModelError> {
        let fields = self.config.as_object().cloned().unwrap_or_default();
        let config = Config::new("config.json", fields);
        // Against a file of misshapen tensors, building names every tensor that it needs, with its shape.
        let misshapen = TensorInfo { dtype: "F32".to_owned(), shape: Vec::new() };
        let held: BTreeMap<_, _> =
            self.extra.iter().map(|name| (name.clone(), misshapen.clone())).collect();
        let checkpoint = Checkpoint::new("model.safetensors", held);
        let problems = match build(&config, &checkpoint, &Request::default()) {
            Err(ModelError::Tensors(needed)) => needed.problems,
            Err(other) => return Err(other),
            Ok(_) => Vec::new(),
        };
        let mut made = Made { seed: self.seed, ..Made::default() };
        for problem in problems {
            let shape: Vec<_> = problem.expected.iter().map(|&n| n as usize).collect();
            let spread = spread(&problem.name, &shape);
            made.add(problem.name, &shape, spread);
        }
        Ok(TinyCheckpoint { config: self.config.clone(), tensors: made.tensors })
    }
}

/// What a tensor's values look like, by what it is.
fn spread(name: &str, shape: &[usize]) -> Spread {
    let name = name.to_lowercase();
    match shape {
        [_] if name.ends_with("weight") && name.contains("norm") => Spread::One(0.2),
        [_] if name.ends_with("lambda1") => Spread::One(0.2),
        [_] => Spread::Zero(0.1),
        [_, inputs @ ..] if inputs.len() == 3 => {
            Spread::Zero(1.5 / (inputs.iter().product::<usize>() as f32).sqrt())
        }
        _ if name.contains("embed") && !name.contains("embedding_hidden_mapping_in") => {
            Spread::Zero(1.0)
        }
        [.., inputs] => Spread::Zero(1.5 / (*inputs as f32).sqrt()),
        [] => Spread::Zero(1.0),
    }
}
