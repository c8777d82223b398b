//! Every way in which a source can be wrong.

use std::path::PathBuf;

use bytec_models::{FieldError, ModelError, TensorProblems};
use bytec_trace::LiftError;
use thiserror::Error;

use super::header::HeaderError;
use super::pt2::Pt2Error;

/// Why a model can't be read.
#[derive(Debug, Error)]
pub enum FrontError {
    /// The file system refused.
    #[error("{}: can't be read: {source}", file.display())]
    Read {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder without weights.
    #[error("{}: no weights, expected model.safetensors or model.safetensors.index.json, found {found}; {help}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What is there instead.
        found: String,
        /// What to do.
        help: String,
    },
    /// A file of a kind that no front end reads.
    #[error("{}: not a source, expected a folder, a .safetensors file, a .safetensors.index.json file or a .pt2 archive", file.display())]
    NotASource {
        /// The file.
        file: PathBuf,
    },
    /// A safetensors file that breaks its format's rules.
    #[error("{}: {source}", file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// The rule.
        source: HeaderError,
    },
    /// An archive of `torch.export` that can't be read.
    #[error("{}: {source}", file.display())]
    Archive {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<Pt2Error>,
    },
    /// A program that can't become the graph of one sample.
    #[error("{}: {source}", file.display())]
    Lift {
        /// The archive.
        file: PathBuf,
        /// What stands in the way.
        source: Box<LiftError>,
    },
    /// A shard index that can't be followed.
    #[error("{}: {problem}", file.display())]
    Index {
        /// The index.
        file: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// A tensor that goes by the name which one of another file is to have.
    #[error(
        "{file}: holds `{name}`, the name under which the tensor of {other} is read; rename one of the two"
    )]
    TwoTensors {
        /// The file.
        file: String,
        /// The name.
        name: String,
        /// The other file.
        other: String,
    },
    /// A file that should hold JSON and doesn't.
    #[error("{file}: expected {expected}, found {found}")]
    Json {
        /// The file, or the metadata key.
        file: String,
        /// What it should hold.
        expected: &'static str,
        /// What is there, with the place.
        found: String,
    },
    /// No config was found.
    #[error(
        "{}: no config.json beside the weights and no `bytec.config` in the file's metadata; heads, activation and \
         epsilon can't be told from tensors: pass --config FILE, or --graph FILE", folder.display()
    )]
    NoConfig {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A field of a JSON file.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The model's family refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A module of a sentence-transformers folder that isn't built.
    #[error(
        "{file}: module {index} is {found:?}, expected {expected}; to compile the encoder alone, pass --pooling none"
    )]
    SentenceModule {
        /// `modules.json`.
        file: String,
        /// The position in the list.
        index: usize,
        /// The module's type.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// Options that contradict each other or the source.
    #[error("{0}")]
    Options(String),
    /// A tensor stored in an element type that a weight can't have.
    #[error(
        "{file}: tensor `{name}` is {dtype}, expected F32, F16 or BF16; save it in one of these"
    )]
    WeightDType {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
    },
    /// A tensor that isn't there.
    #[error("{file}: no tensor `{name}`")]
    NoTensor {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
    },
    /// Two tensors that the config calls one hold different values.
    #[error(
        "{file}: `{used}` and `{other}` should be one tensor but hold different values; {help}"
    )]
    NotTied {
        /// The file.
        file: String,
        /// The one the graph would use.
        used: String,
        /// The other.
        other: String,
        /// What to do.
        help: String,
    },
    /// A graph file that doesn't parse or breaks an invariant.
    #[error("{file}: {problem}")]
    Graph {
        /// The file, or the metadata key.
        file: String,
        /// What was expected and found, with the place.
        problem: String,
    },
    /// Weights that a graph declares and the file doesn't have as declared.
    #[error(transparent)]
    Tensors(#[from] TensorProblems),
}
