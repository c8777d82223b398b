//! The header of a safetensors file, read strictly.
//!
//! `[length: u64 little-endian] [header: JSON, padded with spaces] [data]`. The header maps tensor names to element type,
//! shape and the range of the data they occupy. Beyond what the format's own library checks, a name may appear only
//! once. The ranges have to tile the data from its first byte to the file's last, so no byte hides between tensors.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use thiserror::Error;

/// The longest header the format allows.
const LONGEST_HEADER: u64 = 100_000_000;

/// The rule that a file breaks.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum HeaderError {
    /// Not even the length of the header fits.
    #[error("not a safetensors file: expected at least 8 bytes, found {0}")]
    TooShort(u64),
    /// The declared length can't be true of any file.
    #[error(
        "not a safetensors file: the header's length is given as {0} bytes, expected at most {LONGEST_HEADER}"
    )]
    TooLong(u64),
    /// The file ends before the header does.
    #[error("cut short: the header takes {declared} bytes, found {available}")]
    Truncated {
        /// The length that the file gives.
        declared: u64,
        /// The bytes after the length.
        available: u64,
    },
    /// The header isn't the JSON it should be.
    #[error("the header is not valid: {0}")]
    Json(String),
    /// A name appears twice.
    #[error("tensor `{0}` is declared twice")]
    Duplicate(String),
    /// An element type that the format doesn't have.
    #[error("tensor `{name}` has the unknown element type {dtype:?}")]
    DType {
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
    },
    /// A shape whose size in bytes doesn't fit in 64 bits, or isn't whole.
    #[error("tensor `{name}`: {dtype} {shape:?} is not a whole number of bytes below 2^64")]
    Shape {
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// The range of a tensor and its shape differ in size.
    #[error(
        "tensor `{name}`: {dtype} {shape:?} takes {expected} bytes, found the range {begin}..{end}"
    )]
    Size {
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
        /// Its shape.
        shape: Vec<u64>,
        /// The bytes it takes.
        expected: u64,
        /// Where its range begins.
        begin: u64,
        /// Where its range ends.
        end: u64,
    },
    /// Two tensors share bytes.
    #[error("tensor `{second}` begins at byte {begin}, inside `{first}`, which ends at {end}")]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The tensor that begins inside it.
        second: String,
        /// Where the second begins.
        begin: u64,
        /// Where the first ends.
        end: u64,
    },
    /// Bytes that belong to no tensor.
    #[error("bytes {begin}..{end} of the data belong to no tensor")]
    Hole {
        /// The first such byte.
        begin: u64,
        /// One past the last.
        end: u64,
    },
    /// The data ends before the tensors do.
    #[error("cut short: the tensors take {expected} bytes, found {found}")]
    DataTruncated {
        /// The end of the last tensor.
        expected: u64,
        /// The bytes after the header.
        found: u64,
    },
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The element type by its name in the format.
    pub dtype: String,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// Where its bytes are in the file.
    pub bytes: Range<usize>,
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The tensors by name.
    pub tensors: BTreeMap<String, Entry>,
    /// The free text under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// Bits of one element.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" | "F8_E4M3FNUZ"
        | "F8_E5M2FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

/// Reads the header of a whole file.
///
/// # Errors
/// The first rule that the file breaks.
pub fn parse(file: &[u8]) -> Result<Header, HeaderError> {
    let (length, rest) =
        file.split_first_chunk::<8>().ok_or(HeaderError::TooShort(file.len() as u64))?;
    let declared = u64::from_le_bytes(*length);
    let available = rest.len() as u64;
    if declared > LONGEST_HEADER {
        return Err(HeaderError::TooLong(declared));
    }
    if declared > available {
        return Err(HeaderError::Truncated { declared, available });
    }
    let (text, data) = rest.split_at(declared as usize);
    if text.first() != Some(&b'{') {
        return Err(HeaderError::Json("expected `{` as its first byte".to_owned()));
    }
    let raw: Raw = serde_json::from_slice(text).map_err(|e| HeaderError::Json(e.to_string()))?;
    if let Some(name) = raw.duplicate {
        return Err(HeaderError::Duplicate(name));
    }
    check_tiling(&raw.tensors, data.len() as u64)?;
    let start = file.len() - data.len();
    let tensors = raw
        .tensors
        .into_iter()
        .map(|(name, RawEntry { dtype, shape, data_offsets: (begin, end) })| {
            // The tiling has shown that both ends lie within the file, so they fit in a usize.
            let bytes = start + begin as usize..start + end as usize;
            (name, Entry { dtype, shape, bytes })
        })
        .collect();
    Ok(Header { tensors, metadata: raw.metadata })
}

/// Checks that sizes match shapes and that the ranges cover `data` bytes exactly once.
fn check_tiling(tensors: &BTreeMap<String, RawEntry>, data: u64) -> Result<(), HeaderError> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(name, entry)| (entry.data_offsets, name.as_str()));
    let mut covered = 0;
    let mut last = "";
    for (name, entry) in order {
        let (begin, end) = entry.data_offsets;
        let expected = entry.size(name)?;
        if end.checked_sub(begin) != Some(expected) {
            return Err(HeaderError::Size {
                name: name.clone(),
                dtype: entry.dtype.clone(),
                shape: entry.shape.clone(),
                expected,
                begin,
                end,
            });
        }
        if begin < covered {
            return Err(HeaderError::Overlap {
                first: last.to_owned(),
                second: name.clone(),
                begin,
                end: covered,
            });
        }
        if begin > covered {
            return Err(HeaderError::Hole { begin: covered, end: begin });
        }
        (covered, last) = (end, name);
    }
    match covered.cmp(&data) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(HeaderError::Hole { begin: covered, end: data }),
        std::cmp::Ordering::Greater => {
            Err(HeaderError::DataTruncated { expected: covered, found: data })
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl RawEntry {
    /// Bytes that dtype and shape take.
    fn size(&self, name: &str) -> Result<u64, HeaderError> {
        let bits = bits(&self.dtype).ok_or_else(|| HeaderError::DType {
            name: name.to_owned(),
            dtype: self.dtype.clone(),
        })?;
        self.shape
            .iter()
            .try_fold(bits, |size, &extent| size.checked_mul(extent))
            .filter(|bits| bits.is_multiple_of(8))
            .map(|bits| bits / 8)
            .ok_or_else(|| HeaderError::Shape {
                name: name.to_owned(),
                dtype: self.dtype.clone(),
                shape: self.shape.clone(),
            })
    }
}

/// The header as written; notes the first name that appears twice, which a map would swallow.
#[derive(Default)]
struct Raw {
    tensors: BTreeMap<String, RawEntry>,
    metadata: BTreeMap<String, String>,
    duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw::default();
                let mut metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        raw.metadata = map.next_value()?;
                        std::mem::replace(&mut metadata, true)
                    } else {
                        let entry = map
                            .next_value()
                            .map_err(|e| A::Error::custom(format!("tensor `{name}`: {e}")))?;
                        raw.tensors.insert(name.clone(), entry).is_some()
                    };
                    if twice && raw.duplicate.is_none() {
                        raw.duplicate = Some(name);
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
