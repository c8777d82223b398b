//! Tensor maps: what a bulk tensor copy is told of the tensor and of the box that it moves.
//!
//! A GPU's 128 bytes are not documented; the simulator has its own.

/// How 16-byte pieces are permuted within shared memory: the piece's number within a span is combined by exclusive or
/// with the number of the 128-byte line that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swizzle {
    /// Not at all.
    None,
    /// Within spans of 32 bytes, by address bit 7.
    Bytes32,
    /// Within spans of 64 bytes, by address bits 7 and 8.
    Bytes64,
    /// Within spans of 128 bytes, by address bits 7 to 9.
    Bytes128,
}

impl Swizzle {
    const ALL: [Swizzle; 4] =
        [Swizzle::None, Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128];

    /// Bytes of a span; 16 without a swizzle.
    pub fn span(self) -> u64 {
        16 << self as u64
    }

    /// The address that an address stands for.
    pub fn apply(self, address: u64) -> u64 {
        let pieces = self.span() / 16 - 1;
        address ^ ((address >> 7 & pieces) << 4)
    }
}

/// A tensor in global memory, and the box of it that one copy moves. Axes are innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// Where its first element lies.
    pub address: u64,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub element: u64,
    /// Its extents, one to five.
    pub extents: Vec<u64>,
    /// Bytes from one place to the next, for each axis but the innermost.
    pub strides: Vec<u64>,
    /// The box.
    pub boxes: Vec<u32>,
    /// How the box lies in shared memory.
    pub swizzle: Swizzle,
}

/// A tensor map that no GPU takes, or that the simulator does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor map: expected {expected}, found {found}")]
pub struct TensorMapError {
    /// What is asked of it.
    pub expected: &'static str,
    /// What it says.
    pub found: u64,
}

/// What begins a map.
const MAGIC: u64 = u64::from_le_bytes(*b"tensormp");

impl TensorMap {
    /// Holds the map against the limits of GPUs.
    ///
    /// # Errors
    /// The first of them that it breaks.
    pub fn check(&self) -> Result<(), TensorMapError> {
        let need = |holds: bool, expected, found| match holds {
            true => Ok(()),
            false => Err(TensorMapError { expected, found }),
        };
        let rank = self.extents.len();
        need((1..=5).contains(&rank), "one to five axes", rank as u64)?;
        need(self.boxes.len() == rank, "a box of as many axes", self.boxes.len() as u64)?;
        need(self.strides.len() == rank - 1, "one stride less", self.strides.len() as u64)?;
        let element = self.element;
        need(matches!(element, 1 | 2 | 4 | 8), "elements of 1, 2, 4 or 8 bytes", element)?;
        need(self.address.is_multiple_of(16), "an address that is a multiple of 16", self.address)?;
        for extent in &self.extents {
            let right = (1..=1 << 32).contains(extent);
            need(right, "extents from 1 to 2^32", *extent)?;
        }
        for stride in &self.strides {
            let right = stride.is_multiple_of(16) && *stride < 1 << 40;
            need(right, "strides that are multiples of 16 below 2^40", *stride)?;
        }
        for side in &self.boxes {
            need((1..=256).contains(side), "sides of the box from 1 to 256", (*side).into())?;
        }
        let inner = self.inner();
        need(inner.is_multiple_of(16), "a box whose rows are multiples of 16 bytes", inner)?;
        let fits = self.swizzle == Swizzle::None || inner == self.swizzle.span();
        need(fits, "rows of the box as long as the swizzle's span", inner)
    }

    /// Bytes of a row of the box.
    pub(crate) fn inner(&self) -> u64 {
        u64::from(self.boxes[0]) * self.element
    }

    /// Bytes of the box.
    pub(crate) fn bytes(&self) -> u64 {
        self.boxes.iter().map(|side| u64::from(*side)).product::<u64>() * self.element
    }

    /// The bytes that stand for the map in a kernel's parameters.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn encode(&self) -> Result<[u64; 16], TensorMapError> {
        self.check()?;
        let mut words = [0; 16];
        words[0] = MAGIC;
        words[1] = self.address;
        words[2] = self.extents.len() as u64 | self.element << 8 | (self.swizzle as u64) << 16;
        words[3..8][..self.extents.len()].copy_from_slice(&self.extents);
        words[8..12][..self.strides.len()].copy_from_slice(&self.strides);
        words[12] = self.boxes.iter().rev().fold(0, |sum, side| sum << 12 | u64::from(*side));
        Ok(words)
    }

    /// The map that these bytes stand for, if they do.
    pub(crate) fn decode(words: &[u64; 16]) -> Option<Self> {
        let rank = (words[2] & 0xff) as usize;
        if words[0] != MAGIC || !(1..=5).contains(&rank) {
            return None;
        }
        let map = Self {
            address: words[1],
            element: words[2] >> 8 & 0xff,
            extents: words[3..][..rank].to_vec(),
            strides: words[8..][..rank - 1].to_vec(),
            boxes: (0..rank).map(|axis| (words[12] >> (12 * axis) & 0xfff) as u32).collect(),
            swizzle: *Swizzle::ALL.get((words[2] >> 16 & 0xff) as usize)?,
        };
        map.check().ok()?;
        Some(map)
    }
}
