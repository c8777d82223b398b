//! A warp's state: 32 columns of registers, and which lanes are where.
//!
//! Lanes that go different ways form *parts*, each with its own place in the code. The part that
//! is furthest behind runs until it meets another, and parts at one place become one. Since NVRTC
//! lays loops and both sides of a branch out before what follows them, lanes come together again
//! at the first common place. A part that needs other lanes waits until they come.

use crate::inst::{Col, Slot};

/// Why a part does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It runs.
    No,
    /// For the other members of a warp-wide instruction.
    Members(u32),
    /// For the warp's other lanes, before a barrier.
    Lanes,
}

/// Lanes at one place in the code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) pc: u32,
    pub(crate) mask: u32,
    pub(crate) waiting: Waiting,
}

/// A piece of shared memory that a `cp.async` in flight owns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) lane: u32,
    /// How many groups its lane had committed before it was issued.
    pub(crate) group: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// A warp.
#[derive(Debug)]
pub(crate) struct Warp {
    pub(crate) index: u32,
    pub(crate) narrow: Vec<[u32; 32]>,
    pub(crate) wide: Vec<[u64; 32]>,
    pub(crate) preds: Vec<u32>,
    /// Lanes that have not returned.
    pub(crate) live: u32,
    /// In order of their places.
    pub(crate) parts: Vec<Part>,
    /// Groups of `cp.async` that each lane has committed.
    pub(crate) committed: [u32; 32],
    pub(crate) in_flight: Vec<InFlight>,
    pub(crate) local: Vec<u8>,
    pub(crate) local_written: Vec<bool>,
    pub(crate) local_taint: Vec<u8>,
    /// Bits that depend on marked ranges, shaped as the registers; empty unless tracked.
    pub(crate) narrow_taint: Vec<[u32; 32]>,
    pub(crate) wide_taint: Vec<[u64; 32]>,
    pub(crate) pred_taint: Vec<u32>,
}

impl Warp {
    /// Sets a narrow column in the lanes of a mask.
    pub(crate) fn set_narrow(&mut self, mask: u32, d: Col, values: &[u32; 32]) {
        let column = &mut self.narrow[d as usize];
        if mask == u32::MAX {
            *column = *values;
            return;
        }
        for lane in 0..32 {
            if mask >> lane & 1 == 1 {
                column[lane] = values[lane];
            }
        }
    }

    /// Sets a wide column in the lanes of a mask.
    pub(crate) fn set_wide(&mut self, mask: u32, d: Col, values: &[u64; 32]) {
        let column = &mut self.wide[d as usize];
        if mask == u32::MAX {
            *column = *values;
            return;
        }
        for lane in 0..32 {
            if mask >> lane & 1 == 1 {
                column[lane] = values[lane];
            }
        }
    }

    /// Sets a predicate in the lanes of a mask.
    pub(crate) fn set_pred(&mut self, mask: u32, d: Col, bits: u32) {
        let column = &mut self.preds[d as usize];
        *column = (*column & !mask) | (bits & mask);
    }

    #[inline(always)]
    pub(crate) fn n1(&mut self, mask: u32, d: Col, a: Col, f: impl Fn(u32) -> u32) {
        let x = &self.narrow[a as usize];
        let values = std::array::from_fn(|lane| f(x[lane]));
        self.set_narrow(mask, d, &values);
    }

    #[inline(always)]
    pub(crate) fn n2(&mut self, mask: u32, d: Col, a: Col, b: Col, f: impl Fn(u32, u32) -> u32) {
        let (x, y) = (&self.narrow[a as usize], &self.narrow[b as usize]);
        let values = std::array::from_fn(|lane| f(x[lane], y[lane]));
        self.set_narrow(mask, d, &values);
    }

    #[inline(always)]
    pub(crate) fn n3(
        &mut self,
        mask: u32,
        d: Col,
        [a, b, c]: [Col; 3],
        f: impl Fn(u32, u32, u32) -> u32,
    ) {
        let (x, y, z) =
            (&self.narrow[a as usize], &self.narrow[b as usize], &self.narrow[c as usize]);
        let values = std::array::from_fn(|lane| f(x[lane], y[lane], z[lane]));
        self.set_narrow(mask, d, &values);
    }

    #[inline(always)]
    pub(crate) fn w1(&mut self, mask: u32, d: Col, a: Col, f: impl Fn(u64) -> u64) {
        let x = &self.wide[a as usize];
        let values = std::array::from_fn(|lane| f(x[lane]));
        self.set_wide(mask, d, &values);
    }

    #[inline(always)]
    pub(crate) fn w2(&mut self, mask: u32, d: Col, a: Col, b: Col, f: impl Fn(u64, u64) -> u64) {
        let (x, y) = (&self.wide[a as usize], &self.wide[b as usize]);
        let values = std::array::from_fn(|lane| f(x[lane], y[lane]));
        self.set_wide(mask, d, &values);
    }

    #[inline(always)]
    pub(crate) fn w3(
        &mut self,
        mask: u32,
        d: Col,
        [a, b, c]: [Col; 3],
        f: impl Fn(u64, u64, u64) -> u64,
    ) {
        let (x, y, z) = (&self.wide[a as usize], &self.wide[b as usize], &self.wide[c as usize]);
        let values = std::array::from_fn(|lane| f(x[lane], y[lane], z[lane]));
        self.set_wide(mask, d, &values);
    }

    /// f32 forms of the narrow maps.
    #[inline(always)]
    pub(crate) fn f2(&mut self, mask: u32, d: Col, a: Col, b: Col, f: impl Fn(f32, f32) -> u32) {
        self.n2(mask, d, a, b, |x, y| f(f32::from_bits(x), f32::from_bits(y)));
    }

    /// A value of a slot in a lane, widened.
    pub(crate) fn value(&self, slot: Slot, lane: usize) -> u64 {
        match slot {
            Slot::Narrow(col) => u64::from(self.narrow[col as usize][lane]),
            Slot::Wide(col) => self.wide[col as usize][lane],
            Slot::Pred(col) => u64::from(self.preds[col as usize] >> lane & 1),
        }
    }
}

/// The lanes of a mask, in order.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> + Clone {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}
