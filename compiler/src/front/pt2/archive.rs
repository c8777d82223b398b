//! What an archive holds: the program and its tensors.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;

use super::error::Pt2Error;
use super::schema::{Payload, Payloads, Program, SymInt};
use super::zip::{self, Members};

/// The most bytes of a program's JSON, stack traces included.
const MAX_JSON: usize = 256 << 20;

/// The major version of the schema that is read.
const SCHEMA: u64 = 8;

/// A tensor may repeat elements of its storage; this many are always allowed.
const MAX_REPEATED: u64 = 1 << 20;

/// An archive, read but not yet lowered.
#[derive(Debug)]
pub struct Archive {
    pub(super) program: Program,
    tensors: BTreeMap<String, Place>,
}

/// A tensor's payload, and the folder of the archive that holds it.
#[derive(Debug)]
struct Place {
    is_weight: bool,
    payload: Payload,
    member: String,
    storage: Option<Range<usize>>,
}

/// The type of an element in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    F32,
    F64,
    Bool,
    Bf16,
}

impl Element {
    /// By the schema's own number.
    fn of(number: u32) -> Option<Element> {
        Some(match number {
            1 => Element::U8,
            2 => Element::I8,
            3 => Element::I16,
            4 => Element::I32,
            5 => Element::I64,
            6 => Element::F16,
            7 => Element::F32,
            8 => Element::F64,
            12 => Element::Bool,
            13 => Element::Bf16,
            _ => return None,
        })
    }

    pub(super) fn size(self) -> usize {
        match self {
            Element::U8 | Element::I8 | Element::Bool => 1,
            Element::I16 | Element::F16 | Element::Bf16 => 2,
            Element::I32 | Element::F32 => 4,
            Element::I64 | Element::F64 => 8,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::F32 | Element::F64 | Element::Bf16)
    }
}

/// A tensor as it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) element: Element,
    pub(super) shape: Vec<u64>,
    strides: Vec<u64>,
    /// From its first element to the end of its storage.
    bytes: Range<usize>,
}

impl Archive {
    /// Reads the archive that is the whole of `file`.
    ///
    /// # Errors
    /// The first rule that the container, a mark or a JSON member breaks. Tensors are looked at when they are used.
    pub fn parse(file: &[u8]) -> Result<Self, Pt2Error> {
        let members = zip::parse(file)?;
        let root = members.first.split('/').next().unwrap_or_default().to_owned();
        let files = Files { file, members: &members, root: &root };
        files.mark("archive_format", "pt2")?;
        files.mark("byteorder", "little")?;
        let name = files.program()?;
        let program: Program = files.json(&format!("models/{name}.json"))?;
        if program.schema_version.major != SCHEMA {
            return Err(Pt2Error::Version { found: program.schema_version.major });
        }
        let mut tensors = BTreeMap::new();
        for folder in ["constants", "weights"] {
            let payloads: Payloads =
                files.json(&format!("data/{folder}/{name}_{folder}_config.json"))?;
            for (tensor, payload) in payloads.config {
                let member = format!("data/{folder}/{}", payload.path_name);
                let storage = files.range(&member).cloned();
                let is_weight = folder == "weights";
                tensors.insert(tensor, Place { is_weight, payload, member, storage });
            }
        }
        Ok(Self { program, tensors })
    }

    /// True for a parameter and a buffer that is saved with them.
    pub(super) fn is_weight(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|place| place.is_weight)
    }

    /// The names of all such.
    pub(super) fn weights(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|(_, place)| place.is_weight).map(|(name, _)| name.as_str())
    }

    /// True for a tensor that no training changes: a buffer, or a frozen parameter.
    pub(super) fn is_settled(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|Place { payload, .. }| {
            let learns = payload.tensor_meta.as_ref().is_none_or(|meta| meta.requires_grad);
            !(payload.is_param && learns)
        })
    }

    /// The place of a tensor, checked against its storage.
    pub(super) fn stored(&self, name: &str) -> Result<Stored, Pt2Error> {
        let wrong = |problem: String| Pt2Error::Tensor { name: name.to_owned(), problem };
        let place = self.tensors.get(name).ok_or_else(|| {
            wrong("listed neither among the weights nor among the constants".to_owned())
        })?;
        if place.payload.use_pickle {
            return Err(wrong(
                "stored as a pickle, which isn't read; expected raw bytes".to_owned(),
            ));
        }
        let storage = place.storage.clone().ok_or_else(|| {
            wrong(format!("the archive has no member `{}`, which should hold it", place.member))
        })?;
        let meta =
            place.payload.tensor_meta.as_ref().ok_or_else(|| {
                wrong("no `tensor_meta`, which says its type and shape".to_owned())
            })?;
        let element = Element::of(meta.dtype).ok_or_else(|| {
            wrong(format!(
                "its elements have the schema's type {}, expected floats of 16, 32 or 64 bits, integers or truth values",
                meta.dtype
            ))
        })?;
        let numbers = |sizes: &[SymInt]| sizes.iter().map(fixed).collect::<Option<Vec<u64>>>();
        let parts =
            numbers(&meta.sizes).zip(numbers(&meta.strides)).zip(fixed(&meta.storage_offset));
        let ((shape, strides), offset) = parts.ok_or_else(|| {
            wrong("its sizes, strides and offset should be numbers of at least 0".to_owned())
        })?;
        if strides.len() != shape.len() {
            return Err(wrong(format!("{} strides for {} axes", strides.len(), shape.len())));
        }
        let held = (storage.len() / element.size()) as u64;
        let (elements, reach) = extent(&shape, &strides)
            .ok_or_else(|| wrong(format!("{shape:?} is more elements than 64 bits can count")))?;
        let end = offset.checked_add(reach).filter(|&end| end <= held);
        if end.is_none() || elements > held.max(MAX_REPEATED) {
            return Err(wrong(format!(
                "{shape:?} with strides {strides:?} from element {offset} is more than its storage of {held} elements"
            )));
        }
        // The offset is at most `held`, so it fits in the storage's range.
        let bytes = storage.start + offset as usize * element.size()..storage.end;
        Ok(Stored { element, shape, strides, bytes })
    }
}

/// How many elements a tensor has, and the number of its last place in storage plus one.
fn extent(shape: &[u64], strides: &[u64]) -> Option<(u64, u64)> {
    if shape.contains(&0) {
        return Some((0, 0));
    }
    let elements = shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n))?;
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(0u64, |sum, (&n, &stride)| sum.checked_add((n - 1).checked_mul(stride)?))?;
    Some((elements, last.checked_add(1)?))
}

fn fixed(size: &SymInt) -> Option<u64> {
    match size {
        SymInt::Int(n) => u64::try_from(*n).ok(),
        SymInt::Expr(_) => None,
    }
}

impl Stored {
    /// Its bytes in the file, if its elements lie there one after the other.
    pub(super) fn contiguous(&self) -> Option<Range<usize>> {
        let start = self.bytes.start;
        if self.shape.contains(&0) {
            return Some(start..start);
        }
        let mut elements = 1;
        for (&n, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if n != 1 && stride != elements {
                return None;
            }
            elements *= n;
        }
        Some(start..start + elements as usize * self.element.size())
    }

    /// Its bytes in row-major order.
    pub(super) fn gathered(&self, file: &[u8]) -> Vec<u8> {
        if let Some(range) = self.contiguous() {
            return file[range].to_vec();
        }
        let (storage, size) = (&file[self.bytes.clone()], self.element.size());
        let mut offsets = vec![0usize];
        for (&n, &stride) in self.shape.iter().zip(&self.strides) {
            let along =
                |&offset: &usize| (0..n as usize).map(move |i| offset + i * stride as usize);
            offsets = offsets.iter().flat_map(along).collect();
        }
        offsets.into_iter().flat_map(|at| &storage[at * size..(at + 1) * size]).copied().collect()
    }
}

/// The members under the archive's root.
struct Files<'f> {
    file: &'f [u8],
    members: &'f Members,
    root: &'f str,
}

impl<'f> Files<'f> {
    fn range(&self, member: &str) -> Option<&'f Range<usize>> {
        self.members.ranges.get(&format!("{}/{member}", self.root))
    }

    fn get(&self, member: &str) -> Result<&'f [u8], Pt2Error> {
        match self.range(member) {
            Some(range) => Ok(&self.file[range.clone()]),
            None => {
                let found = match self.members.first.as_str() {
                    "" => "no members".to_owned(),
                    first => format!("`{first}`"),
                };
                Err(Pt2Error::NotAnArchive { member: member.to_owned(), found })
            }
        }
    }

    /// Checks a member that holds one word.
    fn mark(&self, member: &'static str, expected: &'static str) -> Result<(), Pt2Error> {
        let bytes = self.get(member)?;
        let found = String::from_utf8_lossy(&bytes[..bytes.len().min(16)]).into_owned();
        if found == expected { Ok(()) } else { Err(Pt2Error::Mark { member, expected, found }) }
    }

    /// The name of the only program.
    fn program(&self) -> Result<String, Pt2Error> {
        let folder = format!("{}/models/", self.root);
        let json = |name: &'f String| name.strip_prefix(&folder)?.strip_suffix(".json");
        let names: Vec<&str> = self.members.ranges.keys().filter_map(json).collect();
        match names[..] {
            [name] => Ok(name.to_owned()),
            [] => Err(Pt2Error::Programs { found: "none".to_owned() }),
            _ => {
                Err(Pt2Error::Programs { found: format!("{}: {}", names.len(), names.join(", ")) })
            }
        }
    }

    fn json<T: DeserializeOwned>(&self, member: &str) -> Result<T, Pt2Error> {
        let wrong = |problem: String| Pt2Error::Json { member: member.to_owned(), problem };
        let text = self.get(member)?;
        if text.len() > MAX_JSON {
            let found = text.len();
            return Err(wrong(format!("expected at most {MAX_JSON} bytes of JSON, found {found}")));
        }
        serde_json::from_slice(text).map_err(|e| wrong(e.to_string()))
    }
}
