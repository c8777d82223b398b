//! The model that a command reads.

use std::path::Path;

use bytec_compiler::FrontOptions;

use crate::Outcome;
use crate::args::ModelArgs;
use crate::outputs;

impl ModelArgs {
    /// How the source is to be read.
    pub(crate) fn front(&self) -> FrontOptions {
        FrontOptions {
            config: self.config.clone(),
            set: self.set.clone(),
            architecture: self.architecture.clone(),
            graph: self.graph.clone(),
            pooling: self.pooling.clone(),
            normalize: self.normalize,
            outputs: self.outputs.clone(),
            max_length: self.max_length,
        }
    }

    /// Refuses to write over a file of the model.
    pub(crate) fn refuse_as_output(&self, output: &Path) -> Outcome {
        let folder = self.source.is_dir().then_some(self.source.as_path());
        let read = [Some(self.source.as_path()), self.config.as_deref(), self.graph.as_deref()];
        outputs::refuse_inputs(output, read.into_iter().flatten(), folder)
    }
}
