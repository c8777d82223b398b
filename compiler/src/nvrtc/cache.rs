//! Compiled kernels kept by what they are made of, so that only a changed kernel is compiled again.
//!
//! An entry is one file, named by the BLAKE3 of text, options and NVRTC version:
//! `magic | lengths of ptx, cubin, log: 3 x u64 | ptx | cubin | log | BLAKE3 of all that`.
//! It is written whole under another name and then renamed. An entry that does not check is as good as none.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::NvrtcError;

const MAGIC: &[u8; 8] = b"bytecnv1";
const HASH: usize = blake3::OUT_LEN;

/// A folder of compiled kernels. Several processes may share it.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// What NVRTC gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ptx: String,
    /// Empty where only PTX was asked for.
    pub(super) cubin: Vec<u8>,
    pub(super) log: String,
}

impl Cache {
    /// The cache in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`NvrtcError::Cache`] if it can't be made.
    pub fn open(folder: &Path) -> Result<Self, NvrtcError> {
        let wrong = |source| NvrtcError::Cache { doing: "make", path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(wrong)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.folder.join(format!("{}.kernel", key.to_hex()))
    }

    /// The entry of this key, if it is there and whole.
    pub(super) fn get(&self, key: &blake3::Hash) -> Option<Entry> {
        parse(&fs::read(self.path(key)).ok()?)
    }

    /// Keeps an entry.
    pub(super) fn put(&self, key: &blake3::Hash, entry: &Entry) -> Result<(), NvrtcError> {
        let path = self.path(key);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(&bytes(entry))?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|source| NvrtcError::Cache { doing: "write", path: path.clone(), source })
    }
}

fn bytes(entry: &Entry) -> Vec<u8> {
    let parts = [entry.ptx.as_bytes(), &entry.cubin, entry.log.as_bytes()];
    let mut bytes = MAGIC.to_vec();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
    }
    for part in parts {
        bytes.extend(part);
    }
    let hash = blake3::hash(&bytes);
    bytes.extend(hash.as_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<Entry> {
    let (checked, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if blake3::hash(checked).as_bytes() != hash {
        return None;
    }
    let rest = checked.strip_prefix(MAGIC)?;
    let (lengths, mut rest) = rest.split_at_checked(24)?;
    let mut part = |nth: usize| {
        let length = u64::from_le_bytes(lengths[8 * nth..][..8].try_into().ok()?);
        let (part, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        Some(part.to_vec())
    };
    let (ptx, cubin, log) = (part(0)?, part(1)?, part(2)?);
    let entry =
        Entry { ptx: String::from_utf8(ptx).ok()?, cubin, log: String::from_utf8(log).ok()? };
    rest.is_empty().then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::{Cache, Entry, bytes, parse};

    #[test]
    fn entries_read_back_and_damaged_ones_are_none() {
        let entry = Entry { ptx: "ptx".into(), cubin: vec![1, 2, 3], log: "log".into() };
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("new")).unwrap();
        let key = blake3::hash(b"key");
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &entry).unwrap();
        assert_eq!(cache.get(&key), Some(entry.clone()));
        let whole = bytes(&entry);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None);
            let mut flipped = whole.clone();
            flipped[end] ^= 1;
            assert_eq!(parse(&flipped), None);
        }
        std::fs::write(cache.path(&key), "junk").unwrap();
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &entry).unwrap();
        assert_eq!(cache.get(&key), Some(entry));
    }
}
