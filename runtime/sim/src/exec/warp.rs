//! A warp's state: 32 columns of registers, and which lanes are where.
//!
//! Lanes that go different ways form *parts*, each with its own place in the code. The part that
//! is furthest behind runs until it meets another, and parts at one place become one. Since NVRTC
//! lays loops and both sides of a branch out before what follows them, lanes come together again
//! at the first common place. A part that needs other lanes waits until they come.

use bytec_runtime::Isa;
use bytec_runtime::cpu::isa::Compiled;

use crate::inst::{Col, Slot};
use crate::memory::blockrace::Source;

/// Why a part does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It runs.
    No,
    /// For the other members of a warp-wide instruction.
    Members(u32),
    /// For the warp's other lanes, before a barrier.
    Lanes,
    /// For the mbarrier at an offset in the block's shared memory to complete a phase.
    Mbarrier(u64),
    /// For the barrier of the cluster, at which it looks again.
    Cluster,
}

/// Lanes at one place in the code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) pc: u32,
    pub(crate) mask: u32,
    pub(crate) waiting: Waiting,
}

/// A piece of shared memory that a `cp.async` in flight owns, and the global memory that it reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) lane: u32,
    /// How many groups its lane had committed before it was issued.
    pub(crate) group: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// What it reads; nothing where the piece is only zeroed.
    pub(crate) source: Option<Source>,
}

/// The groups of a warp's `wgmma`, and the registers that they own.
#[derive(Debug)]
pub(crate) struct Products {
    pub(crate) committed: u32,
    /// All groups up to this number are done.
    pub(crate) done: u32,
    /// For each narrow column the group, from one, that has it as a sum; and as a factor.
    pub(crate) sums: Vec<u32>,
    pub(crate) factors: Vec<u32>,
    /// For each narrow column whether it was read or written since the last fence.
    pub(crate) fresh: Vec<bool>,
    /// How many columns are registers; the others are constants.
    pub(crate) registers: usize,
}

/// A warp.
#[derive(Debug)]
pub(crate) struct Warp {
    /// Its number within the cluster; blocks follow each other.
    pub(crate) index: u32,
    /// What the machine's vectors can do; the results are the same for any.
    pub(crate) isa: Isa,
    pub(crate) narrow: Vec<[u32; 32]>,
    pub(crate) wide: Vec<[u64; 32]>,
    pub(crate) preds: Vec<u32>,
    /// Lanes that have not returned.
    pub(crate) live: u32,
    /// In order of their places.
    pub(crate) parts: Vec<Part>,
    /// How often mbarriers and the cluster's barrier had changed when the first of the parts that wait for one looked.
    pub(crate) looked: u64,
    /// Groups of `cp.async` that each lane has committed.
    pub(crate) committed: [u32; 32],
    pub(crate) in_flight: Vec<InFlight>,
    /// Groups of bulk copies that each lane has committed.
    pub(crate) bulk_groups: [u32; 32],
    /// The group of each lane's last bulk copy to global memory, counted from one.
    pub(crate) bulk_last: [u32; 32],
    /// Places of waits for mbarriers that have said no once.
    pub(crate) doubted: Vec<u32>,
    /// What the warp's products own; only where a kernel has some.
    pub(crate) products: Option<Box<Products>>,
    pub(crate) local: Vec<u8>,
    pub(crate) local_written: Vec<bool>,
    pub(crate) local_taint: Vec<u8>,
    /// Bits that depend on marked ranges, shaped as the registers; empty unless tracked.
    pub(crate) narrow_taint: Vec<[u32; 32]>,
    pub(crate) wide_taint: Vec<[u64; 32]>,
    pub(crate) pred_taint: Vec<u32>,
}

impl Warp {
    /// Lets parts that wait for an mbarrier or for the cluster try it again.
    pub(crate) fn look_again(&mut self) {
        self.looked = u64::MAX;
        for part in &mut self.parts {
            if matches!(part.waiting, Waiting::Mbarrier(_) | Waiting::Cluster) {
                part.waiting = Waiting::No;
            }
        }
    }

    /// Sets a narrow column in the lanes of a mask.
    pub(crate) fn set_narrow(&mut self, mask: u32, d: Col, values: &[u32; 32]) {
        set(&mut self.narrow[d as usize], mask, values);
    }

    /// Sets a wide column in the lanes of a mask.
    pub(crate) fn set_wide(&mut self, mask: u32, d: Col, values: &[u64; 32]) {
        set(&mut self.wide[d as usize], mask, values);
    }

    /// Sets a predicate in the lanes of a mask.
    pub(crate) fn set_pred(&mut self, mask: u32, d: Col, bits: u32) {
        let column = &mut self.preds[d as usize];
        *column = (*column & !mask) | (bits & mask);
    }

    #[inline(always)]
    pub(crate) fn n1(&mut self, mask: u32, d: Col, a: Col, f: impl Fn(u32) -> u32) {
        self.isa.compiled(Map {
            columns: &mut self.narrow,
            mask,
            d,
            from: [a],
            f: |[x]: [u32; 1]| f(x),
        });
    }

    #[inline(always)]
    pub(crate) fn n2(&mut self, mask: u32, d: Col, a: Col, b: Col, f: impl Fn(u32, u32) -> u32) {
        let f = |[x, y]: [u32; 2]| f(x, y);
        self.isa.compiled(Map { columns: &mut self.narrow, mask, d, from: [a, b], f });
    }

    #[inline(always)]
    pub(crate) fn n3(
        &mut self,
        mask: u32,
        d: Col,
        from: [Col; 3],
        f: impl Fn(u32, u32, u32) -> u32,
    ) {
        let f = |[x, y, z]: [u32; 3]| f(x, y, z);
        self.isa.compiled(Map { columns: &mut self.narrow, mask, d, from, f });
    }

    #[inline(always)]
    pub(crate) fn w1(&mut self, mask: u32, d: Col, a: Col, f: impl Fn(u64) -> u64) {
        self.isa.compiled(Map {
            columns: &mut self.wide,
            mask,
            d,
            from: [a],
            f: |[x]: [u64; 1]| f(x),
        });
    }

    #[inline(always)]
    pub(crate) fn w2(&mut self, mask: u32, d: Col, a: Col, b: Col, f: impl Fn(u64, u64) -> u64) {
        let f = |[x, y]: [u64; 2]| f(x, y);
        self.isa.compiled(Map { columns: &mut self.wide, mask, d, from: [a, b], f });
    }

    #[inline(always)]
    pub(crate) fn w3(
        &mut self,
        mask: u32,
        d: Col,
        from: [Col; 3],
        f: impl Fn(u64, u64, u64) -> u64,
    ) {
        let f = |[x, y, z]: [u64; 3]| f(x, y, z);
        self.isa.compiled(Map { columns: &mut self.wide, mask, d, from, f });
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

/// Sets a column in the lanes of a mask.
#[inline(always)]
fn set<T: Copy>(column: &mut [T; 32], mask: u32, values: &[T; 32]) {
    if mask == u32::MAX {
        *column = *values;
        return;
    }
    for (lane, (kept, value)) in column.iter_mut().zip(values).enumerate() {
        *kept = if mask & 1 << lane != 0 { *value } else { *kept };
    }
}

/// A function of columns, lane by lane, compiled for every instruction set.
struct Map<'a, T, F, const N: usize> {
    columns: &'a mut [[T; 32]],
    mask: u32,
    d: Col,
    from: [Col; N],
    f: F,
}

impl<T: Copy + Default, F: Fn([T; N]) -> T, const N: usize> Compiled for Map<'_, T, F, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let from = self.from.map(|col| &self.columns[col as usize]);
        let mut values = [T::default(); 32];
        for (lane, value) in values.iter_mut().enumerate() {
            *value = (self.f)(from.map(|column| column[lane]));
        }
        set(&mut self.columns[self.d as usize], self.mask, &values);
    }
}

/// A value for each lane, by code compiled for every instruction set.
#[inline(always)]
pub(crate) fn each<T, F: Fn(usize) -> T>(isa: Isa, f: F) -> [T; 32] {
    struct Each<F>(F);
    impl<T, F: Fn(usize) -> T> Compiled for Each<F> {
        type Output = [T; 32];

        #[inline(always)]
        fn run(self) -> [T; 32] {
            std::array::from_fn(self.0)
        }
    }
    isa.compiled(Each(f))
}

/// The lanes of a mask, in order.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> + Clone {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}
