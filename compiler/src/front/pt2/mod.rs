//! The third front end: archives of `torch.export` (`.pt2`).
//!
//! An archive is a zip file with the program as JSON and the tensors as raw bytes. The [zip] reader checks the container,
//! [archive] what it holds; every node of the program becomes nodes of a [`Trace`] by the table of ops, and
//! [`bytec_trace`] finds the graph of one sample in it. No Python is needed, and nothing of the file runs.

pub mod archive;
pub mod error;
mod expr;
mod lower;
mod schema;
pub mod zip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytec_ir::eval::{Tensor, WeightSource};
use bytec_trace::{LiftOptions, Op, Trace, lift};

pub use archive::Archive;
use archive::Element;
pub use error::Pt2Error;

use super::error::FrontError;
use super::header::Entry;
use super::texts::{self, Texts};
use super::weights::{self, Weights};
use super::{FrontOptions, Loaded, graph_file};

/// The input that libraries mask padding with. A sample has none, so it is 1 everywhere.
const MASK: &str = "attention_mask";

/// The most elements of a settled tensor that the lifting may look at, and of all of them.
const MAX_KNOWN: [usize; 2] = [1 << 20, 1 << 22];

/// The input that a text alone may leave out, as it may with a model from safetensors.
const SEGMENTS: &str = "token_type_ids";

/// True for an archive: a file that begins like a zip file, or that says by its name that it is one.
///
/// # Errors
/// The file can't be read.
pub(super) fn is_archive(path: &Path) -> Result<bool, FrontError> {
    let read = |source| FrontError::Read { file: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.is_dir() {
        return Ok(false);
    }
    let mut begin = Vec::new();
    let file = File::open(path).map_err(read)?;
    file.take(zip::MAGIC.len() as u64).read_to_end(&mut begin).map_err(read)?;
    Ok(begin == zip::MAGIC || path.extension().is_some_and(|extension| extension == "pt2"))
}

/// The model in the archive at `path`.
///
/// # Errors
/// As [`open`]; or a program that can't be run on packed samples.
pub(super) fn load(path: &Path, options: &FrontOptions) -> Result<Loaded, FrontError> {
    options.refuse_shaping("a torch.export archive")?;
    if options.graph.is_some() {
        let problem = "--graph has no effect on a torch.export archive, which has a program of its own; leave it out";
        return Err(FrontError::Options(problem.to_owned()));
    }
    let Opened { trace, mut weights, known } = open(path, options)?;
    let takes = |name: &str| {
        trace
            .nodes()
            .any(|(_, node)| matches!(&node.op, Op::Input { name: input } if input == name))
    };
    let named = |name: &str| takes(name).then(|| name.to_owned());
    let lift_options = LiftOptions {
        ones: named(MASK).into_iter().collect::<BTreeSet<_>>(),
        defaults: named(SEGMENTS).into_iter().map(|name| (name, 0)).collect(),
        known,
        tables: true,
    };
    let lifted = lift(&trace, &lift_options)
        .map_err(|source| FrontError::Lift { file: path.to_owned(), source: Box::new(source) })?;
    weights.hold(lifted.tables);
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let texts = match graph_file::text_inputs(&lifted.graph) {
        Some(inputs) => texts::read(folder, &inputs)?,
        None => Texts::default(),
    };
    let mut notes = lifted.provisos;
    if takes(MASK) {
        notes.push(format!(
            "{MASK} is no input of the plan: a sample has no padding, so it is 1 everywhere"
        ));
    }
    notes.extend(texts.notes);
    Ok(Loaded {
        unused_tensors: super::unused(&lifted.graph, &weights, &[]),
        ignored_fields: Vec::new(),
        graph: lifted.graph,
        weights,
        front: "torch.export",
        family: String::new(),
        architecture: String::new(),
        labels: Vec::new(),
        task: None,
        text: texts.spec,
        tokenizer: texts.tokenizer,
        pooling: None,
        notes,
    })
}

/// What an archive holds.
#[derive(Debug)]
pub struct Opened {
    /// Its program.
    pub trace: Trace,
    /// The tensors of its checkpoint.
    pub weights: Weights,
    /// Those of the program that no training changes, if they are small: buffers and frozen parameters.
    pub known: BTreeMap<String, Tensor>,
}

/// The program of the archive at `path`, with the names and the limit of the options, and the tensors of its checkpoint.
///
/// # Errors
/// The file can't be read, or isn't an archive that a plan can be made of.
pub fn open(path: &Path, options: &FrontOptions) -> Result<Opened, FrontError> {
    let wrong = |source| FrontError::Archive { file: path.to_owned(), source: Box::new(source) };
    let map = weights::map(path)?;
    let archive = Archive::parse(&map).map_err(wrong)?;
    let trace = archive.trace(&map, options).map_err(wrong)?;
    let entries = archive.entries(&map).map_err(wrong)?;
    let settled: BTreeSet<String> = trace
        .nodes()
        .filter_map(|(_, node)| match &node.op {
            Op::Weight { name } if archive.is_settled(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let weights = Weights::of_archive(path, map, entries);
    let mut known = BTreeMap::new();
    let mut left = MAX_KNOWN[1];
    for name in settled {
        let elements = weights.info(&name).map_or(u64::MAX, |info| {
            info.shape.iter().fold(1, |count: u64, &extent| count.saturating_mul(extent))
        });
        let fits = usize::try_from(elements).is_ok_and(|count| count <= MAX_KNOWN[0].min(left));
        if fits && let Ok(tensor) = weights.tensor(&name) {
            left -= elements as usize;
            known.insert(name, tensor);
        }
    }
    Ok(Opened { trace, weights, known })
}

impl Archive {
    /// The archive's program, which is the whole of `file`, as a trace. Its outputs get the names of the options, else
    /// `output.0`, `output.1` and so on; its sizes, but for the batch, are at most the options' length.
    ///
    /// # Errors
    /// Everything in the program that no plan can do: all unknown ops at once, else the first node that can't be read.
    pub fn trace(&self, file: &[u8], options: &FrontOptions) -> Result<Trace, Pt2Error> {
        lower::lower(self, file, options)
    }

    /// Where the float tensors of the checkpoint are in `file`. Those that don't lie there in order are copied behind
    /// each other into the buffer that comes with them; their ranges are of it.
    pub(super) fn entries(&self, file: &[u8]) -> Result<Entries, Pt2Error> {
        let mut entries = Entries::default();
        for name in self.weights() {
            let Ok(stored) = self.stored(name) else { continue };
            let dtype = match stored.element {
                Element::F16 => "F16",
                Element::Bf16 => "BF16",
                Element::F32 => "F32",
                Element::F64 => "F64",
                _ => continue,
            };
            let (held, bytes) = match stored.contiguous() {
                Some(bytes) => (&mut entries.in_place, bytes),
                None => {
                    let start = entries.copied.len();
                    entries.copied.extend(stored.gathered(file));
                    (&mut entries.gathered, start..entries.copied.len())
                }
            };
            held.insert(
                name.to_owned(),
                Entry { dtype: dtype.to_owned(), shape: stored.shape, bytes },
            );
        }
        Ok(entries)
    }
}

/// The float tensors of a checkpoint by name.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Those whose bytes are ranges of the file.
    pub(super) in_place: BTreeMap<String, Entry>,
    /// Those whose bytes are ranges of `copied`.
    pub(super) gathered: BTreeMap<String, Entry>,
    pub(super) copied: Vec<u8>,
}
