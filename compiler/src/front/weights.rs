//! The tensors of a safetensors file, of the shards that an index names, or of an archive, mapped into memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use bytec_ir::eval::{Data, EvalError, Tensor, WeightSource};
use bytec_models::{Checkpoint, TensorInfo};
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use serde_json::Value;

use super::error::FrontError;
use super::header::{self, Entry};
use super::json;
use super::pt2::Entries;

/// Where a tensor is.
#[derive(Debug)]
struct Place {
    file: usize,
    entry: Entry,
}

/// Memory that tensors are ranges of.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// Copied together from a file that doesn't hold it in order.
    Copied(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Copied(bytes) => bytes,
        }
    }
}

/// Named tensors in mapped files. Nothing is read before it is asked for.
#[derive(Debug)]
pub struct Weights {
    source: String,
    files: Vec<Bytes>,
    tensors: BTreeMap<String, Place>,
    metadata: BTreeMap<String, String>,
}

impl Weights {
    /// Opens a safetensors file.
    ///
    /// # Errors
    /// The file can't be read, or breaks a rule of the format.
    pub fn open(file: &Path) -> Result<Self, FrontError> {
        let mut weights = Self::empty(file);
        let map = map(file)?;
        let header = header::parse(&map)
            .map_err(|source| FrontError::Header { file: file.to_owned(), source })?;
        weights.files.push(Bytes::Mapped(map));
        weights.metadata = header.metadata;
        weights.tensors = header
            .tensors
            .into_iter()
            .map(|(name, entry)| (name, Place { file: 0, entry }))
            .collect();
        Ok(weights)
    }

    /// Opens the shards that a `model.safetensors.index.json` names. Every tensor of every shard has to be in the
    /// index, under the shard that holds it, and the other way round.
    ///
    /// # Errors
    /// The index or a shard can't be read, or they disagree.
    pub fn open_index(index: &Path) -> Result<Self, FrontError> {
        let wrong = |problem: String| FrontError::Index { file: index.to_owned(), problem };
        let fields = json::object(index)?;
        let listed = fields.get("weight_map").and_then(Value::as_object).ok_or_else(|| {
            wrong("expected `weight_map`, an object from tensor to file".to_owned())
        })?;
        let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, file) in listed {
            let file = file.as_str().filter(|file| is_plain_name(file)).ok_or_else(|| {
                wrong(format!(
                    "tensor `{name}`: expected the name of a file beside the index, found {file}"
                ))
            })?;
            by_file.entry(file).or_default().push(name);
        }
        let mut weights = Self::empty(index);
        for (file, names) in &by_file {
            if !index.with_file_name(file).is_file() {
                return Err(wrong(format!(
                    "shard {file} is missing, which should hold `{}`; fetch the whole folder",
                    names[0]
                )));
            }
        }
        for (file, names) in by_file {
            let path = index.with_file_name(file);
            let mut shard = Self::open(&path)?;
            let position = weights.files.len();
            for name in names {
                let mut place = shard.tensors.remove(name).ok_or_else(|| {
                    wrong(format!("tensor `{name}` should be in {file}, which doesn't hold it"))
                })?;
                place.file = position;
                weights.tensors.insert(name.to_owned(), place);
            }
            if let Some(name) = shard.tensors.keys().next() {
                return Err(wrong(format!(
                    "{file} holds `{name}`, which the index doesn't place there"
                )));
            }
            weights.files.append(&mut shard.files);
            weights.metadata.append(&mut shard.metadata);
        }
        Ok(weights)
    }

    /// The tensors of an archive, which is the whole of `map`.
    pub(super) fn of_archive(file: &Path, map: Mmap, entries: Entries) -> Self {
        let mut weights = Self::empty(file);
        weights.files = vec![Bytes::Mapped(map), Bytes::Copied(entries.copied)];
        for (file, held) in [entries.in_place, entries.gathered].into_iter().enumerate() {
            let places = held.into_iter().map(|(name, entry)| (name, Place { file, entry }));
            weights.tensors.extend(places);
        }
        weights
    }

    /// Adds the tensors of another source, with `prefix` and a dot before their names. Its metadata is left out.
    ///
    /// # Errors
    /// There is a tensor of such a name already.
    pub fn join(&mut self, prefix: &str, mut other: Weights) -> Result<(), FrontError> {
        let first = self.files.len();
        for (name, mut place) in other.tensors {
            let name = format!("{prefix}.{name}");
            if self.tensors.contains_key(&name) {
                return Err(FrontError::TwoTensors {
                    file: self.source.clone(),
                    name,
                    other: other.source,
                });
            }
            place.file += first;
            self.tensors.insert(name, place);
        }
        self.files.append(&mut other.files);
        Ok(())
    }

    /// Adds tensors of floats that no file holds, as f32.
    pub(super) fn hold(&mut self, tensors: BTreeMap<String, Tensor>) {
        let file = self.files.len();
        let mut held = Vec::new();
        for (name, tensor) in tensors {
            let Data::Float(values) = tensor.data else { continue };
            let start = held.len();
            held.extend(values.iter().flat_map(|&x| (x as f32).to_le_bytes()));
            let shape = tensor.shape.iter().map(|&extent| extent as u64).collect();
            let entry = Entry { dtype: "F32".to_owned(), shape, bytes: start..held.len() };
            self.tensors.insert(name, Place { file, entry });
        }
        self.files.push(Bytes::Copied(held));
    }

    fn empty(source: &Path) -> Self {
        Self {
            source: source.display().to_string(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The file, or the index, that was opened.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The free text of the header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's element type in the file and its shape.
    pub fn info(&self, name: &str) -> Option<TensorInfo> {
        let Entry { dtype, shape, .. } = &self.tensors.get(name)?.entry;
        Some(TensorInfo { dtype: dtype.clone(), shape: shape.clone() })
    }

    /// Names, element types and shapes of all tensors.
    pub fn checkpoint(&self) -> Checkpoint {
        let tensors = self.tensors.keys().filter_map(|name| Some((name.clone(), self.info(name)?)));
        Checkpoint::new(self.source.clone(), tensors.collect())
    }

    fn stored(&self, name: &str) -> Result<(&str, &[u8]), FrontError> {
        let place = self.tensors.get(name).ok_or_else(|| FrontError::NoTensor {
            file: self.source.clone(),
            name: name.to_owned(),
        })?;
        Ok((&place.entry.dtype, &self.files[place.file][place.entry.bytes.clone()]))
    }

    /// A tensor's elements as f32, in row-major order: the file's own memory where it is f32 and aligned. Those of an
    /// F64, which only archives may hold as weights, are rounded.
    ///
    /// # Errors
    /// No such tensor, or an element type other than F32, F16, BF16 and F64.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>, FrontError> {
        let (dtype, bytes) = self.stored(name)?;
        match dtype {
            "F32" if cfg!(target_endian = "little") => Ok(match bytemuck::try_cast_slice(bytes) {
                Ok(values) => Cow::Borrowed(values),
                Err(_) => Cow::Owned(converted(bytes, f32::from_le_bytes)),
            }),
            "F32" => Ok(Cow::Owned(converted(bytes, f32::from_le_bytes))),
            "F16" => Ok(Cow::Owned(converted(bytes, |b| f16::from_le_bytes(b).to_f32()))),
            "BF16" => Ok(Cow::Owned(converted(bytes, |b| bf16::from_le_bytes(b).to_f32()))),
            "F64" => Ok(Cow::Owned(converted(bytes, |b| f64::from_le_bytes(b) as f32))),
            _ => Err(FrontError::WeightDType {
                file: self.source.clone(),
                name: name.to_owned(),
                dtype: dtype.to_owned(),
            }),
        }
    }

    /// How many of a tensor's elements are NaN or infinite; 0 if it isn't there or isn't of a weight's type.
    pub fn non_finite(&self, name: &str) -> u64 {
        let values = self.f32(name).unwrap_or_default();
        values.par_iter().filter(|value| !value.is_finite()).count() as u64
    }

    /// The BLAKE3 hash of a tensor's bytes as stored.
    ///
    /// # Errors
    /// No such tensor.
    pub fn hash(&self, name: &str) -> Result<blake3::Hash, FrontError> {
        Ok(blake3::hash(self.stored(name)?.1))
    }
}

impl WeightSource for Weights {
    fn tensor(&self, name: &str) -> Result<Tensor, EvalError> {
        let info = self.info(name).ok_or_else(|| EvalError::MissingWeight(name.to_owned()))?;
        let values = self.f32(name).map_err(|_| EvalError::Type {
            expected: "F32, F16 or BF16".to_owned(),
            found: info.dtype.clone(),
        })?;
        // The shape's size is the mapped size, so it fits in a usize, unless another extent is 0.
        let shape: Vec<usize> =
            info.shape.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        Tensor::floats(&shape, values.iter().map(|&x| f64::from(x)).collect())
    }
}

/// Elements of `N` bytes each, converted in parallel.
fn converted<const N: usize>(bytes: &[u8], convert: fn([u8; N]) -> f32) -> Vec<f32> {
    const BLOCK: usize = 1 << 14;
    let (elements, _) = bytes.as_chunks::<N>();
    elements.par_iter().with_min_len(BLOCK).map(|&element| convert(element)).collect()
}

/// True for the name of a file in the same folder.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// Maps a whole file.
pub(super) fn map(file: &Path) -> Result<Mmap, FrontError> {
    let read = |source| FrontError::Read { file: PathBuf::from(file), source };
    let handle = File::open(file).map_err(read)?;
    if handle.metadata().map_err(read)?.is_dir() {
        return Err(read(std::io::ErrorKind::IsADirectory.into()));
    }
    #[expect(unsafe_code, reason = "mapping a checkpoint saves a copy of it in memory")]
    // SAFETY: the map is read-only. Memory under it changes only if another process writes to the file while it is
    // compiled. No type with invalid bit patterns is ever read from it, and its header is parsed from the same bytes that
    // the ranges are applied to, with every range checked; a file cut short meanwhile ends the process with SIGBUS,
    // which is the accepted price of mapping.
    let map = unsafe { Mmap::map(&handle) }.map_err(read)?;
    Ok(map)
}
