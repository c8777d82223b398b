//! Accesses of all lanes at once, for the common case: every address is aligned, and all lie within one
//! allocation or within shared memory. Anything else goes lane by lane through `access`, which finds
//! the fault.

use bytec_runtime::cpu::isa::Compiled;

use super::Cluster;
use super::access::{Reach, Requests, Step, Target, address};
use super::warp::{Warp, lanes};
use crate::fault::AccessKind;
use crate::inst::{Access, Address, CpAsync, Space};
use crate::memory::global::Allocation;
use crate::memory::{OFFSET_BITS, SHARED_WINDOW, WINDOW_MASK};

/// What the addresses of an access lie in.
#[derive(Clone, Copy)]
pub(super) enum Home<'l> {
    /// The own block's shared memory.
    Shared,
    Global(usize, &'l Allocation),
}

/// The places of an access's lanes, known to be good.
pub(super) struct Bulk<'l> {
    home: Home<'l>,
    /// Within the home; only those of the mask's lanes mean anything.
    pub(super) offsets: [u64; 32],
    mask: u32,
}

/// Offsets from a base, if they are good in all lanes of a mask.
struct Locate<F> {
    address: F,
    base: u64,
    /// The highest good offset.
    last: u64,
    align: u64,
    mask: u32,
}

impl<F: Fn(usize) -> u64> Compiled for Locate<F> {
    type Output = Option<[u64; 32]>;

    #[inline(always)]
    fn run(self) -> Option<[u64; 32]> {
        let mut offsets = [0; 32];
        let mut bad = 0;
        for (lane, offset) in offsets.iter_mut().enumerate() {
            *offset = (self.address)(lane).wrapping_sub(self.base);
            let outside = *offset > self.last;
            let misaligned = *offset & (self.align - 1) != 0;
            bad |= u32::from(outside | misaligned) << lane;
        }
        (bad & self.mask == 0).then_some(offsets)
    }
}

impl<'l> Cluster<'l> {
    /// Where the lanes of a mask point, if each points to so many good bytes.
    pub(super) fn bulk(
        &self,
        warp: &Warp,
        mask: u32,
        space: Space,
        from: Address,
        bytes: u64,
    ) -> Option<Bulk<'l>> {
        let first = address(warp, from, mask.trailing_zeros() as usize & 31);
        let (home, base, size) = match (space, first & WINDOW_MASK) {
            (Space::Shared, _) => (Home::Shared, 0, self.shared_bytes()),
            (Space::Generic, SHARED_WINDOW) => (Home::Shared, SHARED_WINDOW, self.shared_bytes()),
            (Space::Global, _) | (Space::Generic, 0) => {
                let index = (first >> OFFSET_BITS) as usize;
                let allocation = self.launch.allocations.get(index)?.as_ref()?;
                (Home::Global(index, allocation), (index as u64) << OFFSET_BITS, allocation.bytes)
            }
            _ => return None,
        };
        let last = size.checked_sub(bytes)?;
        let (offset, align) = (from.offset, bytes);
        let offsets = if from.wide {
            let column = &warp.wide[from.base as usize];
            let address = |lane: usize| column[lane].wrapping_add_signed(offset);
            warp.isa.compiled(Locate { address, base, last, align, mask })
        } else {
            let column = &warp.narrow[from.base as usize];
            let address = |lane: usize| u64::from(column[lane]).wrapping_add_signed(offset);
            warp.isa.compiled(Locate { address, base, last, align, mask })
        };
        Some(Bulk { home, offsets: offsets?, mask })
    }

    /// Loads what `bulk` has found.
    pub(super) fn load_bulk<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        load: &Access,
        from: &Bulk<'_>,
    ) -> Step<()> {
        let each = load.ty.bytes();
        let bytes = each * load.elements.len() as u64;
        if CHECK {
            self.check_bulk(warp.index, from, bytes)?;
        }
        for (at, element) in (0..).step_by(each as usize).zip(&load.elements) {
            let Some(col) = element.col else { continue };
            let signed = load.ty.is_signed();
            match (from.home, element.wide) {
                (Home::Shared, false) => {
                    let column = &mut warp.narrow[col as usize];
                    let read = |offset| self.blocks[self.block].shared.read(offset + at, each);
                    from.narrow(column, each, signed, read);
                }
                (Home::Global(_, allocation), false) => {
                    let column = &mut warp.narrow[col as usize];
                    from.narrow(column, each, signed, |offset| allocation.read(offset + at, each));
                }
                (home, true) => {
                    let column = &mut warp.wide[col as usize];
                    for lane in lanes(from.mask) {
                        let offset = from.offsets[lane] + at;
                        let value = match home {
                            Home::Shared => self.blocks[self.block].shared.read(offset, each),
                            Home::Global(_, allocation) => allocation.read(offset, each),
                        };
                        column[lane] = if signed { extend(value, each) } else { value };
                    }
                }
            }
        }
        from.requests(bytes).count(self, from.mask, false);
        Ok(())
    }

    /// The checks of a read.
    pub(super) fn check_bulk(&mut self, warp: u32, from: &Bulk<'_>, bytes: u64) -> Step<()> {
        for lane in lanes(from.mask) {
            let reach = Reach { lane, access: AccessKind::Read, bytes, align: bytes };
            self.check(warp, from.target(self.block, lane), reach)?;
        }
        Ok(())
    }

    /// Stores without checks.
    pub(super) fn store_bulk(&mut self, warp: &Warp, store: &Access, to: &Bulk<'_>) {
        let each = store.ty.bytes();
        for lane in lanes(to.mask) {
            for (at, element) in (0..).step_by(each as usize).zip(&store.elements) {
                let Some(col) = element.col else { continue };
                let value = if element.wide {
                    warp.wide[col as usize][lane]
                } else {
                    u64::from(warp.narrow[col as usize][lane])
                };
                let offset = to.offsets[lane] + at;
                match to.home {
                    Home::Shared => self.blocks[self.block].shared.write(offset, each, value),
                    Home::Global(index, allocation) => {
                        if let Some(undo) = &self.launch.undo {
                            undo.keep(index, allocation, offset);
                        }
                        allocation.write(offset, each, value);
                        allocation.set_written(offset, each);
                    }
                }
            }
        }
        to.requests(each * store.elements.len() as u64).count(self, to.mask, true);
    }

    /// A `cp.async` without checks, of pieces that are whole or absent; whether it was one.
    pub(super) fn copy_bulk(&mut self, warp: &Warp, mask: u32, copy: &CpAsync) -> bool {
        let bytes = u64::from(copy.bytes);
        let Some(to) = self.bulk(warp, mask, Space::Shared, copy.shared, bytes) else {
            return false;
        };
        let ignored = copy.ignore.map_or(0, |guard| {
            warp.preds[guard.pred as usize] ^ if guard.negated { u32::MAX } else { 0 }
        });
        let mut whole = mask & !ignored;
        if let Some(col) = copy.source_bytes {
            for lane in lanes(whole) {
                match warp.narrow[col as usize][lane] {
                    0 => whole &= !(1 << lane),
                    wanted if u64::from(wanted) == bytes => {}
                    _ => return false,
                }
            }
        }
        if whole != 0 {
            let Some(from) = self.bulk(warp, whole, Space::Global, copy.global, bytes) else {
                return false;
            };
            let Home::Global(_, allocation) = from.home else { return false };
            for lane in lanes(whole) {
                for at in (0..bytes).step_by(4) {
                    let word = allocation.word(from.offsets[lane] + at);
                    self.blocks[self.block].shared.write(to.offsets[lane] + at, 4, u64::from(word));
                }
            }
            from.requests(bytes).count(self, whole, false);
        }
        for lane in lanes(mask & !whole) {
            let start = to.offsets[lane] as usize;
            self.blocks[self.block].shared.data[start..start + bytes as usize].fill(0);
        }
        to.requests(bytes).count(self, mask, true);
        true
    }
}

impl Bulk<'_> {
    fn target(&self, block: usize, lane: usize) -> Target {
        let offset = self.offsets[lane];
        match self.home {
            Home::Shared => Target::Shared { block, offset },
            Home::Global(index, _) => Target::Global { index, offset },
        }
    }

    fn requests(&self, bytes: u64) -> Requests {
        let (global, shared, base) = match self.home {
            Home::Shared => (0, self.mask, 0),
            // Allocations begin at whole sectors, so offsets fall into them as addresses do.
            Home::Global(index, _) => (self.mask, 0, (index as u64) << OFFSET_BITS),
        };
        Requests { bytes, addresses: self.offsets, base, global, shared }
    }

    /// Reads into a narrow column.
    #[inline(always)]
    fn narrow(&self, column: &mut [u32; 32], each: u64, signed: bool, read: impl Fn(u64) -> u64) {
        for lane in lanes(self.mask) {
            let value = read(self.offsets[lane]);
            column[lane] = if signed { extend(value, each) } else { value } as u32;
        }
    }
}

/// Extends a number of so many bytes by its sign.
pub(super) fn extend(value: u64, bytes: u64) -> u64 {
    let shift = 64 - bytes * 8;
    ((value << shift) as i64 >> shift) as u64
}
